//! A query as the identifiers of C-FIND requests, for one station at a time (PS3.4 C.4.1.1.3, C.6.1 and C.6.2).
//!
//! Invariants: whatever the caller wants, StudyInstanceUID and all that a row shows are asked for. The issuer of a
//! patient ID is asked for and never sent as a key: objects without it would be lost. What comes back is filtered by
//! `filter`; how keys are written is `identifier`'s.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::model::{Level, Query, Returned, Uid};

use super::identifier::{Keys, describe};
use super::linked_syntax;

/// The most queries that one station is asked in place of one with several values in its keys.
const MAX_QUERIES: usize = 64;
/// The most UIDs in one key: below the limit of a value in explicit VR, and of what peers are known to take.
const MAX_UIDS: usize = 100;

/// Why a query can't be put to a station.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such attribute in strict DICOM, and nobody knows another ID.
    #[error(
        "a global patient ID can only be asked in linked syntax, this station is asked in strict DICOM, and the \
         cross-reference has no ID of that patient there"
    )]
    GlobalId,
    /// Patient Root finds studies by their patient.
    #[error("it takes only Patient Root queries, which need a patient ID, name or date of birth")]
    NeedsPatient,
    /// Too many combinations of values.
    #[error("the values of the keys make {0} queries, at most {MAX_QUERIES} are sent")]
    TooManyQueries(usize),
    /// A sequence or binary attribute with a value.
    #[error("{0} can't be matched by a value, only asked for")]
    NotMatchable(String),
    /// It is what makes the identifier, and set here.
    #[error("{0} can't be given as a key")]
    Reserved(String),
}

/// The information model of a query (PS3.4 C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// As Study Root, with the attributes of the linked syntax.
    Linked,
    /// Studies are found by any of their attributes.
    Study,
    /// Studies are found by their patient.
    Patient,
}

/// What a row says of its patient, at patient level.
const OF_PATIENT: [(Tag, VR); 5] = [
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::ISSUER_OF_PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
];

/// What a row says of its study.
const OF_STUDY: [(Tag, VR); 12] = [
    (tags::STUDY_INSTANCE_UID, VR::UI),
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::STUDY_ID, VR::SH),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::MODALITIES_IN_STUDY, VR::CS),
    (tags::STUDY_DESCRIPTION, VR::LO),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS),
    (tags::RETRIEVE_AE_TITLE, VR::AE),
    (tags::INSTANCE_AVAILABILITY, VR::CS),
    (tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH),
];

const OF_SERIES: [(Tag, VR); 6] = [
    (tags::SERIES_INSTANCE_UID, VR::UI),
    (tags::MODALITY, VR::CS),
    (tags::SERIES_NUMBER, VR::IS),
    (tags::SERIES_DESCRIPTION, VR::LO),
    (tags::BODY_PART_EXAMINED, VR::CS),
    (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS),
];

const OF_IMAGE: [(Tag, VR); 3] = [
    (tags::SOP_INSTANCE_UID, VR::UI),
    (tags::SOP_CLASS_UID, VR::UI),
    (tags::INSTANCE_NUMBER, VR::IS),
];

/// The requests at study level. For Patient Root they are those of one patient, whose ID must be known by then.
pub fn study_keys(query: &Query, root: Root, patient_id: Option<&str>) -> Result<Vec<Keys>, KeyError> {
    let mut keys = Keys::at("STUDY", returned(query, &OF_STUDY));
    match root {
        Root::Linked => {
            set_patient(&mut keys, query);
            for key in linked_syntax::keys(query.global_id.as_deref()) {
                keys.set(key.tag, key.vr, key.value);
            }
        }
        _ if query.global_id.is_some() => return Err(KeyError::GlobalId),
        Root::Study => set_patient(&mut keys, query),
        Root::Patient => keys.set(tags::PATIENT_ID, VR::LO, patient_id.unwrap_or_default()),
    }
    if let Some(range) = query.study_date {
        keys.set(tags::STUDY_DATE, VR::DA, range.to_string());
    }
    if let Some(number) = &query.accession_number {
        keys.set(tags::ACCESSION_NUMBER, VR::SH, number.as_str());
    }
    if let Some(description) = &query.study_description {
        keys.set(tags::STUDY_DESCRIPTION, VR::LO, description.as_str());
    }
    let in_patient_root = |tag: Tag| root == Root::Patient && is_patient_attribute(tag);
    let further = further_at(query, Level::Study).filter(|(tag, _)| !in_patient_root(*tag));
    let mut several = set_further(&mut keys, further)?;
    if !query.modalities.is_empty() {
        several.push((tags::MODALITIES_IN_STUDY, VR::CS, query.modalities.clone()));
    }
    if !query.study_uids.is_empty() {
        let chunks = query.study_uids.chunks(MAX_UIDS);
        let joined = chunks.map(|uids| uids.iter().map(Uid::as_str).collect::<Vec<_>>().join("\\"));
        several.push((tags::STUDY_INSTANCE_UID, VR::UI, joined.collect()));
    }
    each_combination(keys, &several)
}

