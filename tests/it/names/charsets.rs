//! Keys beyond ASCII at stations whose character set nobody has configured.

use std::collections::BTreeSet;

use impaxlink::store::{Access, Store};
use serde_json::{Value, json};

use super::study_of;
use crate::support::archive_options::ArchiveOptions;
use crate::support::brought::accept;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Step, a_match};
use crate::support::links::{add_linked, item, query};
use crate::support::orthanc::Orthanc;
use crate::support::service::Service;
use crate::support::sites::{archive, internal, open_link};
use crate::support::studies::Study;
use crate::support::viewer::Viewer;

fn muller(id: &str, character_set: &'static str, year: u32) -> Study {
    let mut study = study_of(id, "", year);
    study.patient.name = "Müller^Jürgen";
    study.patient.character_set = character_set;
    study
}

fn uids(document: &Value) -> BTreeSet<String> {
    let items = document["items"].as_array().unwrap().iter();
    items
        .map(|item| item["study_instance_uid"].as_str().unwrap().to_owned())
        .collect()
}

fn all(studies: &[&Study]) -> BTreeSet<String> {
    studies.iter().map(|study| study.uid.clone()).collect()
}

/// The character sets that station SITEB is known to take.
fn known(env: &Env) -> Vec<String> {
    let store = Store::open(&env.store(), Access::ReadOnly).unwrap();
    let health = store.link_health().unwrap().remove(&"SITEB".parse().unwrap());
    let sets = health.and_then(|health| health.character_sets);
    sets.map_or(Vec::new(), |known| {
        known.sets.iter().map(ToString::to_string).collect()
    })
}

const BY_NAME: [&str; 2] = ["--patient-name", "Müller*"];

#[track_caller]
fn finds_and_remembers(port: u16, studies: &[&Study], expected: &[&str]) {
    let env = Env::new();
    add_linked(&env, "SITEB", "SITEB", port, &[]);
    let (run, document) = query(&env, &BY_NAME);
    // Without an archive of its own the cluster is incomplete by no fault of the station.
    let entry = item(&document["ledger"], "station", "SITEB");
    assert_eq!(entry["outcome"], "searched", "{run:#?}");
    assert_eq!(uids(&document), all(studies), "{document:#}");
    assert!(
        entry["detail"]
            .as_str()
            .unwrap()
            .contains("its character set is not known (--charset)"),
        "{entry:#}"
    );
    assert_eq!(known(&env), expected);
    let (_, again) = query(&env, &BY_NAME);
    assert_eq!(uids(&again), all(studies));
    let entry = item(&again["ledger"], "station", "SITEB");
    assert_eq!(entry["detail"], Value::Null, "one attempt is enough: {entry:#}");
}

/// Case: a key beyond ASCII
#[test]
fn archives_are_asked_in_what_they_take_and_it_is_remembered() {
    let studies = [muller("1", "ISO_IR 192", 2020), muller("2", "ISO_IR 100", 2021)];
    let [one, other] = &studies;
    for encoding in ["Utf8", "Latin1"] {
        let options = ArchiveOptions {
            encoding,
            ..ArchiveOptions::new("SITEB")
        };
        let orthanc = Orthanc::start_with(&options, &studies);
        finds_and_remembers(orthanc.port, &[one, other], &["ISO_IR 192"]);
    }
    let dcmqrscp = Dcmqrscp::start("SITEB", &studies);
    finds_and_remembers(dcmqrscp.port, &[one, other], &["ISO_IR 192"]);
    let asked = dcmqrscp.log().matches("Received Find SCP:").count();
    assert_eq!(asked, 3, "two attempts, then one");
    let ours = Service::start_with(|configuration| {
        let pacs = archive("PACS", "SITEB", dcmqrscp.port);
        configuration.stations = vec![pacs, open_link("NORTH", "IMPAXLINK", 104)];
    });
    let env = Env::new();
    add_linked(&env, "SITEB", "IMPAXLINK", ours.port, &["--syntax", "dicom"]);
    let (_, document) = query(&env, &BY_NAME);
    assert_eq!(uids(&document), all(&[one, other]), "{document:#}");
}

fn row(uid: &'static str, id: &'static str) -> Step {
    a_match(&[
        ("SpecificCharacterSet", "ISO_IR 192"),
        ("StudyInstanceUID", uid),
        ("PatientID", id),
        ("PatientName", "Müller^Jürgen"),
    ])
}

fn ask(script: Vec<Step>) -> (Env, Value, FakePeer) {
    let peer = FakePeer::start(script);
    let env = Env::new();
    add_linked(&env, "SITEB", "SITEB", peer.port, &["--syntax", "dicom"]);
    let (_, document) = query(&env, &BY_NAME);
    (env, document, peer)
}

