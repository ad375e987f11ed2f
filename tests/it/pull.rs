//! New objects that updates name, pulled by the receiver where it holds the study, whatever fails meanwhile.
//!
//! Invariant: what an archive holds is asked of the archive, not of the pull.

use std::collections::BTreeMap;

use impaxlink::archive::Archive;
use impaxlink::model::{Kind, NewObjects, NewSeries, ReviewReason, Station, StudyPatient, Uid, Update};
use impaxlink::service::control;
use impaxlink::store::{Draft, DuePull};
use serde_json::Value;

use super::support::archive_options::ArchiveOptions;
use super::support::cluster::import;
use super::support::clusters::{Cluster, tester};
use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::orthanc::Orthanc;
use super::support::process::free_port;
use super::support::retrieve::{part, study, there};
use super::support::service::{PATIENCE, set, wait_for};
use super::support::sites::archive;
use super::support::studies::Study;

fn issuers(study: &Study) -> [&str; 1] {
    [study.patient.issuer]
}

/// A cluster that keeps an embedded archive with these studies.
fn keeper(name: &str, studies: &[&Study]) -> Cluster {
    let cluster = Cluster::start(name);
    cluster.change(|configuration| {
        let mut own = Station::new("OWN".parse().unwrap(), name.parse().unwrap(), None);
        own.kind = Kind::Archive;
        configuration.stations.push(own);
    });
    if !studies.is_empty() {
        import(&cluster.service.env, studies.iter().copied());
    }
    cluster
}

fn link(one: &Cluster, one_name: &str, other: &Cluster, other_name: &str, study: &Study) {
    one.knows(vec![other.door(other_name, &issuers(study))]);
    other.knows(vec![one.door(one_name, &issuers(study))]);
    one.retry();
    other.retry();
}

/// A and B, linked for updates alone: A holds the study whole, B what of it `takes` says.
fn two(study: &Study, takes: impl Fn(usize) -> bool) -> (Cluster, Cluster) {
    let held = part(study, takes);
    let held: &[&Study] = if held.instances() == 0 { &[] } else { &[&held] };
    let (a, b) = (keeper("SITEA", &[study]), keeper("SITEB", held));
    link(&a, "SITEA", &b, "SITEB", study);
    (a, b)
}

/// The update by which a cluster tells of these objects of its study as new.
fn tells_of(cluster: &Cluster, study: &Study) -> Update {
    let series = study.series.iter().map(|series| NewSeries {
        series: series.uid.parse().unwrap(),
        objects: series
            .instances
            .iter()
            .map(|uid| (None, uid.parse().unwrap()))
            .collect(),
    });
    let draft = Draft {
        new_objects: Some(NewObjects {
            retrieve_from: "SITEA".parse().unwrap(),
            series: series.collect(),
        }),
        ..nothing_said_of(study)
    };
    makes(cluster, draft)
}

fn nothing_said_of(study: &Study) -> Draft {
    Draft {
        study: study.uid.parse().unwrap(),
        patient: StudyPatient {
            id: study.patient.id.clone(),
            issuer: Some(study.patient.issuer.parse().unwrap()),
        },
        wanted: BTreeMap::new(),
        is_correction: false,
        new_objects: None,
        review: None,
    }
}

fn makes(cluster: &Cluster, draft: Draft) -> Update {
    let made = cluster
        .store()
        .make_updates(&tester(), &[draft])
        .unwrap()
        .pop()
        .unwrap();
    // Where no service runs, a test sends it by command.
    let _ = control::send_updates(&cluster.service.env.store(), PATIENCE);
    made.unwrap().update.expect("an update")
}

fn has(cluster: &Cluster, study: &Study) -> usize {
    there(&cluster.service.env, study)
}

/// The archive that the cluster itself keeps.
fn embedded(cluster: &Cluster) -> Archive {
    Archive::open(&cluster.service.env.store().with_file_name("archive")).unwrap()
}

fn due(cluster: &Cluster) -> Vec<DuePull> {
    cluster.store().due_pulls(None, None).unwrap()
}

fn came(cluster: &Cluster, update: &Update) -> bool {
    cluster.store().logged_update(&update.id).unwrap().is_some()
}

#[track_caller]
fn wait_until_pulled(cluster: &Cluster, update: &Update) {
    wait_for("the update, with its objects pulled", || {
        came(cluster, update) && due(cluster).is_empty()
    });
}

/// Waits until a pull has failed; why.
#[track_caller]
fn wait_for_reason(cluster: &Cluster) -> String {
    let reason = || due(cluster).pop()?.trouble.map(|trouble| trouble.reason);
    wait_for("a reason", || reason().is_some());
    reason().unwrap()
}

