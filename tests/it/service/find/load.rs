//! Flags switched under load: no association is dropped, no query fails, and no answer mixes two generations.
//!
//! The mix would show: SITEB and SITEC are linked or not together, so an answer of one of them without the other is of
//! two generations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use impaxlink::service::control;
use impaxlink::store::{Access, LedgerFilter, Store};

use crate::support::brought::study;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::answer;
use crate::support::findscu;
use crate::support::service::{PATIENCE, Service, set, wait_for};
use crate::support::sites::{archive, internal, linked, station_of};
use crate::support::stop_on_drop::StopOnDrop;
use crate::support::viewer::Viewer;

#[test]
fn clients_notice_nothing_of_a_hundred_switches() {
    switch_under_load(100);
}

#[test]
#[ignore = "minutes; the same with 1,000 switches"]
fn clients_notice_nothing_of_a_thousand_switches() {
    switch_under_load(1000);
}

fn switch_under_load(switches: usize) {
    let peers = ["1.1", "1.2", "1.3"].map(|uid| FakePeer::start(answer([study(uid)])));
    let service = Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        configuration.stations = vec![
            archive("PACS", "PACS", peers[0].port),
            linked("SITEB", "SITEB", peers[1].port),
            linked("SITEC", "SITEC", peers[2].port),
            internal("READER"),
        ];
    });
    let done = AtomicBool::new(false);
    let (with_links, without) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let count = |uids: &[String]| match uids.join(" ").as_str() {
        "1.1" => without.fetch_add(1, Ordering::Relaxed),
        "1.1 1.2 1.3" => with_links.fetch_add(1, Ordering::Relaxed),
        mixed => panic!("an answer of two generations: {mixed}"),
    };
    let ask = |viewer: &mut Viewer| {
        let seen = viewer.find(&["StudyInstanceUID", "PatientID"]);
        assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
        count(&seen.values("StudyInstanceUID"));
    };
    let mut times = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = Viewer::open(service.port, "READER");
                while !done.load(Ordering::Relaxed) {
                    ask(&mut held);
                }
                held.release();
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut fresh = Viewer::open(service.port, "READER");
                ask(&mut fresh);
                fresh.release();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID"];
                let found = findscu::find("READER", "IMPAXLINK", service.port, &["-S"], &keys);
                assert!(found.success, "{}", found.log);
                count(
                    &found
                        .values("StudyInstanceUID")
                        .into_iter()
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                );
            }
        });
        // Set also when this panics: the clients would go on for ever.
        let _stop = StopOnDrop(&done);
        (0..switches)
            .map(|round| switch(&service, round))
            .collect::<Vec<Duration>>()
    });
    times.sort_unstable();
    let queries = with_links.load(Ordering::Relaxed) + without.load(Ordering::Relaxed);
    eprintln!(
        "{queries} queries, {} of them with links; {switches} switches, reload median {:?}, p99 {:?}",
        with_links.load(Ordering::Relaxed),
        times[switches / 2],
        times[switches * 99 / 100]
    );
    assert!(with_links.load(Ordering::Relaxed) > 0 && without.load(Ordering::Relaxed) > 0);
    assert!(queries > switches, "{queries} queries");
    assert_ledgers_are_of_one_generation(&service, queries);
}

fn switch(service: &Service, round: usize) -> Duration {
    let saved = service.save(|configuration| {
        for name in ["SITEB", "SITEC"] {
            station_of(configuration, name).links.internal_queries = round.is_multiple_of(2);
        }
    });
    let begun = Instant::now();
    let report = control::reload(&service.env.store(), PATIENCE).expect("a reload");
    assert_eq!(report.generation, saved);
    begun.elapsed()
}

/// The links are on in even generations: the first switch made the second.
fn assert_ledgers_are_of_one_generation(service: &Service, queries: usize) {
    let store = Store::open(&service.env.store(), Access::ReadOnly).unwrap();
    let ledgers = || store.ledgers(&LedgerFilter::default()).unwrap();
    wait_for("all ledgers", || ledgers().len() == queries);
    for ledger in ledgers() {
        let asked = ledger.entries.iter().filter(|entry| entry.was_due).count();
        let expected = if ledger.generation.is_multiple_of(2) { 3 } else { 1 };
        assert_eq!(
            asked, expected,
            "under generation {}: {ledger:?}",
            ledger.generation
        );
        assert_eq!(usize::try_from(ledger.told.matches).unwrap(), expected);
    }
}
