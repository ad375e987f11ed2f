//! The list of arrivals through crashes and a new index, and what of it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, ArrivedStudy, Outcome, reindex};
use impaxlink::dimse::TransferSyntax;
use impaxlink::model::{AeTitle, NewObjects, NewSeries, StudyPatient};
use impaxlink::store::{Copy, Draft, Purpose, Store};
use impaxlink::updates::announce::{Announced, Arrivals};
use jiff::Timestamp;
use tempfile::TempDir;

use super::embedded;
use crate::support::archive::{Object, new_archive};
use crate::support::clusters::tester;
use crate::support::env::Env;
use crate::support::service::{save, set};
use crate::support::sites;

const SYNTAX: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;

/// Stores an object that was acquired, sent by `sender`.
fn acquire(archive: &Archive, object: &Object, sender: &str) {
    let mut announced = object.announced(SYNTAX.uid());
    announced.source = Some(sender.parse().unwrap());
    let mut incoming = archive.acquire(announced).unwrap();
    incoming.write(&object.bytes(SYNTAX)).unwrap();
    assert_eq!(incoming.finish().unwrap(), Outcome::Stored);
}

/// What is listed: the study, its objects, and whether they were adopted.
fn listed(archive: &Archive) -> Vec<(ArrivedStudy, Vec<(String, bool)>)> {
    let studies = archive.quiet_arrivals(Duration::ZERO).unwrap().into_iter();
    let objects = |study: &ArrivedStudy| {
        let arrivals = archive.arrivals(study, 100).unwrap().into_iter();
        let objects = arrivals.map(|arrival| (arrival.sop_instance_uid.to_string(), arrival.is_adopted));
        objects.collect()
    };
    studies.map(|study| (study.clone(), objects(&study))).collect()
}

fn objects(archive: &Archive) -> Vec<(String, bool)> {
    listed(archive)
        .into_iter()
        .flat_map(|(_, objects)| objects)
        .collect()
}

fn instance(number: usize) -> String {
    Object::new(number).value(tags::SOP_INSTANCE_UID).to_owned()
}

/// Has the index lose an instance as a power cut does: its file is there, in a folder that is in use.
fn lose(folder: &TempDir, number: usize) {
    let index = rusqlite::Connection::open(folder.path().join("archive/index.db")).unwrap();
    index.pragma_update(None, "foreign_keys", true).unwrap();
    let gone = index.execute("DELETE FROM instance WHERE uid = ?1", [instance(number)]);
    assert_eq!(gone, Ok(1));
    index.execute("UPDATE folder SET in_use = 1", []).unwrap();
}

#[test]
fn a_new_index_lists_what_the_old_one_did_and_nothing_else() {
    let (folder, archive) = new_archive();
    for number in 1..=3 {
        Object::new(number).store(&archive).unwrap();
    }
    acquire(&archive, &Object::new(4), "CT1");
    drop(archive);
    // What the index lost with the power may have been acquired.
    lose(&folder, 2);
    reindex(&folder.path().join("archive"), |_| {}).unwrap();
    let archive = Archive::open(&folder.path().join("archive")).unwrap();
    assert_eq!(archive.stats().unwrap().instances, 4);
    let listed: BTreeSet<_> = objects(&archive).into_iter().collect();
    assert_eq!(
        listed,
        BTreeSet::from([(instance(2), true), (instance(4), false)])
    );
}

#[test]
fn what_the_index_lost_with_the_power_is_listed_as_adopted() {
    let (folder, archive) = new_archive();
    acquire(&archive, &Object::new(1), "CT1");
    Object::new(2).store(&archive).unwrap();
    drop(archive);
    lose(&folder, 1);
    let archive = Archive::open(&folder.path().join("archive")).unwrap();
    assert_eq!(archive.recovered().adopted, 1);
    assert_eq!(objects(&archive), [(instance(1), true)]);
    let holding = archive
        .holding(&listed(&archive)[0].0.study_instance_uid)
        .unwrap();
    assert!(archive.remove(&holding).unwrap());
    assert_eq!(listed(&archive), [], "what is removed is no arrival");
}

/// A store whose cluster has an embedded archive, another one and a linked station that takes its updates.
fn store(issuer: Option<&str>) -> (Env, Store) {
    let env = Env::new();
    save(&env, |configuration| {
        set(configuration, "updates.quiet", "1ms");
        if let Some(issuer) = issuer {
            set(configuration, "issuer", issuer);
        }
        let mut linked = sites::linked("SITEB", "SITEB", 104);
        linked.links.cluster_updates = true;
        configuration.stations = vec![embedded(), sites::archive("PACS", "PACS_QR", 105), linked];
    });
    let store = Store::open(&env.store(), impaxlink::store::Access::ReadWrite).unwrap();
    (env, store)
}

