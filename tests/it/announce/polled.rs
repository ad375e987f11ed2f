//! What is new in archives that are not ours is found by asking them, and told when it has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use impaxlink::link::EmbeddedArchive;
use impaxlink::link::tls::LinkTls;
use impaxlink::model::{CrossReference, NewObjects, NewSeries, StudyPatient};
use impaxlink::store::{Copy, Draft, PolledStudy, Purpose, SharedStore};
use impaxlink::updates::poll::{Poll, Polled};
use jiff::civil::Date;
use jiff::{Timestamp, ZonedDateTime};

use super::{ISSUERS, named, objects, told};
use crate::support::clusters::{Cluster, tester};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step, a_match};
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{part, study};
use crate::support::service::{block_on, set, wait_for};
use crate::support::sites;
use crate::support::studies::Study;

fn today() -> Date {
    ZonedDateTime::now().date()
}

/// A study of today, of two series of so many instances; its UIDs end in `number`.
fn acquired(number: u32, instances: usize) -> Study {
    let mut study = study(instances);
    let own = |uid: &str| format!("{uid}.{number}");
    study.date = today().strftime("%Y%m%d").to_string();
    study.uid = own(&study.uid);
    for series in &mut study.series {
        series.uid = own(&series.uid);
        series.instances = series.instances.iter().map(|uid| own(uid)).collect();
    }
    study
}

/// A cluster that asks its archive PACS all the time, and one that takes its updates.
fn two(ae_title: &str, port: u16) -> (Cluster, Cluster) {
    let (a, b) = (Cluster::start("IMPAXLINK"), Cluster::start("SITEB"));
    b.knows(vec![a.door("IMPAXLINK", ISSUERS)]);
    a.change(|configuration| {
        set(configuration, "updates.poll", "100ms");
        set(configuration, "issuer", "NORTH");
        let pacs = sites::archive("PACS", ae_title, port);
        configuration.stations = vec![pacs, b.door("SITEB", ISSUERS)];
    });
    (a, b)
}

fn seen(cluster: &Cluster) -> Option<BTreeMap<String, PolledStudy>> {
    let polled = cluster.store().polled(&"PACS".parse().unwrap()).unwrap();
    let studies = polled?.1.into_iter();
    Some(studies.map(|study| (study.study.to_string(), study)).collect())
}

/// Waits until so many instances of a study have been seen and are no news any more.
fn wait_until_known(cluster: &Cluster, study: &Study, instances: usize) {
    wait_for("the study to be known", || {
        let seen = seen(cluster).unwrap_or_default();
        seen.get(&study.uid)
            .is_some_and(|seen| seen.known as usize == instances && !seen.has_news())
    });
}

