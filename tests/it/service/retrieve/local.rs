//! Studies of the embedded archive, moved to a destination and given to the caller.

use std::fs;

use dicom_dictionary_std::tags;
use impaxlink::archive::Archive;
use impaxlink::model::{Kind, Station};
use tempfile::tempdir;

use crate::support::archive::Object;
use crate::support::process::free_port;
use crate::support::retrievers::{getscu, instances, movescu};
use crate::support::service::{Service, station};
use crate::support::storescp::Storescp;

const STUDY: &str = "1.2.826.0.1.3680043.2.3.1";

fn object(number: usize) -> Object {
    Object::new(number)
        .with(tags::STUDY_INSTANCE_UID, STUDY)
        .with(tags::PATIENT_ID, "P1")
}

/// A service with an embedded archive of one study, and a destination STORE.
fn service(objects: &[Object], store: u16) -> Service {
    let service = Service::start_with(|configuration| {
        let mut own = Station::new("OWN".parse().unwrap(), "IMPAXLINK".parse().unwrap(), None);
        own.kind = Kind::Archive;
        configuration.stations = vec![own, station("READER", free_port()), station("STORE", store)];
    });
    let archive = Archive::open(&service.env.store().with_file_name("archive")).unwrap();
    for object in objects {
        object.store(&archive).unwrap();
    }
    service
}

fn uids_of(objects: &[Object]) -> Vec<String> {
    let mut uids: Vec<String> = objects
        .iter()
        .map(|it| it.value(tags::SOP_INSTANCE_UID).to_owned())
        .collect();
    uids.sort_unstable();
    uids
}

/// Case: a stored file is not what arrived
#[test]
fn an_object_that_is_not_what_arrived_is_a_failed_sub_operation() {
    let sized = |number: usize, length: usize| object(number).with(tags::PIXEL_DATA, &"x".repeat(length));
    let objects = [
        sized(1, 1_000),
        sized(2, 1_000),
        sized(3, 3_000_000),
        sized(4, 1_000),
        sized(5, 1_000),
    ];
    let store = Storescp::start("STORE", &[]);
    let service = service(&objects, store.port);
    let archive = Archive::open(&service.env.store().with_file_name("archive")).unwrap();
    let paths: Vec<_> = objects
        .iter()
        .map(|it| {
            archive
                .instance(it.value(tags::SOP_INSTANCE_UID))
                .unwrap()
                .unwrap()
                .path
        })
        .collect();
    let flip = |path: &std::path::Path| {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 10;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    fs::write(&paths[0], &fs::read(&paths[0]).unwrap()[..500]).unwrap();
    flip(&paths[1]);
    flip(&paths[2]);
    fs::copy(&paths[4], &paths[3]).unwrap();
    let keys = ["QueryRetrieveLevel=STUDY", &format!("StudyInstanceUID={STUDY}")];
    let moved = movescu(service.port, "READER", "STORE", &[], &keys);
    moved.assert_ended("b000", [-1, 1, 4, 0]);
    assert_eq!(store.instances(), uids_of(&objects[4..]));
    let index = rusqlite::Connection::open(archive.path().join("index.db")).unwrap();
    let mut noted = index
        .prepare("SELECT damage FROM instance WHERE damage IS NOT NULL ORDER BY uid")
        .unwrap();
    let noted: Vec<String> = noted
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(noted, ["length", "digest", "digest", "digest"]);
}

/// Case: a move on behalf of a viewer
#[test]
fn a_study_goes_to_the_destination_and_to_the_caller() {
    let objects: Vec<Object> = (1..=5)
        .map(|number| object(number).with(tags::PIXEL_DATA, &"x".repeat(number * 100_000)))
        .collect();
    let store = Storescp::start("STORE", &[]);
    let service = service(&objects, store.port);
    let keys = ["QueryRetrieveLevel=STUDY", &format!("StudyInstanceUID={STUDY}")];

    let moved = movescu(service.port, "READER", "STORE", &[], &keys);
    moved.assert_ended("0000", [-1, 5, 0, 0]);
    let pending: Vec<[i32; 4]> = (1..=5).map(|done| [5 - done, done, 0, 0]).collect();
    assert_eq!(moved.counts[..5], pending, "{}", moved.log);
    assert_eq!(store.instances(), uids_of(&objects));
    let log = store.log();
    let tells_originator = |line: &str| line.contains("Move Originator AE Title") && line.ends_with("READER");
    assert!(log.lines().any(tells_originator), "{log}");

    let folder = tempdir().unwrap();
    let got = getscu(service.port, "READER", folder.path(), &[], &keys);
    got.assert_ended("0000", [-1, 5, 0, 0]);
    assert_eq!(instances(folder.path()), uids_of(&objects));
    for file in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let is_whole = |object: &Object| {
            bytes.ends_with(&object.bytes(impaxlink::dimse::TransferSyntax::ExplicitVrLittleEndian))
        };
        assert!(objects.iter().any(is_whole), "as it was stored");
    }
}

