//! Each rule by example, and the bound that holds for all: what the standard's own matching takes is never dropped.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::model::{DateRange, IssuerDomain, PatientId, wildcard_matches};

fn answer() -> StudyAnswer {
    let patient_id = PatientId {
        id: "4711".to_owned(),
        domain: IssuerDomain::Inferred("SITEB".parse().unwrap()),
    };
    StudyAnswer {
        patient_name: Some("Doe^Jane".to_owned()),
        patient_birth_date: Some(date(1970, 1, 2)),
        study_date: Some(date(2024, 3, 10)),
        accession_number: Some("A-100".to_owned()),
        modalities: vec!["CT".to_owned(), "SR".to_owned()],
        study_description: Some("CT Schädel nativ".to_owned()),
        ..StudyAnswer::new("1.2.3".parse().unwrap(), patient_id)
    }
}

fn nothing(_: Tag) -> Option<Cow<'static, str>> {
    None
}

/// The keyword of the key by which an answer is dropped.
fn dropped(query: &Query, answer: &StudyAnswer) -> Option<String> {
    match Filter::new(query).judge(answer, nothing) {
        Verdict::Keep => None,
        Verdict::Drop(keyword) => Some(keyword.to_owned()),
    }
}

fn unverified(query: &Query, answer: &StudyAnswer) -> Vec<String> {
    Filter::new(query)
        .unverified_keys(answer, nothing)
        .map(str::to_owned)
        .collect()
}

fn range(text: &str) -> Option<DateRange> {
    Some(DateRange::parse(text, date(2024, 3, 10)).unwrap())
}

fn with_description(key: &str) -> Query {
    Query {
        study_description: Some(key.to_owned()),
        ..Query::default()
    }
}

fn with_patient_id(key: &str) -> Query {
    Query {
        patient_id: Some(key.parse().unwrap()),
        ..Query::default()
    }
}

fn with_further(tag: Tag, key: &str) -> Query {
    Query {
        further_keys: vec![(tag, key.to_owned())],
        ..Query::default()
    }
}

#[test]
fn an_answer_that_matches_every_key_is_kept() {
    let query = Query {
        patient_id: Some("4711^^^NORTH".parse().unwrap()),
        patient_name: Some("DOE*".to_owned()),
        birth_date: range("1970-01-02"),
        study_date: range("2024-01-01..today"),
        modalities: vec!["MR".to_owned(), "ct".to_owned()],
        accession_number: Some("a-1*".to_owned()),
        study_uids: vec!["1.2".parse().unwrap(), "1.2.3".parse().unwrap()],
        study_description: Some("*SCHAEDEL*".to_owned()),
        ..Query::default()
    };
    assert_eq!(dropped(&query, &answer()), None);
    assert_eq!(unverified(&query, &answer()), [""; 0]);
}

#[test]
fn an_ignored_key_is_named() {
    let otherwise = Query::default;
    for (query, keyword) in [
        (with_patient_id("4712"), "PatientID"),
        (
            Query {
                patient_name: Some("MILLER*".to_owned()),
                ..otherwise()
            },
            "PatientName",
        ),
        (
            Query {
                birth_date: range("1970-01-03"),
                ..otherwise()
            },
            "PatientBirthDate",
        ),
        (
            Query {
                study_date: range("..2024-03-09"),
                ..otherwise()
            },
            "StudyDate",
        ),
        (
            Query {
                modalities: vec!["MR".to_owned()],
                ..otherwise()
            },
            "ModalitiesInStudy",
        ),
        (
            Query {
                accession_number: Some("A-1".to_owned()),
                ..otherwise()
            },
            "AccessionNumber",
        ),
        (
            Query {
                study_uids: vec!["1.2".parse().unwrap()],
                ..otherwise()
            },
            "StudyInstanceUID",
        ),
        (with_description("*Thorax*"), "StudyDescription"),
    ] {
        assert_eq!(dropped(&query, &answer()).as_deref(), Some(keyword));
    }
}

/// Case: a key does not come back
#[test]
fn keys_that_did_not_come_back_are_named_and_drop_nothing() {
    let query = Query {
        patient_id: Some("4712".parse().unwrap()),
        global_id: Some("G1".to_owned()),
        patient_name: Some("MILLER".to_owned()),
        study_date: range("today"),
        modalities: vec!["MR".to_owned()],
        further_keys: vec![
            (tags::PATIENT_SEX, "F".to_owned()),
            (tags::STUDY_ID, String::new()),
            (Tag(0x2711, 0x1003), "NEURO".to_owned()),
        ],
        ..Query::default()
    };
    let mut bare = StudyAnswer::new("1.2.3".parse().unwrap(), answer().patient_id);
    bare.patient_id.id.clear();
    bare.patient_name = Some(" ".to_owned());
    assert_eq!(dropped(&query, &bare), None);
    let mut named = unverified(&query, &bare);
    named.sort();
    assert_eq!(
        named,
        [
            "(2711,1003)",
            "GlobalPatientID",
            "ModalitiesInStudy",
            "PatientID",
            "PatientName",
            "PatientSex",
            "StudyDate"
        ]
    );
}

#[test]
fn a_key_that_matches_everything_is_none() {
    let query = Query {
        patient_name: Some("*".to_owned()),
        accession_number: Some(String::new()),
        ..with_patient_id("*")
    };
    assert_eq!(Filter::new(&query).keys, []);
}

