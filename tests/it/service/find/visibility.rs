//! What a caller may find: no key, no odd row and no word about itself shows it another issuer's patient of its ID.

use super::rows::all_linked;
use crate::support::env::Env;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Step, a_match, answer};
use crate::support::links::{add_archive, add_linked, query, values};
use crate::support::service::{Service, set, station};
use crate::support::sites::{Sites, archive, internal};
use crate::support::viewer::Viewer;

fn row(uid: &str, id: &str, issuer: &str) -> Step {
    a_match(&[
        ("StudyInstanceUID", uid),
        ("PatientID", id),
        ("IssuerOfPatientID", issuer),
        ("PatientName", "DOE^JANE"),
    ])
}

/// A cluster whose archive gives these rows to every query.
fn service(rows: impl IntoIterator<Item = Step>) -> (Service, FakePeer) {
    let peer = FakePeer::start(answer(rows));
    let service = Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        configuration.stations = vec![
            archive("PACS", "PACS", peer.port),
            internal("READER"),
            station("OUTSIDE", 104),
        ];
    });
    (service, peer)
}

/// Case: a list of patient IDs or wildcards widen nothing
#[test]
fn a_list_of_ids_or_wildcards_withhold_as_much_as_one_id() {
    let sites = Sites::start(49, all_linked);
    let id = sites.federation.shared_patient_id;
    let lists = [
        format!("{id}\\x"),
        format!("{id}\\"),
        format!("\\{id}"),
        format!("{id}\\*"),
        format!("{id}*"),
        format!("?{}", &id[1..]),
    ];
    let mut reader = Viewer::open(sites.service.port, "READER");
    for list in &lists {
        let seen = reader.find(&[
            "StudyInstanceUID",
            "IssuerOfPatientID",
            &format!("PatientID={list}"),
        ]);
        assert_eq!(seen.status, 0, "{list}: {}", seen.comment);
        let mut issuers = seen.values("IssuerOfPatientID");
        issuers.dedup();
        assert_eq!(issuers, ["NORTH"], "{list}");
    }
    reader.release();
    let mut patient_root = Viewer::open_patient_root(sites.service.port, "READER");
    for list in &lists {
        let seen = patient_root.find_at("PATIENT", &[&format!("PatientID={list}"), "IssuerOfPatientID"]);
        let mut issuers = seen.values("IssuerOfPatientID");
        issuers.dedup();
        assert_eq!(issuers, ["NORTH"], "{list}");
    }
    patient_root.release();
}

/// Case: a row without the patient ID that was asked for
#[test]
fn a_row_without_the_id_that_was_asked_for_is_withheld_and_counted() {
    let (service, _peer) = service([
        row("1.1", "4711", "NORTH"),
        row("1.2", "", "NORTH"),
        row("1.3", "4711\\88", "NORTH"),
        row("1.4", "  ", ""),
        row("1.5", " 4711", "NORTH"),
    ]);
    let mut reader = Viewer::open(service.port, "READER");
    let mut found = |keys: &[&str]| {
        let seen = reader.find(&[&["StudyInstanceUID"], keys].concat());
        let mut uids = seen.values("StudyInstanceUID");
        uids.sort_unstable();
        uids
    };
    assert_eq!(found(&["PatientID=4711"]), ["1.1", "1.5"]);
    assert_eq!(found(&["PatientID"]).len(), 5, "no ID is given");
    reader.release();
    let list = || service.env.impaxlink(&["ledger", "list", "--json"]).json();
    crate::support::service::wait_for("the ledger", || {
        let told = "3 withheld: another patient ID than asked for, several, or none";
        list().to_string().contains(told)
    });
}

/// Case: a caller calls itself an impaxlink
#[test]
fn a_caller_that_calls_itself_an_impaxlink_gets_no_more_than_a_viewer() {
    let (service, _peer) = service([row("1.1", "4711", "NORTH"), row("1.2", "4711", "HARBOUR")]);
    let found = |add: fn(&Env, &str, &str, u16, &[&str])| {
        let env = Env::new();
        add(
            &env,
            "NEXT",
            "IMPAXLINK",
            service.port,
            &["--calling-ae", "OUTSIDE"],
        );
        let (_, document) = query(&env, &["--patient-id", "4711"]);
        values(&document["items"], "study_instance_uid").join(" ")
    };
    assert_eq!(found(add_archive), "1.1", "it announces our implementation");
    assert_eq!(found(add_linked), "1.1", "it proposes the linked syntax");
    service.save(|configuration| {
        let outside = crate::support::sites::station_of(configuration, "OUTSIDE");
        outside.links.cluster_linking = true;
    });
    service.env.impaxlink(&["reload"]).success();
    assert_eq!(
        found(add_archive),
        "1.1 1.2",
        "a linked cluster tells issuers apart by itself"
    );
}
