//! Who is scheduled, which earlier studies matter then, and bringing them over.
//!
//! - [`bring`]: the study of one job, brought from one source
//! - [`find`]: the studies of a patient, from the local cluster and from clusters with link prefetching
//! - [`looking`]: priors looked for on many occasions, for the queue
//! - [`relevance`]: the rules applied to what is known of the studies; pure
//! - [`runner`]: the queue of priors, run as limits and hours allow
//! - [`wanted`]: whether a prior has to be brought, and from where
//! - [`worklist`]: who is scheduled, as a modality worklist SCP says
//!
//! Invariant: nothing here prints or reads the environment.

pub mod bring;
pub mod find;
pub mod looking;
pub mod relevance;
pub mod runner;
pub mod wanted;
pub mod worklist;

use crate::model::{Configuration, StationName};

/// Why there is nowhere to bring priors to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDestination {
    /// The local cluster has no archive station.
    #[error("the local cluster has no archive station to bring priors to")]
    NoArchive,
    /// The station named is none of them.
    #[error("{0} is no archive station of the local cluster")]
    NotAnArchive(StationName),
}

/// The archive station that priors are brought to: the one named, else the one of the highest priority.
pub fn destination(
    configuration: &Configuration,
    named: Option<&StationName>,
) -> Result<StationName, NoDestination> {
    let none = || match named {
        Some(name) => NoDestination::NotAnArchive(name.clone()),
        None => NoDestination::NoArchive,
    };
    let (_, station) = configuration.destination(named).ok_or_else(none)?;
    Ok(station.name.clone())
}
