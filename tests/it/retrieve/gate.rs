//! Objects that are another patient's than their source named, studies in conflict, and lists of images that lack some.

use impaxlink::model::{Kind, Station};
use serde_json::{Value, json};

use crate::support::archive_options::ArchiveOptions;
use crate::support::cluster::{add_source, chest_ct, import, local_cluster};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::{Env, Run};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step, answer};
use crate::support::links::add_linked;
use crate::support::process::free_port;
use crate::support::retrieve::{data_sets, embedded, listing, one_series, retrieve, there};
use crate::support::retrievers::movescu;
use crate::support::service::{Service, set};
use crate::support::sites::{archive, internal, open_link};
use crate::support::storescp::Storescp;
use crate::support::studies::Study;

/// The study with another patient ID.
fn of(study: &Study, patient_id: &str) -> Study {
    let mut other = study.clone();
    other.patient.id = patient_id.to_owned();
    other
}

/// The steps of a C-GET that sends these objects.
fn sending(objects: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<Step> {
    let mut script = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
    let objects = objects.into_iter();
    script.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
    script.push(Step::End(0, ""));
    script
}

/// The objects of the study, the first `foreign` of them of the patient `other`.
fn mixed(study: &Study, other: &str, foreign: usize) -> Vec<(String, Vec<u8>)> {
    let mut objects = data_sets(&of(study, other));
    objects.truncate(foreign);
    objects.extend(data_sets(study).into_iter().skip(foreign));
    objects
}

/// Retrieves from a source that lists so many images, counts `count`, and sends these objects.
fn retrieved(
    study: &Study,
    listed: usize,
    count: &str,
    objects: Vec<(String, Vec<u8>)>,
) -> (Env, Run, Value) {
    let peer = FakePeer::in_turn(vec![listing(study, listed, count), sending(objects)]);
    let env = embedded();
    add_linked(
        &env,
        "SITEA",
        "SITEA",
        peer.port,
        &["--syntax", "dicom", "--timeout", "1s"],
    );
    let (run, item) = retrieve(&env, &[&study.uid, "--method", "get"]);
    (env, run, item)
}

/// Case: objects of another patient than the answer named
#[test]
fn what_names_another_patient_than_its_answer_or_none_is_kept_aside() {
    let study = one_series();
    for (other, foreign, status, reason) in [
        ("2", 3, 1, "names another patient"),
        ("2", 1, 3, "names another patient"),
        ("", 3, 1, "has no patient ID"),
    ] {
        let (env, run, item) = retrieved(&study, 3, "3", mixed(&study, other, foreign));
        run.exits(status);
        assert_eq!(item["complete"], json!(false), "{item:#}");
        assert_eq!(item["refused"], json!(foreign), "{item:#}");
        assert_eq!(item["missing"], json!(foreign), "{item:#}");
        assert!(run.stderr.contains(reason), "{run:#?}");
        assert_eq!(there(&env, &study), 3 - foreign);
        let stats = env.impaxlink(&["archive", "stats", "--json"]).json();
        let aside = stats["kept_aside"].as_array().map(Vec::len);
        assert_eq!(aside, Some(foreign), "{stats:#}");
    }
}

/// Case: a viewer moves a study whose objects are another patient's
#[test]
fn no_object_of_another_patient_reaches_the_destination_of_a_move() {
    let study = one_series();
    for (foreign, status, counts) in [(3, "a702", [-1, 0, 3, 0]), (1, "b000", [-1, 2, 1, 0])] {
        let getting = sending(mixed(&study, "2", foreign));
        let source = FakePeer::in_turn(vec![answer([]), listing(&study, 3, "3"), getting]);
        let store = Storescp::start("STORE", &[]);
        let service = Service::start(vec![
            archive("PACS", "PACS", source.port),
            internal("READER"),
            crate::support::service::station("STORE", store.port),
        ]);
        source.ended(1);
        let uid = format!("StudyInstanceUID={}", study.uid);
        let keys = ["QueryRetrieveLevel=STUDY", uid.as_str()];
        let moved = movescu(service.port, "READER", "STORE", &[], &keys);
        assert_eq!(
            (moved.status.as_str(), moved.last()),
            (status, counts),
            "{}",
            moved.log
        );
        assert_eq!(store.instances().len(), 3 - foreign);
    }
}

/// Case: a source whose list of images lacks some
#[test]
fn what_is_there_counts_and_what_was_only_claimed_is_missed() {
    let study = one_series();
    for (listed, count, status, missing, detail) in [
        (0, "3", 0, 0, ""),
        (2, "3", 0, 0, ""),
        (0, "100", 3, 97, "its image list is empty"),
        (2, "100", 3, 97, "its image list names 2 of 100 images"),
    ] {
        let (env, run, item) = retrieved(&study, listed, count, data_sets(&study));
        run.exits(status);
        assert_eq!(item["complete"], json!(status == 0), "{item:#}");
        assert_eq!(item["instances"], json!(3), "{item:#}");
        assert_eq!(item["missing"], json!(missing), "{item:#}");
        let found = item["sources"][0]["detail"].as_str().unwrap_or_default();
        assert!(found.contains(detail), "{item:#}");
        assert_eq!(there(&env, &study), 3);
    }
}

/// Case: the study UID is another patient's elsewhere
#[test]
fn a_prior_whose_uid_is_another_patients_elsewhere_is_not_moved() {
    let env = local_cluster();
    let study = chest_ct("4711", 2025, 2);
    let other = of(&study, "99");
    let (siteb, sitec) = (
        Dcmqrscp::start("SITEB", [&study]),
        Dcmqrscp::start("SITEC", [&other]),
    );
    add_source(&env, "SITEB", siteb.port);
    add_source(&env, "SITEC", sitec.port);
    let run = env.impaxlink(&["prefetch", "--patient-id", "4711"]);
    run.exits(1);
    assert!(run.stdout.contains("in conflict"), "{run:#?}");
    assert_eq!(there(&env, &study), 0);
}

/// Case: the destination has the study UID for another patient
#[test]
fn what_the_destination_has_of_another_patient_is_not_added_to() {
    let env = local_cluster();
    let study = chest_ct("4711", 2025, 2);
    let siteb = Dcmqrscp::start("SITEB", [&study]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &["--issuer", "NORTH"]);
    let mut other = of(&study, "99");
    other.series[0].instances.truncate(1);
    import(&env, [&other]);
    let (run, item) = retrieve(&env, &[&study.uid, "--from", "SITEB"]);
    run.exits(3);
    assert!(
        run.stderr.contains("another patient's study under this UID"),
        "{run:#?}"
    );
    assert_eq!(item["instances"], json!(1), "{item:#}");
    assert_eq!(there(&env, &study), 1);
}

/// Case: objects that a source moves to our listener are another patient's
#[test]
fn what_a_source_moves_to_our_listener_is_held_to_the_patient_that_it_named() {
    let study = one_series();
    for is_other in [true, false] {
        let port = free_port();
        let mut options = ArchiveOptions::new("SITEA");
        options.move_destinations = vec![("IMPAXLINK", port)];
        let source = Dcmqrscp::start_with(&options, [&study]);
        if is_other {
            source.replace_objects(&of(&study, "2"));
        }
        let service = Service::start_with(|configuration| {
            set(configuration, "listen", &format!("127.0.0.1:{port}"));
            let mut own = Station::new("OWN".parse().unwrap(), "IMPAXLINK".parse().unwrap(), None);
            own.kind = Kind::Archive;
            configuration.stations = vec![own, open_link("SITEA", "SITEA", source.port)];
        });
        let (run, item) = retrieve(&service.env, &[&study.uid, "--method", "move"]);
        run.exits(i32::from(is_other));
        assert_eq!(item["complete"], json!(!is_other), "{item:#}");
        assert_eq!(item["missing"], json!(if is_other { 3 } else { 0 }), "{item:#}");
        assert_eq!(item["sources"][0]["method"], json!("move"), "{item:#}");
        assert_eq!(there(&service.env, &study), if is_other { 0 } else { 3 });
        let stats = service.env.impaxlink(&["archive", "stats", "--json"]).json();
        let aside = stats["kept_aside"].as_array().map(Vec::len);
        assert_eq!(aside, Some(if is_other { 3 } else { 0 }), "{stats:#}");
    }
}
