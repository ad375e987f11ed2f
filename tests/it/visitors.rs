//! Visitors: what is on record of where a copy came from, and what becomes of it in the embedded archive.

use impaxlink::model::{Kind, Station};
use impaxlink::store::{Copy, Purpose, Store, StudyUse};
use jiff::{SignedDuration, Timestamp};

use super::support::store::{StoreFolder, save, station};

const STUDY: &str = "1.2.840.1";

fn copy(source: &str, instances: u64, at: Timestamp) -> Copy {
    Copy {
        study_instance_uid: STUDY.parse().unwrap(),
        station: "OWN".parse().unwrap(),
        source: source.parse().unwrap(),
        at,
        instances,
        purpose: Purpose::Retrieve,
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
