//! Objects kept aside: why, whose, from whom; and that nobody finds them until a person decides.

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Level, Outcome, reindex};
use impaxlink::dimse::TransferSyntax;
use impaxlink::model::{AsideReason, ExpectedPatient, ObjectIdentity};

use super::support::archive::{Object, found, new_archive, receive};
use super::support::env::{Env, Run};

const EXPLICIT: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;

fn jane() -> ExpectedPatient {
    ExpectedPatient {
        id: "P1".to_owned(),
        issuer: Some("NORTH".parse().unwrap()),
    }
}

/// Lets only objects of one patient pass.
fn only_jane(object: &ObjectIdentity) -> Result<(), AsideReason> {
    let expected = jane();
    match object.patient_id.as_str() {
        "P1" => Ok(()),
        "" => Err(AsideReason::NoPatientId { expected }),
        _ => Err(AsideReason::OtherPatient { expected }),
    }
}

fn store_checked(archive: &Archive, announced: &Object, object: &Object) -> Outcome {
    let announced = announced.announced(EXPLICIT.uid());
    let incoming = receive(archive, announced, &object.bytes(EXPLICIT)).unwrap();
    incoming.checked_by(only_jane).finish().unwrap()
}

/// Case: an object is not what was requested
/// Case: an object is kept aside and the entry is lost
#[test]
fn an_object_that_the_check_refuses_is_kept_aside_with_its_reason() {
    let (_folder, archive) = new_archive();
    let hers = Object::new(1);
    assert_eq!(store_checked(&archive, &hers, &hers), Outcome::Stored);
    let his = Object::new(2).with(tags::ISSUER_OF_PATIENT_ID, "HARB");
    let nobodys = Object::new(3).with(tags::PATIENT_ID, "");
    let other = AsideReason::OtherPatient { expected: jane() };
    let none = AsideReason::NoPatientId { expected: jane() };
    let swapped = AsideReason::OtherInstance {
        expected: hers.value(tags::SOP_INSTANCE_UID).parse().unwrap(),
    };
    assert_eq!(
        store_checked(&archive, &his, &his),
        Outcome::KeptAside(other.clone())
    );
    assert_eq!(
        store_checked(&archive, &nobodys, &nobodys),
        Outcome::KeptAside(none.clone())
    );
    let announced_as_hers = Object::new(4);
    assert_eq!(
        store_checked(&archive, &hers, &announced_as_hers),
        Outcome::KeptAside(swapped.clone())
    );
    // Also where the very data are stored already, and again.
    his.store(&archive).unwrap();
    assert_eq!(
        store_checked(&archive, &his, &his),
        Outcome::KeptAside(other.clone())
    );

    let aside = archive.kept_aside().unwrap();
    let reasons: Vec<_> = aside.iter().map(|kept| kept.reason.clone()).collect();
    assert_eq!(reasons, [other, none, swapped]);
    let first = &aside[0].identity;
    assert_eq!((&*first.patient_id, &*first.issuer), ("P2", "HARB"));
    assert_eq!(
        first.study_instance_uid.as_str(),
        his.value(tags::STUDY_INSTANCE_UID)
    );
    assert_eq!(aside[0].source.as_ref().unwrap().as_str(), "CT1");
    assert!(aside[0].bytes > 300 && aside[0].since.as_second() > 1_700_000_000);
    assert_eq!(
        found(&archive, Level::Patient, &[(tags::PATIENT_ID, "")]),
        ["P1", "P2"]
    );
    assert_eq!(archive.stats().unwrap().kept_aside, 3);

    // The index made again knows the same.
    let root = archive.path().to_owned();
    drop(archive);
    reindex(&root, |_| {}).unwrap();
    assert_eq!(Archive::open(&root).unwrap().kept_aside().unwrap(), aside);
}

/// Case: an object is kept aside and the entry is lost
#[test]
fn what_lies_aside_without_an_entry_is_listed_again() {
    let (_folder, archive) = new_archive();
    let (one, two) = (Object::new(1), Object::new(2));
    one.store(&archive).unwrap();
    one.clone()
        .with(tags::PATIENT_NAME, "ROE")
        .store(&archive)
        .unwrap();
    store_checked(&archive, &two, &two);
    let root = archive.path().to_owned();
    drop(archive);
    let index = rusqlite::Connection::open(root.join("index.db")).unwrap();
    index.execute("DELETE FROM kept_aside", []).unwrap();
    drop(index);
    let archive = Archive::open(&root).unwrap();
    assert_eq!(archive.recovered().adopted, 2);
    let mut aside = archive.kept_aside().unwrap();
    aside.sort_by_key(|kept| kept.identity.patient_id.clone());
    assert_eq!(aside[0].reason, AsideReason::Differs);
    assert_eq!(aside[1].reason, AsideReason::Unknown);
    assert_eq!(aside[1].source.as_ref().unwrap().as_str(), "CT1");
}