/// The requests at patient level, with which Patient Root begins.
pub fn patient_keys(query: &Query) -> Result<Vec<Keys>, KeyError> {
    if query.global_id.is_some() {
        return Err(KeyError::GlobalId);
    }
    let mut keys = Keys::at("PATIENT", &OF_PATIENT);
    set_patient(&mut keys, query);
    let further = further_at(query, Level::Study).filter(|(tag, _)| is_patient_attribute(*tag));
    let several = set_further(&mut keys, further)?;
    let is_open = keys
        .iter()
        .all(|key| key.value.is_empty() || key.tag == tags::QUERY_RETRIEVE_LEVEL);
    if is_open && several.is_empty() {
        return Err(KeyError::NeedsPatient);
    }
    each_combination(keys, &several)
}

/// The requests for the series of one study.
pub fn series_keys(query: &Query, study: &Uid, patient_id: Option<&str>) -> Result<Vec<Keys>, KeyError> {
    let mut keys = Keys::at("SERIES", returned(query, &OF_SERIES));
    set_parents(&mut keys, study, patient_id);
    let mut several = set_further(&mut keys, further_at(query, Level::Series))?;
    if !query.modalities.is_empty() {
        several.push((tags::MODALITY, VR::CS, query.modalities.clone()));
    }
    each_combination(keys, &several)
}

/// The requests for the instances of one series.
pub fn image_keys(
    query: &Query,
    study: &Uid,
    series: &Uid,
    patient_id: Option<&str>,
) -> Result<Vec<Keys>, KeyError> {
    let mut keys = Keys::at("IMAGE", returned(query, &OF_IMAGE));
    set_parents(&mut keys, study, patient_id);
    keys.set(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str());
    let several = set_further(&mut keys, further_at(query, Level::Image))?;
    each_combination(keys, &several)
}

/// What is asked for of each row of a level: the first of `usual` is its unique key.
fn returned<'u>(query: &Query, usual: &'u [(Tag, VR)]) -> &'u [(Tag, VR)] {
    match query.returned {
        Returned::Usual => usual,
        Returned::Patient | Returned::Nothing => usual.get(..1).unwrap_or_default(),
    }
}

fn set_patient(keys: &mut Keys, query: &Query) {
    if query.returned != Returned::Nothing {
        for (tag, vr) in OF_PATIENT {
            keys.set(tag, vr, "");
        }
    }
    if let Some(key) = &query.patient_id {
        keys.set(tags::PATIENT_ID, VR::LO, key.id.as_str());
    }
    if let Some(name) = &query.patient_name {
        keys.set(tags::PATIENT_NAME, VR::PN, name.as_str());
    }
    if let Some(range) = query.birth_date {
        keys.set(tags::PATIENT_BIRTH_DATE, VR::DA, range.to_string());
    }
}

