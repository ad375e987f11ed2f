//! Which updates are taken from whom, and to whom they go on.

use super::*;
use crate::model::{Endpoint, parse_port};

const AHEAD: Duration = Duration::from_secs(300);

fn station(name: &str) -> Station {
    let endpoint = Endpoint {
        host: "10.0.0.1".parse().unwrap(),
        port: parse_port("104").unwrap(),
    };
    let mut station = Station::new(name.parse().unwrap(), name.parse().unwrap(), Some(endpoint));
    station.links.cluster_linking = true;
    station.links.cluster_updates = true;
    station.issuers = vec!["NORTH".parse().unwrap()];
    station
}

fn update(issuer: Option<&str>) -> Update {
    Update {
        id: "2.25.1".parse().unwrap(),
        study: "1.2".parse().unwrap(),
        patient: StudyPatient {
            id: "4711".to_owned(),
            issuer: issuer.map(|issuer| issuer.parse().unwrap()),
        },
        origin: "2.25.9".parse().unwrap(),
        revision: "00000000000493e0.00000000".parse().unwrap(),
        changes: Vec::new(),
        new_objects: None,
        review: None,
    }
}

#[test]
fn a_station_speaks_for_patients_of_its_issuers_alone() {
    let now = Timestamp::UNIX_EPOCH;
    let objection = |issuer, sender: &Station| update(issuer).objection(sender, now, AHEAD);
    let sender = station("SITEB");
    assert_eq!(objection(Some("NORTH"), &sender), None);
    assert!(matches!(
        objection(Some("VALLEY"), &sender),
        Some(Objection::NotItsPatient { .. })
    ));
    assert_eq!(objection(None, &sender), Some(Objection::NoIssuer));
    let mut nobody = station("SITEC");
    nobody.issuers.clear();
    assert!(matches!(
        objection(Some("NORTH"), &nobody),
        Some(Objection::NotItsPatient { .. })
    ));
}

#[test]
fn the_switches_and_the_clock_are_held_to() {
    let now = Timestamp::UNIX_EPOCH;
    for change in [
        (|station| station.links.cluster_linking = false) as fn(&mut Station),
        |station| station.links.cluster_updates = false,
        |station| station.updates_direction = UpdatesDirection::Send,
    ] {
        let mut sender = station("SITEB");
        change(&mut sender);
        let objection = update(Some("NORTH")).objection(&sender, now, AHEAD);
        assert!(matches!(objection, Some(Objection::FlagOff(_))));
    }
    let impatient = Duration::from_secs(299);
    let objection = update(Some("NORTH")).objection(&station("SITEB"), now, impatient);
    assert!(
        matches!(objection, Some(Objection::ClockAhead { .. })),
        "{objection:?}"
    );
}

#[test]
fn updates_are_never_sent_back() {
    let mut stations: Vec<Station> = ["A", "B", "B2", "C", "D", "E"].map(station).into();
    for (station, cluster) in [(1, "North"), (2, "North"), (3, "Valley")] {
        stations[station].cluster = Some(cluster.parse().unwrap());
    }
    stations[4].updates_direction = UpdatesDirection::Accept;
    stations[5].syntax = Syntax::Dicom;
    let configuration = Configuration {
        stations,
        ..Configuration::default()
    };
    let targets = |from: Option<&str>| {
        let from = from.map(|from| from.parse().unwrap());
        relay_targets(&configuration, from.as_ref())
            .map(|station| station.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(None), ["A", "B", "B2", "C"]);
    assert_eq!(targets(Some("B")), ["A", "C"], "not to the other door either");
    assert_eq!(targets(Some("A")), ["B", "B2", "C"]);
}
