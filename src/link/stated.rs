//! What the store has on record of the studies that a query finds: their states, and under which patient ID copies were
//! delivered.
//!
//! The state of a study is laid over every answer about it, whichever station gave it, and studies are found by the values
//! that are shown. A station is asked by the caller's keys, and besides for the studies whose state meets such a key; what
//! comes is held to the values as shown. So a study whose patient's name was corrected is found by the new name, and no
//! longer by the old one, also at a linked site that has not got the correction.
//!
//! An archive of the local cluster may return a copy under the patient ID of the site it came from and name no issuer. The
//! record of its delivery says whose ID it is: without it, `88` of another site would be taken for the local patient `88`.
//!
//! Invariants: the store is read on blocking threads alone. A state is laid over a study only where both are of the same
//! patient: under another patient the same study UID is another study. Where nothing is on record, nothing is read but
//! that.

mod shown;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{
    CrossReference, IssuerDomain, Kind, PatientId, Query, Station, StationName, StudyAnswer, StudyPatient,
    StudyState, Uid, wildcard_matches,
};
use crate::store::{Access, DeliveredStudy, StatedStudy, Store, StoreError, TakenCharacterSets};

use self::shown::Keys;
pub use self::shown::StatedValue;
use super::question::AskedPerson;

/// The most studies that a station is asked for besides, because a state has a value that is asked for.
const MOST_BY_STATE: usize = 1000;

/// The states of studies and the deliveries of copies, for those who query; the store is opened when it is first needed,
/// then kept open.
#[derive(Debug, Clone)]
pub struct StudyStates {
    store: PathBuf,
    open: Arc<Mutex<Option<Store>>>,
}

impl StudyStates {
    /// Those in the store at `store`.
    pub fn of_store(store: &Path) -> Self {
        StudyStates {
            store: store.to_owned(),
            open: Arc::default(),
        }
    }

    /// Closes the store; the next query opens the one that is at its path then. Blocks while one reads.
    pub fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is on record for a query of `station`; `None` where that is nothing at all.
    pub(super) async fn of_query(
        &self,
        query: &Arc<Query>,
        person: AskedPerson,
        cross_reference: Arc<CrossReference>,
        station: &Station,
    ) -> Result<Option<QueryStates>, StoreError> {
        let keys = Keys::of(query);
        let query = Arc::clone(query);
        let states = self.clone();
        let is_local = station.kind == Kind::Archive;
        let station = station.name.clone();
        self.read(move |store| {
            let has_deliveries = is_local && store.has_deliveries()?;
            if !store.has_study_states()? && !has_deliveries {
                return Ok(None);
            }
            let mut found = Vec::new();
            for key in keys.iter() {
                found.extend(
                    store
                        .studies_with_stated_value(key.field, MOST_BY_STATE + 1, |value| key.takes(value))?,
                );
            }
            found.sort_unstable();
            found.dedup();
            let is_meant = |(study, patient): &(Uid, StudyPatient)| {
                (query.study_uids.is_empty() || query.study_uids.contains(study))
                    // Elsewhere nobody can tell whose an ID of no named issuer is.
                    && (is_local || patient.issuer.is_some())
                    && is_of_patient(&query, patient, &person, &cross_reference)
            };
            found.retain(is_meant);
            let has_more = found.len() > MOST_BY_STATE;
            found.truncate(MOST_BY_STATE);
            Ok(Some(QueryStates {
                states,
                keys,
                cross_reference,
                is_local,
                station,
                has_deliveries,
                found,
                has_more,
            }))
        })
        .await
        .or_else(|error| match error {
            StoreError::Missing { .. } => Ok(None),
            error => Err(error),
        })
    }

    /// The character sets that a station was seen to take; `None` where that is not known, or can't be read.
    pub(super) async fn character_sets(&self, station: &StationName) -> Option<TakenCharacterSets> {
        let station = station.clone();
        let health = self
            .read(move |store| Ok(store.link_health()?.remove(&station)))
            .await;
        health.ok()??.character_sets
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let states = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut open = states.open.lock().unwrap_or_else(PoisonError::into_inner);
            let store = match open.take() {
                Some(store) => store,
                None => Store::open(&states.store, Access::ReadOnly)?,
            };
            read(open.insert(store))
        });
        match reading.await {
            Ok(read) => read,
            // A runtime that ends takes its threads with it: there is nobody left to be told.
            Err(_) => Err(StoreError::Missing {
                path: self.store.clone(),
            }),
        }
    }
}

