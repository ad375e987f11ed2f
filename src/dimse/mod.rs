//! DICOM messages over dicom-ul's PDUs: associations, whole messages, data sets that are safe to read.
//!
//! Why the association layer is not the library's. dicom-ul 0.10's codec is sound, and used here; its associations
//! cannot be used by a program that stays up and tells the truth. They report every failure to associate as a
//! missing TLS, panic on a single-threaded runtime when sending, repeat the IDs of more than 128 presentation
//! contexts, buffer without limit or answer a large request with a bare reset, leave handshakes without deadline,
//! close without A-ABORT, abort under the provider's name, never fragment, never set TCP_NODELAY, decide about a
//! caller without knowing its address, and fix the implementation class UID. Nothing there makes messages of PDVs.
//!
//! Invariants: nothing waits for a peer without a deadline; nothing is allocated by a length that a peer declares
//! beyond a bound; bytes reach `dicom-object` only after the structural check.
//!
//! Where things are, from the bytes up:
//! - [`uids`], `transfer_syntax`, `status`, `refusal`: the vocabulary
//! - `element`, [`check`]: where elements begin and end, and whether the whole may be read
//! - `data_set`, `builder`: data sets, read and written; `conversion`: those of objects in another transfer syntax
//! - [`charset`]: text by Specific Character Set, a room of its own
//! - `command`: command sets
//! - `assembler`, `fragment`: presentation data values into messages, and back; `in_flight`: how much of them is held
//! - `associate_accept`, `user_information`: parts of the negotiation, as they travel
//! - `tls`, `socket`, `stream`, `association`: connections, PDUs over those, messages over those; `object_rate`: how
//!   slowly objects may come
//! - `requestor`, `scu`: associations that we open, and what we ask over them: C-ECHO, C-FIND, C-MOVE, C-GET, C-STORE
//! - `acceptor`, `scp`: associations that others open, and how they are served
//! - `error`: all that can go wrong
//!
//! Start reading at `requestor`. Not here: what a query means, storage of any kind.

mod acceptor;
mod assembler;
mod associate_accept;
mod association;
mod builder;
pub mod check;
mod command;
mod conversion;
mod data_set;
mod element;
mod error;
mod fragment;
mod in_flight;
mod object_rate;
mod refusal;
mod requestor;
mod scp;
mod scu;
mod socket;
mod status;
mod stream;
mod tls;
mod tls_failure;
mod tls_verifier;
mod transfer_syntax;
pub mod uids;
mod user_information;

pub use crate::charset::{self, trim_padding};
pub use acceptor::{
    AcceptorOptions, AssociationRequest, PendingAssociation, RequestedTitle, receive_request,
};
pub use assembler::{Assembler, DataSetRefusal, MAX_REQUEST_IDENTIFIER, MAX_RESPONSE_IDENTIFIER, Message};
pub use association::{Association, Context, ContextRefusal, Limits, ObjectContext, Peer};
pub use builder::{DataSetBuilder, EncodeError};
pub use check::{Fault, Malformed};
pub use command::{Command, CommandField, MAX_COMMAND, SubOperations};
pub use conversion::{convert, is_convertible};
pub use data_set::{DataSet, Element, Elements, ElementsByTag, Items};
pub use error::{Awaited, Error, Violation};
pub use in_flight::{bytes_in_flight, limit_bytes_in_flight};
pub use refusal::{Abort, Rejection};
pub use requestor::{
    MAX_CONTEXTS, ObjectFlow, PresentationContext, ProposedObjects, RequestorOptions, connect,
};
pub use scp::{
    Admission, CallerGone, FindRequest, FindResponder, Handler, IncomingObject, ObjectsServed,
    RetrieveRequest, RetrieveResponder, RetrieveTo, ScpOptions, StoreRequest, StoreToCaller, WholeObject,
    WholeStored, serve,
};
pub use scu::{
    Find, FindEnd, FindEvent, Get, GetEvent, GotObject, Move, MoveEvent, RetrieveEnd, Store, StoreEnd,
    StoreObject, UnansweredStores,
};
pub use status::{Status, StatusClass};
pub use stream::MAX_ASSOCIATE_PDU;
pub use tls::{
    AcceptorTls, Authorities, CallerCertificates, CallerTrust, Identity, PeerCertificate, RequestorTls,
    TlsSetupError,
};
pub use tls_failure::TlsFailure;
pub use transfer_syntax::TransferSyntax;
pub use user_information::WINDOW;
