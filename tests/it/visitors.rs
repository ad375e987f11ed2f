//! Visitors: what is on record of where a copy came from, and what becomes of it in the embedded archive.

use std::collections::BTreeMap;
use std::fs;

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Outcome};
use impaxlink::audit::{Event, EventKind};
use impaxlink::dimse::TransferSyntax;
use impaxlink::model::{AsideReason, FieldValue, Kind, StateField, Station, StudyPatient, Suspension};
use impaxlink::store::{Access, AuditFilter, Copy, Draft, Purpose, Store, StudyUse};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::support::archive::{Object, dicom_file, receive};
use super::support::env::Env;
use super::support::service::{self, set, wait_for};
use super::support::store::{StoreFolder, jdoe, save, station};

const STUDY: &str = "1.2.840.1";

fn copy(source: &str, instances: u64, at: Timestamp) -> Copy {
    Copy {
        study_instance_uid: STUDY.parse().unwrap(),
        station: "OWN".parse().unwrap(),
        source: source.parse().unwrap(),
        at,
        instances,
        purpose: Purpose::Retrieve,
        patient: None,
    }
}

fn own() -> Station {
    let mut own = Station::new("OWN".parse().unwrap(), "NORTH".parse().unwrap(), None);
    own.kind = Kind::Archive;
    own
}

fn linked(name: &str, cluster: &str) -> Station {
    let mut linked = station(name);
    linked.cluster = Some(cluster.parse().unwrap());
    linked.links.cluster_linking = true;
    linked
}

fn with_stations(store: &Store) {
    save(store, |configuration| {
        configuration.stations = vec![
            own(),
            linked("B1", "Harbour"),
            linked("B2", "Harbour"),
            station("C"),
        ];
    });
}

#[test]
fn a_use_renews_what_is_on_record_and_nothing_else() {
    let folder = StoreFolder::new();
    let store = folder.open();
    with_stations(&store);
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    store.record_copy(&copy("B1", 7, at)).unwrap();
    let used = |uid: &str, seconds| StudyUse {
        study_instance_uid: uid.parse().unwrap(),
        at: at + SignedDuration::from_secs(seconds),
    };
    store
        .note_uses(&[used(STUDY, 90), used("1.2.3", 95), used(STUDY, 60)])
        .unwrap();
    let copies = store.copies(&STUDY.parse().unwrap()).unwrap();
    assert_eq!(copies[0].last_use, Some(used(STUDY, 90).at));
    assert_eq!(copies[0].last_activity(), used(STUDY, 90).at);
    assert_eq!(copies.len(), 1);
    assert!(store.copies(&"1.2.3".parse().unwrap()).unwrap().is_empty());
}

#[test]
fn each_source_of_a_copy_is_on_record() {
    let folder = StoreFolder::new();
    let store = folder.open();
    with_stations(&store);
    let began = Timestamp::from_second(1_700_000_000).unwrap();
    let later = began + SignedDuration::from_secs(60);
    // The second source finds what the first has brought: that was not there before.
    store.begin_copy(&copy("B1", 99, began), 2).unwrap();
    store.record_copy(&copy("B1", 7, later)).unwrap();
    store.begin_copy(&copy("C", 0, later), 9).unwrap();
    let copies = store.copies(&STUDY.parse().unwrap()).unwrap();
    let [first, second] = &copies[..] else {
        panic!("{copies:?}")
    };
    assert!(first.is_embedded);
    assert_eq!(
        first.cluster.as_ref().map(|cluster| cluster.as_str()),
        Some("Harbour")
    );
    let titles: Vec<&str> = first.source_titles.iter().map(|title| title.as_str()).collect();
    assert_eq!(titles, ["B1", "B2"]);
    assert_eq!((first.first_brought, first.last_brought), (began, later));
    assert_eq!((first.instances, first.held_before), (7, 2));
    assert_eq!((second.source.as_str(), second.held_before), ("C", 2));
    assert_eq!(second.cluster, None);
    // On record for whoever opens the store next, also where the configuration forgets the source.
    save(&store, |configuration| configuration.stations.clear());
    drop(store);
    assert_eq!(folder.open().copies(&STUDY.parse().unwrap()).unwrap(), copies);
    assert!(
        folder
            .open()
            .copies(&"1.2.3".parse().unwrap())
            .unwrap()
            .is_empty()
    );
}

