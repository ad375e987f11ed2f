//! New objects of a study as changes that can be made: few enough for one message each, and none that was told before.

use std::collections::{BTreeMap, HashSet};

use crate::model::{AeTitle, NewObjects, NewSeries, StudyPatient, Uid};
use crate::store::{Draft, Store, StoreError};

/// The most objects of one update: its message stays far below what any peer takes.
pub(super) const MOST_OBJECTS: usize = 1000;

/// An object that is new here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewObject {
    pub(super) series: Uid,
    pub(super) sop_class: Option<Uid>,
    pub(super) sop_instance: Uid,
}

/// The changes that tell of these objects, which come series by series.
pub(super) fn drafts(
    study: &Uid,
    patient: &StudyPatient,
    retrieve_from: &AeTitle,
    objects: &[NewObject],
) -> Vec<Draft> {
    let chunks = objects.chunks(MOST_OBJECTS);
    let new_objects = chunks.map(|objects| NewObjects {
        retrieve_from: retrieve_from.clone(),
        series: objects
            .chunk_by(|one, other| one.series == other.series)
            .filter_map(|objects| {
                let ids = objects.iter();
                Some(NewSeries {
                    series: objects.first()?.series.clone(),
                    objects: ids
                        .map(|object| (object.sop_class.clone(), object.sop_instance.clone()))
                        .collect(),
                })
            })
            .collect(),
    });
    new_objects
        .map(|new_objects| Draft {
            study: study.clone(),
            patient: patient.clone(),
            wanted: BTreeMap::new(),
            is_correction: false,
            new_objects: Some(new_objects),
            review: None,
        })
        .collect()
}

/// The objects that updates of the study name, made here or received and applied.
pub(super) fn named(store: &Store, study: &Uid) -> Result<HashSet<Uid>, StoreError> {
    let logged = store.logged_updates(study)?.into_iter();
    let applied = logged.filter(|logged| logged.parked.is_none());
    let series = applied.flat_map(|logged| logged.update.new_objects.into_iter().flat_map(|new| new.series));
    Ok(series
        .flat_map(|series| series.objects.into_iter().map(|(_, instance)| instance))
        .collect())
}
