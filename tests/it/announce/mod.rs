//! Updates made of new objects: those acquired in the embedded archive, and those found in archives that are not ours.

mod arrivals;
mod polled;
mod unannounced;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use impaxlink::archive::Archive;
use impaxlink::model::{NewObjects, Update};

use super::service::store::{embedded, storescu};
use super::support::clusters::Cluster;
use super::support::service::{set, station};
use super::support::studies::Study;

const ISSUERS: &[&str] = &["NORTH"];

/// A cluster with an embedded archive and the modality CT1, which tells of studies that were quiet for so long.
fn acquiring(quiet: &str) -> Cluster {
    let cluster = Cluster::start("IMPAXLINK");
    cluster.change(|configuration| {
        set(configuration, "updates.quiet", quiet);
        configuration.stations = vec![embedded(), station("CT1", 104)];
    });
    cluster
}

/// Such a cluster, and one that takes its updates.
fn two(quiet: &str) -> (Cluster, Cluster) {
    let (a, b) = (acquiring(quiet), Cluster::start("SITEB"));
    link(&a, &b);
    (a, b)
}

fn link(a: &Cluster, b: &Cluster) {
    b.knows(vec![a.door("IMPAXLINK", ISSUERS)]);
    a.knows(vec![b.door("SITEB", ISSUERS)]);
}

fn archive(cluster: &Cluster) -> Archive {
    Archive::open(&cluster.service.env.store().with_file_name("archive")).unwrap()
}

/// Writes the files of a study into a folder of that name.
fn files(cluster: &Cluster, folder: &str, study: &Study) -> Vec<PathBuf> {
    let folder = cluster.service.env.path().join(folder);
    std::fs::create_dir(&folder).unwrap();
    study.write_files(&folder);
    let instances = study.series.iter().flat_map(|series| &series.instances);
    instances.map(|uid| folder.join(format!("{uid}.dcm"))).collect()
}

/// Sends a study to a cluster as the modality does.
fn send(cluster: &Cluster, calling: &str, folder: &str, study: &Study) {
    let files = files(cluster, folder, study);
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (stored, log) = storescu(&cluster.service, calling, &[], &files);
    assert!(stored, "{log}");
}

/// The updates of a study, oldest first, that name new objects.
fn told(cluster: &Cluster, study: &Study) -> Vec<Update> {
    let mut logged = cluster
        .store()
        .logged_updates(&study.uid.parse().unwrap())
        .unwrap();
    logged.reverse();
    let updates = logged.into_iter().map(|logged| logged.update);
    updates.filter(|update| update.new_objects.is_some()).collect()
}

/// The objects of each series that updates name, each only once.
fn named(updates: &[Update]) -> BTreeSet<(String, String)> {
    let mut named = BTreeSet::new();
    for NewObjects { series, .. } in updates.iter().flat_map(|update| &update.new_objects) {
        for series in series {
            for (_, instance) in &series.objects {
                let is_new = named.insert((series.series.to_string(), instance.to_string()));
                assert!(is_new, "{instance} is named twice");
            }
        }
    }
    named
}

/// The objects of a study.
fn objects(study: &Study) -> BTreeSet<(String, String)> {
    let series = study.series.iter();
    series
        .flat_map(|series| series.instances.iter().map(|it| (series.uid.clone(), it.clone())))
        .collect()
}