/// A cluster with an embedded archive and a study of three that B1 gave to it, a thousand seconds ago.
struct Site {
    env: Env,
    archive: Archive,
}

/// An instance of the study.
fn instance(number: usize) -> Object {
    Object::new(number).with(tags::STUDY_INSTANCE_UID, STUDY)
}

fn long_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(1000)
}

impl Site {
    fn new(keep: &str) -> Self {
        let env = Env::new();
        service::save(&env, |configuration| {
            configuration.stations = vec![
                own(),
                linked("B1", "Harbour"),
                linked("B2", "Harbour"),
                station("C"),
            ];
            set(configuration, "prefetch.keep", keep);
            set(configuration, "listen", "127.0.0.1:0");
        });
        let archive = Archive::open(&env.store().with_file_name("archive")).unwrap();
        let site = Site { env, archive };
        site.bring("B1", long_ago());
        site
    }

    fn store(&self) -> Store {
        Store::open(&self.env.store(), Access::ReadWrite).unwrap()
    }

    /// What a retrieve from B1 does, with its objects sent by another station of the same cluster.
    fn bring(&self, source: &str, at: Timestamp) {
        let store = self.store();
        let held = self.archive.instances(STUDY, None).unwrap().len() as u64;
        store.begin_copy(&copy(source, 0, at), held).unwrap();
        (0..3).for_each(|number| self.receive(instance(number), "B2"));
        store.record_copy(&copy(source, 3, at)).unwrap();
    }

    fn receive(&self, object: Object, sender: &str) {
        let syntax = TransferSyntax::ExplicitVrLittleEndian;
        let mut announced = object.announced(syntax.uid());
        announced.source = Some(sender.parse().unwrap());
        let incoming = receive(&self.archive, announced, &object.bytes(syntax)).unwrap();
        incoming.finish().unwrap();
    }

    fn instances(&self) -> usize {
        self.archive.instances(STUDY, None).unwrap().len()
    }

