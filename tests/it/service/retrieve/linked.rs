//! Studies of archives and linked clusters, which pass through the service.

use impaxlink::model::Configuration;
use tempfile::tempdir;

use crate::support::process::free_port;
use crate::support::retrievers::{Retrieved, getscu, instances, movescu};
use crate::support::service::{set, station, wait_for};
use crate::support::sites::{Sites, station_of};
use crate::support::storescp::Storescp;
use crate::support::studies::Study;

/// Three sites, linked for internal queries, and a destination STORE.
fn sites(seed: u64, store: &Storescp, change: impl FnOnce(&mut Configuration)) -> Sites {
    let port = store.port;
    Sites::start(seed, |configuration| {
        configuration.stations.push(station("STORE", port));
        for name in ["SITEB", "SITEC"] {
            station_of(configuration, name).links.internal_queries = true;
        }
        change(configuration);
    })
}

fn keys_of(study: &Study) -> [String; 2] {
    [
        "QueryRetrieveLevel=STUDY".to_owned(),
        format!("StudyInstanceUID={}", study.uid),
    ]
}

fn move_to_store(sites: &Sites, calling: &str, study: &Study) -> Retrieved {
    let [level, uid] = keys_of(study);
    movescu(sites.service.port, calling, "STORE", &[], &[&level, &uid])
}

fn uids_of(study: &Study) -> Vec<String> {
    let mut uids: Vec<String> = study
        .series
        .iter()
        .flat_map(|series| series.instances.clone())
        .collect();
    uids.sort_unstable();
    uids
}

/// The study of a site that nobody else has.
fn only_at<'s>(sites: &'s Sites, site: &str) -> &'s Study {
    let studies = &sites.federation.site(site).studies;
    let others: Vec<&str> = ["SITEA", "SITEB", "SITEC"]
        .into_iter()
        .filter(|other| *other != site)
        .collect();
    let elsewhere = sites.at(&others);
    let mut own = studies.iter().filter(|study| !elsewhere.contains(&study.uid));
    own.next().expect("a study of its own")
}

#[test]
fn a_study_passes_through_from_wherever_it_is() {
    let store = Storescp::start("STORE", &[]);
    let sites = sites(61, &store, |_| {});
    let mut expected = Vec::new();
    for site in ["SITEA", "SITEB", "SITEC"] {
        let study = only_at(&sites, site);
        let count = study.instances() as i32;
        let moved = move_to_store(&sites, "READER", study);
        assert_eq!(
            (moved.status.as_str(), moved.last()),
            ("0000", [-1, count, 0, 0]),
            "{site}: {}",
            moved.log
        );
        assert_eq!(moved.counts.first(), Some(&[count - 1, 1, 0, 0]), "{}", moved.log);
        expected.extend(uids_of(study));

        let folder = tempdir().unwrap();
        let [level, uid] = keys_of(study);
        let got = getscu(sites.service.port, "READER", folder.path(), &[], &[&level, &uid]);
        assert_eq!(
            (got.status.as_str(), got.last()),
            ("0000", [-1, count, 0, 0]),
            "{site}: {}",
            got.log
        );
        assert_eq!(instances(folder.path()), uids_of(study));
    }
    expected.sort_unstable();
    assert_eq!(store.instances(), expected);
    assert!(store.log().contains("READER"), "the move originator is kept");
}

#[test]
fn who_gets_what_is_who_may_ask() {
    let store = Storescp::start("STORE", &[]);
    let sites = sites(62, &store, |configuration| {
        let siteb = station_of(configuration, "SITEB");
        siteb.from_addresses = Vec::new();
    });
    let (local, linked) = (only_at(&sites, "SITEA"), only_at(&sites, "SITEC"));
    for caller in ["OUTSIDE", "SITEB"] {
        let moved = move_to_store(&sites, caller, linked);
        assert_eq!(
            (moved.status.as_str(), moved.last()[1]),
            ("0000", 0),
            "{caller}: {}",
            moved.log
        );
        let moved = move_to_store(&sites, caller, local);
        assert_eq!(
            (moved.status.as_str(), moved.last()[1]),
            ("0000", local.instances() as i32),
            "{}",
            moved.log
        );
    }
    sites.change("SITEC", |station| station.links.external_queries = true);
    let moved = move_to_store(&sites, "OUTSIDE", linked);
    assert_eq!(moved.last()[1], linked.instances() as i32, "{}", moved.log);
    let moved = move_to_store(&sites, "SITEB", linked);
    assert_eq!(
        moved.last()[1],
        0,
        "a linked cluster gets local studies alone: {}",
        moved.log
    );
    let mut expected = [uids_of(local), uids_of(linked)].concat();
    expected.sort_unstable();
    assert_eq!(store.instances(), expected);
}