/// Case: a peer matches more loosely than we would
#[test]
fn ids_match_without_case_padding_and_leading_zeros() {
    let with_id = |id: &str| {
        let mut answer = answer();
        answer.patient_id.id = id.to_owned();
        answer
    };
    for (key, id) in [
        ("ab1", "AB1"),
        ("4711", " 4711 "),
        ("4711", "0004711"),
        ("004711", "4711"),
        ("47?1", "4711"),
        ("4*", "4711"),
        ("4711", "4711^^^NORTH"),
        ("4711", "47?1"),
        ("4?1", "4Ã©1"),
        ("4711", "47\u{FFFD}1"),
    ] {
        assert_eq!(dropped(&with_patient_id(key), &with_id(id)), None, "{key} {id}");
    }
    for (key, id) in [("471", "4711"), ("4711", "471"), ("47?1", "471"), ("*2", "4711")] {
        assert!(
            dropped(&with_patient_id(key), &with_id(id)).is_some(),
            "{key} {id}"
        );
    }
}

#[test]
fn descriptions_match_however_they_are_spelled() {
    for (key, value) in [
        ("schadel", "SCHÄDEL CT"),
        ("Schaedel", "CT Schädel"),
        ("Schädel", "CT SCHAEDEL"),
        ("Schädel", "CT SchÃ¤del"),
        ("Grosse", "Größe"),
        ("CT CHEST", "CT-Chest, native"),
        ("M?S", "Müs"),
        ("ABDO*PELVIS", "CT Abdomen / Pelvis"),
        ("chest", "Ｃｈｅｓｔ"),
        ("胸部", "胸部CT"),
        ("Schädel", "Sch?del"),
    ] {
        let answer = StudyAnswer {
            study_description: Some(value.to_owned()),
            ..answer()
        };
        assert_eq!(dropped(&with_description(key), &answer), None, "{key} {value}");
    }
    for (key, value) in [
        ("CHEST", "CT Schädel"),
        ("CHEST*CT", "CT Chest"),
        ("Schädel", "CT Thorax"),
    ] {
        let answer = StudyAnswer {
            study_description: Some(value.to_owned()),
            ..answer()
        };
        assert!(
            dropped(&with_description(key), &answer).is_some(),
            "{key} {value}"
        );
    }
}

#[test]
fn further_keys_match_by_their_vr() {
    for (tag, key, value, is_kept) in [
        (tags::PATIENT_SEX, "F", "f ", true),
        (tags::PATIENT_SEX, "F", "M", false),
        (tags::SOP_CLASSES_IN_STUDY, "1.2\\1.3", "1.4\\1.3", true),
        (tags::SOP_CLASSES_IN_STUDY, "1.2", "1.2.3", false),
        (tags::SERIES_DATE, "20240101-20240131", "20240131", true),
        (tags::SERIES_DATE, "20240101-", "20231231", false),
        (tags::SERIES_DATE, "20240101-20240131", "2023.12.31", true),
        (tags::SERIES_DATE, "january", "20231231", true),
        (tags::REFERRING_PHYSICIAN_NAME, "MILLER", "Müller^Max", true),
        (tags::REFERRING_PHYSICIAN_NAME, "MILLER", "Doe^Tom", false),
        (tags::SERIES_NUMBER, "1", "01", true),
        (tags::STUDY_TIME, "0800-0900", "235959", true),
        (tags::INSTITUTION_NAME, "North", "HOSPITAL NORTH", true),
    ] {
        let query = with_further(tag, key);
        let filter = Filter::new(&query);
        let verdict = filter.judge(&answer(), |asked| (asked == tag).then(|| value.into())) == Verdict::Keep;
        assert_eq!(verdict, is_kept, "{tag} {key} {value}");
    }
}

#[test]
fn a_patient_may_be_found_by_another_name() {
    let query = Query {
        patient_name: Some("MILLER".to_owned()),
        ..Query::default()
    };
    let filter = Filter::new(&query);
    let other_names =
        |names: &'static str| move |tag| (tag == tags::OTHER_PATIENT_NAMES).then_some(Cow::Borrowed(names));
    let answer = answer();
    assert_eq!(
        filter.judge(&answer, other_names("Roe\\Miller^Jane")),
        Verdict::Keep
    );
    assert_eq!(
        filter.judge(&answer, other_names("")),
        Verdict::Drop("PatientName")
    );
}

proptest! {
    /// Case: a peer matches more loosely than we would
    #[test]
    fn what_the_standard_matches_is_never_dropped(
        key in "[ab0Äßäo*?^ -]{1,8}",
        value in "[ab0ÄßäoAB^ -]{0,8}",
        stars in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        // a key that matches by chance, and one made of the value
        let mut made: Vec<char> = value.chars().collect();
        for star in stars {
            if !made.is_empty() {
                let place = star.index(made.len());
                made[place] = if place % 2 == 0 { '*' } else { '?' };
            }
        }
        for key in [key, made.into_iter().collect()] {
            let (key, value) = (key.trim(), value.trim());
            if !wildcard_matches(key, value) || value.is_empty() {
                continue;
            }
            for (vr, tag) in [
                (VR::PN, tags::REFERRING_PHYSICIAN_NAME),
                (VR::LO, tags::INSTITUTION_NAME),
                (VR::SH, tags::STUDY_ID),
                (VR::CS, tags::PATIENT_SEX),
            ] {
                let query = with_further(tag, key);
                let verdict = Filter::new(&query).judge(&answer(), |_| Some(value.into())) == Verdict::Keep;
                prop_assert!(verdict, "{vr:?} {key:?} {value:?}");
            }
        }
    }

    #[test]
    fn no_value_makes_it_panic(key in "\\PC{0,20}", value in "\\PC{0,40}") {
        for tag in [tags::REFERRING_PHYSICIAN_NAME, tags::INSTITUTION_NAME, tags::STUDY_ID, tags::SERIES_DATE] {
            let query = with_further(tag, &key);
            let _ = Filter::new(&query).judge(&answer(), |_| Some(value.as_str().into()));
        }
    }
}