/// The character set and the bytes of the name in each request.
fn requests(peer: &FakePeer) -> Vec<(String, bool)> {
    let requests = peer.ended(1).remove(0).requests;
    let latin = |data_set: &[u8]| data_set.windows(7).any(|bytes| bytes == b"M\xfcller*");
    requests
        .iter()
        .map(|request| {
            (
                request.keys["SpecificCharacterSet"].clone(),
                latin(&request.data_set),
            )
        })
        .collect()
}

const IN_BOTH: [(&str, bool); 2] = [("ISO_IR 192", false), ("ISO_IR 100", true)];

fn in_both() -> Vec<(String, bool)> {
    IN_BOTH.map(|(set, is_latin)| (set.to_owned(), is_latin)).to_vec()
}

/// Case: a station that does not take UTF-8
#[test]
fn a_station_that_refuses_utf_8_or_finds_nothing_by_it_is_asked_in_the_older_set() {
    for first in [vec![Step::End(0xA900, "")], vec![Step::End(0, "")]] {
        let mut script = vec![accept(), Step::AwaitRequest];
        script.extend(first);
        script.extend([Step::AwaitRequest, row("1.2", "1"), Step::End(0, "")]);
        let (env, document, peer) = ask(script);
        assert_eq!(
            uids(&document),
            BTreeSet::from(["1.2".to_owned()]),
            "{document:#}"
        );
        let entry = item(&document["ledger"], "station", "SITEB");
        assert_eq!(entry["outcome"], "searched", "{entry:#}");
        assert_eq!(requests(&peer), in_both());
        assert_eq!(known(&env), ["ISO_IR 100"]);
    }
}

/// Case: a station whose studies are in several character sets
#[test]
fn a_station_that_compares_bytes_is_asked_in_both_sets_ever_after() {
    let script = vec![
        accept(),
        Step::AwaitRequest,
        row("1.2", "1"),
        Step::End(0, ""),
        Step::AwaitRequest,
        row("1.2", "1"),
        row("1.3", "2"),
        Step::End(0, ""),
    ];
    let (env, document, peer) = ask(script);
    assert_eq!(
        uids(&document),
        BTreeSet::from(["1.2".to_owned(), "1.3".to_owned()]),
        "{document:#}"
    );
    assert_eq!(requests(&peer), in_both());
    assert_eq!(known(&env), ["ISO_IR 192", "ISO_IR 100"]);
}

/// Case: a station that takes a key in no character set
#[test]
fn a_station_that_refuses_every_set_has_failed() {
    let script = vec![
        accept(),
        Step::AwaitRequest,
        Step::End(0xC001, "bad key"),
        Step::AwaitRequest,
        Step::End(0xC001, ""),
    ];
    let (env, document, _peer) = ask(script);
    assert_eq!(document["complete"], json!(false));
    let entry = item(&document["ledger"], "station", "SITEB");
    assert_eq!(entry["outcome"], "failed");
    let detail = entry["detail"].as_str().unwrap();
    assert!(
        detail.contains("bad key") && detail.contains("asked in ISO_IR 192 and in ISO_IR 100"),
        "{detail}"
    );
    assert!(known(&env).is_empty());
}

/// Case: a key beyond ASCII
#[test]
fn another_peer_under_the_name_of_the_station_is_tried_anew() {
    let study = muller("1", "ISO_IR 192", 2020);
    let (old, new) = (
        Orthanc::start("SITEB", [&study]),
        Orthanc::start("SITEB", [&study]),
    );
    let env = Env::new();
    add_linked(&env, "SITEB", "SITEB", old.port, &[]);
    query(&env, &BY_NAME);
    env.impaxlink(&["station", "set", "SITEB", "--port", &new.port.to_string()])
        .success();
    let (_, document) = query(&env, &BY_NAME);
    let entry = item(&document["ledger"], "station", "SITEB");
    assert!(
        entry["detail"]
            .as_str()
            .unwrap()
            .contains("asked in ISO_IR 192 and in ISO_IR 100"),
        "{entry:#}"
    );
}

/// Case: a key beyond ASCII
#[test]
fn a_viewers_key_is_put_to_an_archive_that_nobody_configured() {
    let study = muller("1", "ISO_IR 192", 2020);
    let pacs = Dcmqrscp::start("PACS", [&study]);
    let service = Service::start_with(|configuration| {
        configuration.stations = vec![archive("PACS", "PACS", pacs.port), internal("READER")];
    });
    let mut viewer = Viewer::open(service.port, "READER");
    for attempts in [2, 3] {
        let seen = viewer.find(&[
            "SpecificCharacterSet=ISO_IR 192",
            "PatientName=Müller*",
            "StudyInstanceUID=",
        ]);
        assert_eq!(seen.values("StudyInstanceUID"), [study.uid.as_str()]);
        crate::support::service::wait_for("what the archive takes to be on record", || {
            let store = Store::open(&service.env.store(), Access::ReadOnly).unwrap();
            let health = store.link_health().unwrap();
            health.values().any(|health| health.character_sets.is_some())
        });
        assert_eq!(pacs.log().matches("Received Find SCP:").count(), attempts);
    }
    viewer.release();
}
