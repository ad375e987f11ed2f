//! Queries for a patient who has other IDs elsewhere: each archive asked by its own, whatever the caller knew.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::links::{add_archive, add_linked, item, query};
use super::support::orthanc::Orthanc;
use super::support::studies::Federation;

/// The local archive PACS of NORTH, the linked SITEB of HARBOUR (Orthanc) and SITEC, whose issuer nobody has named.
struct Sites {
    env: Env,
    federation: Federation,
    _archives: (Dcmqrscp, Orthanc, Dcmqrscp),
}

fn sites(seed: u64) -> Sites {
    let mut federation = Federation::new(seed, 12);
    for study in &mut federation.sites[2].studies {
        study.patient.issuer = "";
    }
    let pacs = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let siteb = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let sitec = Dcmqrscp::start("SITEC", &federation.site("SITEC").studies);
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    add_archive(&env, "PACS", "SITEA", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &["--issuer", "HARBOUR"]);
    add_linked(&env, "SITEC", "SITEC", sitec.port, &[]);
    Sites {
        env,
        federation,
        _archives: (pacs, siteb, sitec),
    }
}

impl Sites {
    /// The UIDs of the studies that a site acquired or holds of a patient.
    fn of(&self, site: &str, id: &str, issuer: &str) -> BTreeSet<String> {
        let studies = self.federation.site(site).studies.iter();
        let own = studies.filter(|study| study.patient.id == id && study.patient.issuer == issuer);
        own.map(|study| study.uid.clone()).collect()
    }

    fn link(&self, arguments: &[&str]) {
        self.env
            .impaxlink(&[&["patient", "link"], arguments].concat())
            .success();
    }
}

fn uids(document: &Value) -> BTreeSet<String> {
    let items = document["items"].as_array().unwrap().iter();
    items
        .map(|item| item["study_instance_uid"].as_str().unwrap().to_owned())
        .collect()
}

/// Case: one person under two IDs
#[test]
fn a_prior_is_found_under_the_id_that_its_site_knows() {
    let sites = sites(71);
    let here = sites.of("SITEA", "A100001", "NORTH");
    let there = sites.of("SITEB", "B100002", "HARBOUR");
    assert!(!here.is_empty() && !there.is_empty() && here.is_disjoint(&there));
    let ask = |id: &str| query(&sites.env, &["--patient-id", id]).1;
    assert_eq!(uids(&ask("A100001")), here);
    sites.link(&["A100001^^^NORTH", "B100002^^^HARBOUR", "--global-id", "G7"]);
    let both: BTreeSet<String> = here.union(&there).cloned().collect();
    for id in ["A100001", "A100001^^^NORTH", "B100002^^^HARBOUR"] {
        let document = ask(id);
        assert_eq!(uids(&document), both, "{id}");
        for row in document["items"].as_array().unwrap() {
            assert_eq!(row["global_patient_id"], json!("G7"), "{row:#}");
            let uid = row["study_instance_uid"].as_str().unwrap();
            let own = if here.contains(uid) { "A100001" } else { "B100002" };
            assert_eq!(row["patient_id"], json!(own), "the command shows whose ID it is");
        }
    }
    // Whoever is B100002 of NORTH is somebody else.
    assert!(uids(&ask("B100002^^^NORTH")).is_disjoint(&here));
    let ledger = &ask("A100001")["ledger"];
    let detail = item(ledger, "station", "SITEB")["detail"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(detail.contains("asked by 1 ID of the patient"), "{detail}");
    assert!(!detail.contains("B100002"), "{detail}");
    // The own archive may have copies under the ID that they have elsewhere.
    let detail = item(ledger, "station", "PACS")["detail"]
        .as_str()
        .unwrap_or_default();
    assert!(detail.contains("asked by 1 ID of the patient"), "{detail}");
}

/// Case: nobody names the issuer
#[test]
fn an_answer_without_an_issuer_is_nobodys_other_id() {
    let sites = sites(72);
    let there = sites.of("SITEC", "C100001", "");
    assert!(!there.is_empty());
    sites.link(&["A100001^^^NORTH", "C100001^^^VALLEY"]);
    // SITEC is asked by each ID, as its issuers are not known; it names none, so nothing of it is believed.
    let (_, document) = query(&sites.env, &["--patient-id", "A100001"]);
    assert!(uids(&document).is_disjoint(&there), "{document:#}");
    let entry = item(&document["ledger"], "station", "SITEC");
    assert_eq!(entry["filtered"], json!(there.len()), "{entry}");
    assert!(
        entry["detail"].as_str().unwrap().contains("of another issuer"),
        "{entry}"
    );
    sites
        .env
        .impaxlink(&["station", "set", "SITEC", "--issuer", "VALLEY"])
        .success();
    let (_, document) = query(&sites.env, &["--patient-id", "A100001"]);
    assert!(uids(&document).is_superset(&there), "{document:#}");
}

#[test]
fn a_global_id_is_asked_of_a_strict_archive_by_its_own_id() {
    let sites = sites(73);
    sites.link(&["A100001^^^NORTH", "B100002^^^HARBOUR", "--global-id", "G7"]);
    let (run, document) = query(&sites.env, &["--global-id", "G7"]);
    let both: BTreeSet<String> = sites
        .of("SITEA", "A100001", "NORTH")
        .union(&sites.of("SITEB", "B100002", "HARBOUR"))
        .cloned()
        .collect();
    assert_eq!(uids(&document), both);
    // SITEC has no issuer, and is asked by each ID; nothing of it is missing.
    assert_eq!(run.status, Some(0), "{run:#?}");
    let (run, document) = query(&sites.env, &["--global-id", "G8"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let entry = item(&document["ledger"], "station", "PACS");
    let detail = entry["detail"].as_str().unwrap();
    assert!(
        detail.contains("the cross-reference has no ID of that patient"),
        "{detail}"
    );
}

/// Case: one person under two IDs
#[test]
fn a_study_of_one_person_under_two_ids_is_no_conflict() {
    let sites = sites(74);
    sites
        .env
        .impaxlink(&["station", "set", "SITEC", "--issuer", "VALLEY"])
        .success();
    let uid = &sites.federation.conflict;
    let row = |document: &Value| item(&document["items"], "study_instance_uid", uid).clone();
    for format in ["json", "ndjson"] {
        let run = sites
            .env
            .impaxlink(&["query", "--study-uid", uid, "--format", format]);
        assert!(run.success().contains("\"conflict"), "{run:#?}");
    }
    let before = row(&query(&sites.env, &["--study-uid", uid]).1);
    let other = &before["conflicts"][0];
    let identity = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        format!("{}^^^{}", text("patient_id"), text("issuer_of_patient_id"))
    };
    sites.link(&[&identity(&before), &identity(other)]);
    let after = row(&query(&sites.env, &["--study-uid", uid]).1);
    assert_eq!(after["conflicts"], json!([]), "{after:#}");
    assert_eq!(after["locations"].as_array().unwrap().len(), 2, "{after:#}");
    let lines = sites
        .env
        .impaxlink(&["query", "--study-uid", uid, "--format", "ndjson"]);
    assert!(!lines.success().contains("\"type\":\"conflict\""), "{lines:#?}");
    sites
        .env
        .impaxlink(&["patient", "unlink", &identity(other)])
        .success();
    assert_eq!(row(&query(&sites.env, &["--study-uid", uid]).1), before);
}
