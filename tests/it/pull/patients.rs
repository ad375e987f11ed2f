//! Objects of another patient, which are never pulled into a study.

use impaxlink::store::{Access, Received, Store};

use super::{due, has, keeper, link, tells_of, update_of, wait_for_reason};
use crate::support::cluster::import;
use crate::support::clusters::tester;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step};
use crate::support::links::add_station;
use crate::support::retrieve::{self, data_sets, listing, one_series, part, study, there};
use crate::support::store::StoreFolder;
use crate::support::studies::Study;

/// The same study, said to be of another patient.
fn of_another(study: &Study) -> Study {
    let mut other = study.clone();
    other.patient.id.push('X');
    other.patient.name = "OTHER^PERSON";
    other
}

#[test]
fn of_a_study_in_conflict_nothing_is_moved() {
    let study = study(2);
    let other = of_another(&part(&study, |place| place == 0));
    let (a, b) = (keeper("SITEA", &[&study]), keeper("SITEB", &[&other]));
    link(&a, "SITEA", &b, "SITEB", &study);
    let update = tells_of(&a, &study);
    let reason = wait_for_reason(&b);
    assert!(
        reason.contains("in conflict") && reason.contains("SITEA"),
        "{reason}"
    );
    assert_eq!(has(&b, &study), 2);
    // A person drops it.
    b.service
        .env
        .impaxlink(&["updates", "drop", update.id.as_str()])
        .success();
    assert!(due(&b).is_empty());
    let audit = b.service.env.impaxlink(&["audit", "list"]);
    assert!(audit.success().contains("dropped update"), "{audit:#?}");
}

#[test]
fn another_patients_objects_at_the_source_are_not_taken() {
    let study = study(2);
    let other = of_another(&study);
    // What A says of the study is true of B's; what A holds under its UID is not.
    let (a, b) = (
        keeper("SITEA", &[&other]),
        keeper("SITEB", &[&part(&study, |place| place == 0)]),
    );
    link(&a, "SITEA", &b, "SITEB", &study);
    tells_of(&a, &study);
    let reason = wait_for_reason(&b);
    assert!(
        reason.contains("in conflict") && reason.contains("SITEA"),
        "{reason}"
    );
    assert_eq!(has(&b, &study), 2);
}

#[test]
fn an_update_of_another_patient_than_the_copies_are_of_brings_nothing() {
    let study = study(2);
    let other = of_another(&study);
    let (a, b) = (
        keeper("SITEA", &[&other]),
        keeper("SITEB", &[&part(&other, |place| place == 0)]),
    );
    link(&a, "SITEA", &b, "SITEB", &study);
    tells_of(&a, &study);
    assert!(wait_for_reason(&b).contains("in conflict"));
    assert_eq!(has(&b, &study), 2);
    let status = b.service.env.impaxlink(&["status", "--json"]).json();
    assert_eq!(status["conflicts"], 1);
    let listed = b
        .service
        .env
        .impaxlink(&["study", "conflicts", "list", "--json"])
        .json();
    assert_eq!(listed["items"][0]["first_path"], "pull", "{listed:#}");
}

/// Why a pull failed from a source that lists the study as it is and then sends these objects.
#[track_caller]
fn refused(study: &Study, sent: &Study) -> String {
    let mut script = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
    let objects = data_sets(sent).into_iter().skip(1);
    script.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
    script.push(Step::End(0, ""));
    let peer = FakePeer::in_turn(vec![listing(study, 3, ""), script]);
    let env = retrieve::embedded();
    import(&env, [&part(study, |place| place == 0)]);
    let options = [
        "--cluster-linking",
        "--link-cluster-updates",
        "--issuer",
        study.patient.issuer,
        "--syntax",
        "dicom",
        "--timeout",
        "1s",
    ];
    add_station(&env, "SITEA", "SITEA", peer.port, &options);
    let received = Received {
        update: update_of(&StoreFolder::new().open(), study),
        from: "SITEA".parse().unwrap(),
    };
    let store = Store::open(&env.store(), Access::ReadWrite).unwrap();
    store.apply_updates(&tester(), &[received]).unwrap();
    let pulled = env.impaxlink(&["updates", "pull"]);
    assert_eq!(pulled.status, Some(3), "{pulled:#?}");
    assert_eq!(there(&env, study), 1);
    let due = store.due_pulls(None, None).unwrap().pop().unwrap();
    due.trouble.expect("a reason").reason
}

/// Case: objects of another patient than the answer named
#[test]
fn an_object_that_is_not_what_its_source_lists_is_not_stored() {
    let study = one_series();
    let reason = refused(&study, &of_another(&study));
    assert!(
        reason.starts_with("SITEA: ") && reason.contains("it names another patient"),
        "{reason}"
    );
    let mut elsewhere = study.clone();
    elsewhere.uid.push_str(".1");
    let reason = refused(&study, &elsewhere);
    assert!(reason.contains("it belongs to another study"), "{reason}");
}
