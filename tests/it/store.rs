//! The store by itself: what is saved is read back, and what can't be opened is told apart.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use impaxlink::audit::{Disclosure, Event, EventKind};
use impaxlink::model::{Fingerprint, Kind, Suspension};
use impaxlink::store::{
    Access, AuditFilter, ErrorClass, LinkOutcome, LinkReport, SaveError, ServiceLock, Store, StoreError,
};
use jiff::Timestamp;

use crate::support::store::{StoreFolder, jdoe, save, station, try_save};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_store_is_private_and_empty() {
    let folder = StoreFolder::new();
    let store = folder.open();
    assert_eq!(mode(store.path()), 0o600);
    assert_eq!(mode(store.path().parent().unwrap()), 0o700);
    assert_eq!(store.configuration().unwrap(), Default::default());
    assert!(store.generations(10).unwrap().is_empty());
    let uid = store.cluster_uid().to_string();
    assert!(uid.starts_with("2.25."), "{uid}");
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let wal = store.path().with_extension("db-wal");
    assert_eq!(mode(&wal), 0o600);
    drop(store);
    assert_eq!(folder.open().cluster_uid().as_str(), uid);
}

#[test]
fn a_store_in_a_folder_made_for_a_group_is_the_groups() {
    let folder = StoreFolder::new();
    let parent = folder.path().parent().unwrap().to_owned();
    std::fs::create_dir_all(&parent).unwrap();
    std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o2770)).unwrap();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let files = std::fs::read_dir(&parent).unwrap();
    let modes: Vec<u32> = files.map(|file| mode(&file.unwrap().path())).collect();
    // The database, its -wal and -shm, and the lock.
    assert_eq!(modes, [0o660; 4]);
}

#[test]
fn what_is_saved_is_read_back_field_by_field() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let mut full = station("SITEB");
    full.kind = Kind::Internal;
    full.description = Some("door to the north".parse().unwrap());
    full.cluster = Some("North".parse().unwrap());
    full.links.cluster_linking = true;
    full.links.external_queries = true;
    full.priority = -7;
    full.constrained = true;
    full.issuers = vec!["NORTH".parse().unwrap(), "O'Hara \"x\"".parse().unwrap()];
    full.charset = Some("\\ISO 2022 IR 87".parse().unwrap());
    full.timeout = Duration::from_millis(1500);
    full.calling_ae = Some("OUR_AE".parse().unwrap());
    full.also_calls_as = vec!["SITEB_2".parse().unwrap()];
    full.from_addresses = vec!["10.2.0.0".parse().unwrap(), "::1".parse().unwrap()];
    full.move_destination = Some("MOVE_TO".parse().unwrap());
    full.on_partial = Some(impaxlink::model::OnPartial::Failure);
    full.suspended = Some(Suspension::Until("2030-01-31T18:00:00Z".parse().unwrap()));
    full.tls = true;
    full.tls_fingerprints = vec![Fingerprint::new([7; 32]), Fingerprint::new([8; 32])];
    let mut embedded = station("ARCHIVE");
    embedded.kind = Kind::Archive;
    embedded.endpoint = None;
    let saved = save(&store, |configuration| {
        configuration.stations = vec![full.clone(), embedded.clone()];
        configuration.settings.set("issuer", "NORTH").unwrap();
    });
    assert_eq!((saved.previous, saved.generation, saved.changes.len()), (0, 1, 3));
    let read = Store::open(&folder.path(), Access::ReadOnly)
        .unwrap()
        .configuration()
        .unwrap();
    assert_eq!(read.stations, [embedded, full]);
    assert_eq!(read.settings.issuer().unwrap().as_str(), "NORTH");
    assert_eq!(read.generation, 1);
}

#[test]
fn two_stations_trade_addresses_in_one_save() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations = vec![station("A"), station("B")];
    });
    save(&store, |configuration| {
        let [a, b] = &mut configuration.stations[..] else {
            panic!()
        };
        std::mem::swap(&mut a.ae_title, &mut b.ae_title);
    });
    let stations = store.configuration().unwrap().stations;
    assert_eq!(stations[0].ae_title.as_str(), "B");
}

#[test]
fn what_changes_nothing_or_breaks_a_rule_leaves_no_trace() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let again = save(&store, |configuration| {
        configuration.stations[0] = station("SITEB")
    });
    assert_eq!((again.generation, again.changes.len()), (1, 0));
    let twice = try_save(&store, |configuration| {
        configuration.stations.push(station("siteb"))
    });
    assert!(matches!(twice, Err(SaveError::Invalid(_))), "{twice:?}");
    let refused = store.save(&jdoe(), None, |configuration| {
        configuration.stations.clear();
        Err("not on a Friday")
    });
    assert!(
        matches!(refused, Err(SaveError::Refused("not on a Friday"))),
        "{refused:?}"
    );
    assert_eq!(store.configuration().unwrap().stations.len(), 1);
    assert_eq!(store.audit_records(&AuditFilter::default()).unwrap().len(), 1);
}