/// The unique keys of the levels above (PS3.4 C.4.1.2.1).
fn set_parents(keys: &mut Keys, study: &Uid, patient_id: Option<&str>) {
    keys.set(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    if let Some(patient_id) = patient_id {
        keys.set(tags::PATIENT_ID, VR::LO, patient_id);
    }
}

fn is_patient_attribute(tag: Tag) -> bool {
    tag.group() == 0x0010
}

/// The further keys that are asked at `level`: those of its own, and at the lowest level all that belong to none above.
pub(super) fn further_at(query: &Query, level: Level) -> impl Iterator<Item = (Tag, &str)> {
    let belongs = move |tag: Tag| {
        let listed = |list: &[(Tag, VR)]| list.iter().any(|(listed, _)| *listed == tag);
        let home = if is_patient_attribute(tag) || listed(&OF_STUDY) {
            Level::Study
        } else if listed(&OF_SERIES) {
            Level::Series
        } else {
            Level::Image
        };
        home.min(query.level) == level
    };
    let further = query.further_keys.iter().filter(move |(tag, _)| belongs(*tag));
    further.map(|(tag, value)| (*tag, value.as_str()))
}

/// An attribute with the values that take a query each.
type Several = (Tag, VR, Vec<String>);

/// Sets the further keys, and returns those of several values.
fn set_further<'q>(
    keys: &mut Keys,
    further: impl Iterator<Item = (Tag, &'q str)>,
) -> Result<Vec<Several>, KeyError> {
    let mut several = Vec::new();
    for (tag, value) in further {
        check_further(tag, value)?;
        let (vr, _) = describe(tag);
        // Some peers know no wildcard in dates, and take only the empty value for "any".
        let is_any_date = matches!(vr, VR::DA | VR::TM | VR::DT) && value == "*";
        keys.set(tag, vr, if is_any_date { "" } else { value });
        if vr != VR::UI && value.contains('\\') {
            several.push((tag, vr, value.split('\\').map(str::to_owned).collect()));
        }
    }
    Ok(several)
}

/// Whether an attribute may be given as a further key with this value; an empty one only asks for its return.
pub fn check_further(tag: Tag, value: &str) -> Result<(), KeyError> {
    let (vr, keyword) = describe(tag);
    if matches!(tag, tags::QUERY_RETRIEVE_LEVEL | tags::SPECIFIC_CHARACTER_SET) || tag.group() < 0x0008 {
        return Err(KeyError::Reserved(keyword));
    }
    let is_text = !matches!(
        vr,
        VR::SQ
            | VR::OB
            | VR::OW
            | VR::OF
            | VR::OD
            | VR::OL
            | VR::OV
            | VR::UN
            | VR::US
            | VR::UL
            | VR::SS
            | VR::SL
            | VR::SV
            | VR::UV
            | VR::FL
            | VR::FD
            | VR::AT
    );
    if !is_text && !value.is_empty() {
        return Err(KeyError::NotMatchable(keyword));
    }
    Ok(())
}

/// Whether so many queries may be put to one station.
pub(super) fn check_number(count: usize) -> Result<(), KeyError> {
    match count {
        ..=MAX_QUERIES => Ok(()),
        _ => Err(KeyError::TooManyQueries(count)),
    }
}

fn each_combination(keys: Keys, several: &[Several]) -> Result<Vec<Keys>, KeyError> {
    let count = several
        .iter()
        .fold(1_usize, |count, (.., values)| count.saturating_mul(values.len()));
    check_number(count)?;
    let mut all = vec![keys];
    for (tag, vr, values) in several {
        let with_each = |keys: Keys| {
            values.iter().map(move |value| {
                let mut keys = keys.clone();
                keys.set(*tag, *vr, value.as_str());
                keys
            })
        };
        all = all.into_iter().flat_map(with_each).collect();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn value(keys: &Keys, tag: Tag) -> Option<&str> {
        keys.iter()
            .find(|key| key.tag == tag)
            .map(|key| key.value.as_str())
    }

    fn study(query: &Query) -> Vec<Keys> {
        study_keys(query, Root::Study, None).unwrap()
    }

    #[test]
    fn an_open_query_asks_for_all_that_a_row_shows() {
        let all = study(&Query::default());
        let [keys] = &all[..] else { panic!("{all:?}") };
        for (tag, _) in OF_PATIENT.iter().chain(&OF_STUDY) {
            assert_eq!(value(keys, *tag), Some(""), "{tag}");
        }
        assert_eq!(value(keys, tags::QUERY_RETRIEVE_LEVEL), Some("STUDY"));
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted() {
        let asked = |returned| {
            let query = Query {
                accession_number: Some("A1".to_owned()),
                further_keys: vec![(tags::STUDY_TIME, String::new())],
                returned,
                ..Query::default()
            };
            study(&query)[0]
                .iter()
                .map(|key| key.tag)
                .collect::<BTreeSet<_>>()
        };
        let mut expected = BTreeSet::from([
            tags::QUERY_RETRIEVE_LEVEL,
            tags::STUDY_INSTANCE_UID,
            tags::ACCESSION_NUMBER,
            tags::STUDY_TIME,
        ]);
        assert_eq!(asked(Returned::Nothing), expected);
        expected.extend(OF_PATIENT.iter().map(|(tag, _)| *tag));
        assert_eq!(asked(Returned::Patient), expected);
    }

    #[test]
    fn the_filters_are_keys() {
        let query = Query {
            patient_id: Some("4711^^^NORTH".parse().unwrap()),
            patient_name: Some("DOE*".to_owned()),
            accession_number: Some("A1".to_owned()),
            study_uids: vec!["1.2".parse().unwrap(), "1.3".parse().unwrap()],
            modalities: vec!["CT".to_owned()],
            ..Query::default()
        };
        let all = study(&query);
        let [keys] = &all[..] else { panic!("{all:?}") };
        assert_eq!(value(keys, tags::PATIENT_ID), Some("4711"));
        assert_eq!(
            value(keys, tags::ISSUER_OF_PATIENT_ID),
            Some(""),
            "asked for, never a key"
        );
        assert_eq!(
            value(keys, tags::STUDY_INSTANCE_UID),
            Some("1.2\\1.3"),
            "a list of UIDs is one query"
        );
        assert_eq!(value(keys, tags::MODALITIES_IN_STUDY), Some("CT"));
    }

    /// Case: several values of a key that is no UID
    #[test]
    fn values_that_are_no_uids_take_a_query_each() {
        let query = Query {
            modalities: vec!["CT".to_owned(), "MR".to_owned()],
            further_keys: vec![(tags::STUDY_ID, "1\\2".to_owned())],
            ..Query::default()
        };
        let all = study(&query);
        let told: Vec<_> = all
            .iter()
            .map(|keys| {
                (
                    value(keys, tags::STUDY_ID),
                    value(keys, tags::MODALITIES_IN_STUDY),
                )
            })
            .collect();
        let pair = |id, modality| (Some(id), Some(modality));
        assert_eq!(
            told,
            [pair("1", "CT"), pair("1", "MR"), pair("2", "CT"), pair("2", "MR")]
        );
        let many = Query {
            modalities: vec!["CT".to_owned(); 65],
            ..Query::default()
        };
        assert_eq!(
            study_keys(&many, Root::Study, None),
            Err(KeyError::TooManyQueries(65))
        );
    }

    /// Case: any date
    #[test]
    fn any_date_is_the_empty_value() {
        let query = Query {
            further_keys: vec![(tags::STUDY_DATE, "*".to_owned())],
            ..Query::default()
        };
        assert_eq!(value(&study(&query)[0], tags::STUDY_DATE), Some(""));
    }

    #[test]
    fn patient_root_asks_for_the_patient_first() {
        let query = Query {
            patient_name: Some("DOE*".to_owned()),
            accession_number: Some("A1".to_owned()),
            ..Query::default()
        };
        let patients = patient_keys(&query).unwrap();
        assert_eq!(value(&patients[0], tags::PATIENT_NAME), Some("DOE*"));
        assert_eq!(value(&patients[0], tags::ACCESSION_NUMBER), None);
        let studies = study_keys(&query, Root::Patient, Some("4711")).unwrap();
        assert_eq!(value(&studies[0], tags::PATIENT_ID), Some("4711"));
        assert_eq!(value(&studies[0], tags::PATIENT_NAME), None);
        assert_eq!(value(&studies[0], tags::ACCESSION_NUMBER), Some("A1"));
        let by_accession = Query {
            patient_name: None,
            ..query
        };
        assert_eq!(patient_keys(&by_accession), Err(KeyError::NeedsPatient));
    }

    #[test]
    fn each_level_has_its_own_keys() {
        let query = Query {
            level: Level::Series,
            study_uids: vec!["1.2".parse().unwrap()],
            further_keys: vec![
                (tags::PATIENT_SEX, "F".to_owned()),
                (tags::SERIES_DESCRIPTION, "LUNG*".to_owned()),
                (tags::PROTOCOL_NAME, "P".to_owned()),
            ],
            ..Query::default()
        };
        let studies = study(&query);
        assert_eq!(value(&studies[0], tags::PATIENT_SEX), Some("F"));
        assert_eq!(value(&studies[0], tags::SERIES_DESCRIPTION), None);
        let series = series_keys(&query, &"1.2".parse().unwrap(), None).unwrap();
        assert_eq!(value(&series[0], tags::SERIES_DESCRIPTION), Some("LUNG*"));
        assert_eq!(value(&series[0], tags::PROTOCOL_NAME), Some("P"));
        assert_eq!(value(&series[0], tags::STUDY_INSTANCE_UID), Some("1.2"));
        assert_eq!(value(&series[0], tags::PATIENT_SEX), None);
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let global = Query {
            global_id: Some("G1".to_owned()),
            ..Query::default()
        };
        assert_eq!(study_keys(&global, Root::Study, None), Err(KeyError::GlobalId));
        let with = |tag, value: &str| Query {
            further_keys: vec![(tag, value.to_owned())],
            ..Query::default()
        };
        assert!(study_keys(&with(tags::QUERY_RETRIEVE_LEVEL, "STUDY"), Root::Study, None).is_err());
        assert!(study_keys(&with(tags::ROWS, "512"), Root::Study, None).is_err());
        assert!(study_keys(&with(tags::PROCEDURE_CODE_SEQUENCE, ""), Root::Study, None).is_ok());
    }
}
