//! The archive that a study is brought to.
//!
//! Invariant: the embedded archive is read on blocking threads alone.

use std::collections::BTreeSet;

use super::copies::list_at;
use super::{RetrieveError, RetrieveRequest};
use crate::archive::{Archive, ArchiveError};
use crate::model::{Station, Uid};

/// The archive that a study is brought to.
#[derive(Debug)]
pub(super) struct Destination<'r> {
    /// Its place in the configuration.
    pub(super) index: usize,
    pub(super) station: &'r Station,
    /// The archive itself, where it is the embedded one.
    pub(super) archive: Option<Archive>,
}

impl<'r> Destination<'r> {
    /// The archive station that the request names, else the one of the highest priority.
    pub(super) async fn of(request: &'r RetrieveRequest) -> Result<Self, RetrieveError> {
        let none = || match &request.to {
            Some(name) => RetrieveError::NotAnArchive(name.clone()),
            None => RetrieveError::NoArchive,
        };
        let chosen = request.configuration.destination(request.to.as_ref());
        let (index, station) = chosen.ok_or_else(none)?;
        let archive = match station.is_embedded() {
            true => Some(open(request).await?),
            false => None,
        };
        Ok(Destination {
            index,
            station,
            archive,
        })
    }

    /// The instances of the study that it has.
    pub(super) async fn instances(&self, request: &RetrieveRequest) -> Result<BTreeSet<Uid>, RetrieveError> {
        let Some(archive) = self.archive.clone() else {
            let listed = list_at(request, self.index).await;
            return listed.map_err(|detail| RetrieveError::Destination {
                station: self.station.name.clone(),
                detail,
            });
        };
        let study = request.study_instance_uid.clone();
        let listed = blocking(move || archive.instances(study.as_str(), None)).await?;
        let uids = listed
            .into_iter()
            .filter_map(|it| it.sop_instance_uid.parse().ok());
        Ok(uids.collect())
    }
}

async fn open(request: &RetrieveRequest) -> Result<Archive, RetrieveError> {
    let (archive, configuration) = (request.archive.clone(), request.configuration.clone());
    blocking(move || archive.open(&configuration.settings)).await
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, RetrieveError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or(Err(ArchiveError::Closing))
        .map_err(RetrieveError::Archive)
}