/// Sends a study to an archive as a modality does.
fn grow(cluster: &Cluster, folder: &str, (ae_title, port): (&str, u16), study: &Study) {
    let files: Vec<PathBuf> = super::files(cluster, folder, study);
    let sent = Command::new("storescu")
        .env("TCP_NODELAY", "1")
        .args(["-aet", "CT1", "-aec", ae_title, "127.0.0.1", &port.to_string()])
        .args(files)
        .output()
        .expect("storescu runs (package dcmtk)");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// A study that was there, one that comes, and growth of one series of the first.
fn new_and_grown_studies_are_told(archive: (&'static str, u16), of_before: &Study) {
    let (a, b) = two(archive.0, archive.1);
    wait_until_known(&a, of_before, 4);
    let new = acquired(7, 3);
    grow(&a, "new", archive, &new);
    wait_for("the new study", || named(&told(&b, &new)) == objects(&new));
    assert_eq!(told(&b, &new)[0].patient.id, new.patient.id);
    assert!(told(&a, of_before).is_empty());

    let mut grown = of_before.clone();
    grown.series.truncate(1);
    grow(&a, "grown", archive, &grown);
    // Which objects of a series are the new ones its count can't tell; of the other series nothing is said.
    wait_for("the growth", || named(&told(&b, of_before)) == objects(&grown));
    wait_until_known(&a, of_before, 6);
    let of_new = told(&b, &new);
    let retrieve_from = &of_new[0].new_objects.as_ref().unwrap().retrieve_from;
    assert_eq!(retrieve_from.as_str(), "IMPAXLINK");
}

#[test]
fn of_orthanc() {
    let before = acquired(1, 4);
    let orthanc = Orthanc::start("ORTHANC", [&part(&before, |number| number < 2)]);
    new_and_grown_studies_are_told(("ORTHANC", orthanc.port), &before);
}

#[test]
fn of_dcmqrscp() {
    let before = acquired(1, 4);
    let dcmqrscp = Dcmqrscp::start("DCMQRSCP", [&part(&before, |number| number < 2)]);
    new_and_grown_studies_are_told(("DCMQRSCP", dcmqrscp.port), &before);
}

#[test]
fn an_archive_that_did_not_answer_for_a_while_costs_nothing_and_says_nothing_wrong() {
    let before = acquired(1, 2);
    let orthanc = Orthanc::start("ORTHANC", [&before]);
    let (a, b) = two("ORTHANC", orthanc.port);
    wait_until_known(&a, &before, 4);
    drop(orthanc);
    let warned = "PACS was not looked through for new objects";
    wait_for("a warning", || a.service.process.output().contains(warned));
    // The reason changes when the archive is asked again: first it hangs up, then it is not there.
    wait_for("the same reason in each format", || {
        let status = a.service.env.impaxlink(&["status", "--json"]).json();
        let links = status["links"].as_array().unwrap();
        let pacs = links.iter().find(|link| link["station"] == "PACS").unwrap();
        let why = pacs["poll_detail"].as_str().unwrap().to_owned();
        a.service.env.impaxlink(&["status"]).success().contains(&why)
    });
    let state = seen(&a);
    let new = acquired(2, 2);
    let orthanc = Orthanc::start("ORTHANC", [&before, &new]);
    assert_eq!(seen(&a), state);
    let port = orthanc.port.try_into().unwrap();
    a.change_station("PACS", |station| station.endpoint.as_mut().unwrap().port = port);
    wait_for("the new study", || named(&told(&b, &new)) == objects(&new));
    assert_eq!(told(&a, &before), []);
    assert_eq!(a.service.status().poll_troubles.len(), 0);
    // Once as it goes, and once as it is not there.
    assert!(a.service.process.output().matches(warned).count() <= 2);
}

#[test]
fn what_was_brought_there_or_is_named_already_is_no_news() {
    let orthanc = Orthanc::start("ORTHANC", []);
    let (a, _b) = two("ORTHANC", orthanc.port);
    wait_for("the first sight", || seen(&a).is_some());
    let (visitor, pulled) = (acquired(2, 2), acquired(3, 2));
    let copy = Copy {
        study_instance_uid: visitor.uid.parse().unwrap(),
        station: "PACS".parse().unwrap(),
        source: "SITEB".parse().unwrap(),
        at: Timestamp::now(),
        instances: 0,
        purpose: Purpose::Retrieve,
        patient: None,
    };
    a.store().begin_copy(&copy, 0).unwrap();
    let series = &pulled.series[0];
    let objects_named = series.instances.iter().map(|uid| (None, uid.parse().unwrap()));
    let draft = Draft {
        study: pulled.uid.parse().unwrap(),
        patient: StudyPatient {
            id: pulled.patient.id.clone(),
            issuer: Some("NORTH".parse().unwrap()),
        },
        wanted: BTreeMap::new(),
        is_correction: false,
        new_objects: Some(NewObjects {
            retrieve_from: "SITEB".parse().unwrap(),
            series: vec![NewSeries {
                series: series.uid.parse().unwrap(),
                objects: objects_named.collect(),
            }],
        }),
        review: None,
    };
    a.store().make_updates(&tester(), &[draft]).unwrap();
    grow(&a, "visitor", ("ORTHANC", orthanc.port), &visitor);
    grow(&a, "pulled", ("ORTHANC", orthanc.port), &pulled);
    wait_until_known(&a, &visitor, 4);
    wait_until_known(&a, &pulled, 4);
    assert_eq!(told(&a, &visitor), []);
    let updates = told(&a, &pulled);
    assert_eq!(updates.len(), 2);
    let rest = objects(&Study {
        series: vec![pulled.series[1].clone()],
        ..pulled.clone()
    });
    assert_eq!(named(&updates[1..]), rest);
}

#[test]
fn where_nobody_takes_updates_what_was_seen_is_forgotten() {
    let before = acquired(1, 2);
    let orthanc = Orthanc::start("ORTHANC", [&before]);
    let (a, b) = two("ORTHANC", orthanc.port);
    wait_until_known(&a, &before, 4);
    a.change_station("SITEB", |station| station.links.cluster_updates = false);
    wait_for("nothing to be kept", || seen(&a).is_none());
    let meanwhile = acquired(2, 1);
    grow(&a, "meanwhile", ("ORTHANC", orthanc.port), &meanwhile);
    a.change_station("SITEB", |station| station.links.cluster_updates = true);
    wait_until_known(&a, &meanwhile, 2);
    assert!(told(&a, &meanwhile).is_empty() && told(&b, &meanwhile).is_empty());
}

/// One poll of an archive at that port.
fn poll(cluster: &Cluster) -> Result<Polled, String> {
    let store = cluster.store();
    let configuration = Arc::new(store.configuration().unwrap());
    let poll = Poll {
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(store.path()),
        configuration,
        cross_reference: Arc::new(CrossReference::default()),
        turns: None,
        store: SharedStore::of(store),
        attribution: tester(),
    };
    block_on(poll.run(0, today())).map_err(|error| error.to_string())
}

fn sight(study: &Study, instances: &str) -> Step {
    a_match(&[
        ("QueryRetrieveLevel", "STUDY"),
        ("StudyInstanceUID", &study.uid),
        ("StudyDate", &study.date),
        ("PatientID", &study.patient.id),
        ("IssuerOfPatientID", "NORTH"),
        ("NumberOfStudyRelatedInstances", instances),
    ])
}

#[test]
fn an_answer_that_was_cut_short_changes_nothing() {
    let (one, other) = (acquired(1, 2), acquired(2, 2));
    let accept = || Step::Accept(Acceptance::default());
    let cut_short = vec![
        accept(),
        Step::AwaitRequest,
        sight(&one, "4"),
        Step::End(0xA700, ""),
    ];
    let first_sight = vec![
        accept(),
        Step::AwaitRequest,
        sight(&one, "4"),
        Step::End(0, ""),
        Step::AwaitRequest,
        a_match(&[
            ("SeriesInstanceUID", &one.series[0].uid),
            ("NumberOfSeriesRelatedInstances", "4"),
        ]),
        Step::End(0, ""),
    ];
    let new_cut_short = vec![
        accept(),
        Step::AwaitRequest,
        sight(&one, "5"),
        sight(&other, "4"),
        Step::Abort,
    ];
    let peer = FakePeer::in_turn(vec![cut_short, first_sight, new_cut_short]);
    let mut a = Cluster::start("IMPAXLINK");
    a.kill();
    a.service.save(|configuration| {
        configuration.stations = vec![sites::archive("PACS", "PACS_QR", peer.port)];
    });
    poll(&a).unwrap_err();
    assert_eq!(seen(&a), None);
    poll(&a).unwrap();
    let state = seen(&a).unwrap();
    let known: BTreeSet<u32> = state.values().map(|study| study.known).collect();
    assert_eq!((state.len(), known), (1, BTreeSet::from([4])));
    poll(&a).unwrap_err();
    assert_eq!(seen(&a).unwrap(), state);
}
