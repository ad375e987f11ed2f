//! What is withheld from whom, by which keys.

use super::*;
use crate::model::{CrossReferenceBuilder, Endpoint, LinkFlags, parse_port};

fn viewer() -> Station {
    let endpoint = Endpoint {
        host: "10.0.0.1".parse().unwrap(),
        port: parse_port("104").unwrap(),
    };
    Station::new(
        "VIEWER".parse().unwrap(),
        "VIEWER".parse().unwrap(),
        Some(endpoint),
    )
}

fn linked() -> Station {
    let mut station = viewer();
    station.links = LinkFlags {
        cluster_linking: true,
        ..LinkFlags::default()
    };
    station
}

fn named(id: &str, issuer: &str) -> PatientId {
    PatientId {
        id: id.to_owned(),
        domain: IssuerDomain::Named(issuer.parse().unwrap()),
    }
}

fn inferred(id: &str) -> PatientId {
    PatientId {
        id: id.to_owned(),
        domain: IssuerDomain::Inferred("SITEB".parse().unwrap()),
    }
}

/// A query by `key`; lists are further keys, as a C-FIND is read.
fn by(key: &str) -> Query {
    match key.contains('\\') {
        true => Query {
            further_keys: vec![(tags::PATIENT_ID, key.to_owned())],
            ..Query::default()
        },
        false => Query {
            patient_id: key.parse().ok(),
            ..Query::default()
        },
    }
}

fn visibility(key: &str, caller: &Station, known: &Arc<CrossReference>) -> Visibility {
    Visibility::of(&by(key), caller, true, "NORTH".parse().ok(), known)
}

fn withheld(key: &str, patient: &PatientId) -> Option<Withheld> {
    visibility(key, &viewer(), &Arc::default()).withholds(patient)
}

#[test]
fn a_bare_id_is_the_callers_else_the_local_one() {
    let mut caller = viewer();
    let issuers = |key: &str, caller: &Station| visibility(key, caller, &Arc::default()).issuers;
    assert_eq!(issuers("4711", &caller), ["NORTH".parse().unwrap()]);
    caller.issuers = vec!["VALLEY".parse().unwrap()];
    assert_eq!(issuers("4711", &caller), ["VALLEY".parse().unwrap()]);
    assert!(issuers("4711^^^HARBOUR", &caller).is_empty(), "it is not bare");
    assert!(issuers("", &caller).is_empty());
}

#[test]
fn another_issuers_patient_of_the_id_is_withheld() {
    let other = Some(Withheld::OtherIssuer);
    assert_eq!(withheld("4711", &named("4711", "HARBOUR")), other);
    assert_eq!(withheld("4711", &named("4711", "NORTH")), None);
    assert_eq!(
        withheld("4711", &inferred("4711")),
        None,
        "whose it is nobody has said"
    );
    assert_eq!(withheld("4711^^^HARBOUR", &named("4711", "HARBOUR")), None);
    assert_eq!(withheld("4711^^^HARBOUR", &named("4711", "NORTH")), other);
    for no_id in ["", "*"] {
        assert_eq!(withheld(no_id, &named("4711", "HARBOUR")), None, "{no_id:?}");
    }
}

/// Case: a list of patient IDs or wildcards widen nothing
#[test]
fn lists_and_wildcards_withhold_as_much_as_one_id() {
    for key in [
        "4711\\x",
        "4711\\",
        "\\4711",
        "4711\\*",
        "4711\\4711",
        "47*",
        "471?",
        "?711",
    ] {
        let other = Some(Withheld::OtherIssuer);
        assert_eq!(withheld(key, &named("4711", "HARBOUR")), other, "{key}");
        assert_eq!(withheld(key, &named("4711", "NORTH")), None, "{key}");
        assert_eq!(
            withheld(key, &named("5", "NORTH")),
            Some(Withheld::OtherId),
            "{key}"
        );
    }
    assert_eq!(withheld("5\\4711", &named("5", "NORTH")), None);
}

/// Case: a row without the patient ID that was asked for
#[test]
fn a_row_without_one_id_is_withheld_where_an_id_is_given() {
    for id in ["", " ", "\0", "88", "4711\\88", "4711\\4711"] {
        for patient in [named(id, "NORTH"), inferred(id)] {
            assert_eq!(withheld("4711", &patient), Some(Withheld::OtherId), "{id:?}");
            assert_eq!(withheld("", &patient), None, "{id:?}");
        }
    }
    for id in ["4711 ", " 4711", "4711\0"] {
        assert_eq!(withheld("4711", &inferred(id)), None, "{id:?}: padding alone");
    }
}

/// Case: a caller calls itself an impaxlink
#[test]
fn only_a_linked_station_that_is_given_issuers_gets_those_of_all() {
    let other = named("4711", "HARBOUR");
    let of = |caller: &Station, asks_for_issuer| {
        let local = "NORTH".parse().ok();
        Visibility::of(&by("4711"), caller, asks_for_issuer, local, &Arc::default()).withholds(&other)
    };
    assert_eq!(of(&linked(), true), None);
    assert_eq!(of(&linked(), false), Some(Withheld::OtherIssuer));
    assert_eq!(of(&viewer(), true), Some(Withheld::OtherIssuer));
    let by_other_id = visibility("4711", &linked(), &Arc::default()).withholds(&named("5", "NORTH"));
    assert_eq!(by_other_id, Some(Withheld::OtherId));
}

#[test]
fn the_same_person_is_given_under_the_id_that_was_asked_for() {
    let mut builder = CrossReferenceBuilder::default();
    builder.person(None);
    builder.identity("HARBOUR", "88").unwrap();
    builder.identity("NORTH", "4711").unwrap();
    let known = Arc::new(builder.build());
    for key in ["4711", "5\\4711"] {
        let visibility = visibility(key, &viewer(), &known);
        let elsewhere = named("88", "HARBOUR");
        assert_eq!(visibility.withholds(&elsewhere), None, "{key}");
        assert_eq!(visibility.shown(&elsewhere), &named("4711", "NORTH"), "{key}");
        let stranger = named("4711", "HARBOUR");
        assert_eq!(
            visibility.withholds(&stranger),
            Some(Withheld::OtherIssuer),
            "{key}"
        );
        assert_eq!(
            visibility.withholds(&named("88", "VALLEY")),
            Some(Withheld::OtherId),
            "{key}"
        );
        assert_eq!(visibility.shown(&stranger), &stranger);
    }
    let cluster = visibility("4711^^^NORTH", &linked(), &known);
    let elsewhere = named("88", "HARBOUR");
    assert_eq!(cluster.withholds(&elsewhere), None);
    assert_eq!(
        cluster.shown(&elsewhere),
        &elsewhere,
        "it tells patients apart by itself"
    );
}