/// A cluster with an archive in which one object is stored, and others are kept aside: other data, and another patient's.
fn cluster() -> (Env, Archive) {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).exits(0);
    let archive = Archive::open(&env.store().with_file_name("archive")).unwrap();
    let object = Object::new(1);
    object.store(&archive).unwrap();
    let other = object.clone().with(tags::PATIENT_NAME, "ROE^RICHARD");
    other.store(&archive).unwrap();
    store_checked(&archive, &Object::new(2), &Object::new(2));
    (env, archive)
}

/// The outcome of a command that ends with this status.
#[track_caller]
fn outcome(run: &Run, status: i32) -> String {
    run.exits(status);
    run.json()["items"][0]["outcome"].as_str().unwrap().to_owned()
}

/// Case: an object that was kept aside is released or dropped
#[test]
fn what_is_kept_aside_is_listed_released_and_dropped_on_record() {
    let (env, archive) = cluster();
    let list = env.impaxlink(&["archive", "aside", "list", "--json"]);
    let items = list.json()["items"].clone();
    assert_eq!(items[0]["reason"], "differs");
    assert_eq!(items[1]["reason"], "other_patient");
    assert_eq!(items[1]["patient_id"], "P2");
    assert_eq!(items[1]["expected_patient_id"], "P1");
    assert_eq!(items[1]["source_ae_title"], "CT1");
    let table = env.impaxlink(&["archive", "aside", "list"]);
    assert!(table.stdout.contains("P1 (NORTH)"), "{}", table.stdout);
    assert_eq!(env.impaxlink(&["status", "--json"]).json()["kept_aside"], 2);
    let [differs, others] = [0, 1].map(|index| items[index]["id"].as_str().unwrap()[..10].to_owned());
    let aside = |arguments: &[&str]| env.impaxlink(&[&["archive", "aside"], arguments].concat());

    aside(&["release", &others]).exits(2);
    aside(&["release", "f00f00f00", "--reason", "x"]).exits(4);
    let planned = aside(&["release", &others, "--reason", "x", "--dry-run", "--json"]);
    assert_eq!(outcome(&planned, 0), "stored");
    let patients = [(tags::PATIENT_ID, "")];
    assert_eq!(found(&archive, Level::Patient, &patients), ["P1"]);
    let released = aside(&["release", &others, "--reason", "CHG1", "--json"]);
    assert_eq!(outcome(&released, 0), "stored");
    assert_eq!(found(&archive, Level::Patient, &patients), ["P1", "P2"]);

    // What is stored is not overwritten, and where it gives way nothing is lost.
    let refused = aside(&["release", &differs, "--reason", "CHG2", "--json"]);
    assert_eq!(outcome(&refused, 1), "stays_aside");
    let names = [(tags::PATIENT_NAME, ""), (tags::PATIENT_ID, "P1")];
    assert_eq!(found(&archive, Level::Patient, &names), ["DOE^JANE"]);
    let replaced = aside(&["release", &differs, "--replace", "--reason", "CHG3", "--json"]);
    assert_eq!(outcome(&replaced, 0), "replaced");
    assert_eq!(found(&archive, Level::Patient, &names), ["ROE^RICHARD"]);
    let left = archive.kept_aside().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].reason, AsideReason::Replaced);
    assert!(
        std::fs::read(&left[0].path)
            .unwrap()
            .ends_with(&Object::new(1).bytes(EXPLICIT))
    );
    let stats = archive.stats().unwrap();
    assert_eq!(
        (stats.patients, stats.studies, stats.series, stats.instances),
        (2, 2, 2, 2)
    );

    let replaced = left[0].id.clone();
    aside(&["drop", &replaced]).exits(2);
    aside(&["drop", &replaced, "--dry-run"]).exits(0);
    assert_eq!(archive.kept_aside().unwrap().len(), 1);
    aside(&["drop", &replaced, "--yes", "--reason", "CHG4"]).exits(0);
    assert_eq!(archive.kept_aside().unwrap(), []);
    assert!(!left[0].path.exists());

    let records = env.impaxlink(&["audit", "list", "--json"]).json();
    let records = records["items"].as_array().unwrap().clone();
    let mut decided: Vec<String> = records
        .iter()
        .filter(|record| record["kind"] == "aside_decided")
        .map(|record| format!("{} {}", record["reason"], record["detail"]["decision"]))
        .collect();
    decided.sort();
    assert_eq!(
        decided,
        [
            "\"CHG1\" \"released\"",
            "\"CHG3\" \"replaced\"",
            "\"CHG4\" \"dropped\""
        ]
    );
    env.impaxlink(&["audit", "verify"]).exits(0);
    let root = archive.path().to_owned();
    drop(archive);
    assert_eq!(reindex(&root, |_| {}).unwrap().unreadable, 0);
}