#[test]
fn each_level_brings_its_own() {
    let objects: Vec<Object> = (1..=4)
        .map(|number| object(number).with(tags::SERIES_INSTANCE_UID, if number < 3 { "1.5" } else { "1.6" }))
        .collect();
    let store = Storescp::start("STORE", &[]);
    let service = service(&objects, store.port);
    let study = format!("StudyInstanceUID={STUDY}");
    let two = uids_of(&objects[..2]).join("\\");
    for (options, keys, count) in [
        (
            &[][..],
            vec!["QueryRetrieveLevel=SERIES", &study, "SeriesInstanceUID=1.6"],
            2,
        ),
        (
            &[],
            vec![
                "QueryRetrieveLevel=IMAGE",
                &study,
                "SeriesInstanceUID=1.5",
                &format!("SOPInstanceUID={two}"),
            ],
            2,
        ),
        (&["-P"], vec!["QueryRetrieveLevel=PATIENT", "PatientID=P1"], 4),
        (&["-P"], vec!["QueryRetrieveLevel=PATIENT", "PatientID=P2"], 0),
        (
            &["-P"],
            vec!["QueryRetrieveLevel=STUDY", "PatientID=P1", &study],
            4,
        ),
        // The study is another patient's.
        (
            &["-P"],
            vec!["QueryRetrieveLevel=STUDY", "PatientID=P2", &study],
            0,
        ),
        (&[], vec!["QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.9.9"], 0),
    ] {
        let moved = movescu(service.port, "READER", "STORE", options, &keys);
        moved.assert_ended("0000", [-1, count, 0, 0]);
    }
    let moved = movescu(
        service.port,
        "READER",
        "STORE",
        &[],
        &["QueryRetrieveLevel=STUDY"],
    );
    assert_eq!(moved.status, "a900", "{}", moved.log);
    let moved = movescu(
        service.port,
        "READER",
        "NOBODY",
        &[],
        &["QueryRetrieveLevel=STUDY", &study],
    );
    assert_eq!(moved.status, "a801", "{}", moved.log);
    let log = service.log_with("destination NOBODY is no station");
    assert!(
        !log.contains(STUDY) && !log.contains("P1"),
        "nothing of the patient: {log}"
    );
    crate::support::service::wait_for("the ledgers", || {
        let ledgers = service.env.impaxlink(&["ledger", "list", "--json"]).json();
        ledgers["items"].as_array().is_some_and(|items| items.len() == 7)
    });
}

#[test]
fn what_the_destination_does_not_take_is_counted_and_named() {
    let mut objects: Vec<Object> = (1..=3).map(object).collect();
    objects.push(object(4).with(tags::SOP_CLASS_UID, "1.2.826.0.1.3680043.2.99"));
    let store = Storescp::start("STORE", &[]);
    let service = service(&objects, store.port);
    let keys = ["QueryRetrieveLevel=STUDY", &format!("StudyInstanceUID={STUDY}")];
    let moved = movescu(service.port, "READER", "STORE", &[], &keys);
    moved.assert_ended("b000", [-1, 3, 1, 0]);
    assert!(
        moved.log.contains(objects[3].value(tags::SOP_INSTANCE_UID)),
        "{}",
        moved.log
    );
    assert_eq!(store.instances(), uids_of(&objects[..3]));

    drop(store);
    let moved = movescu(service.port, "READER", "STORE", &[], &keys);
    moved.assert_ended("a702", [-1, 0, 4, 0]);
    let folder = tempdir().unwrap();
    let got = getscu(service.port, "READER", folder.path(), &[], &keys);
    got.assert_ended("b000", [-1, 3, 1, 0]);
}

#[test]
fn instances_of_two_patients_are_never_given_as_one_study() {
    let mut objects: Vec<Object> = (1..=3).map(object).collect();
    objects[2] = objects[2]
        .clone()
        .with(tags::PATIENT_ID, "P9")
        .with(tags::PATIENT_NAME, "ROE^RICHARD");
    let store = Storescp::start("STORE", &[]);
    let service = service(&objects, store.port);
    let keys = ["QueryRetrieveLevel=STUDY", &format!("StudyInstanceUID={STUDY}")];
    let moved = movescu(service.port, "READER", "STORE", &[], &keys);
    assert_eq!(moved.status, "c000", "{}", moved.log);
    assert!(moved.log.contains("stands for two patients"), "{}", moved.log);
    assert!(store.files().is_empty());
}