/// Whether the query may mean that patient.
fn is_of_patient(
    query: &Query,
    patient: &StudyPatient,
    person: &AskedPerson,
    known: &CrossReference,
) -> bool {
    let identity = identity(patient);
    if identity.as_ref().is_some_and(|identity| person.is(identity)) {
        return true;
    }
    let has_id = query.patient_id.as_ref().is_none_or(|key| {
        let is_of_issuer = key.issuer.is_none() || patient.issuer.is_none() || key.issuer == patient.issuer;
        is_of_issuer && wildcard_matches(&key.id, &patient.id)
    });
    let has_global_id = query.global_id.as_deref().is_none_or(|wanted| {
        let known = identity.as_ref().and_then(|identity| known.global_id(identity));
        known.is_some_and(|known| wildcard_matches(wanted, known))
    });
    has_id && has_global_id
}

fn identity(patient: &StudyPatient) -> Option<PatientId> {
    let issuer = patient.issuer.clone()?;
    Some(PatientId {
        id: patient.id.clone(),
        domain: IssuerDomain::Named(issuer),
    })
}

/// What is on record for one station's part of a query.
#[derive(Debug)]
pub(super) struct QueryStates {
    states: StudyStates,
    keys: Keys,
    cross_reference: Arc<CrossReference>,
    /// Whether the station is an archive of the local cluster.
    is_local: bool,
    station: StationName,
    /// Whether copies may have been delivered to the station.
    has_deliveries: bool,
    /// Studies of whose state a key of the query is met, each with its patient.
    pub(super) found: Vec<(Uid, StudyPatient)>,
    /// Whether there are more of them than a station is asked for.
    pub(super) has_more: bool,
}

/// What is on record of some studies.
#[derive(Debug, Default)]
pub(super) struct StudyRecords {
    stated: Vec<StatedStudy>,
    delivered: Vec<DeliveredStudy>,
}

impl StudyRecords {
    /// The patient under whose ID the study was delivered to the station, where that is the ID of the answer.
    pub(super) fn delivered_as(&self, answer: &StudyAnswer) -> Option<&PatientId> {
        let mut delivered = self.delivered.iter();
        let is_it = |delivered: &&DeliveredStudy| {
            delivered.study == answer.study_instance_uid && delivered.patient.id == answer.patient_id.id
        };
        delivered.find(is_it).map(|delivered| &delivered.patient)
    }
}

impl QueryStates {
    /// What is on record of these studies.
    pub(super) async fn of_studies(&self, studies: Vec<Uid>) -> Result<StudyRecords, StoreError> {
        let station = self.has_deliveries.then(|| self.station.clone());
        let read = move |store: &Store| {
            Ok(StudyRecords {
                stated: store.study_states(&studies)?,
                delivered: match station {
                    Some(station) => store.deliveries(&studies, &station)?,
                    None => Vec::new(),
                },
            })
        };
        self.states.read(read).await
    }

    /// Lays what was said of the study over the answer, and gives what it laid over; `None` where nothing was said of
    /// this study of this patient.
    pub(super) fn lay_over(
        &self,
        answer: &mut StudyAnswer,
        records: &StudyRecords,
    ) -> Option<Vec<StatedValue>> {
        let of_study = records
            .stated
            .iter()
            .filter(|stated| stated.study == answer.study_instance_uid);
        let mut of_patient =
            of_study.filter(|stated| self.is_patient_of(&stated.patient, &answer.patient_id));
        let mut state: StudyState = of_patient.next()?.state.clone();
        of_patient.for_each(|stated| state.merge(&stated.state));
        Some(shown::lay_over(answer, &state))
    }

    /// Whether the answer as it is shown meets the keys of all fields that were stated, or of all that could be where it
    /// `was_asked_for_by_state`: the station was not asked by those keys then.
    pub(super) fn meets_keys(
        &self,
        answer: &StudyAnswer,
        stated: &[StatedValue],
        was_asked_for_by_state: bool,
    ) -> bool {
        self.keys.are_met_by(answer, stated, was_asked_for_by_state)
    }

    /// The query for the studies that were found by their state: without the keys of what can be stated.
    pub(super) fn query_by_state(&self, query: &Query) -> Query {
        shown::without_stated_keys(query)
    }

    /// The IDs by which the patient of a state may be known at a station.
    pub(super) fn identities(&self, stated: &StudyPatient) -> Vec<PatientId> {
        let Some(identity) = identity(stated) else {
            return Vec::new();
        };
        self.cross_reference.identities(&identity)
    }

    /// An ID whose issuer nobody knows is of this cluster: in its archives it is that one, whatever their domain. What a
    /// linked site has under such an ID may be another patient's.
    fn is_patient_of(&self, stated: &StudyPatient, patient: &PatientId) -> bool {
        match identity(stated) {
            Some(identity) => self.cross_reference.is_same_person(&identity, patient),
            None => self.is_local && stated.id == patient.id,
        }
    }
}
