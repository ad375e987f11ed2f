//! What was pulled is no news: nobody is told of it again.

use std::path::{Path, PathBuf};

use jiff::ZonedDateTime;

use super::{Cluster, announced, due, has, keeper, link, tells_of, two, wait_until_pulled, wait_until_told};
use crate::service::store::storescu;
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{part, study};
use crate::support::service::{set, station, wait_for};
use crate::support::sites::archive;
use crate::support::studies::Study;

/// Sends a study to a cluster as the modality CT1 does.
fn send(cluster: &Cluster, title: &str, study: &Study) {
    let folder = tempfile::tempdir_in(cluster.service.env.path()).unwrap();
    study.write_files(folder.path());
    let instances = study.series.iter().flat_map(|series| &series.instances);
    let files: Vec<PathBuf> = instances
        .map(|uid| folder.path().join(format!("{uid}.dcm")))
        .collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (stored, log) = storescu(&cluster.service, "CT1", &["-aec", title], &files);
    assert!(stored, "{log}");
}

#[test]
fn what_is_acquired_at_one_comes_to_all_that_hold_the_study_and_is_told_once() {
    let study = study(3);
    let (a, b) = two(&study, |place| place == 0);
    let c = keeper("SITEC", &[&part(&study, |place| place == 0)]);
    link(&b, "SITEB", &c, "SITEC", &study);
    for cluster in [&a, &b, &c] {
        cluster.change(|configuration| {
            set(configuration, "updates.quiet", "10ms");
            set(configuration, "prefetch.on_arrival", "on");
            set(configuration, "prefetch.quiet_time", "10ms");
            configuration.stations.push(station("CT1", 104));
        });
    }
    let mut new = part(&study, |place| place == 0);
    for series in &mut new.series {
        series.instances = vec![format!("{}.99", series.uid)];
    }
    send(&a, "SITEA", &new);
    for cluster in [&b, &c] {
        wait_for("the new objects", || {
            has(cluster, &study) == 4 && due(cluster).is_empty()
        });
    }
    for cluster in [&a, &b, &c] {
        wait_until_told(cluster);
    }
    let is_new = |uid: &String| new.series.iter().any(|series| series.instances.contains(uid));
    let told = |cluster| {
        announced(cluster, &study)
            .iter()
            .filter(|uid| is_new(uid))
            .count()
    };
    assert_eq!(
        [told(&a), told(&b), told(&c)],
        [2, 0, 0],
        "what was pulled is no news"
    );
    // What was pulled into it makes no visitor of a study: its priors are looked for.
    for series in &mut new.series {
        series.instances = vec![format!("{}.100", series.uid)];
    }
    send(&b, "SITEB", &new);
    wait_for("an arrival with its priors", || {
        b.service.process.output().contains("have arrived")
    });
    wait_for("the way back", || has(&a, &study) == 10 && has(&c, &study) == 6);
}

#[test]
fn an_archive_that_is_asked_for_new_objects_has_none_by_what_was_pulled_into_it() {
    let mut study = study(3);
    study.date = ZonedDateTime::now().strftime("%Y%m%d").to_string();
    let (a, b) = (keeper("SITEA", &[&study]), Cluster::start("SITEB"));
    let orthanc = Orthanc::start("ORTHANC", [&part(&study, |place| place == 0)]);
    b.change(|configuration| {
        set(configuration, "updates.poll", "100ms");
        set(configuration, "issuer", study.patient.issuer);
        configuration
            .stations
            .push(archive("ORTHANC", "ORTHANC", orthanc.port));
    });
    link(&a, "SITEA", &b, "SITEB", &study);
    let is_known = |instances: u32| {
        let polled = b.store().polled(&"ORTHANC".parse().unwrap()).unwrap();
        let mut studies = polled.into_iter().flat_map(|(_, studies)| studies);
        studies.any(|seen| seen.known == instances && !seen.has_news())
    };
    wait_for("the study to be known", || is_known(2));
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    wait_for("all of the study to be known", || is_known(6));
    assert_eq!(announced(&b, &study), Vec::<String>::new());
}
