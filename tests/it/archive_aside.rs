//! Objects kept aside: why, whose, from whom; and that nobody finds them until a person decides.

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Level, Outcome, reindex};
use impaxlink::dimse::TransferSyntax;
use impaxlink::model::{AsideReason, ExpectedPatient, ObjectIdentity};

use super::support::archive::{Object, found, new_archive, receive};

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
