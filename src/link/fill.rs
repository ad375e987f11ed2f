//! What the row of a study learns from a further copy of it.
//!
//! Invariant: what the row has is kept, as answers come in order of rank; counts become the larger one and are never
//! added. Whether the copy is one of the same patient has been decided before, by `identity`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::model::{SeriesAnswer, StudyAnswer, Uid};

/// Fills what `row` does not know from an answer of lower rank about the same study of the same patient.
pub(super) fn fill(row: &mut StudyAnswer, answer: StudyAnswer) {
    fn learn<T>(mine: &mut Option<T>, theirs: Option<T>) {
        if mine.is_none() {
            *mine = theirs;
        }
    }
    if row.study_date.is_none() {
        // Date, time and offset say one thing together, and are never mixed from two stations.
        (row.study_date, row.study_time, row.utc_offset) =
            (answer.study_date, answer.study_time, answer.utc_offset);
    }
    learn(&mut row.global_patient_id, answer.global_patient_id);
    learn(&mut row.patient_name, answer.patient_name);
    learn(&mut row.patient_birth_date, answer.patient_birth_date);
    learn(&mut row.patient_sex, answer.patient_sex);
    learn(&mut row.accession_number, answer.accession_number);
    learn(&mut row.study_description, answer.study_description);
    learn(&mut row.referring_physician, answer.referring_physician);
    learn(&mut row.interpretation_status, answer.interpretation_status);
    learn(&mut row.specialty, answer.specialty);
    learn(&mut row.body_part, answer.body_part);
    learn(&mut row.verification, answer.verification);
    row.instances = row.instances.max(answer.instances);
    add_missing(&mut row.modalities, answer.modalities);
    let known = row.series.iter().enumerate();
    let mut places: HashMap<Uid, usize> = known
        .map(|(place, series)| (series.series_instance_uid.clone(), place))
        .collect();
    for series in answer.series {
        match places.entry(series.series_instance_uid.clone()) {
            Entry::Occupied(place) => {
                if let Some(known) = row.series.get_mut(*place.get()) {
                    fill_series(known, series);
                }
            }
            Entry::Vacant(place) => {
                place.insert(row.series.len());
                row.series.push(series);
            }
        }
    }
}

fn fill_series(row: &mut SeriesAnswer, answer: SeriesAnswer) {
    row.modality = row.modality.take().or(answer.modality);
    row.series_number = row.series_number.or(answer.series_number);
    row.series_description = row.series_description.take().or(answer.series_description);
    row.body_part_examined = row.body_part_examined.take().or(answer.body_part_examined);
    row.instances = row.instances.max(answer.instances);
    let known = row.images.iter().map(|image| image.sop_instance_uid.clone());
    let mut known: HashSet<Uid> = known.collect();
    let images = answer.images.into_iter();
    row.images
        .extend(images.filter(|image| known.insert(image.sop_instance_uid.clone())));
}

/// The most values of one attribute that a row has of all stations together.
const MAX_VALUES: usize = 200;

/// Adds the values that are not there yet: the union, in order of rank, as far as it is kept.
pub(super) fn add_missing<T: PartialEq>(mine: &mut Vec<T>, theirs: Vec<T>) {
    for value in theirs {
        if mine.len() < MAX_VALUES && !mine.contains(&value) {
            mine.push(value);
        }
    }
}