fn copies(env: &Env, study: &Study) -> Value {
    let copies = env.impaxlink(&["study", "copies", &study.uid, "--local", "--json"]);
    copies.json()["items"][0].clone()
}

#[test]
fn only_what_is_lacking_and_named_is_pulled_and_the_study_stays_at_home() {
    let study = study(4);
    // The fourth of each series is not named.
    let (a, b) = two(&study, |place| place == 0);
    b.change(|configuration| set(configuration, "prefetch.keep", "1ms"));
    let update = tells_of(&a, &part(&study, |place| place < 3));
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 6);
    let env = &b.service.env;
    let copies = copies(env, &study);
    assert_eq!(copies["station"], "OWN", "{copies:#}");
    let [brought] = &copies["brought"].as_array().unwrap()[..] else {
        panic!("{copies:#}")
    };
    assert_eq!(
        (&brought["source"], &brought["purpose"], &brought["instances"]),
        (&"SITEA".into(), &"update".into(), &4.into()),
        "{copies:#}"
    );
    assert_eq!(copies["stays"], "a part of it was here before");
    // The service has been looking for visitors that expire all the time.
    env.impaxlink(&["archive", "expire"]).success();
    assert_eq!(has(&b, &study), 6, "a study that is at home stays whole");
    // All is here now: nobody is asked again.
    let again = tells_of(&a, &part(&study, |place| place == 1));
    wait_until_pulled(&b, &again);
    assert_eq!(self::copies(env, &study)["brought"][0]["instances"], 4);
}

#[test]
fn a_study_that_is_not_held_is_not_pulled() {
    let study = study(2);
    let (a, b) = two(&study, |_| false);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 0);
    assert!(b.store().copies(&study.uid.parse().unwrap()).unwrap().is_empty());
}

#[test]
fn what_the_sender_only_relays_is_pulled_once_it_has_it() {
    let study = study(3);
    let (a, b) = two(&study, |place| place == 0);
    let first = part(&study, |place| place == 0);
    let c = keeper("SITEC", &[&first]);
    link(&b, "SITEB", &c, "SITEC", &study);
    let update = tells_of(&a, &part(&study, |place| place > 0));
    wait_until_pulled(&c, &update);
    assert_eq!((has(&b, &study), has(&c, &study)), (6, 6));
    let copies = copies(&c.service.env, &study);
    assert_eq!(copies["brought"][0]["source"], "SITEB", "{copies:#}");
}

#[test]
fn while_the_source_is_down_a_pull_is_due_with_the_reason() {
    let study = study(2);
    let a = Cluster::start("SITEA");
    a.knows(vec![archive("PACS", "PACS", free_port())]);
    let b = keeper("SITEB", &[&part(&study, |place| place == 0)]);
    link(&a, "SITEA", &b, "SITEB", &study);
    let update = tells_of(&a, &study);
    let reason = wait_for_reason(&b);
    assert!(reason.starts_with("SITEA: "), "{reason}");
    let env = &b.service.env;
    let status = env.impaxlink(&["status", "--json"]).json();
    let pulls = &status["queues"]["pulls"];
    assert_eq!(
        (&pulls["due"], &pulls["failing"]),
        (&1.into(), &1.into()),
        "{status:#}"
    );
    let told = env.impaxlink(&["status"]);
    assert!(
        told.success().contains("new objects of 1 updates to be fetched"),
        "{told:#?}"
    );
    let list = env.impaxlink(&["updates", "list", "--json"]).json();
    let pull = &list["pulls"][0];
    assert_eq!(pull["update"], update.id.as_str(), "{list:#}");
    assert_eq!(
        (&pull["from"], &pull["new_objects"]),
        (&"SITEA".into(), &4.into())
    );
    assert!(
        pull["reason"].as_str().unwrap().starts_with("SITEA: "),
        "{list:#}"
    );
    let show = env.impaxlink(&["updates", "show", update.id.as_str()]);
    assert!(show.success().contains("NOT HERE YET"), "{show:#?}");
    let vain = env.impaxlink(&["updates", "pull", "--timeout", "20s"]);
    assert_eq!(vain.status, Some(3), "{vain:#?}");

    let pacs = Dcmqrscp::start("PACS", [&study]);
    a.change_station("PACS", |station| {
        station.endpoint.as_mut().unwrap().port = pacs.port.try_into().unwrap();
    });
    env.impaxlink(&["updates", "retry", update.id.as_str()]).success();
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
    assert_eq!(
        env.impaxlink(&["updates", "list", "--json"]).json()["pulls"],
        Value::Array(vec![])
    );
}

