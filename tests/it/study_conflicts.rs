//! `study conflicts`: each study UID found with two patients counts until a person acknowledges it.

use serde_json::{Value, json};

use super::support::cluster::chest_ct;
use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::links::{add_archive, add_linked, query};
use super::support::studies::Federation;

struct Sites {
    env: Env,
    study: String,
    _peers: [Dcmqrscp; 2],
}

fn sites() -> Sites {
    let federation = Federation::new(83, 4);
    let peers = ["SITEA", "SITEC"].map(|name| Dcmqrscp::start(name, &federation.site(name).studies));
    let env = Env::new();
    add_archive(&env, "PACS", "SITEA", peers[0].port, &["--issuer", "NORTH"]);
    add_linked(
        &env,
        "SITEC",
        "SITEC",
        peers[1].port,
        &["--issuer", "VALLEY", "--link-prefetch"],
    );
    Sites {
        env,
        study: federation.conflict,
        _peers: peers,
    }
}

fn count(env: &Env) -> Value {
    env.impaxlink(&["status", "--json"]).json()["conflicts"].clone()
}

fn listed(env: &Env, options: &[&str]) -> Vec<Value> {
    let command = [&["study", "conflicts", "list", "--json"], options].concat();
    env.impaxlink(&command).json()["items"]
        .as_array()
        .expect("a list")
        .clone()
}

/// Case: a conflict counts until a person acknowledges it
#[test]
fn a_conflict_counts_until_a_person_acknowledges_it() {
    let sites = sites();
    let (env, study) = (&sites.env, sites.study.as_str());
    assert_eq!(count(env), json!(0));
    for format in ["json", "ndjson", "table"] {
        env.impaxlink(&["query", "--study-uid", study, "--format", format])
            .success();
        let status = env.impaxlink(&["status"]);
        let told = "1 study UID found with two different patients: impaxlink study conflicts list";
        assert!(status.exits(7).contains(told), "{}", status.stdout);
    }
    let [conflict] = &listed(env, &[])[..] else {
        panic!("one conflict")
    };
    assert_eq!(conflict["study_instance_uid"], json!(study));
    assert_eq!(conflict["first_path"], json!("query"));
    let parties = conflict["parties"].as_array().unwrap();
    let [one, other] = &parties[..] else {
        panic!("two parties: {conflict:#}")
    };
    assert_eq!(
        (&one["station"], &other["station"]),
        (&json!("PACS"), &json!("SITEC"))
    );
    assert_ne!(one["patient_id"], other["patient_id"]);

    let acknowledge = ["study", "conflicts", "acknowledge", study];
    env.impaxlink(&acknowledge).exits(2);
    let because = [&acknowledge[..], &["--reason", "CHG1260"]].concat();
    let dry = env.impaxlink(&[&because[..], &["--dry-run", "--json"]].concat());
    assert_eq!(dry.json()["acknowledged"], json!([study]));
    assert_eq!(count(env), json!(1), "a dry run changes nothing");
    env.impaxlink(&because).success();
    assert_eq!(count(env), json!(0));
    assert!(env.impaxlink(&because).success().is_empty());
    let audit = env.impaxlink(&["audit", "list", "--json"]).json();
    let records = audit["items"].as_array().unwrap().iter();
    let of_conflict: Vec<&Value> = records
        .filter(|it| it["kind"] == "conflict_acknowledged")
        .collect();
    assert_eq!(of_conflict.len(), 1, "{audit:#}");
    assert_eq!(of_conflict[0]["reason"], json!("CHG1260"));

    query(env, &["--study-uid", study]);
    assert_eq!(count(env), json!(0), "the same two patients");
    assert!(listed(env, &[]).is_empty());
    assert_eq!(listed(env, &["--all"])[0]["reason"], json!("CHG1260"));
    env.impaxlink(&["study", "conflicts", "acknowledge", "1.2.3", "--reason", "none"])
        .fails_with(4, "no conflict is known");
}

/// Case: a conflict counts until a person acknowledges it
#[test]
fn a_retrieve_that_is_refused_for_a_conflict_notes_it() {
    let sites = sites();
    sites.env.impaxlink(&["retrieve", &sites.study]);
    let conflicts = listed(&sites.env, &[]);
    assert_eq!(conflicts[0]["first_path"], json!("retrieve"), "{conflicts:#?}");
}

/// Case: one site names the issuer and the other does not
#[test]
fn a_station_without_an_issuer_is_in_conflict_until_its_issuer_is_set() {
    let mut study = chest_ct("4711", 2025, 1);
    study.patient.issuer = "";
    let [pacs, siteb] = ["PACS", "SITEB"].map(|name| Dcmqrscp::start(name, [&study]));
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &[]);
    let row = || query(&env, &["--study-uid", &study.uid]).1["items"][0].clone();
    let in_conflict = row();
    assert_eq!(
        in_conflict["conflicts"][0]["station"],
        json!("SITEB"),
        "{in_conflict:#}"
    );
    let list = env.impaxlink(&["study", "conflicts", "list"]);
    list.success();
    assert!(
        list.stderr
            .contains("impaxlink station set SITEB --issuer ISSUER"),
        "{list:#?}"
    );
    assert!(!list.stderr.contains("set PACS"), "{list:#?}");
    env.impaxlink(&["station", "set", "SITEB", "--issuer", "NORTH"])
        .success();
    let copies = row();
    assert_eq!(copies["conflicts"], json!([]), "{copies:#}");
    assert_eq!(
        copies["locations"].as_array().map(Vec::len),
        Some(2),
        "{copies:#}"
    );
}
