//! The archive station that a study is brought to.
//!
//! Invariant: the embedded archive is read on blocking threads alone.

use std::collections::BTreeSet;

use super::archive_sink::ArchiveSink;
use super::copies::Copy;
use super::find::copy_at;
use super::station_sink::StationSink;
use super::transfer::Sink;
use super::{Resources, RetrieveError, RetrieveRequest, Scope};
use crate::archive::{Archive, ArchiveError};
use crate::model::{PatientId, Station, Uid};

/// The archive station that a study is brought to.
#[derive(Debug)]
pub(super) struct Destination<'r> {
    /// Its place in the configuration.
    pub(super) index: usize,
    pub(super) station: &'r Station,
    /// The archive itself, where it is the embedded one.
    pub(super) archive: Option<Archive>,
}

/// What an archive station has of a study.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// All its instances.
    pub(super) all: BTreeSet<Uid>,
    /// Those of them that are asked for.
    pub(super) wanted: BTreeSet<Uid>,
    /// The patient that it lists the study under; `None` where it is the embedded archive.
    pub(super) patient_id: Option<PatientId>,
}

impl Contents {
    /// What a copy lists.
    pub(super) fn of(copy: &Copy, scope: &Scope) -> Self {
        let wanted = copy
            .instances
            .iter()
            .filter(|(uid, it)| scope.takes(&it.series, uid));
        Contents {
            all: copy.instances.keys().cloned().collect(),
            wanted: wanted.map(|(uid, _)| uid.clone()).collect(),
            patient_id: Some(copy.patient_id.clone()),
        }
    }

    fn read(archive: &Archive, study: &Uid, scope: &Scope) -> Result<Self, ArchiveError> {
        let stored = |series: Option<&Uid>| -> Result<BTreeSet<Uid>, ArchiveError> {
            let stored = archive.instances(study.as_str(), series.map(Uid::as_str))?;
            // A damaged one is as good as missing: a source may have it whole.
            let sound = stored.iter().filter(|it| !it.is_damaged);
            let uids = sound.filter_map(|it| it.sop_instance_uid.parse().ok());
            Ok(uids.collect())
        };
        let all = stored(None)?;
        let wanted = match scope {
            Scope::Study => all.clone(),
            Scope::Instances(instances) => all.intersection(instances).cloned().collect(),
            Scope::Series(series) => {
                let mut wanted = BTreeSet::new();
                for series in series {
                    wanted.extend(stored(Some(series))?);
                }
                wanted
            }
        };
        Ok(Contents {
            all,
            wanted,
            patient_id: None,
        })
    }
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

    /// The sink of objects that come through this process.
    pub(super) fn sink(&self, resources: &'r Resources) -> Result<Sink<'r>, RetrieveError> {
        match &self.archive {
            Some(archive) => Ok(Sink::Archive(ArchiveSink::new(archive.clone()))),
            None => match StationSink::new(resources, self.station) {
                Ok(sink) => Ok(Sink::Station(Box::new(sink))),
                Err(detail) => Err(self.failed(detail)),
            },
        }
    }

    /// What it has of the study.
    pub(super) async fn contents(&self, request: &RetrieveRequest) -> Result<Contents, RetrieveError> {
        let Some(archive) = self.archive.clone() else {
            let listed = copy_at(request, self.index).await;
            let copy = listed.map_err(|detail| self.failed(detail))?;
            return Ok(copy.map_or_else(Contents::default, |copy| Contents::of(&copy, &request.scope)));
        };
        let (study, scope) = (request.study_instance_uid.clone(), request.scope.clone());
        blocking(move || Contents::read(&archive, &study, &scope)).await
    }

    pub(super) fn failed(&self, detail: String) -> RetrieveError {
        RetrieveError::Destination {
            station: self.station.name.clone(),
            detail,
        }
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
