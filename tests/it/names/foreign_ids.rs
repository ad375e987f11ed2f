//! Studies brought here under the patient ID of the site they came from: found by the local ID, and never taken for
//! another local patient's.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::study_of;
use crate::support::archive_options::ArchiveOptions;
use crate::support::cluster::{import, local_cluster};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::findscu;
use crate::support::links::{add_archive, add_linked, item, query};
use crate::support::orthanc::Orthanc;
use crate::support::process::free_port;
use crate::support::retrievers::movescu;
use crate::support::service::{Service, set, station};
use crate::support::sites::{archive, internal, open_link};
use crate::support::storescp::Storescp;
use crate::support::studies::Study;

const BY_LOCAL_ID: [&str; 2] = ["--patient-id", "4711"];

fn uids(document: &Value) -> BTreeSet<String> {
    let items = document["items"].as_array().unwrap().iter();
    items
        .map(|item| item["study_instance_uid"].as_str().unwrap().to_owned())
        .collect()
}

fn all(studies: &[&Study]) -> BTreeSet<String> {
    studies.iter().map(|study| study.uid.clone()).collect()
}

fn link_ids(env: &Env) {
    let link = ["patient", "link", "4711^^^NORTH", "88^^^HARBOUR"];
    env.impaxlink(&link).success();
}

/// Registers SITEB with all link options that bring studies.
fn add_siteb(env: &Env, port: u16) {
    let options = ["--issuer", "HARBOUR", "--link-prefetch"];
    add_linked(env, "SITEB", "SITEB", port, &options);
}

/// What holds of an archive of the local cluster named PACS, whichever it is: `own` is the local patient's study in it,
/// `others` that of another local patient whose ID is 88.
fn assert_found_when_the_site_is_down(
    env: &Env,
    own: &Study,
    others: &Study,
    there: Dcmqrscp,
    prior: &Study,
) {
    link_ids(env);
    add_siteb(env, there.port);
    let before = query(env, &BY_LOCAL_ID).1;
    assert_eq!(uids(&before), all(&[own, prior]), "{before:#}");
    assert_eq!(
        item(&before["ledger"], "station", "PACS")["filtered"],
        1,
        "the other patient 88 is withheld: {before:#}"
    );
    let brought = env.impaxlink(&["retrieve", &prior.uid, "--to", "PACS"]);
    brought.success();
    let copies = env
        .impaxlink(&["study", "copies", &prior.uid, "--local", "--json"])
        .json();
    let delivered = &item(&copies["items"], "station", "PACS")["brought"][0];
    assert_eq!(delivered["patient_id"], "88", "{delivered:#}");
    assert_eq!(delivered["issuer_of_patient_id"], "HARBOUR", "{delivered:#}");
    drop(there);
    let (run, document) = query(env, &BY_LOCAL_ID);
    assert_eq!(run.status, Some(3), "SITEB is down: {run:#?}");
    assert_eq!(uids(&document), all(&[own, prior]), "{document:#}");
    let found = item(&document["items"], "study_instance_uid", &prior.uid);
    assert_eq!(found["patient_id"], "88");
    assert_eq!(found["issuer_of_patient_id"], "HARBOUR", "{found:#}");
    assert_eq!(found["conflicts"], json!([]));
    let entry = item(&document["ledger"], "station", "PACS");
    assert_eq!(entry["filtered"], 1, "{entry:#}");
    assert!(
        entry["detail"].as_str().unwrap().contains("1 answer withheld"),
        "{entry:#}"
    );
    // The local patient 88 is asked for: the other site's 88 is not that one.
    let (_, by_88) = query(env, &["--local", "--patient-id", "88^^^NORTH"]);
    assert_eq!(uids(&by_88), all(&[others]), "{by_88:#}");
    let (_, by_harbour) = query(env, &["--local", "--patient-id", "88^^^HARBOUR"]);
    assert_eq!(uids(&by_harbour), all(&[own, prior]), "{by_harbour:#}");
}

fn studies() -> [Study; 3] {
    [
        study_of("4711", "", 2025),
        study_of("88", "", 2019),
        // Other objects than those of 2019, and the site's own patient.
        study_of("88", "", 2023),
    ]
}

/// Case: a study here under the ID it had where it came from
#[test]
fn in_the_embedded_archive_it_is_found_by_the_local_id() {
    let [own, others, prior] = studies();
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&["station", "add", "PACS", "--kind", "archive", "--embedded"])
        .success();
    import(&env, [&own, &others]);
    let there = Dcmqrscp::start("SITEB", [&prior]);
    assert_found_when_the_site_is_down(&env, &own, &others, there, &prior);
}

