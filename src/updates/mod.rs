//! Updates on their way between clusters.
//!
//! - [`object`]: an update as it travels
//! - [`hl7`]: the RIS, which tells of reports and patients in messages of HL7 v2
//! - [`local_studies`]: what the local archives have, and whose it is there
//! - [`conversation`]: the association over which they are sent, with a cluster that has shown who it is
//! - [`announce`]: updates made of objects that were acquired here; [`poll`]: of those found in archives that are not
//!   ours; `objects`: naming them
//! - [`relay`]: the queue of each station, sent until delivered
//! - [`pull`]: new objects that updates of others name, brought to the archive that holds the study
//!
//! Invariants: nothing is sent to a peer that has not shown that it is the cluster we know. What is kept of updates, and
//! the rules by which they are applied, are `store`'s and `model`'s. Start reading at [`relay`].

pub mod announce;
pub mod conversation;
pub mod hl7;
pub mod local_studies;
pub mod object;
mod objects;
pub mod poll;
pub mod pull;
pub mod relay;
mod wait;
