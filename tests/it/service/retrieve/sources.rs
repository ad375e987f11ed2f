//! Sources that know no C-GET, fail midway, or are another impaxlink.

use std::thread;

use dicom_dictionary_std::tags;
use impaxlink::archive::Archive;
use impaxlink::model::{Kind, Station};
use rustix::process::Signal;

use crate::support::archive::Object;
use crate::support::archive_options::ArchiveOptions;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step, answer};
use crate::support::process::free_port;
use crate::support::retrieve::{data_sets, listing, one_series};
use crate::support::retrievers::movescu;
use crate::support::service::{Service, set, station, wait_for};
use crate::support::sites::{archive, internal, open_link};
use crate::support::storescp::Storescp;
use crate::support::studies::Federation;

const STUDY: &str = "1.2.826.0.1.3680043.2.3.1";
const KEYS: [&str; 2] = [
    "QueryRetrieveLevel=STUDY",
    "StudyInstanceUID=1.2.826.0.1.3680043.2.3.1",
];

pub fn embedded() -> Station {
    let mut own = Station::new("OWN".parse().unwrap(), "IMPAXLINK".parse().unwrap(), None);
    own.kind = Kind::Archive;
    own
}

/// Instances of one study, each of so many bytes and more.
pub fn study(instances: usize, bytes: usize) -> Vec<Object> {
    let object = |number| {
        Object::new(number)
            .with(tags::STUDY_INSTANCE_UID, STUDY)
            .with(tags::PATIENT_ID, "P1")
            .with(tags::PIXEL_DATA, &"x".repeat(bytes))
    };
    (1..=instances).map(object).collect()
}

/// Another impaxlink whose embedded archive holds these, and that knows the one under test as a linked cluster.
fn cluster(objects: &[Object]) -> Service {
    let service = Service::start(vec![embedded(), open_link("NORTH", "IMPAXLINK", free_port())]);
    keep(&service, objects);
    service
}

pub fn keep(service: &Service, objects: &[Object]) {
    let archive = Archive::open(&service.env.store().with_file_name("archive")).unwrap();
    for object in objects {
        object.store(&archive).unwrap();
    }
}

/// Case: a move on behalf of a viewer
#[test]
fn a_source_without_c_get_sends_to_us_and_we_pass_it_on() {
    let federation = Federation::new(64, 4);
    let study = &federation.site("SITEB").studies[0];
    let store = Storescp::start("STORE", &[]);
    let port = free_port();
    let mut options = ArchiveOptions::new("SITEB");
    options.arguments = vec!["--disable-get"];
    options.move_destinations = vec![("IMPAXLINK", port)];
    let siteb = Dcmqrscp::start_with(&options, [study]);
    let service = Service::start_with(|configuration| {
        set(configuration, "listen", &format!("127.0.0.1:{port}"));
        configuration.stations = vec![
            archive("PACS", "SITEB", siteb.port),
            internal("READER"),
            station("STORE", store.port),
        ];
    });
    let uid = format!("StudyInstanceUID={}", study.uid);
    let moved = movescu(port, "READER", "STORE", &[], &["QueryRetrieveLevel=STUDY", &uid]);
    let count = study.instances() as i32;
    assert_eq!(
        (moved.status.as_str(), moved.last()),
        ("0000", [-1, count, 0, 0]),
        "{}\n{}",
        moved.log,
        service.process.output()
    );
    assert_eq!(store.instances().len(), study.instances());
    assert!(
        store.log().contains("READER"),
        "the move originator is the caller"
    );
}

#[test]
fn what_a_killed_source_did_not_send_comes_from_the_next() {
    let objects = study(40, 700_000);
    let (mut first, second) = (cluster(&objects), cluster(&objects));
    let store = Storescp::start("STORE", &[]);
    let service = Service::start_with(|configuration| {
        let mut best = open_link("FIRST", "IMPAXLINK", first.port);
        best.priority = 10;
        configuration.stations = vec![
            embedded(),
            best,
            open_link("SECOND", "IMPAXLINK", second.port),
            internal("READER"),
            station("STORE", store.port),
        ];
    });
    let port = service.port;
    let moving = thread::spawn(move || movescu(port, "READER", "STORE", &[], &KEYS));
    wait_for("the first objects", || store.files().len() >= 3);
    first.process.signal(Signal::KILL);
    first.process.wait(std::time::Duration::from_secs(10));
    let moved = moving.join().unwrap();
    assert_eq!(
        (moved.status.as_str(), moved.last()),
        ("0000", [-1, 40, 0, 0]),
        "{}",
        service.process.output()
    );
    assert_eq!(store.instances().len(), 40);
    // Else it came from the second alone.
    service.log_with("FIRST as a source: ");
}

#[test]
fn where_nobody_else_has_it_the_rest_is_counted_as_failed() {
    let objects = study(40, 700_000);
    let mut first = cluster(&objects);
    let store = Storescp::start("STORE", &[]);
    let service = Service::start(vec![
        embedded(),
        open_link("FIRST", "IMPAXLINK", first.port),
        internal("READER"),
        station("STORE", store.port),
    ]);
    let port = service.port;
    let moving = thread::spawn(move || movescu(port, "READER", "STORE", &[], &KEYS));
    wait_for("the first objects", || store.files().len() >= 3);
    first.process.signal(Signal::KILL);
    first.process.wait(std::time::Duration::from_secs(10));
    let moved = moving.join().unwrap();
    let [remaining, completed, failed, warning] = moved.last();
    assert_eq!(
        (moved.status.as_str(), remaining, warning),
        ("b000", -1, 0),
        "{}",
        moved.log
    );
    assert!(failed > 0 && completed + failed == 40, "{completed} {failed}");
    assert_eq!(store.instances().len() as i32, completed);
    let listed = objects.iter().filter(|it| {
        moved
            .log
            .contains(&format!("{}\\", it.value(tags::SOP_INSTANCE_UID)))
    });
    assert!(listed.count() > 0, "the failed ones are named: {}", moved.log);
}

#[test]
fn what_a_source_has_and_does_not_list_comes_too_or_is_missed() {
    let study = one_series();
    let series = study.series[0].uid.clone();
    for (sent, of_series, status, counts) in [
        (3, false, "0000", [-1, 3, 0, 0]),
        (2, false, "b000", [-1, 2, 1, 0]),
        // How many the series has nobody has said.
        (2, true, "0000", [-1, 2, 0, 0]),
    ] {
        let mut getting = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
        let objects = data_sets(&study).into_iter().take(sent);
        getting.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
        getting.push(Step::End(0, ""));
        let echo = answer([]);
        let source = FakePeer::in_turn(vec![echo, listing(&study, 2, "3"), getting]);
        let store = Storescp::start("STORE", &[]);
        let service = Service::start(vec![
            archive("PACS", "PACS", source.port),
            internal("READER"),
            station("STORE", store.port),
        ]);
        source.ended(1);
        let (level, series) = match of_series {
            true => ("SERIES", series.as_str()),
            false => ("STUDY", ""),
        };
        let keys = [
            format!("QueryRetrieveLevel={level}"),
            format!("StudyInstanceUID={}", study.uid),
            format!("SeriesInstanceUID={series}"),
        ];
        let moved = movescu(
            service.port,
            "READER",
            "STORE",
            &[],
            &keys.each_ref().map(String::as_str),
        );
        assert_eq!(
            (moved.status.as_str(), moved.last()),
            (status, counts),
            "{}\n{}",
            moved.log,
            service.process.output()
        );
        assert_eq!(store.instances().len(), sent);
    }
}