/// Tells of all that is listed.
fn announce(store: &Store, archive: &Archive) -> Announced {
    let configuration = store.configuration().unwrap();
    let arrivals = Arrivals {
        store,
        archive,
        configuration: &configuration,
    };
    let mut all = Announced::default();
    for (study, _) in listed(archive) {
        let announced = arrivals.announce(&study, &embedded(), &tester()).unwrap();
        all.updates += announced.updates;
        all.objects += announced.objects;
        all.of_nobody += announced.of_nobody;
    }
    assert_eq!(listed(archive), []);
    all
}

#[test]
fn what_an_update_names_already_is_not_told_again() {
    let (_env, store) = store(Some("NORTH"));
    let (_folder, archive) = new_archive();
    let study = Object::new(1);
    let second = Object::new(2)
        .with(tags::STUDY_INSTANCE_UID, study.value(tags::STUDY_INSTANCE_UID))
        .with(tags::PATIENT_ID, "P1");
    acquire(&archive, &study, "CT1");
    acquire(&archive, &second, "CT1");
    // As a crash leaves it: the update is kept, and the object still on the list.
    let arrived = archive.quiet_arrivals(Duration::ZERO).unwrap();
    let first = &archive.arrivals(&arrived[0], 1).unwrap()[0];
    let draft = Draft {
        study: arrived[0].study_instance_uid.clone(),
        patient: StudyPatient {
            id: "P1".to_owned(),
            issuer: Some("NORTH".parse().unwrap()),
        },
        wanted: BTreeMap::new(),
        is_correction: false,
        new_objects: Some(NewObjects {
            retrieve_from: "IMPAXLINK".parse().unwrap(),
            series: vec![NewSeries {
                series: first.series_instance_uid.clone(),
                objects: vec![(None, first.sop_instance_uid.clone())],
            }],
        }),
        review: None,
    };
    store.make_updates(&tester(), &[draft]).unwrap();
    let announced = announce(&store, &archive);
    assert_eq!((announced.updates, announced.objects), (1, 1));
    assert_eq!(
        store
            .logged_updates(&arrived[0].study_instance_uid)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn copies_are_told_from_what_was_acquired_also_after_a_crash() {
    let (_env, store) = store(Some("NORTH"));
    let (folder, archive) = new_archive();
    let brought = |number: usize, source: &str| {
        let study = Object::new(number)
            .value(tags::STUDY_INSTANCE_UID)
            .parse()
            .unwrap();
        let copy = Copy {
            study_instance_uid: study,
            station: "OWN".parse().unwrap(),
            source: source.parse().unwrap(),
            at: Timestamp::now(),
            instances: 0,
            purpose: Purpose::Retrieve,
            patient: None,
        };
        store.begin_copy(&copy, 0).unwrap();
    };
    // By another archive of the house, and then by a modality.
    brought(1, "PACS");
    acquire(&archive, &Object::new(1), "PACS_QR");
    brought(2, "PACS");
    acquire(&archive, &Object::new(2), "CT1");
    // Lost by the index: from a linked station, from another archive, and from a modality.
    acquire(&archive, &Object::new(3), "SITEB");
    brought(4, "PACS");
    acquire(&archive, &Object::new(4), "PACS_QR");
    acquire(&archive, &Object::new(5), "CT1");
    drop(archive);
    (3..=5).for_each(|number| lose(&folder, number));
    let archive = Archive::open(&folder.path().join("archive")).unwrap();
    assert_eq!(objects(&archive).len(), 5);
    let announced = announce(&store, &archive);
    assert_eq!(
        (announced.updates, announced.objects, announced.of_nobody),
        (2, 2, 0)
    );
    for number in 1..=5 {
        let study = Object::new(number)
            .value(tags::STUDY_INSTANCE_UID)
            .parse()
            .unwrap();
        let logged = store.logged_updates(&study).unwrap().len();
        assert_eq!(logged, usize::from([2, 5].contains(&number)), "{number}");
    }
}

#[test]
fn an_object_whose_issuer_nobody_knows_is_told_to_nobody() {
    let (_env, store) = store(None);
    let (_folder, archive) = new_archive();
    acquire(&archive, &Object::new(1), "CT1");
    acquire(&archive, &Object::new(2).with(tags::PATIENT_ID, ""), "CT1");
    let with_issuer = Object::new(3).with(tags::ISSUER_OF_PATIENT_ID, "SOUTH");
    acquire(&archive, &with_issuer, "CT1");
    let announced = announce(&store, &archive);
    assert_eq!((announced.updates, announced.of_nobody), (1, 2));
    let title: AeTitle = "IMPAXLINK".parse().unwrap();
    let study = with_issuer.value(tags::STUDY_INSTANCE_UID).parse().unwrap();
    let logged = &store.logged_updates(&study).unwrap()[0].update;
    assert_eq!(logged.patient.issuer.as_ref().unwrap().as_str(), "SOUTH");
    assert_eq!(logged.new_objects.as_ref().unwrap().retrieve_from, title);
}