#[test]
fn a_receiver_that_is_killed_midway_goes_on_where_it_was() {
    let study = study(40);
    // Without TCP_NODELAY each object waits for an acknowledgement.
    let slow = ArchiveOptions {
        tcp_nodelay: false,
        ..ArchiveOptions::new("PACS")
    };
    let pacs = Dcmqrscp::start_with(&slow, [&study]);
    let a = Cluster::start("SITEA");
    a.knows(vec![archive("PACS", "PACS", pacs.port)]);
    let mut b = keeper("SITEB", &[&part(&study, |place| place == 0)]);
    link(&a, "SITEA", &b, "SITEB", &study);
    let update = tells_of(&a, &study);
    let archive = embedded(&b);
    let stored = || archive.instances(&study.uid, None).unwrap().len();
    for some in [3, 20] {
        let before = stored();
        wait_for("some of it", || stored() >= before + some);
        b.kill();
        assert!(stored() < 80, "it was killed too late");
        assert_eq!(due(&b).len(), 1);
        b.restart();
    }
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 80);
}

#[test]
fn under_review_nothing_is_pulled_before_a_person_has_looked() {
    let study = study(2);
    let (a, b) = two(&study, |place| place == 0);
    let review = Draft {
        review: Some("merged".parse::<ReviewReason>().unwrap()),
        ..nothing_said_of(&study)
    };
    let notice = makes(&a, review);
    wait_for("the notice", || came(&b, &notice));
    let update = tells_of(&a, &study);
    wait_for("the update", || came(&b, &update));
    let env = &b.service.env;
    let vain = env.impaxlink(&["updates", "pull"]);
    assert_eq!(vain.status, Some(3), "{vain:#?}");
    assert!(vain.stdout.contains("under review"), "{vain:#?}");
    assert_eq!(
        env.impaxlink(&["status", "--json"]).json()["queues"]["pulls"]["under_review"],
        1
    );
    assert!(due(&b)[0].trouble.is_none());
    assert_eq!(has(&b, &study), 2);
    env.impaxlink(&["study", "review", &study.uid, "--acknowledge"])
        .success();
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
}

#[test]
fn of_a_study_in_conflict_nothing_is_moved() {
    let study = study(2);
    let mut other = part(&study, |place| place == 0);
    other.patient.id.push('X');
    other.patient.name = "OTHER^PERSON";
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
    let mut other = study.clone();
    other.patient.id.push('X');
    other.patient.name = "OTHER^PERSON";
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
fn an_archive_that_is_not_ours_is_completed_where_it_is() {
    let study = study(3);
    let held = part(&study, |place| place == 0);
    let (a, b) = (keeper("SITEA", &[&study]), keeper("SITEB", &[]));
    let orthanc = Orthanc::start("ORTHANC", [&held]);
    b.knows(vec![archive("ORTHANC", "ORTHANC", orthanc.port)]);
    link(&a, "SITEA", &b, "SITEB", &study);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    let copies = copies(&b.service.env, &study);
    assert_eq!(copies["station"], "ORTHANC", "{copies:#}");
    assert_eq!(has(&b, &study), 6);
    assert!(embedded(&b).instances(&study.uid, None).unwrap().is_empty());
}

#[test]
fn without_a_service_a_command_pulls_itself() {
    let study = study(3);
    let (a, mut b) = two(&study, |place| place == 0);
    // Held back so that the service of B does not pull it before it is killed.
    let review = Draft {
        review: Some("merged".parse::<ReviewReason>().unwrap()),
        ..nothing_said_of(&study)
    };
    makes(&a, review);
    let update = tells_of(&a, &study);
    wait_for("the update", || came(&b, &update));
    b.kill();
    let env = &b.service.env;
    env.impaxlink(&["study", "review", &study.uid, "--acknowledge"])
        .success();
    assert_eq!(has(&b, &study), 2);
    let mut both = [
        env.start(&["updates", "pull"]),
        env.start(&["updates", "pull", "--json"]),
    ];
    for pulling in &mut both {
        let status = pulling.wait(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", pulling.output());
    }
    assert_eq!(has(&b, &study), 6);
    assert_eq!(
        copies(env, &study)["brought"][0]["instances"],
        4,
        "each object once"
    );
    let uid: Uid = study.uid.parse().unwrap();
    assert!(b.store().due_pulls(Some(&uid), None).unwrap().is_empty());
}
