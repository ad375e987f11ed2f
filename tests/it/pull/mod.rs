//! New objects that updates name, pulled by the receiver where it holds the study, whatever fails meanwhile.
//!
//! Invariant: what an archive holds is asked of the archive, not of the pull.

mod brought;
mod no_news;
mod patients;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use impaxlink::archive::Archive;
use impaxlink::model::{Kind, NewObjects, NewSeries, ReviewReason, Station, StudyPatient, Update};
use impaxlink::store::{Draft, DuePull, Store};
use serde_json::Value;

use super::support::cluster::import;
use super::support::clusters::{Cluster, tester};
use super::support::env::Env;
use super::support::retrieve::{part, there};
use super::support::service::wait_for;
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

/// The update by which a cluster tells of these objects of its study as new, on its way.
fn tells_of(cluster: &Cluster, study: &Study) -> Update {
    let update = update_of(&cluster.store(), study);
    cluster.wake();
    update
}

/// The update that names these objects as new.
fn update_of(store: &Store, study: &Study) -> Update {
    makes(store, naming(study))
}

fn naming(study: &Study) -> Draft {
    let series = study.series.iter().map(|series| NewSeries {
        series: series.uid.parse().unwrap(),
        objects: series
            .instances
            .iter()
            .map(|uid| (None, uid.parse().unwrap()))
            .collect(),
    });
    Draft {
        new_objects: Some(NewObjects {
            retrieve_from: "SITEA".parse().unwrap(),
            series: series.collect(),
        }),
        ..nothing_said_of(study)
    }
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

fn makes(store: &Store, draft: Draft) -> Update {
    let made = store.make_updates(&tester(), &[draft]).unwrap().pop().unwrap();
    made.unwrap().update.expect("an update")
}

/// Gives notice that studies were merged.
fn merged(cluster: &Cluster, study: &Study) -> Update {
    let review = Draft {
        review: Some("merged".parse::<ReviewReason>().unwrap()),
        ..nothing_said_of(study)
    };
    let notice = makes(&cluster.store(), review);
    cluster.wake();
    notice
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

/// The instances that a cluster has told of as acquired there.
fn announced(cluster: &Cluster, study: &Study) -> Vec<String> {
    let logged = cluster
        .store()
        .logged_updates(&study.uid.parse().unwrap())
        .unwrap();
    let made_here = logged.into_iter().filter(|logged| logged.from.is_none());
    let series = made_here
        .filter_map(|logged| logged.update.new_objects)
        .flat_map(|new| new.series);
    let objects = series.flat_map(|series| series.objects);
    objects.map(|(_, instance)| instance.to_string()).collect()
}

/// Waits until nothing that a cluster has acquired is still to be told.
#[track_caller]
fn wait_until_told(cluster: &Cluster) {
    let archive = embedded(cluster);
    wait_for("all arrivals told", || {
        archive.quiet_arrivals(Duration::ZERO).unwrap().is_empty()
    });
}

fn copies(env: &Env, study: &Study) -> Value {
    let copies = env.impaxlink(&["study", "copies", &study.uid, "--local", "--json"]);
    copies.json()["items"][0].clone()
}
