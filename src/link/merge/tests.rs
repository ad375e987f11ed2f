//! Merging, rule by rule.

use super::*;
use crate::model::IssuerDomain;
use proptest::prelude::*;

fn sources() -> Vec<Source> {
    let source = |name: &str, role, priority| Source {
        station: name.parse().unwrap(),
        role,
        priority,
    };
    vec![
        source("SITEB", Role::Linked, 0),
        source("PACS", Role::Archive, 0),
        source("SITEC", Role::Linked, 5),
        source("PACS2", Role::Archive, 0),
    ]
}

fn answer(uid: &str, id: &str, issuer: &str, instances: u32) -> StudyAnswer {
    let patient_id = PatientId {
        id: id.to_owned(),
        domain: IssuerDomain::Named(issuer.parse().unwrap()),
    };
    StudyAnswer {
        instances: Some(instances),
        ..StudyAnswer::new(uid.parse().unwrap(), patient_id)
    }
}

fn merged(answers: impl IntoIterator<Item = (usize, StudyAnswer)>) -> Vec<MergedStudy> {
    let mut merge = Merge::new(sources(), Arc::default());
    for (source, answer) in answers {
        merge.add(source, Box::new(answer));
    }
    merge.finish()
}

fn places(study: &MergedStudy) -> Vec<usize> {
    study.locations.iter().map(|location| location.source).collect()
}

/// Case: copies with different counts
#[test]
fn local_rows_win_field_by_field() {
    let mut here = answer("1.2", "4711", "NORTH", 3);
    here.study_description = Some("CHEST".to_owned());
    let mut there = answer("1.2", "4711", "NORTH", 220);
    there.study_description = Some("Thorax".to_owned());
    there.accession_number = Some("A1".to_owned());
    there.modalities = vec!["CT".to_owned(), "SR".to_owned()];
    here.modalities = vec!["CT".to_owned()];
    let studies = merged([(0, there), (1, here)]);
    let [study] = &studies[..] else {
        panic!("{studies:?}")
    };
    assert_eq!(study.study.study_description.as_deref(), Some("CHEST"));
    assert_eq!(study.study.accession_number.as_deref(), Some("A1"));
    assert_eq!(study.study.modalities, ["CT", "SR"]);
    assert_eq!(study.study.instances, Some(220), "the largest count, no sum");
    assert_eq!(places(study), [0, 1], "complete before local");
    assert_eq!(study.locations[1].instances, Some(3));
}

#[test]
fn the_best_location_by_every_rule_in_turn() {
    let copy = |instances, availability| StudyAnswer {
        availability,
        ..answer("1.2", "4711", "NORTH", instances)
    };
    let cache = Some(Availability::Cache);
    let best = |copies: [StudyAnswer; 4]| places(&merged(copies.into_iter().enumerate())[0]);
    assert_eq!(
        best([copy(9, cache), copy(8, cache), copy(9, cache), copy(9, cache)]),
        [3, 2, 0, 1]
    );
    let nearline = Some(Availability::Nearline);
    assert_eq!(
        best([
            copy(9, cache),
            copy(9, nearline),
            copy(9, nearline),
            copy(9, cache)
        ]),
        [3, 1, 0, 2]
    );
    assert_eq!(
        best([copy(9, cache), copy(9, cache), copy(9, cache), copy(9, cache)]),
        [1, 3, 2, 0]
    );
    let uncounted = || StudyAnswer {
        instances: None,
        ..copy(0, cache)
    };
    let copies = [copy(9, cache), uncounted(), copy(8, cache), copy(8, cache)];
    assert_eq!(
        best(copies),
        [1, 0, 3, 2],
        "a count that is not known is not partial"
    );
    let gone = Some(Availability::Unavailable);
    assert_eq!(
        best([copy(1, cache), copy(9, gone), copy(9, gone), copy(9, gone)])[0],
        0
    );
    let studies = merged([(0, copy(9, gone))]);
    assert!(studies[0].best_location().is_none());
}

/// Case: one study UID of two patients
#[test]
fn another_patient_under_the_same_uid_is_a_conflict_and_no_copy() {
    let studies = merged([
        (2, answer("1.2", "88", "NORTH", 500)),
        (1, answer("1.2", "4711", "NORTH", 3)),
        (0, answer("1.2", "4711", "HARBOUR", 7)),
    ]);
    let [study] = &studies[..] else {
        panic!("{studies:?}")
    };
    assert_eq!(study.study.patient_id.id, "4711");
    assert_eq!((places(study), study.study.instances), (vec![1], Some(3)));
    let others: Vec<usize> = study.conflicts.iter().map(|conflict| conflict.source).collect();
    assert_eq!(others, [2, 0]);
}

