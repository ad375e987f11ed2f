//! What the embedded archive acquires is told to linked clusters, once, whatever fails on the way.

use std::time::Duration;

use crate::support::retrieve::{part, study};
use crate::support::service::wait_for;

use super::{acquiring, archive, files, link, named, objects, send, told, two};

#[test]
fn what_a_modality_sends_is_told_when_nothing_more_of_it_comes() {
    let (a, b) = two("2s");
    let study = study(3);
    send(&a, "CT1", "sent", &study);
    wait_for("the update", || !told(&b, &study).is_empty());
    let updates = told(&b, &study);
    assert_eq!(named(&updates), objects(&study));
    let update = &updates[0];
    assert_eq!(update.patient.id, study.patient.id);
    assert_eq!(
        update.patient.issuer.as_ref().unwrap().as_str(),
        study.patient.issuer
    );
    let new = update.new_objects.as_ref().unwrap();
    assert_eq!((new.retrieve_from.as_str(), new.series.len()), ("IMPAXLINK", 2));
    assert!(new.series[0].objects.iter().all(|(class, _)| class.is_some()));
    assert_eq!(told(&a, &study), updates);
    assert_eq!(archive(&a).quiet_arrivals(Duration::ZERO).unwrap(), []);
}

#[test]
fn what_comes_after_is_told_alone() {
    let (a, b) = two("200ms");
    let whole = study(4);
    let first = part(&whole, |number| number < 2);
    send(&a, "CT1", "first", &first);
    wait_for("the first update", || named(&told(&b, &whole)) == objects(&first));
    let before = told(&b, &whole).len();
    send(&a, "CT1", "all", &whole);
    wait_for("the rest", || named(&told(&b, &whole)) == objects(&whole));
    assert!(told(&b, &whole).len() > before);
}

#[test]
fn a_kill_before_the_study_was_quiet_costs_no_update() {
    let (mut a, b) = two("6s");
    let study = study(2);
    send(&a, "CT1", "sent", &study);
    a.kill();
    assert_eq!(told(&a, &study), [], "the time was not quiet yet");
    a.restart();
    wait_for("the update", || !told(&b, &study).is_empty());
    assert_eq!(named(&told(&b, &study)), objects(&study));
    assert_eq!(told(&a, &study).len(), 1);
}

#[test]
fn a_study_that_cannot_be_told_keeps_no_other_waiting() {
    let (mut a, b) = two("200ms");
    a.kill();
    let (first, mut second) = (study(1), study(1));
    second.uid.push_str(".2");
    for series in &mut second.series {
        series.uid.push_str(".2");
        series.instances.iter_mut().for_each(|uid| uid.push_str(".2"));
    }
    for (folder, study) in [("first", &first), ("second", &second)] {
        files(&a, folder, study);
        let folder = a.service.env.path().join(folder);
        let import = ["archive", "import", folder.to_str().unwrap()];
        a.service.env.impaxlink(&import).success();
    }
    // As found after a crash, so that the file is to say who sent it; and it can't be read.
    let index = a.service.env.store().with_file_name("archive/index.db");
    let instance = &first.series[0].instances[0];
    let adopt =
        "UPDATE arrival SET is_adopted = 1 WHERE instance = (SELECT key FROM instance WHERE uid = ?1)";
    let index = rusqlite::Connection::open(index).unwrap();
    assert_eq!(index.execute(adopt, [instance]), Ok(1));
    drop(index);
    let path = archive(&a).instance(instance).unwrap().unwrap().path;
    std::fs::rename(&path, path.with_extension("gone")).unwrap();
    a.restart();
    wait_for("the other study", || {
        named(&told(&b, &second)) == objects(&second)
    });
    wait_for("a warning", || {
        a.service.process.output().contains("new objects wait to be told")
    });
    assert_eq!(told(&a, &first), []);
    assert_eq!(archive(&a).quiet_arrivals(Duration::ZERO).unwrap().len(), 1);
}

#[test]
fn what_was_imported_while_no_service_ran_is_told_by_the_next() {
    let (mut a, b) = two("200ms");
    a.kill();
    let mut study = study(1);
    let series = &mut study.series[0];
    series.instances = (0..2_500)
        .map(|number| format!("{}.{number}", series.uid))
        .collect();
    files(&a, "cd", &study);
    let folder = a.service.env.path().join("cd");
    let import = ["archive", "import", folder.to_str().unwrap()];
    a.service.env.impaxlink(&import).success();
    a.restart();
    wait_for("all updates", || named(&told(&b, &study)) == objects(&study));
    // A thousand are taken off the list at once, and some six hundred fit into the smallest message.
    assert_eq!(told(&b, &study).len(), 5);
}

#[test]
fn where_nobody_takes_updates_nothing_is_made_and_nothing_piles_up() {
    let a = acquiring("1h");
    let first = study(1);
    send(&a, "CT1", "first", &first);
    assert_eq!(archive(&a).quiet_arrivals(Duration::ZERO).unwrap(), []);
    let b = crate::support::clusters::Cluster::start("SITEB");
    link(&a, &b);
    let mut second = study(1);
    second.uid.push_str(".2");
    for series in &mut second.series {
        series.uid.push_str(".2");
        series.instances.iter_mut().for_each(|uid| uid.push_str(".2"));
    }
    send(&a, "CT1", "second", &second);
    let arrived = archive(&a).quiet_arrivals(Duration::ZERO).unwrap();
    assert_eq!(arrived.len(), 1, "only what came when somebody is told");
    assert_eq!(arrived[0].study_instance_uid.as_str(), second.uid);
    a.change_station("SITEB", |station| station.links.cluster_updates = false);
    wait_for("the list to be given up", || {
        archive(&a).quiet_arrivals(Duration::ZERO).unwrap().is_empty()
    });
    assert!(told(&a, &first).is_empty() && told(&a, &second).is_empty());
}

#[test]
fn what_was_brought_from_a_linked_cluster_is_no_news() {
    let (a, b) = two("1h");
    let study = study(2);
    b.change(|configuration| {
        let mut own = super::embedded();
        own.ae_title = "SITEB".parse().unwrap();
        configuration.stations.push(own);
    });
    files(&b, "cd", &study);
    let folder = b.service.env.path().join("cd");
    let import = ["archive", "import", folder.to_str().unwrap()];
    b.service.env.impaxlink(&import).success();
    a.change_station("SITEB", |station| station.links.internal_queries = true);
    a.service.env.impaxlink(&["retrieve", &study.uid]).success();
    assert_eq!(archive(&a).instances(&study.uid, None).unwrap().len(), 4);
    let mut sent = crate::support::retrieve::study(1);
    sent.uid.push_str(".3");
    send(&a, "SITEB", "sent", &part(&sent, |number| number == 0));
    assert_eq!(archive(&a).quiet_arrivals(Duration::ZERO).unwrap(), []);
}
