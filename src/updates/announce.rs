//! Updates of objects that were acquired in this cluster: told to linked clusters once nothing more of a study comes.
//!
//! Invariants: an object is off the list of arrivals only after the update that names it is committed. One that an update
//! in the log names already is not told again, nor is one that was brought from elsewhere. An update names at most
//! [`MOST_OBJECTS`] objects.

use std::collections::BTreeSet;

use super::objects::{MOST_OBJECTS, NewObject, drafts, named};
use crate::archive::{Archive, ArchiveError, Arrival, ArrivedStudy};
use crate::audit::Attribution;
use crate::link::answer::issuer_of_answers;
use crate::model::{AeTitle, Configuration, Station, StudyPatient, UPDATES_QUIET, relay_targets};
use crate::store::{Store, StoreError};

/// How many objects of a study are told in one transaction.
const AT_ONCE: usize = 10 * MOST_OBJECTS;

/// Why arrivals could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The archive failed.
    #[error("the arrivals of the archive can't be read or written")]
    Archive(#[from] ArchiveError),
    /// The store failed.
    #[error("their updates can't be kept")]
    Store(#[from] StoreError),
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announced {
    /// Updates made.
    pub updates: usize,
    /// Objects that they name.
    pub objects: usize,
    /// Objects that can't be told, as they name no patient ID or nobody knows its issuer.
    pub of_nobody: usize,
}

/// The arrivals in the embedded archive of the cluster whose store this is.
#[derive(Debug)]
pub struct Arrivals<'a> {
    /// Where the updates are kept.
    pub store: &'a Store,
    /// Where the objects are.
    pub archive: &'a Archive,
    /// Who is told.
    pub configuration: &'a Configuration,
}

impl Arrivals<'_> {
    /// The studies of which nothing more has come for a while. Where nobody is told of anything there are none, and what
    /// has arrived is no news any more.
    pub fn due(&self) -> Result<Vec<ArrivedStudy>, AnnounceError> {
        if relay_targets(self.configuration, None).next().is_none() {
            self.archive.forget_all_arrivals()?;
            return Ok(Vec::new());
        }
        let quiet = self.configuration.settings.duration(UPDATES_QUIET);
        Ok(self.archive.quiet_arrivals(quiet)?)
    }

    /// Makes the updates of a study, had from `station`, the embedded archive.
    pub fn announce(
        &self,
        study: &ArrivedStudy,
        station: &Station,
        attribution: &Attribution,
    ) -> Result<Announced, AnnounceError> {
        let known = named(self.store, &study.study_instance_uid)?;
        let elsewhere = Elsewhere::of(self, study, station)?;
        let patient = self.patient(study, station);
        let mut announced = Announced::default();
        loop {
            let arrivals = self.archive.arrivals(study, AT_ONCE)?;
            let mut new = Vec::new();
            for arrival in &arrivals {
                let is_known = known.contains(&arrival.sop_instance_uid);
                if !is_known && !self.was_brought(arrival, &elsewhere)? {
                    new.push(object(arrival));
                }
            }
            match &patient {
                Some(patient) => {
                    let study = &study.study_instance_uid;
                    let drafts = drafts(study, patient, &station.ae_title, &new);
                    if !drafts.is_empty() {
                        self.store.make_updates(attribution, &drafts)?;
                    }
                    announced.updates += drafts.len();
                    announced.objects += new.len();
                }
                None => announced.of_nobody += new.len(),
            }
            self.archive.forget_arrivals(study, &arrivals)?;
            if arrivals.len() < AT_ONCE {
                return Ok(announced);
            }
        }
    }

    /// `None` where nobody elsewhere could tell whose it is.
    fn patient(&self, study: &ArrivedStudy, station: &Station) -> Option<StudyPatient> {
        let local = self.configuration.settings.issuer();
        let issuer = study.issuer.as_ref();
        let issuer = issuer.or_else(|| issuer_of_answers(station, local.as_ref()))?;
        let is_named = !study.patient_id.is_empty();
        is_named.then(|| StudyPatient {
            id: study.patient_id.clone(),
            issuer: Some(issuer.clone()),
        })
    }

    fn was_brought(&self, arrival: &Arrival, elsewhere: &Elsewhere) -> Result<bool, AnnounceError> {
        let titles = match arrival.is_adopted {
            true => &elsewhere.of_adopted,
            false => &elsewhere.of_acquired,
        };
        if titles.is_empty() {
            return Ok(false);
        }
        let sender = self.archive.sender(arrival)?;
        Ok(sender.is_some_and(|sender| titles.contains(&sender)))
    }
}

/// The AE titles whose objects of a study were brought from elsewhere.
struct Elsewhere {
    /// Of objects that were taken for acquired: other archives of this cluster that gave the study to this one.
    of_acquired: BTreeSet<AeTitle>,
    /// Of objects that were found after a crash: all that gave it, and all linked stations.
    of_adopted: BTreeSet<AeTitle>,
}

impl Elsewhere {
    fn of(arrivals: &Arrivals<'_>, study: &ArrivedStudy, station: &Station) -> Result<Self, StoreError> {
        let configuration = arrivals.configuration;
        let linked = configuration.linked_stations();
        let mut elsewhere = Elsewhere {
            of_acquired: BTreeSet::new(),
            of_adopted: linked.map(|station| station.ae_title.clone()).collect(),
        };
        let copies = arrivals.store.copies(&study.study_instance_uid)?.into_iter();
        for copy in copies.filter(|copy| copy.expired_at.is_none() && copy.station == station.name) {
            let source = configuration.station(&copy.source);
            if let Some(source) = source.filter(|source| !source.is_linked()) {
                elsewhere.of_acquired.insert(source.ae_title.clone());
            }
            elsewhere.of_adopted.extend(copy.source_titles);
        }
        Ok(elsewhere)
    }
}

fn object(arrival: &Arrival) -> NewObject {
    NewObject {
        series: arrival.series_instance_uid.clone(),
        sop_class: Some(arrival.sop_class_uid.clone()),
        sop_instance: arrival.sop_instance_uid.clone(),
    }
}
