//! Callers that cancel or vanish, destinations that refuse or break, and many movers at once.

use std::thread;
use std::time::{Duration, Instant};

use impaxlink::service::control;

use super::sources::{embedded, keep, study};
use crate::support::findscu;
use crate::support::orthanc::Orthanc;
use crate::support::retrievers::{command, movescu};
use crate::support::service::{PATIENCE, Service, station, wait_for};
use crate::support::sites::{archive, internal};
use crate::support::storescp::Storescp;

const KEYS: [&str; 2] = [
    "QueryRetrieveLevel=STUDY",
    "StudyInstanceUID=1.2.826.0.1.3680043.2.3.1",
];

fn service(store: u16, instances: usize, bytes: usize) -> Service {
    let service = Service::start(vec![embedded(), internal("READER"), station("STORE", store)]);
    keep(&service, &study(instances, bytes));
    service
}

#[test]
fn a_cancelled_move_ends_soon_and_says_how_far_it_came() {
    let store = Storescp::start("STORE", &[]);
    let service = service(store.port, 300, 100_000);
    let moved = movescu(service.port, "READER", "STORE", &["--cancel", "3"], &KEYS);
    let [remaining, completed, failed, _] = moved.last();
    assert_eq!((moved.status.as_str(), failed), ("fe00", 0), "{}", moved.log);
    assert!(
        completed >= 3 && remaining > 0 && remaining + completed == 300,
        "{completed} {remaining}"
    );
    assert_eq!(store.files().len() as i32, completed);
}

#[test]
fn a_destination_that_refuses_or_breaks_is_told_of_and_given_up() {
    for arguments in [&["--refuse"][..], &["--abort-during"], &["--abort-after"]] {
        let store = Storescp::start("STORE", arguments);
        let service = service(store.port, 6, 50_000);
        let moved = movescu(service.port, "READER", "STORE", &[], &KEYS);
        let [_, completed, failed, _] = moved.last();
        let status = if completed == 0 { "a702" } else { "b000" };
        assert_eq!(moved.status, status, "{arguments:?} {}", moved.log);
        assert!(
            failed > 0 && completed + failed == 6,
            "{arguments:?} {completed} {failed}"
        );
        service.log_with("objects for STORE: ");
    }
}

#[test]
fn a_caller_that_vanishes_costs_nothing_more() {
    let store = Storescp::start("STORE", &["--sleep-during", "1"]);
    let service = service(store.port, 50, 10_000);
    let mut movescu = command("movescu", "READER", &[], &KEYS);
    movescu.args(["-aem", "STORE", "127.0.0.1", &service.port.to_string()]);
    let mut movescu = movescu
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a first object", || !store.files().is_empty());
    movescu.kill().unwrap();
    movescu.wait().unwrap();
    service.wait_for("the end of the association", |status| status.associations == 0);
    assert!(store.files().len() < 50);
}

/// Case: a reload in the middle of a query
#[test]
fn a_reload_and_the_end_of_the_service_let_a_move_finish() {
    let store = Storescp::start("STORE", &[]);
    let mut service = service(store.port, 200, 300_000);
    let port = service.port;
    let moving = thread::spawn(move || movescu(port, "READER", "STORE", &[], &KEYS));
    wait_for("the first objects", || store.files().len() >= 3);
    // Under the next generation neither the caller nor the destination is known.
    service.save(|configuration| configuration.stations.truncate(1));
    control::reload(&service.env.store(), PATIENCE).unwrap();
    service.process.signal(rustix::process::Signal::TERM);
    let moved = moving.join().unwrap();
    assert_eq!(
        (moved.status.as_str(), moved.last()),
        ("0000", [-1, 200, 0, 0]),
        "{}",
        service.process.output()
    );
    assert!(service.process.wait(Duration::from_secs(20)).success());
}

#[test]
fn many_movers_leave_queries_their_turn() {
    let source = Orthanc::start(
        "SITEA",
        &crate::support::studies::Federation::new(65, 4)
            .site("SITEA")
            .studies,
    );
    let store = Storescp::start("STORE", &["--sleep-during", "1"]);
    let service = Service::start(vec![
        archive("PACS", "SITEA", source.port),
        internal("READER"),
        station("STORE", store.port),
    ]);
    service.save(|configuration| {
        crate::support::service::set(configuration, "limits.associations_to_station", "4")
    });
    control::reload(&service.env.store(), PATIENCE).unwrap();
    let uid = format!(
        "StudyInstanceUID={}",
        crate::support::studies::Federation::new(65, 4)
            .site("SITEA")
            .studies[0]
            .uid
    );
    let port = service.port;
    let mut movers: Vec<_> = (0..6)
        .map(|_| {
            let mut movescu = command("movescu", "READER", &[], &["QueryRetrieveLevel=STUDY", &uid]);
            movescu.args(["-aem", "STORE", "127.0.0.1", &port.to_string()]);
            movescu
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    wait_for("a first object", || !store.files().is_empty());
    let began = Instant::now();
    let found = findscu::find(
        "READER",
        "IMPAXLINK",
        port,
        &["-S"],
        &["QueryRetrieveLevel=STUDY", "StudyInstanceUID"],
    );
    assert!(
        found.success && began.elapsed() < Duration::from_secs(20),
        "{:?} {}",
        began.elapsed(),
        found.log
    );
    for mover in &mut movers {
        mover.kill().unwrap();
        mover.wait().unwrap();
    }
}

#[test]
fn orthanc_takes_what_is_moved_to_it() {
    let orthanc = Orthanc::start("STORE", &[]);
    let service = service(orthanc.port, 8, 5_000);
    let moved = movescu(service.port, "READER", "STORE", &[], &KEYS);
    moved.assert_ended("0000", [-1, 8, 0, 0]);
    let keys = [
        "QueryRetrieveLevel=STUDY",
        "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
    ];
    let found = findscu::find("READER", "STORE", orthanc.port, &["-S"], &keys);
    assert_eq!(
        found.values("NumberOfStudyRelatedInstances"),
        ["8"],
        "{}",
        found.log
    );
}
