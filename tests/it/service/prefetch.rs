//! Priors that the service brings by itself: of what arrives, of who is scheduled, of what others queue.
//!
//! Invariant: the archive tells what has come.

use std::path::Path;

use impaxlink::model::{Configuration, Station};
use impaxlink::service::control;
use impaxlink::store::{Access, JobFilter, Store};

use super::store::{embedded, storescu};
use crate::support::archive_options::ArchiveOptions;
use crate::support::cluster::{chest_ct, expected, held, tomorrow};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::process::free_port;
use crate::support::service::{PATIENCE, Service, set, station, wait_for};
use crate::support::sites::linked;
use crate::support::studies::Study;
use crate::support::wlmscpfs::Wlmscpfs;

/// A service with an embedded archive, that knows the modality CT1.
fn service() -> Service {
    Service::start_with(|configuration| {
        configuration.stations = vec![embedded(), station("CT1", free_port())];
        set(configuration, "issuer", "NORTH");
        set(configuration, "prefetch.quiet_time", "100ms");
    })
}

/// A source that moves studies to the service.
fn siteb<'a>(service: &Service, studies: impl IntoIterator<Item = &'a Study>) -> Dcmqrscp {
    let options = ArchiveOptions {
        move_destinations: vec![("IMPAXLINK", service.port)],
        ..ArchiveOptions::new("SITEB")
    };
    Dcmqrscp::start_with(&options, studies)
}

fn source(port: u16) -> Station {
    let mut siteb = linked("SITEB", "SITEB", port);
    siteb.links.prefetching = true;
    siteb.issuers = vec!["NORTH".parse().unwrap()];
    siteb
}

fn reload(service: &Service, edit: impl FnOnce(&mut Configuration)) {
    service.save(edit);
    control::reload(&service.env.store(), PATIENCE).expect("a reload");
}

fn send(service: &Service, study: &Study) {
    let folder = tempfile::tempdir_in(service.env.path()).unwrap();
    study.write_files(folder.path());
    let instances = study.series.iter().flat_map(|series| &series.instances);
    let files: Vec<_> = instances
        .map(|uid| folder.path().join(format!("{uid}.dcm")))
        .collect();
    let files: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
    let (stored, log) = storescu(service, "CT1", &[], &files);
    assert!(stored, "{log}");
}

#[test]
fn the_priors_of_what_arrives_are_brought_and_none_of_visitors() {
    let service = service();
    let (one, other) = (chest_ct("4711", 2026, 2), chest_ct("4712", 2026, 2));
    let (prior, of_prior) = (chest_ct("4711", 2025, 3), chest_ct("4711", 2020, 2));
    let of_other = chest_ct("4712", 2025, 1);
    let siteb = siteb(&service, [&prior, &of_prior, &of_other]);
    reload(&service, |configuration| {
        configuration.stations.push(source(siteb.port));
        set(configuration, "prefetch.on_arrival", "on");
    });
    send(&service, &one);
    wait_for("the prior", || held(&service.env) == expected([&one, &prior]));
    // By the time that this one's prior is here, the visitor has been quiet for long enough as well.
    send(&service, &other);
    let all = expected([&one, &prior, &other, &of_other]);
    wait_for("the prior of the other", || held(&service.env) == all);
    let store = Store::open(&service.env.store(), Access::ReadOnly).unwrap();
    assert_eq!(store.prefetch_jobs(&JobFilter::default()).unwrap().len(), 2);
    let copies = store.copies(&prior.uid.parse().unwrap()).unwrap();
    assert_eq!(
        (copies.len(), copies[0].purpose.as_str(), copies[0].instances),
        (1, "prefetch", 3)
    );
}

#[test]
fn who_is_scheduled_has_their_priors_here_and_what_is_queued_is_brought() {
    let service = service();
    let (scheduled, queued) = (chest_ct("4711", 2025, 2), chest_ct("4712", 2025, 2));
    let siteb = siteb(&service, [&scheduled, &queued]);
    let worklist = Wlmscpfs::start("WORKLIST", &tomorrow(&["4711"]));
    let mut ris = station("RIS", worklist.port);
    ris.ae_title = worklist.ae_title.parse().unwrap();
    reload(&service, |configuration| {
        configuration.stations.extend([source(siteb.port), ris]);
        set(configuration, "prefetch.worklist.station", "RIS");
        set(configuration, "prefetch.worklist.poll", "1h");
    });
    wait_for("the prior", || held(&service.env) == expected([&scheduled]));
    let arguments = ["prefetch", "--patient-id", "4712", "--enqueue-only"];
    service.env.impaxlink(&arguments).success();
    let all = expected([&scheduled, &queued]);
    wait_for("the prior that was queued", || held(&service.env) == all);
}
