//! Who is scheduled, which earlier studies matter then, and bringing them over.
//!
//! - [`find`]: the studies of a patient, from the local cluster and from clusters with link prefetching
//! - [`relevance`]: the rules applied to what is known of the studies; pure
//! - [`runner`]: the queue of priors, run as limits and hours allow
//! - [`worklist`]: who is scheduled, as a modality worklist SCP says
//!
//! Invariant: nothing here prints or reads the environment.

pub mod find;
pub mod relevance;
pub mod runner;
pub mod worklist;
