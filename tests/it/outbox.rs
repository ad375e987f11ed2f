//! Ways by which an update could be lost between two clusters, or come back, that are rare and were once open.

use std::collections::BTreeMap;
use std::time::Duration;

use impaxlink::model::{StateField, StationName, Syntax};
use impaxlink::store::{Draft, LinkOutcome, LinkReport, OutboxFilter, Settled, Store};
use jiff::Timestamp;

use super::study_state::{draft, due, foreign, make, receive, three_clusters, values};
use super::support::store::{jdoe, save};

fn b() -> StationName {
    "B".parse().unwrap()
}

fn says(store: &Store, text: &str) {
    make(store, &draft(StateField::StudyComments, text));
}

fn is_resync_due(store: &Store) -> bool {
    store
        .relay_peers()
        .unwrap()
        .get(&b())
        .is_some_and(|peer| peer.is_resync_due)
}

/// Queues the current state for B to the end.
fn queue_state(store: &Store) {
    let station = store.configuration().unwrap().station(&b()).unwrap().clone();
    let mut after = None;
    loop {
        after = store.queue_state(&station, after.as_ref(), 1).unwrap();
        if after.is_none() {
            break;
        }
    }
}

#[test]
fn an_answer_settles_no_row_that_took_the_number_of_another() {
    let (_folder, store) = three_clusters();
    says(&store, "given up");
    let on_its_way = due(&store, "B");
    // The newest rows go while one is on its way, and SQLite gives their numbers again.
    store.drop_outbox(&jdoe(), &OutboxFilter::default()).unwrap();
    says(&store, "never sent");
    let answer = [(on_its_way[0].0.clone(), Settled::Delivered)];
    store.settle_outbox(&b(), &answer).unwrap();
    for station in ["B", "C", "D"] {
        assert_eq!(values(&due(&store, station)), ["never sent"], "{station}");
    }
}

#[test]
fn what_was_not_queued_for_lack_of_the_syntax_is_told_once_it_is_there() {
    let (_folder, store) = three_clusters();
    queue_state(&store);
    // A query has found it so, and the relay knows of nothing.
    let found = |speaks_linked| {
        let outcome = LinkOutcome::Answered {
            latency: Duration::from_millis(1),
            speaks_linked: Some(speaks_linked),
            character_sets: None,
        };
        let (station, at) = (b(), Timestamp::now());
        let report = LinkReport { station, at, outcome };
        store.record_link_health(&[report]).unwrap();
    };
    found(false);
    says(&store, "meanwhile");
    assert!(due(&store, "B").is_empty());
    found(true);
    assert!(is_resync_due(&store));
    queue_state(&store);
    assert_eq!(values(&due(&store, "B")), ["meanwhile"]);
    assert!(!is_resync_due(&store));
}

#[test]
fn a_state_that_is_asked_for_while_it_is_told_is_told_again() {
    let (_folder, store) = three_clusters();
    queue_state(&store);
    says(&store, "before");
    store.relay_resync(&b()).unwrap();
    let station = store.configuration().unwrap().station(&b()).unwrap().clone();
    let after = store.queue_state(&station, None, 1).unwrap();
    let switch = |is_on| {
        save(&store, |configuration| {
            configuration.stations[0].links.cluster_updates = is_on;
        });
    };
    switch(false);
    says(&store, "meanwhile");
    switch(true);
    assert_eq!(store.queue_state(&station, after.as_ref(), 1).unwrap(), None);
    assert!(is_resync_due(&store));
    queue_state(&store);
    assert_eq!(values(&due(&store, "B")), ["before", "meanwhile"]);
}

#[test]
fn another_syntax_has_the_state_told() {
    let (_folder, store) = three_clusters();
    queue_state(&store);
    let speak = |syntax| save(&store, |configuration| configuration.stations[0].syntax = syntax);
    speak(Syntax::Dicom);
    says(&store, "meanwhile");
    assert!(due(&store, "B").is_empty());
    speak(Syntax::Auto);
    assert!(is_resync_due(&store));
}

#[test]
fn what_is_parked_knows_its_sender_by_its_new_name_and_asks_whether_it_may_still_speak() {
    let (_folder, store) = three_clusters();
    let ahead = u64::try_from(Timestamp::now().as_millisecond()).unwrap() + 400_000;
    receive(&store, &foreign(1, ahead, StateField::StudyComments, "late"), "B");
    let set = |accepts, max_ahead: &str| {
        save(&store, |configuration| {
            let mut stations = configuration.stations.iter_mut();
            let is_meant = |name: &str| ["B", "NORTHGATE"].contains(&name);
            let station = stations.find(|station| is_meant(station.name.as_str())).unwrap();
            station.name = "NORTHGATE".parse().unwrap();
            station.links.cluster_updates = accepts;
            configuration
                .settings
                .set("updates.max_clock_ahead", max_ahead)
                .unwrap();
        })
    };
    set(false, "10m");
    assert_eq!(store.apply_parked(&jdoe(), 10).unwrap(), 0);
    set(true, "10m");
    assert_eq!(store.apply_parked(&jdoe(), 10).unwrap(), 1);
    assert_eq!(values(&due(&store, "C")), ["late"]);
    assert!(due(&store, "NORTHGATE").is_empty(), "it came from there");
}

#[test]
fn notices_of_review_are_told_with_the_current_state() {
    let (_folder, store) = three_clusters();
    queue_state(&store);
    let notice = Draft {
        review: Some("deletion".parse().unwrap()),
        wanted: BTreeMap::new(),
        ..draft(StateField::StudyComments, "x")
    };
    let made = make(&store, &notice).update.unwrap();
    store.relay_give_up(&b()).unwrap();
    assert!(is_resync_due(&store));
    queue_state(&store);
    let due = store.due_updates(&b(), Timestamp::now(), 10).unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].update, made);
}

#[test]
fn an_update_does_not_go_to_who_made_it() {
    let (_folder, store) = three_clusters();
    let update = foreign(1, 5, StateField::StudyComments, "round the ring");
    store.relay_opened(&b(), &update.origin).unwrap();
    receive(&store, &update, "C");
    assert!(due(&store, "B").is_empty());
    assert_eq!(values(&due(&store, "D")), ["round the ring"]);
}