    /// What `archive expire` says of the study.
    fn expire(&self, options: &[&str]) -> Vec<Value> {
        let run = self
            .env
            .impaxlink(&[&["archive", "expire", "--json"], options].concat());
        run.success();
        run.json()["items"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn stays(&self, why: &str) {
        let items = self.expire(&[]);
        assert_eq!(items.len(), 1, "{items:?}");
        assert_eq!(items[0]["expired"], false, "{items:?}");
        assert!(items[0]["stays"].as_str().unwrap().contains(why), "{items:?}");
        assert!(self.instances() >= 3);
    }

    /// The service, which finds a free port.
    fn serve(&self) -> super::support::process::Process {
        service::start(&self.env)
    }
}

#[test]
fn a_visitor_expires_and_can_be_brought_again() {
    let site = Site::new("500s");
    Object::new(77).store(&site.archive).unwrap();
    let items = site.expire(&["--dry-run"]);
    assert_eq!(
        (&items[0]["expired"], &items[0]["stays"]),
        (&Value::Bool(false), &Value::Null)
    );
    assert_eq!(site.instances(), 3);

    let items = site.expire(&[]);
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["study_instance_uid"], STUDY);
    assert_eq!(items[0]["sources"][0], "B1");
    assert_eq!(
        (&items[0]["instances"], &items[0]["expired"]),
        (&Value::from(3), &Value::Bool(true))
    );
    assert_eq!(site.instances(), 0);
    assert_eq!(
        site.archive.stats().unwrap().instances,
        1,
        "the cluster's own study is untouched"
    );
    let store = site.store();
    let [record] = &store.copies(&STUDY.parse().unwrap()).unwrap()[..] else {
        panic!()
    };
    assert!(record.expired_at.is_some());
    let filter = AuditFilter {
        kind: Some(EventKind::Expired),
        ..AuditFilter::default()
    };
    let [audited] = &store.audit_records(&filter).unwrap()[..] else {
        panic!()
    };
    let Event::Expired(expired) = audited.event().unwrap() else {
        panic!()
    };
    assert_eq!(
        (expired.study_instance_uid.as_str(), expired.instances),
        (STUDY, 3)
    );
    assert_eq!(audited.attribution.command, "impaxlink archive expire --json");
    store.verify_audit(None).unwrap();
    let audit = site.env.impaxlink(&["audit", "list"]);
    assert!(
        audit
            .success()
            .contains("visitor 1.2.840.1 from B1 expired, 3 instances"),
        "{audit:#?}"
    );
    assert_eq!(site.expire(&[]), Vec::<Value>::new(), "once");

    site.bring("B1", long_ago());
    let [record] = &store.copies(&STUDY.parse().unwrap()).unwrap()[..] else {
        panic!()
    };
    assert_eq!(
        (record.instances, record.expired_at, record.held_before),
        (3, None, 0)
    );
    assert_eq!(site.expire(&[])[0]["expired"], true);
    assert_eq!(site.instances(), 0);
}

#[test]
fn a_visitor_stays_for_as_long_as_it_is_kept() {
    let site = Site::new("1d");
    assert_eq!(site.expire(&[]), Vec::<Value>::new());
    let run = site.env.impaxlink(&["config", "set", "prefetch.keep", "0d"]);
    run.fails_with(2, "it is a number of days like 30d");
    site.env
        .impaxlink(&["config", "set", "prefetch.keep", "500s"])
        .success();
    assert_eq!(site.expire(&[])[0]["expired"], true);
}

#[test]
fn what_was_changed_here_is_at_home_for_good() {
    let site = Site::new("500s");
    site.receive(instance(3), "CT1");
    site.stays("CT1 sent a part of it");
    assert_eq!(site.expire(&[]), Vec::<Value>::new(), "it is looked at once");

    let site = Site::new("500s");
    let file = site.env.path().join("more.dcm");
    fs::write(&file, dicom_file(&instance(3))).unwrap();
    site.env
        .impaxlink(&["archive", "import", file.to_str().unwrap()])
        .success();
    site.stays("imported");

    // Sent here by its home cluster before anybody asked for it: only what is missing was brought.
    let site = Site::new("500s");
    site.expire(&[]);
    site.receive(instance(0), "B1");
    site.bring("B1", long_ago());
    site.stays("was here before");
}

#[test]
fn what_was_said_of_it_here_makes_it_this_clusters() {
    let site = Site::new("500s");
    let (field, text) = (StateField::InterpretationStatus, "APPROVED");
    let draft = Draft {
        study: STUDY.parse().unwrap(),
        patient: StudyPatient {
            id: "P0".to_owned(),
            issuer: None,
        },
        wanted: BTreeMap::from([(field, FieldValue::new(field, text).unwrap())]),
        is_correction: false,
        new_objects: None,
        review: None,
    };
    site.store().make_updates(&jdoe(), &[draft]).unwrap();
    site.stays("changed here");
    assert_eq!(site.expire(&[]), Vec::<Value>::new(), "for good");
}

#[test]
fn what_differs_and_is_kept_aside_is_for_somebody_to_look_at() {
    let site = Site::new("500s");
    let differing = instance(1).with(tags::PATIENT_COMMENTS, "other");
    let announced = differing.announced(TransferSyntax::ExplicitVrLittleEndian.uid());
    let bytes = differing.bytes(TransferSyntax::ExplicitVrLittleEndian);
    let incoming = receive(&site.archive, announced, &bytes).unwrap();
    assert_eq!(
        incoming.finish().unwrap(),
        Outcome::KeptAside(AsideReason::Differs)
    );
    site.stays("kept aside");
    site.stays("kept aside");
}

#[test]
fn what_could_not_be_fetched_again_stays() {
    let site = Site::new("500s");
    let change = |change: fn(&mut Station)| {
        service::save(&site.env, |configuration| {
            let stations = configuration.stations.iter_mut();
            stations
                .filter(|station| station.kind != Kind::Archive)
                .for_each(change);
        });
    };
    change(|station| station.links.cluster_linking = false);
    site.stays("B1 is not linked");
    change(|station| station.links.cluster_linking = true);
    change(|station| station.suspended = Some(Suspension::Indefinite));
    site.stays("B1 is suspended");
    change(|station| station.suspended = None);
    // Under another name it is the same station.
    site.env
        .impaxlink(&["station", "rename", "B1", "HARBOUR"])
        .success();
    assert_eq!(site.expire(&[])[0]["expired"], true);
}

#[test]
fn what_is_in_use_stays() {
    let site = Site::new("500s");
    let now = Timestamp::now();
    let store = site.store();
    let used = StudyUse {
        study_instance_uid: STUDY.parse().unwrap(),
        at: now,
    };
    store.note_uses(&[used]).unwrap();
    assert_eq!(site.expire(&[]), Vec::<Value>::new());
    assert_eq!(site.instances(), 3);
    // Brought from one cluster long ago, and from another just now.
    let site = Site::new("500s");
    site.store().begin_copy(&copy("C", 0, now), 3).unwrap();
    assert_eq!(site.expire(&[]), Vec::<Value>::new());
    assert_eq!(site.instances(), 3);
}

#[test]
fn what_a_broken_off_retrieve_left_expires_too() {
    let site = Site::new("500s");
    site.expire(&[]);
    site.store().begin_copy(&copy("B1", 0, long_ago()), 0).unwrap();
    site.receive(instance(0), "B1");
    assert_eq!(site.expire(&[])[0]["instances"], 1);
    assert_eq!(site.instances(), 0);
    // And where nothing has come, that is the end of it.
    site.store().begin_copy(&copy("B1", 0, long_ago()), 0).unwrap();
    assert_eq!(site.expire(&[])[0]["instances"], 0);
    assert_eq!(site.expire(&[]), Vec::<Value>::new());
}

#[test]
fn the_service_lets_visitors_expire_and_says_so_without_patient_data() {
    let site = Site::new("1s");
    let process = site.serve();
    wait_for("the visitor to go", || site.instances() == 0);
    site.bring("B1", Timestamp::now());
    wait_for("it to go again", || site.instances() == 0);
    wait_for("the log of it", || {
        process
            .output()
            .matches("visitor 1.2.840.1 from B1 has expired, 3 instances")
            .count()
            == 2
    });
    assert!(!process.output().contains("DOE"), "{}", process.output());
    let filter = AuditFilter {
        kind: Some(EventKind::Expired),
        ..AuditFilter::default()
    };
    let audited = site.store().audit_records(&filter).unwrap();
    assert!(
        audited
            .iter()
            .all(|record| record.attribution.command == "impaxlink serve")
    );
}

#[test]
fn the_service_and_commands_expire_at_once_and_each_visitor_goes_once() {
    let site = Site::new("3s");
    let _process = site.serve();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| site.expire(&[]));
            }
        });
        wait_for("the visitor to go", || site.instances() == 0);
        site.bring("B1", Timestamp::now());
    }
    wait_for("the last to go", || site.instances() == 0);
    let filter = AuditFilter {
        kind: Some(EventKind::Expired),
        ..AuditFilter::default()
    };
    let store = site.store();
    wait_for("each to be in the audit", || {
        store.audit_records(&filter).unwrap().len() == 3
    });
    let audited = store.audit_records(&filter).unwrap();
    for record in audited {
        assert!(record.detail.contains("\"instances\":3"), "{}", record.detail);
    }
}