#[test]
fn a_preview_says_what_a_save_would_do_and_does_nothing() {
    let folder = StoreFolder::new();
    save(&folder.open(), |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let store = Store::open(&folder.path(), Access::ReadOnly).unwrap();
    let saved = store
        .preview(Some(1), |configuration| {
            configuration.stations[0].priority = 5;
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
    assert_eq!((saved.previous, saved.generation), (1, 2));
    assert_eq!(saved.changes[0].field.as_deref(), Some("priority"));
    assert_eq!(store.generation().unwrap(), 1);
    let error = try_save(&store, |_| ()).unwrap_err();
    assert!(matches!(error, SaveError::Store(StoreError::ReadOnly { .. })));
}

#[test]
fn a_save_after_another_is_overtaken_and_told_by_whom() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let error = store
        .save(&jdoe(), Some(0), |_| Ok::<_, std::convert::Infallible>(()))
        .unwrap_err();
    let SaveError::Overtaken {
        expected: 0,
        current: 1,
        by: Some(by),
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(by.attribution, jdoe());
}

#[test]
fn a_suspension_is_known_by_who_made_it_even_under_another_name() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    save(&store, |configuration| {
        configuration.stations[0].suspended = Some(Suspension::Indefinite);
    });
    save(&store, |configuration| configuration.stations[0].priority = 5);
    save(&store, |configuration| {
        configuration.stations[0].name = "NORTH".parse().unwrap();
    });
    let generation_of = |name: &str, field: &str| {
        let change = store.last_change_of(&name.parse().unwrap(), field).unwrap();
        change.map(|saved| saved.generation)
    };
    assert_eq!(generation_of("NORTH", "suspended_until"), Some(2));
    assert_eq!(generation_of("NORTH", "priority"), Some(3));
    assert_eq!(generation_of("NORTH", "host"), Some(1));
    assert_eq!(generation_of("SITEX", "host"), None);
}

#[test]
fn link_health_is_kept_outside_the_configuration() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let report = |name: &str, outcome| LinkReport {
        station: name.parse().unwrap(),
        at: Timestamp::from_second(1_700_000_000).unwrap(),
        outcome,
    };
    let failed = || LinkOutcome::Failed {
        detail: "connection\u{1b}[2J refused".to_owned(),
        next_try: None,
    };
    let answered = LinkOutcome::Answered {
        latency: Duration::from_millis(31),
        speaks_linked: Some(true),
        character_sets: None,
    };
    let reports = [
        report("SITEB", answered),
        report("SITEB", failed()),
        report("GONE", failed()),
    ];
    store.record_link_health(&reports).unwrap();
    let first_failure = reports[1].at;
    let later = report("SITEB", failed());
    let later = LinkReport {
        at: first_failure + jiff::SignedDuration::from_secs(60),
        ..later
    };
    store.record_link_health(&[later]).unwrap();
    save(&store, |configuration| configuration.stations[0].priority = 1);
    let health = store.link_health().unwrap();
    let siteb = &health[&"SITEB".parse().unwrap()];
    assert_eq!(health.len(), 1);
    assert_eq!(siteb.failures_in_a_row, 2);
    assert_eq!(siteb.down_since, Some(first_failure));
    assert_eq!(siteb.detail.as_deref(), Some("connection[2J refused"));
    assert_eq!(siteb.latency, Some(Duration::from_millis(31)));
    assert_eq!(siteb.speaks_linked, Some(true));
    assert_eq!(store.audit_records(&AuditFilter::default()).unwrap().len(), 2);
    save(&store, |configuration| configuration.stations.clear());
    assert!(store.link_health().unwrap().is_empty());
}

#[test]
fn a_disclosure_is_recorded_and_makes_no_generation() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let disclosure = Disclosure {
        stations: vec!["SITEB".parse().unwrap()],
        keywords: vec!["PatientID".to_owned()],
    };
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    store.record_disclosure(&jdoe(), &disclosure).unwrap();
    let filter = AuditFilter {
        kind: Some(EventKind::Disclosure),
        limit: Some(5),
        ..AuditFilter::default()
    };
    let records = store.audit_records(&filter).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event().unwrap(), Event::Disclosure(disclosure));
    assert_eq!(records[0].sequence, 2);
    assert_eq!(store.generation().unwrap(), 1);
    let later = AuditFilter {
        since: Some(Timestamp::MAX),
        ..AuditFilter::default()
    };
    assert!(store.audit_records(&later).unwrap().is_empty());
}

#[test]
fn a_store_that_is_not_there_is_not_found_for_reading() {
    let folder = StoreFolder::new();
    let error = Store::open(&folder.path(), Access::ReadOnly).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::NotFound);
    assert!(!folder.path().parent().unwrap().exists());
}

#[test]
fn what_is_not_a_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "a".repeat(8192)).unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let other = folder.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(connection);
    for path in [&text, &empty, &other, &folder.path().to_owned()] {
        let before = path.is_file().then(|| std::fs::read(path).unwrap());
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = Store::open(path, access).unwrap_err();
            assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
        }
        assert_eq!(path.is_file().then(|| std::fs::read(path).unwrap()), before);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let folder = StoreFolder::new();
    drop(folder.open());
    folder.raw().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(folder.path()).unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = Store::open(&folder.path(), access).unwrap_err();
        assert!(
            matches!(error, StoreError::MadeByNewer { found: 99, .. }),
            "{error:?}"
        );
    }
    assert_eq!(std::fs::read(folder.path()).unwrap(), before);
}

#[test]
fn a_store_under_a_service_of_another_version_is_not_written() {
    let folder = StoreFolder::new();
    drop(folder.open());
    let lock = ServiceLock::acquire(&folder.path()).unwrap();
    folder.open();
    let lock_file = folder.path().with_extension("db.service.lock");
    std::fs::write(&lock_file, r#"{"pid":4711,"version":"0.0.9","schema":1}"#).unwrap();
    let error = Store::open(&folder.path(), Access::ReadWrite).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("0.0.9") && text.contains("4711"), "{text}");
    assert_eq!(error.class(), ErrorClass::Busy);
    Store::open(&folder.path(), Access::ReadOnly).unwrap();
    drop(lock);
    folder.open();
}

#[test]
fn a_damaged_store_says_so() {
    let folder = StoreFolder::new();
    save(&folder.open(), |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    folder
        .raw()
        .execute("UPDATE station SET host = 'no host!'", [])
        .unwrap();
    let error = folder.open().configuration().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("no host!"), "{error}");
}
