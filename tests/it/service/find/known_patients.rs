//! What viewers see of a patient who has other IDs elsewhere: real clients, real archives, the running service.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::links::{item, query};
use crate::support::orthanc::Orthanc;
use crate::support::service::{Service, set, station};
use crate::support::sites::{Sites, archive, internal, open_link, station_of};
use crate::support::studies::Federation;

const BY_ID: [&str; 4] = [
    "QueryRetrieveLevel=STUDY",
    "StudyInstanceUID",
    "PatientID=A100001",
    "IssuerOfPatientID",
];

fn sites(seed: u64) -> Sites {
    Sites::start(seed, |configuration| {
        set(configuration, "issuer", "NORTH");
        for (name, issuer) in [("SITEB", "HARBOUR"), ("SITEC", "VALLEY")] {
            let station = station_of(configuration, name);
            station.issuers = vec![issuer.parse().unwrap()];
            station.links.internal_queries = true;
        }
    })
}

fn of(sites: &Sites, site: &str, id: &str) -> BTreeSet<String> {
    let studies = sites.federation.site(site).studies.iter();
    let own = studies.filter(|study| study.patient.id == id);
    own.map(|study| study.uid.clone()).collect()
}

/// Case: one person under two IDs
#[test]
fn a_viewer_gets_the_persons_studies_under_the_id_it_knows() {
    let sites = sites(81);
    let (here, there) = (of(&sites, "SITEA", "A100001"), of(&sites, "SITEB", "B100002"));
    assert!(!here.is_empty() && !there.is_empty());
    let found = || {
        let found = sites.findscu("READER", &["-S"], &BY_ID);
        assert!(found.success, "{}", found.log);
        assert!(
            found.values("PatientID").iter().all(|id| *id == "A100001"),
            "the key is matched"
        );
        assert!(
            found
                .values("IssuerOfPatientID")
                .iter()
                .all(|issuer| ["", "NORTH"].contains(issuer))
        );
        let uids = found.values("StudyInstanceUID");
        uids.into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    assert_eq!(found(), here);
    let linked = sites
        .service
        .env
        .impaxlink(&["patient", "link", "A100001^^^NORTH", "B100002^^^HARBOUR"]);
    assert!(
        linked.success().contains("saved as change 1, in force"),
        "{linked:#?}"
    );
    assert_eq!(found(), here.union(&there).cloned().collect());
    // Of a patient, one row: the ID is the same.
    let keys = ["QueryRetrieveLevel=PATIENT", "PatientID=A100001", "PatientName"];
    let patients = sites.findscu("READER", &["-P"], &keys);
    assert_eq!(patients.values("PatientID"), ["A100001"], "{}", patients.log);
    let file = sites.service.env.path().join("unlink");
    std::fs::write(&file, "B100002^^^HARBOUR\n").unwrap();
    let file = format!("@{}", file.display());
    sites
        .service
        .env
        .impaxlink(&["patient", "unlink", &file])
        .success();
    assert_eq!(found(), here);
}

/// Case: one patient ID of three issuers
#[test]
fn another_patient_of_the_same_id_stays_withheld() {
    let sites = sites(82);
    let shared = sites.federation.shared_patient_id;
    let own = of(&sites, "SITEA", shared);
    let also = of(&sites, "SITEC", "C100001");
    let key = format!("PatientID={shared}");
    let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", &key];
    let linked = format!("{shared}^^^NORTH");
    sites
        .service
        .env
        .impaxlink(&["patient", "link", &linked, "C100001^^^VALLEY"])
        .success();
    let found = sites.findscu("READER", &["-S"], &keys);
    let uids: BTreeSet<String> = found
        .values("StudyInstanceUID")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(uids, own.union(&also).cloned().collect(), "{}", found.log);
}

#[test]
fn a_linked_cluster_learns_the_global_id_and_may_ask_by_it() {
    let federation = Federation::new(83, 12);
    let at_b = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let b = Service::start_with(|configuration| {
        set(configuration, "ae_title", "SITEB_L");
        set(configuration, "issuer", "HARBOUR");
        configuration.stations = vec![
            archive("PACS", "SITEB", at_b.port),
            open_link("SOUTHBOUND", "SITEA_L", 104),
        ];
    });
    let at_a = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let a = Service::start_with(|configuration| {
        set(configuration, "ae_title", "SITEA_L");
        set(configuration, "issuer", "NORTH");
        configuration.stations = vec![
            archive("PACS", "SITEA", at_a.port),
            open_link("NORTHBOUND", "SITEB_L", b.port),
            internal("READER"),
            station("OUTSIDE", 104),
        ];
    });
    let link = ["patient", "link", "B100002^^^HARBOUR", "--global-id", "G7"];
    assert!(b.env.impaxlink(&link).success().contains("in force"));
    let (_, document) = query(&a.env, &["--patient-id", "B100002^^^HARBOUR"]);
    let rows = document["items"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert!(
        rows.iter().all(|row| row["global_patient_id"] == json!("G7")),
        "{document:#}"
    );
    let (_, by_global_id) = query(&a.env, &["--global-id", "G7"]);
    let entry = item(&by_global_id["ledger"], "station", "NORTHBOUND");
    assert_eq!(entry["outcome"], json!("searched"), "{entry}");
    assert_eq!(
        by_global_id["items"].as_array().unwrap().len(),
        rows.len(),
        "{by_global_id:#}"
    );
}