/// Case: one site names the issuer and the other does not
#[test]
fn a_copy_without_an_issuer_is_a_conflict_beside_one_that_names_it() {
    let unnamed = |station: &str| {
        let mut answer = answer("1.2", "4711", "NORTH", 3);
        answer.patient_id.domain = IssuerDomain::Inferred(station.parse().unwrap());
        answer
    };
    let studies = merged([(1, answer("1.2", "4711", "NORTH", 3)), (0, unnamed("SITEB"))]);
    assert_eq!((places(&studies[0]), studies[0].conflicts.len()), (vec![1], 1));
    let studies = merged([(1, unnamed("PACS")), (0, unnamed("SITEB"))]);
    assert_eq!((places(&studies[0]), studies[0].conflicts.len()), (vec![1, 0], 0));
}

/// Case: answers in another order at each site
#[test]
fn answers_meet_by_uid_and_never_by_position() {
    let named = |uid: &str, name: &str| StudyAnswer {
        patient_name: Some(name.to_owned()),
        ..answer(uid, name, "NORTH", 1)
    };
    let studies = merged([
        (1, named("1.1", "A")),
        (1, named("1.2", "B")),
        (0, named("1.2", "B")),
        (0, named("1.1", "A")),
    ]);
    for study in &studies {
        let expected = if study.study.study_instance_uid.as_str() == "1.1" {
            "A"
        } else {
            "B"
        };
        assert_eq!(study.study.patient_name.as_deref(), Some(expected));
        assert_eq!(study.locations.len(), 2);
    }
}

/// Case: two sites in two time zones
#[test]
fn the_newest_does_not_depend_on_the_zone_of_a_site() {
    let at = |uid: &str, hour, offset| StudyAnswer {
        study_date: Some(jiff::civil::date(2024, 3, 2)),
        study_time: Some(jiff::civil::time(hour, 0, 0, 0)),
        utc_offset: Some(jiff::tz::offset(offset)),
        ..answer(uid, "4711", "NORTH", 1)
    };
    let studies = merged([(0, at("1.1", 10, 9)), (1, at("1.2", 9, 1))]);
    let uids: Vec<&str> = studies
        .iter()
        .map(|study| study.study.study_instance_uid.as_str())
        .collect();
    assert_eq!(uids, ["1.2", "1.1"], "10:00 at +9 is before 9:00 at +1");
}

fn any_answer() -> impl Strategy<Value = (usize, StudyAnswer)> {
    let domain = prop_oneof![
        Just(IssuerDomain::Named("NORTH".parse().unwrap())),
        Just(IssuerDomain::Named("HARBOUR".parse().unwrap())),
        Just(IssuerDomain::Inferred("SITEB".parse().unwrap())),
    ];
    let name = prop::option::of(prop_oneof![
        Just("DOE^JANE".to_owned()),
        Just("ROE^RICHARD".to_owned())
    ]);
    let availability = prop::option::of(prop_oneof![
        Just(Availability::Cache),
        Just(Availability::Unavailable)
    ]);
    let parts = (
        0..4_usize,
        1..4_u32,
        1..3_u32,
        domain,
        name,
        prop::option::of(1..9_u32),
        availability,
        1..4_i8,
    );
    parts.prop_map(
        |(source, uid, id, domain, patient_name, instances, availability, day)| {
            let patient_id = PatientId {
                id: id.to_string(),
                domain,
            };
            let study = StudyAnswer::new(format!("1.{uid}").parse().unwrap(), patient_id);
            let study_date = Some(jiff::civil::date(2024, 1, day));
            let answer = StudyAnswer {
                patient_name,
                instances,
                availability,
                study_date,
                modalities: vec![format!("M{day}")],
                ..study
            };
            (source, answer)
        },
    )
}

proptest! {
    /// Case: answers in another order at each site
    #[test]
    fn the_order_of_arrival_never_changes_the_result(
        (answers, shuffled) in prop::collection::vec(any_answer(), 0..24)
            .prop_flat_map(|answers| (Just(answers.clone()), Just(answers).prop_shuffle()))
    ) {
        prop_assert_eq!(merged(answers), merged(shuffled));
    }

    #[test]
    fn counts_are_never_added_and_no_row_holds_two_patients(
        answers in prop::collection::vec(any_answer(), 0..24)
    ) {
        for study in merged(answers.clone()) {
            let of_study = |answer: &&StudyAnswer| {
                answer.study_instance_uid == study.study.study_instance_uid
            };
            let copies: Vec<&StudyAnswer> = answers.iter().map(|(_, answer)| answer).filter(of_study).collect();
            prop_assert!(study.study.instances.is_none()
                || copies.iter().any(|copy| copy.instances == study.study.instances));
            let ids: Vec<&PatientId> = copies.iter().map(|copy| &copy.patient_id).collect();
            for conflict in &study.conflicts {
                prop_assert!(ids.contains(&&conflict.patient_id));
            }
            for location in &study.locations {
                let of_patient = |(source, copy): &&(usize, StudyAnswer)| {
                    *source == location.source
                        && of_study(&copy)
                        && copy.patient_id.id == study.study.patient_id.id
                };
                prop_assert!(answers.iter().any(|answer| of_patient(&answer)));
            }
        }
    }
}
