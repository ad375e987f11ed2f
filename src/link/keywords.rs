//! By which keys a query asks, for the records that are kept of it.
//!
//! Invariant: names of attributes alone, never a value.

use dicom_dictionary_std::tags;

use super::identifier::describe;
use crate::model::Query;

/// The keywords of the keys that have a value.
pub fn keywords(query: &Query) -> Vec<String> {
    let given = [
        (tags::PATIENT_ID, query.patient_id.is_some()),
        (tags::PATIENT_NAME, query.patient_name.is_some()),
        (tags::PATIENT_BIRTH_DATE, query.birth_date.is_some()),
        (tags::STUDY_DATE, query.study_date.is_some()),
        (tags::MODALITIES_IN_STUDY, !query.modalities.is_empty()),
        (tags::ACCESSION_NUMBER, query.accession_number.is_some()),
        (tags::STUDY_INSTANCE_UID, !query.study_uids.is_empty()),
        (tags::STUDY_DESCRIPTION, query.study_description.is_some()),
    ];
    let further = query
        .further_keys
        .iter()
        .map(|(tag, value)| (*tag, !value.is_empty()));
    let all = given.into_iter().chain(further);
    let mut keywords: Vec<String> = all
        .filter(|(_, is_given)| *is_given)
        .map(|(tag, _)| describe(tag).1)
        .collect();
    keywords.extend(query.global_id.is_some().then(|| "GlobalPatientID".to_owned()));
    keywords
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_with_a_value_are_named() {
        let query = Query {
            patient_name: Some("DOE*".to_owned()),
            further_keys: vec![
                (tags::STUDY_ID, "77".to_owned()),
                (tags::MODALITIES_IN_STUDY, String::new()),
            ],
            ..Query::default()
        };
        assert_eq!(keywords(&query), ["PatientName", "StudyID"]);
    }
}
