//! What a retrieve to an archive station puts on record in the store.
//!
//! Invariant: where a copy comes from, and whose its objects must be, is on record before the first of them is asked for.

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::copies::Copy;
use super::to_archive::ArchiveRetrieve;
use super::{RetrieveError, RetrieveRequest};
use crate::model::{StudyConflict, in_full};
use crate::store::{self, Access, ExpectedObjects, Store, StudyUse};

/// Before anything is counted: what is there of a visitor that is wanted again does not expire meanwhile.
pub(super) async fn note_use(request: &RetrieveRequest) {
    let path = request.store.clone();
    let used = StudyUse {
        study_instance_uid: request.study_instance_uid.clone(),
        at: Timestamp::now(),
    };
    // Where it fails, putting on record what comes says so.
    let _ = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.note_uses(&[used])).await;
}

/// Keeps in the store that the study UID was found with two patients. A store that can't be written fails no retrieve
/// for that.
pub(super) async fn note_conflict(request: &RetrieveRequest, conflict: StudyConflict) {
    let path = request.store.clone();
    let noted = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.note_conflicts(&[conflict]));
    if let Ok(Err(error)) = noted.await {
        tracing::warn!("a study conflict was not noted: {}", in_full(&error));
    }
}

impl ArchiveRetrieve<'_> {
    /// Puts on record where what came is from; before anything is asked for, that it will come, and whose it must be. What
    /// was announced as new meanwhile no source may have listed, and who looked for the study here may not have found it.
    pub(super) async fn record(&mut self, from: &Copy, came: Option<u64>) -> Result<(), RetrieveError> {
        let copy = store::Copy {
            study_instance_uid: self.request.study_instance_uid.clone(),
            station: self.destination.station.name.clone(),
            source: self.station(from).name.clone(),
            at: Timestamp::now(),
            instances: came.unwrap_or_default(),
            purpose: self.request.purpose,
            patient: Some(from.patient_id.clone()),
        };
        let (path, held) = (self.request.store.clone(), self.contents.all.len() as u64);
        let began = self.began;
        let recording = spawn_blocking(move || {
            let store = Store::open(&path, Access::ReadWrite)?;
            match came {
                None => store.begin_copy(&copy, held)?,
                Some(_) => store.record_copy(&copy)?,
            }
            store.pulls_are_due_again(&copy.study_instance_uid, began)
        });
        match recording.await {
            Ok(Err(error)) if self.destination.archive.is_some() => Err(RetrieveError::Unrecorded(error)),
            Ok(Err(error)) => {
                self.unrecorded = Some(in_full(&error));
                Ok(())
            }
            // The thread has died, as it does not by itself.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Puts on record whose objects may arrive at the service's listener; nothing where that makes no difference.
    pub(super) async fn expect(&self, copy: &Copy) -> Option<i64> {
        self.destination.archive.as_ref()?;
        let expected = ExpectedObjects {
            study_instance_uid: self.request.study_instance_uid.clone(),
            source: self.station(copy).name.clone(),
            patient_id: copy.patient_id.clone(),
            since: Timestamp::now(),
        };
        let path = self.request.store.clone();
        let noted = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.expect_objects(&expected));
        match noted.await {
            Ok(Ok(number)) => Some(number),
            Ok(Err(error)) => {
                tracing::warn!("what is expected of a source was not noted: {}", in_full(&error));
                None
            }
            Err(_) => None,
        }
    }

    pub(super) async fn end_expectation(&self, number: Option<i64>) {
        let (Some(number), path) = (number, self.request.store.clone()) else {
            return;
        };
        let ended = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.end_expectation(number));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!("what is expected of a source is still noted: {}", in_full(&error));
        }
    }
}
