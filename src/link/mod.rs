//! The linked query: whom to ask, asking them all at once, and merging what they answer.
//!
//! From the question to the answer:
//! - [`policy`]: who is asked, and why another is not
//! - `question`: by which IDs of the patient a station is asked
//! - [`keys`], `identifier`: a query as the identifiers of C-FIND requests
//! - [`linked_syntax`]: what two impaxlinks say beyond strict DICOM, written and read
//! - `fanout`: all stations asked at the same moment, each by a `session`
//! - `session`, `search`, `respondent`: one station's part, from its line in the ledger down to who answers it:
//!   `conversation`, a peer over an association, or `embedded`, the archive in this process
//! - `repertoire`: in which character sets a key beyond ASCII is written
//! - `turns`: how many associations to a station are open at once
//! - [`visibility`]: what a caller of the service may find and move
//! - [`keywords`]: what is recorded of a query
//! - `mapped`: specialty and body part of what comes back
//! - [`answer`], [`filter`]: what comes back, and whether it was asked for
//! - [`first_sight`], [`merge`]: answers as studies, one by one or all together; `identity` says whose they are
//! - `conflict_log`: study UIDs that were found with two patients
//! - [`tls`]: the files that TLS needs, as the settings name them
//! - [`completeness`]: what the ledger says of the whole
//! - [`cluster_query`]: asking a cluster what it is
//!
//! Invariant: nothing here prints or reads the environment. Start reading at [`LinkedQuery`].

pub mod answer;
pub mod cluster_query;
pub mod completeness;
mod conflict_log;
mod conversation;
mod embedded;
mod event;
mod failure;
mod fanout;
mod fill;
pub mod filter;
pub mod first_sight;
pub mod health;
mod identifier;
mod identity;
pub mod keys;
mod keywords;
pub mod linked_syntax;
mod mapped;
pub mod merge;
pub mod policy;
mod question;
mod repertoire;
mod respondent;
mod search;
mod session;
mod stated;
mod stop;
pub mod tls;
mod turns;
pub mod visibility;

pub use conflict_log::ConflictLog;
pub use conversation::{CANCEL_WITHIN, Unaskable, address_towards, answers_as, calling, requestor_options};
pub use embedded::EmbeddedArchive;
pub use event::{Answer, Ended, Event, LowerRow};
pub use failure::{
    of_association as association_failure, of_find as find_failure, of_status as status_ended,
    of_tls as tls_failure, tls_trouble,
};
pub use fanout::{FAR, LinkedQuery, Request};
pub use identity::HashKey;
pub use keywords::keywords;
pub use mapped::{MAPPED_KEYS, mapped};
pub use question::AskedPerson;
pub use stated::{StatedValue, StudyStates};
pub use stop::Stop;
pub use turns::{Turn, Turns};
