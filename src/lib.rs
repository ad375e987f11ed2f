//! Cluster linking for medical imaging archives.
//!
//! The rooms, each with its own map:
//! - [`model`]: the values of the domain
//! - [`charset`]: text in the character sets of DICOM, for whoever reads or writes data sets
//! - [`audit`]: what is recorded of every change and disclosure, and the chain that makes tampering show
//! - [`store`]: the SQLite store: configuration, its history, the audit, the ledgers of past queries, the
//!   cross-reference of patients, the states of studies, and what waits to be sent, fetched or done
//! - [`dimse`]: DICOM messages, associations, data sets that are safe to read
//! - [`archive`]: the embedded archive: objects as DICOM files, and the index of them
//! - [`link`]: linked queries: whom to ask, asking them, merging what they answer
//! - [`retrieve`]: objects brought from the stations that have them to an archive, a station or a caller
//! - [`check`]: the prerequisites of linking, reviewed
//! - [`priors`]: who is scheduled, which earlier studies matter then, and bringing them over
//! - [`updates`]: updates made of new objects and of what the RIS says, on their way to linked clusters, and what those of
//!   others name on its way here
//! - [`service`]: the link service: listening, admission, reload without dropping anything, the control socket
//!
//! - [`cli`]: the command line, one file a command; the only room that prints
//!
//! Start reading at `model`; a command at `cli`.

#![forbid(unsafe_code)]

pub mod archive;
pub mod audit;
pub mod charset;
pub mod check;
pub mod cli;
pub mod dimse;
pub mod link;
pub mod model;
pub mod priors;
pub mod retrieve;
pub mod service;
pub mod store;
pub mod updates;
