//! Pulls that wait: for a source, for a person, for a service, and through crashes.

use impaxlink::model::{Kind, Uid};
use impaxlink::store::{Copy, Purpose, Received};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Cluster, announced, came, copies, due, embedded, has, keeper, link, merged, tells_of, two, update_of,
    wait_for_reason, wait_until_pulled, wait_until_told,
};
use crate::support::archive_options::ArchiveOptions;
use crate::support::cluster::import;
use crate::support::clusters::tester;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::process::free_port;
use crate::support::retrieve::{part, retrieve, study};
use crate::support::service::{PATIENCE, set, wait_for};
use crate::support::sites::{archive, open_link};
use crate::support::store::{StoreFolder, save};

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
        told.success()
            .contains("new objects to be fetched, of updates: 1"),
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
    wait_until_told(&b);
    link(&a, "SITEA", &b, "SITEB", &study);
    b.change(|configuration| set(configuration, "updates.quiet", "10ms"));
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
    // Also what a crash left unindexed was brought, and is no news.
    wait_until_told(&b);
    assert_eq!(announced(&b, &study), Vec::<String>::new());
}

#[test]
fn under_review_nothing_is_pulled_before_a_person_has_looked() {
    let study = study(2);
    let (a, b) = two(&study, |place| place == 0);
    let notice = merged(&a, &study);
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
fn without_a_service_a_command_pulls_itself() {
    let study = study(3);
    let (a, mut b) = two(&study, |place| place == 0);
    // Held back so that the service of B does not pull it before it is killed.
    merged(&a, &study);
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

#[test]
fn of_each_study_the_oldest_that_may_be_pulled_is_next() {
    let (folder, other_cluster) = (StoreFolder::new(), StoreFolder::new());
    let store = folder.open();
    let mut door = archive("SITEA", "SITEA", 104);
    door.kind = Kind::External;
    door.links.cluster_linking = true;
    door.links.cluster_updates = true;
    let (one, mut other) = (study(2), study(2));
    other.uid.push_str(".7");
    door.issuers = vec![one.patient.issuer.parse().unwrap()];
    save(&store, |configuration| configuration.stations = vec![door]);
    let updates = [&one, &one, &other].map(|study| update_of(&other_cluster.open(), study));
    let received = updates.clone().map(|update| Received {
        update,
        from: "SITEA".parse().unwrap(),
    });
    store.apply_updates(&tester(), &received).unwrap();
    let now = Timestamp::now();
    let next = || -> Vec<Uid> {
        let next = store.next_pulls(now, 10).unwrap().into_iter();
        next.map(|due| due.logged.update.id).collect()
    };
    let [first, second, third] = updates.map(|update| update.id);
    assert_eq!(next(), [first.clone(), third.clone()]);
    for _ in 0..2 {
        let later = now + SignedDuration::from_secs(60);
        store.pull_failed(&first, "SITEA: gone", later).unwrap();
    }
    assert_eq!(next(), [second.clone(), third.clone()]);
    let trouble = store.due_pull(&first).unwrap().unwrap().trouble.unwrap();
    assert_eq!((trouble.failures, trouble.reason.as_str()), (2, "SITEA: gone"));
    store.pull_is_done(&second).unwrap();
    let counts = store.pull_counts().unwrap();
    assert_eq!((counts.due, counts.failing, counts.under_review), (2, 1, 0));
    assert_eq!(store.retry_pulls(Some(&first)).unwrap(), 1);
    assert_eq!(next(), [first, third.clone()]);
    store.drop_pull(&tester(), &third).unwrap();
    assert_eq!(store.due_pull(&third).unwrap(), None);
}

#[test]
fn a_study_that_is_just_being_brought_is_not_taken_for_one_that_is_not_here() {
    let study = study(2);
    let (a, b) = two(&study, |_| false);
    let begun = Copy {
        study_instance_uid: study.uid.parse().unwrap(),
        station: "OWN".parse().unwrap(),
        source: "SITEA".parse().unwrap(),
        at: Timestamp::now(),
        instances: 0,
        purpose: Purpose::Prefetch,
        patient: None,
    };
    b.store().begin_copy(&begun, 0).unwrap();
    let update = tells_of(&a, &study);
    assert!(wait_for_reason(&b).contains("being brought"));
    import(&b.service.env, [&part(&study, |place| place == 0)]);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
}

#[test]
fn what_was_told_before_a_part_of_the_study_came_is_pulled_then() {
    let study = study(2);
    let (mut a, b) = two(&study, |_| false);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 0, "it is not held");
    a.kill();
    let other = Dcmqrscp::start("OTHER", [&part(&study, |place| place == 0)]);
    b.change(|configuration| {
        let mut link = open_link("OTHER", "OTHER", other.port);
        link.issuers = vec![study.patient.issuer.parse().unwrap()];
        configuration.stations.push(link);
    });
    let (run, _) = retrieve(&b.service.env, &[&study.uid, "--from", "OTHER"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert!(wait_for_reason(&b).starts_with("SITEA: "));
    a.restart();
    b.store().retry_pulls(None).unwrap();
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
}
