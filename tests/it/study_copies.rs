//! `study copies`: who holds a study, asked now, beside what is on record of where copies came from.

use impaxlink::store::{Access, Copy, Purpose, Store};
use jiff::Timestamp;
use serde_json::Value;

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::{Env, Run};
use super::support::links::{add_linked, item};
use super::support::process::free_port;
use super::support::studies::{Federation, Study};

/// A cluster with an embedded archive, and a linked one that has the study.
fn site(study: &Study) -> (Env, Dcmqrscp) {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    let peer = Dcmqrscp::start("SITEB", [study]);
    add_linked(&env, "B1", "SITEB", peer.port, &["--cluster", "Harbour"]);
    (env, peer)
}

fn import(env: &Env, study: &Study) {
    let folder = env.path().join("brought");
    std::fs::create_dir(&folder).unwrap();
    study.write_files(&folder);
    env.impaxlink(&["archive", "import", folder.to_str().unwrap()])
        .success();
}

fn copies(env: &Env, arguments: &[&str]) -> (Run, Value) {
    let run = env.impaxlink(&[&["study", "copies", "--json"], arguments].concat());
    let document = run.json();
    (run, document)
}

#[test]
fn holders_are_asked_and_what_is_on_record_stands_beside() {
    let study = Federation::new(7, 4).site("SITEB").studies[1].clone();
    let (env, _peer) = site(&study);
    let uid: &str = &study.uid;

    let (run, document) = copies(&env, &[uid]);
    run.exits(0);
    assert_eq!(document["complete"], true);
    let items = &document["items"];
    assert_eq!(
        items.as_array().unwrap().len(),
        1,
        "who has nothing is not listed: {items}"
    );
    let theirs = item(items, "station", "B1");
    assert_eq!(
        (&theirs["held"], &theirs["role"]),
        (&Value::Bool(true), &Value::from("linked"))
    );
    assert_eq!(theirs["cluster"], "Harbour");
    let (run, _) = (env.impaxlink(&["study", "copies", uid, "--local"]), ());
    run.fails_with(4, "no copy of study");

    let store = Store::open(&env.store(), Access::ReadWrite).unwrap();
    let copy = Copy {
        study_instance_uid: uid.parse().unwrap(),
        station: "OWN".parse().unwrap(),
        source: "B1".parse().unwrap(),
        at: Timestamp::now(),
        instances: study.instances() as u64,
        purpose: Purpose::Prefetch,
        patient: None,
    };
    store.record_copy(&copy).unwrap();
    let (_, document) = copies(&env, &[uid]);
    let ours = item(&document["items"], "station", "OWN");
    assert_eq!(
        (&ours["held"], &ours["role"]),
        (&Value::Bool(false), &Value::from("local"))
    );
    let brought = &ours["brought"][0];
    assert_eq!(
        (&brought["source"], &brought["purpose"]),
        (&Value::from("B1"), &Value::from("prefetch"))
    );
    let expires: Timestamp = ours["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((43_199..=43_200).contains(&expires.duration_since(copy.at).as_mins()));

    import(&env, &study);
    let (_, document) = copies(&env, &[uid]);
    let ours = item(&document["items"], "station", "OWN");
    assert_eq!(
        (&ours["held"], &ours["expires_at"]),
        (&Value::Bool(true), &Value::Null)
    );
    assert_eq!(ours["instances"], study.instances());
    assert_eq!(ours["stays"], "changed here: a part of it was imported");
    let table = env.impaxlink(&["study", "copies", uid]);
    assert!(table.success().contains("no: changed here"), "{table:#?}");
    assert!(!table.stdout.contains(study.patient.name), "{table:#?}");
    let csv = env.impaxlink(&["study", "copies", uid, "--local", "--format", "csv"]);
    assert!(csv.success().starts_with("station,cluster,held,"), "{csv:#?}");
    assert_eq!(
        env.impaxlink(&["study", "copies", uid, "--format", "ndjson"])
            .ndjson()
            .len(),
        2
    );
}

#[test]
fn a_station_that_does_not_answer_is_told_and_what_it_has_is_not_known() {
    let study = Federation::new(7, 4).site("SITEB").studies[1].clone();
    let (env, _peer) = site(&study);
    add_linked(&env, "DEAD", "DEAD", free_port(), &[]);
    let (run, document) = copies(&env, &[&study.uid]);
    run.exits(3);
    assert!(run.stderr.contains("DEAD failed: "), "{run:#?}");
    assert_eq!(document["complete"], false);
    assert_eq!(item(&document["ledger"], "station", "DEAD")["outcome"], "failed");
    let ledgers = env.impaxlink(&["ledger", "list", "--json"]).json();
    assert_eq!(ledgers["items"][0]["exit_status"], 3, "{ledgers:#}");
    let run = env.impaxlink(&["study", "copies", "1.2.3"]);
    assert_eq!(run.status, Some(3), "it may be at the dead one: {run:#?}");
    env.impaxlink(&["station", "remove", "DEAD"]).success();
    env.impaxlink(&["study", "copies", "1.2.3"])
        .fails_with(4, "no station has study 1.2.3");
    env.impaxlink(&["study", "copies", "1.x"]).fails_with(2, "UID");
}
