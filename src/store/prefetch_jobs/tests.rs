//! The queue under one runner and several, and over the end of one at any point.
//!
//! Invariant: tests keep their store to themselves.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::StationName;
use crate::store::Access;

const RETRIES: Retries = Retries {
    most: 2,
    after: Duration::from_millis(1),
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("impaxlink.db"), Access::ReadWrite).unwrap();
    (folder, store)
}

fn prior(uid: &str, sources: &[&str]) -> WantedPrior {
    WantedPrior {
        study_instance_uid: uid.parse().unwrap(),
        patient_id: PatientId {
            id: "4711".to_owned(),
            domain: IssuerDomain::Named("NORTH".parse().unwrap()),
        },
        destination: "OWN".parse().unwrap(),
        sources: sources.iter().map(|name| name.parse().unwrap()).collect(),
        instances: Some(3),
        reason: "same body part".to_owned(),
        wanted_for: Some("1.9".parse().unwrap()),
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn incomplete() -> JobOutcome {
    JobOutcome::Incomplete {
        fetched: 1,
        detail: "connection\nrefused".to_owned(),
    }
}

#[test]
fn a_study_is_wanted_once_until_it_has_come() {
    let (_folder, store) = store();
    let looked = now();
    let wanted = [prior("1.2", &["SITEB"])];
    let first = store.enqueue_prefetch(&wanted, looked).unwrap();
    let Enqueued::New(id) = first[0] else {
        panic!("{first:?}");
    };
    assert_eq!(
        store.enqueue_prefetch(&wanted, now()).unwrap(),
        [Enqueued::Already(id)]
    );
    let runner = store.prefetch_runner().unwrap();
    let job = store.claim_prefetch(&runner, 4, now()).unwrap().unwrap();
    assert_eq!(job.wanted, wanted[0]);
    assert_eq!(
        store.enqueue_prefetch(&wanted, now()).unwrap(),
        [Enqueued::Already(id)]
    );
    let done = JobOutcome::Done { fetched: 3 };
    let finished = store.finish_prefetch(&runner, id, &done, RETRIES, now()).unwrap();
    assert_eq!(finished.unwrap().fetched, 3);
    assert_eq!(
        store.enqueue_prefetch(&wanted, looked).unwrap(),
        [Enqueued::DoneMeanwhile(id)]
    );
    assert_eq!(
        store.enqueue_prefetch(&wanted, now()).unwrap(),
        [Enqueued::New(id)]
    );
    let [job] = &store.prefetch_jobs(&JobFilter::default()).unwrap()[..] else {
        panic!("one job");
    };
    assert_eq!((job.state, job.fetched), (JobState::Queued, 0));
}

#[test]
fn the_next_source_is_asked_and_after_the_last_all_again() {
    let (_folder, store) = store();
    store
        .enqueue_prefetch(&[prior("1.2", &["SITEB", "SITEC"])], now())
        .unwrap();
    let runner = store.prefetch_runner().unwrap();
    let later = now() + SignedDuration::from_hours(24);
    let mut asked = Vec::new();
    while let Some(job) = store.claim_prefetch(&runner, 4, later).unwrap() {
        asked.push(job.source.to_string());
        store
            .finish_prefetch(&runner, job.id, &incomplete(), RETRIES, now())
            .unwrap();
    }
    assert_eq!(asked, ["SITEB", "SITEC"].repeat(3));
    let [job] = &store.prefetch_jobs(&JobFilter::default()).unwrap()[..] else {
        panic!("one job");
    };
    assert_eq!((job.state, job.attempts, job.fetched), (JobState::Failed, 3, 6));
    assert_eq!(job.detail.as_deref(), Some("connectionrefused"));
    assert_eq!(store.prefetch_counts().unwrap().failed, 1);
    assert_eq!(store.retry_prefetch(Some(&[job.id + 1])).unwrap(), 0);
    assert_eq!(store.retry_prefetch(None).unwrap(), 1);
    assert!(store.claim_prefetch(&runner, 4, now()).unwrap().is_some());
    assert_eq!(
        store.drop_prefetch(Some(&[job.id])).unwrap(),
        0,
        "it is being brought"
    );
}

#[test]
fn a_source_is_read_by_so_many_jobs_at_once() {
    let (_folder, store) = store();
    let wanted: Vec<_> = (1..=3).map(|n| prior(&format!("1.2.{n}"), &["SITEB"])).collect();
    store.enqueue_prefetch(&wanted, now()).unwrap();
    store
        .enqueue_prefetch(&[prior("1.3", &["SITEC"])], now())
        .unwrap();
    let (one, other) = (store.prefetch_runner().unwrap(), store.prefetch_runner().unwrap());
    let first = store.claim_prefetch(&one, 2, now()).unwrap().unwrap();
    assert_eq!(
        store
            .claim_prefetch(&other, 2, now())
            .unwrap()
            .unwrap()
            .source
            .as_str(),
        "SITEB"
    );
    assert_eq!(
        store
            .claim_prefetch(&one, 2, now())
            .unwrap()
            .unwrap()
            .source
            .as_str(),
        "SITEC"
    );
    assert_eq!(store.claim_prefetch(&one, 2, now()).unwrap(), None);
    store
        .finish_prefetch(&one, first.id, &JobOutcome::Interrupted, RETRIES, now())
        .unwrap();
    let again = store.claim_prefetch(&other, 2, now()).unwrap().unwrap();
    assert_eq!((again.id, again.attempts), (first.id, 0));
}

#[test]
fn the_jobs_of_a_runner_that_ended_are_free_at_once() {
    let (_folder, store) = store();
    store
        .enqueue_prefetch(&[prior("1.2", &["SITEB"])], now())
        .unwrap();
    let (ended, next) = (store.prefetch_runner().unwrap(), store.prefetch_runner().unwrap());
    let job = store.claim_prefetch(&ended, 4, now()).unwrap().unwrap();
    assert_eq!(store.claim_prefetch(&next, 4, now()).unwrap(), None);
    drop(ended);
    assert_eq!(store.claim_prefetch(&next, 4, now()).unwrap().unwrap().id, job.id);
    assert_eq!(store.prefetch_counts().unwrap().running, 1);
}

/// What a test does to the queue.
#[derive(Debug, Clone)]
enum Step {
    Enqueue(u8),
    Claim(usize),
    Finish(usize, u8),
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8).prop_map(Step::Enqueue),
        4 => (0..3_usize).prop_map(Step::Claim),
        3 => (0..3_usize, 0..3_u8).prop_map(|(runner, how)| Step::Finish(runner, how)),
        1 => (0..3_usize).prop_map(Step::End),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_job_is_held_twice_and_none_is_lost(steps in steps()) {
        let (_folder, store) = store();
        let mut runners: Vec<_> = (0..3).map(|_| store.prefetch_runner().unwrap()).collect();
        let mut held: BTreeMap<usize, Vec<PrefetchJob>> = BTreeMap::new();
        let (mut wanted, later) = (BTreeSet::new(), now() + SignedDuration::from_hours(48));
        for step in steps {
            match step {
                Step::Enqueue(study) => {
                    wanted.insert(format!("1.2.{study}"));
                    let sources: &[&str] = if study % 2 == 0 { &["SITEB"] } else { &["SITEC", "SITEB"] };
                    store.enqueue_prefetch(&[prior(&format!("1.2.{study}"), sources)], later).unwrap();
                }
                Step::Claim(runner) => {
                    if let Some(job) = store.claim_prefetch(&runners[runner], 2, later).unwrap() {
                        prop_assert!(held.values().flatten().all(|other| other.id != job.id));
                        held.entry(runner).or_default().push(job);
                    }
                }
                Step::Finish(runner, how) => {
                    if let Some(job) = held.get_mut(&runner).and_then(Vec::pop) {
                        let outcome = match how {
                            0 => JobOutcome::Done { fetched: 3 },
                            1 => incomplete(),
                            _ => JobOutcome::Interrupted,
                        };
                        let kept = store.finish_prefetch(&runners[runner], job.id, &outcome, RETRIES, now());
                        prop_assert!(kept.unwrap().is_some(), "it was taken from a living runner");
                    }
                }
                Step::End(runner) => {
                    runners[runner] = store.prefetch_runner().unwrap();
                    held.remove(&runner);
                }
            }
            let mut read: BTreeMap<StationName, usize> = BTreeMap::new();
            for job in held.values().flatten() {
                *read.entry(job.source.clone()).or_default() += 1;
            }
            prop_assert!(read.values().all(|count| *count <= 2), "{read:?}");
        }
        let kept = store.prefetch_jobs(&JobFilter::default()).unwrap();
        let kept: BTreeSet<_> = kept.iter().map(|job| job.wanted.study_instance_uid.to_string()).collect();
        prop_assert_eq!(kept, wanted);
    }
}
