//! New objects of a study as changes that can be made: few enough for one message each, and none that was told before.

use std::collections::{BTreeMap, HashSet};

use crate::model::{AeTitle, NewObjects, NewSeries, StudyPatient, Uid};
use crate::store::{Draft, Store, StoreError};

/// The most objects of one update.
pub(super) const MOST_OBJECTS: usize = 1000;
/// The most bytes of those in its message, with their headers. All of it stays below the least `limits.message`: a peer
/// breaks off what is more, and all that waits for it would wait for ever.
const MOST_BYTES: usize = 56 * 1024;

/// What an item and the sequence in it take besides their values, at most (PS3.5 7.5).
const ITEM_BYTES: usize = 20;
/// What a UID takes besides its text, padding and all.
const UID_BYTES: usize = 9;

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
    let new_objects = messages(objects).into_iter().map(|objects| NewObjects {
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

/// The objects of one message after the other.
fn messages(mut objects: &[NewObject]) -> Vec<&[NewObject]> {
    let mut messages = Vec::new();
    while !objects.is_empty() {
        let mut bytes = 0;
        let mut series = None;
        let fitting = objects.iter().take(MOST_OBJECTS).take_while(|object| {
            if series.replace(&object.series) != Some(&object.series) {
                bytes += ITEM_BYTES + UID_BYTES + object.series.as_str().len();
            }
            let class = object.sop_class.as_ref().map_or(0, |class| class.as_str().len());
            bytes += ITEM_BYTES + 2 * UID_BYTES + class + object.sop_instance.as_str().len();
            bytes <= MOST_BYTES
        });
        let (message, rest) = objects.split_at(fitting.count().max(1));
        messages.push(message);
        objects = rest;
    }
    messages
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Update;
    use crate::updates::object;

    fn long(place: usize) -> Uid {
        format!("1.{}", 10_u128.pow(37) + place as u128)
            .replacen('.', &format!(".{}.", "9".repeat(23)), 1)
            .parse()
            .unwrap()
    }

    #[test]
    fn the_longest_uids_in_as_many_series_make_messages_that_every_peer_takes() {
        let new = |place| NewObject {
            series: long(place),
            sop_class: Some(long(place)),
            sop_instance: long(place),
        };
        let objects: Vec<NewObject> = (0..1000).map(new).collect();
        let patient = StudyPatient {
            id: "ä".repeat(64),
            issuer: Some("I".repeat(64).parse().unwrap()),
        };
        let drafts = drafts(&long(1), &patient, &"SITEA".parse().unwrap(), &objects);
        let mut named = Vec::new();
        for draft in drafts {
            let new_objects = draft.new_objects.unwrap();
            let series = new_objects.series.iter();
            named.extend(series.flat_map(|series| series.objects.iter().map(|(_, uid)| uid.clone())));
            let update = Update {
                id: long(1),
                study: draft.study,
                patient: draft.patient,
                origin: long(2),
                revision: "000001930c1d2f80.00000000".parse().unwrap(),
                changes: Vec::new(),
                new_objects: Some(new_objects),
                review: None,
            };
            let bytes = object::write(&update).unwrap().bytes().len();
            assert!(bytes < 1 << 16, "{bytes}");
        }
        assert!(named.iter().eq(objects.iter().map(|object| &object.sop_instance)));
    }
}