#[test]
fn a_study_of_two_patients_comes_from_the_local_cluster_alone() {
    let store = Storescp::start("STORE", &[]);
    let sites = sites(63, &store, |_| {});
    let conflict = sites.federation.conflict.clone();
    let study = |site: &str| {
        let mut studies = sites.federation.site(site).studies.iter();
        studies.find(|study| study.uid == conflict).expect("the conflict")
    };
    let moved = move_to_store(&sites, "READER", study("SITEA"));
    assert_eq!(
        (moved.status.as_str(), moved.last()[1]),
        ("0000", study("SITEA").instances() as i32),
        "{}",
        moved.log
    );
    assert_eq!(store.instances(), uids_of(study("SITEA")));
    sites.service.wait_for_conflicts(1);
}

/// Case: what is not found is not moved
#[test]
fn a_bare_patient_id_moves_what_it_finds_and_nothing_more() {
    let store = Storescp::start("STORE", &[]);
    let sites = sites(64, &store, |configuration| set(configuration, "issuer", "NORTH"));
    let shared = sites.federation.shared_patient_id;
    let of_shared = |site: &str, issuer: &str| {
        let mut studies = sites.federation.site(site).studies.iter();
        studies
            .find(|study| study.patient.id == shared && study.patient.issuer == issuer)
            .expect("its study of the shared ID")
    };
    let (ours, theirs) = (of_shared("SITEA", "NORTH"), of_shared("SITEB", "HARBOUR"));
    let patient = format!("PatientID={shared}");
    let moved = |study: &Study, keys: &[&str], options: &[&str]| {
        let [level, uid] = keys_of(study);
        let keys = [&[level.as_str(), uid.as_str()], keys].concat();
        let moved = movescu(sites.service.port, "READER", "STORE", options, &keys);
        assert_eq!(moved.status, "0000", "{}", moved.log);
        moved.last()[1]
    };
    assert_eq!(moved(ours, &[&patient], &["-P"]), ours.instances() as i32);
    assert_eq!(
        moved(theirs, &[&patient], &["-P"]),
        0,
        "C-FIND withholds it as well"
    );
    let issuer = format!("IssuerOfPatientID={}", theirs.patient.issuer);
    let named = moved(theirs, &[&patient, &issuer], &["-P"]);
    assert_eq!(
        named,
        theirs.instances() as i32,
        "as C-FIND gives it by these keys"
    );
    assert_eq!(
        moved(theirs, &[], &["-S"]),
        theirs.instances() as i32,
        "no ID is given"
    );

    let folder = tempdir().unwrap();
    let keys = ["QueryRetrieveLevel=PATIENT", &patient];
    getscu(sites.service.port, "READER", folder.path(), &["-P"], &keys);
    let got = instances(folder.path());
    assert!(uids_of(ours).iter().all(|uid| got.contains(uid)));
    assert!(!uids_of(theirs).iter().any(|uid| got.contains(uid)));
    let log = sites.service.process.output();
    assert!(log.contains("withheld: of another patient"), "{log}");
    assert!(!log.contains(shared), "{log}");
}

/// Case: a site is down while a viewer moves a study
#[test]
fn a_move_while_a_site_is_down_says_that_its_answer_is_a_part() {
    let store = Storescp::start("STORE", &[]);
    let sites = sites(64, &store, |configuration| {
        let sitec = station_of(configuration, "SITEC");
        sitec.endpoint = station("SITEC", free_port()).endpoint;
    });
    let study = only_at(&sites, "SITEA");
    let moved = move_to_store(&sites, "READER", study);
    let count = study.instances() as i32;
    assert_eq!(
        (moved.status.as_str(), moved.last()),
        ("0000", [-1, count, 0, 0]),
        "{}",
        moved.log
    );
    assert!(
        moved.log.contains("1 of 3 sites did not answer: SITEC"),
        "{}",
        moved.log
    );
    wait_for("the ledger", || {
        let failed = sites
            .service
            .env
            .impaxlink(&["ledger", "list", "--failed", "--json"])
            .json();
        let items = failed["items"].as_array().unwrap();
        items
            .iter()
            .any(|item| item["complete"] == false && item["level"] == "image")
    });
}
