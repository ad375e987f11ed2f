//! Runs of the queue with studies that are brought by the tests themselves.
//!
//! Invariant: no source is read by more jobs than allowed, and no study is brought twice, however many run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::{IssuerDomain, PatientId, WantedPrior};
use crate::store::{Access, Enqueued};

fn wanted(number: usize, sources: &[&str]) -> WantedPrior {
    WantedPrior {
        study_instance_uid: format!("1.2.{number}").parse().unwrap(),
        patient_id: PatientId {
            id: "4711".to_owned(),
            domain: IssuerDomain::Named("NORTH".parse().unwrap()),
        },
        destination: "OWN".parse().unwrap(),
        sources: sources.iter().map(|name| name.parse().unwrap()).collect(),
        instances: None,
        reason: "same body part".to_owned(),
        wanted_for: None,
    }
}

fn limits() -> Limits {
    Limits {
        per_source: 2,
        retries: Retries {
            most: 1,
            after: Duration::from_millis(1),
        },
        hours: None,
    }
}

fn queue(path: &Path) -> Queue {
    Queue::of(Store::open(path, Access::ReadWrite).unwrap()).unwrap()
}

async fn enqueue(queue: &Queue, wanted: Vec<WantedPrior>) -> Vec<JobId> {
    let enqueued = queue
        .with_store(move |store| store.enqueue_prefetch(&wanted, Timestamp::now()))
        .await;
    enqueued.unwrap().into_iter().map(Enqueued::job).collect()
}

/// What was brought, and how many at once.
#[derive(Debug, Default)]
struct Brought {
    times: Mutex<BTreeMap<String, usize>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Brought {
    async fn bring(self: Arc<Self>, job: PrefetchJob) -> JobOutcome {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        sleep(Duration::from_millis(2)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let uid = job.wanted.study_instance_uid.to_string();
        *self.times.lock().unwrap().entry(uid).or_default() += 1;
        JobOutcome::Done { fetched: 3 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_that_overlap_bring_each_study_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("impaxlink.db");
    let brought = Arc::new(Brought::default());
    let run_once = || async {
        let queue = queue(&path);
        let ids = enqueue(&queue, (0..12).map(|number| wanted(number, &["SITEB"])).collect()).await;
        let bring = |job, _| Arc::clone(&brought).bring(job);
        let never = CancellationToken::new();
        run(&queue, limits, &Goal::These(ids), &never, bring, |_| {})
            .await
            .unwrap();
        let jobs = queue.with_store(|store| store.prefetch_jobs(&JobFilter::default()));
        assert!(jobs.await.unwrap().iter().all(|job| job.state == JobState::Done));
    };
    tokio::join!(run_once(), run_once());
    let times = brought.times.lock().unwrap();
    assert_eq!((times.len(), times.values().copied().max()), (12, Some(1)));
    assert!(brought.most_at_once.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_run_that_is_cancelled_leaves_its_jobs_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder.path().join("impaxlink.db"));
    let ids = enqueue(&queue, vec![wanted(1, &["SITEB"])]).await;
    let cancel = CancellationToken::new();
    let stuck = |_, token: CancellationToken| async move {
        token.cancelled().await;
        JobOutcome::Interrupted
    };
    let goal = Goal::These(ids);
    let begun = |job: &PrefetchJob| {
        if job.state == JobState::Running {
            cancel.cancel();
        }
    };
    run(&queue, limits, &goal, &cancel, stuck, begun).await.unwrap();
    let counts = queue.with_store(Store::prefetch_counts).await.unwrap();
    assert_eq!((counts.queued, counts.running), (1, 0));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder.path().join("impaxlink.db"));
    enqueue(&queue, vec![wanted(1, &["SITEB", "SITEC"])]).await;
    let fail = |job: PrefetchJob, _| async move {
        JobOutcome::Incomplete {
            fetched: 0,
            detail: format!("{}: connection refused", job.source),
        }
    };
    let mut asked = Vec::new();
    let never = CancellationToken::new();
    let told = |job: &PrefetchJob| {
        if job.state == JobState::Running {
            asked.push(job.source.to_string());
        }
    };
    run(&queue, limits, &Goal::All, &never, fail, told).await.unwrap();
    assert_eq!(asked, ["SITEB", "SITEC", "SITEB", "SITEC"]);
    assert_eq!(queue.with_store(Store::prefetch_counts).await.unwrap().failed, 1);
}

#[tokio::test]
async fn what_panics_is_given_up_too() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder.path().join("impaxlink.db"));
    enqueue(&queue, vec![wanted(1, &["SITEB"])]).await;
    let panics = |_, _| async { panic!("a study that nobody has thought of") };
    let never = CancellationToken::new();
    let running = run(&queue, limits, &Goal::All, &never, panics, |_| {});
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("an end")
        .unwrap();
    assert_eq!(queue.with_store(Store::prefetch_counts).await.unwrap().failed, 1);
}

#[tokio::test]
async fn nothing_is_begun_outside_the_hours() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder.path().join("impaxlink.db"));
    enqueue(&queue, vec![wanted(1, &["SITEB"])]).await;
    let now = ZonedDateTime::now().time();
    let (from, to) = (
        now.wrapping_add(jiff::Span::new().hours(2)),
        now.wrapping_add(jiff::Span::new().hours(4)),
    );
    let hours = format!("{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"));
    let closed = || Limits {
        hours: Some(hours.parse().unwrap()),
        ..limits()
    };
    let bring = |_, _| async { unreachable!("it is not the hour") };
    let never = CancellationToken::new();
    run(&queue, closed, &Goal::All, &never, bring, |_| {})
        .await
        .unwrap();
    assert_eq!(queue.with_store(Store::prefetch_counts).await.unwrap().queued, 1);
}