/// Case: a study here under the ID it had where it came from
#[test]
fn in_orthanc_it_is_found_by_the_local_id() {
    let [own, others, prior] = studies();
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let pacs = Orthanc::start("PACS", [&own, &others]);
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    let there = source(&prior, pacs.port);
    assert_found_when_the_site_is_down(&env, &own, &others, there, &prior);
}

/// Case: a study here under the ID it had where it came from
#[test]
fn in_dcmqrscp_it_is_found_by_the_local_id() {
    let [own, others, prior] = studies();
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let pacs = Dcmqrscp::start("PACS", [&own, &others]);
    add_archive(&env, "PACS", "PACS", pacs.port, &["--issuer", "NORTH"]);
    let there = source(&prior, pacs.port);
    assert_found_when_the_site_is_down(&env, &own, &others, there, &prior);
}

fn source(prior: &Study, pacs: u16) -> Dcmqrscp {
    let options = ArchiveOptions {
        move_destinations: vec![("PACS", pacs)],
        ..ArchiveOptions::new("SITEB")
    };
    Dcmqrscp::start_with(&options, [prior])
}

/// Case: a study under a foreign ID without a record of its delivery
#[test]
fn without_a_record_it_is_withheld_and_counted() {
    let [own, _, prior] = studies();
    let env = local_cluster();
    import(&env, [&own, &prior]);
    link_ids(&env);
    let (run, document) = query(&env, &BY_LOCAL_ID);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(uids(&document), all(&[&own]), "{document:#}");
    let entry = item(&document["ledger"], "station", "OWN");
    assert_eq!(entry["filtered"], 1, "{entry:#}");
    let named = study_of("88", "HARBOUR", 2022);
    import(&env, [&named]);
    let (_, document) = query(&env, &BY_LOCAL_ID);
    assert_eq!(
        uids(&document),
        all(&[&own, &named]),
        "where the objects name the issuer, no record is needed"
    );
}

/// Case: a study here under the ID it had where it came from
#[test]
fn priors_are_here_and_are_not_fetched_again() {
    let [own, _, prior] = studies();
    let env = local_cluster();
    let pacs = Orthanc::start("PACS", [&own]);
    add_archive(&env, "PACS", "PACS", pacs.port, &["--priority", "9"]);
    let siteb = source(&prior, pacs.port);
    link_ids(&env);
    add_siteb(&env, siteb.port);
    let here = || {
        let explained = env.impaxlink(&["priors", &own.uid, "--explain", "--json"]).json();
        item(&explained["items"], "study_instance_uid", &prior.uid)["here"].clone()
    };
    assert_eq!(here(), json!("none"));
    env.impaxlink(&["retrieve", &prior.uid, "--to", "PACS"]).success();
    assert_eq!(here(), json!("unknown"), "SITEB names no counts");
    let again = env.impaxlink(&["prefetch", &own.uid]);
    assert!(again.success().contains("1 already here"), "{again:#?}");
    drop(siteb);
    assert_eq!(here(), json!("whole"));
}

/// Case: a study here under the ID it had where it came from
#[test]
fn a_viewer_finds_and_moves_it_when_the_site_is_down() {
    let [own, others, prior] = studies();
    let viewer = Storescp::start("STORE", &[]);
    let there = source(&prior, free_port());
    let pacs = Orthanc::start("PACS", [&own, &others]);
    let service = Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        let mut siteb = open_link("SITEB", "SITEB", there.port);
        siteb.issuers = vec!["HARBOUR".parse().unwrap()];
        configuration.stations = vec![
            archive("PACS", "PACS", pacs.port),
            siteb,
            internal("READER"),
            station("STORE", viewer.port),
        ];
    });
    link_ids(&service.env);
    service
        .env
        .impaxlink(&["retrieve", &prior.uid, "--method", "get"])
        .success();
    drop(there);
    let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID=4711"];
    let found = findscu::find("READER", "IMPAXLINK", service.port, &["-S"], &keys);
    let uids: BTreeSet<String> = found
        .values("StudyInstanceUID")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(uids, all(&[&own, &prior]), "{}", found.log);
    assert_eq!(found.values("PatientID"), ["4711", "4711"]);
    let moved = movescu(
        service.port,
        "READER",
        "STORE",
        &["-P"],
        &["QueryRetrieveLevel=PATIENT", "PatientID=4711"],
    );
    let count = (own.instances() + prior.instances()) as i32;
    moved.assert_ended("0000", [-1, count, 0, 0]);
    let by_88 = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID=88"];
    let found = findscu::find("READER", "IMPAXLINK", service.port, &["-S"], &by_88);
    assert_eq!(
        found.values("StudyInstanceUID"),
        [others.uid.as_str()],
        "{}",
        found.log
    );
}
