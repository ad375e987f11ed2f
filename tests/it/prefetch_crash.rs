//! Cron jobs that are killed, and such that overlap.
//!
//! Invariant: sources are slow, as without TCP_NODELAY each of their objects waits for an acknowledgement: there is
//! always something under way.

use std::time::Duration;

use impaxlink::model::{JobState, PrefetchJob};
use impaxlink::store::{Access, JobFilter, Store};
use rustix::process::Signal;

use crate::support::archive_options::ArchiveOptions;
use crate::support::cluster::{add_source, add_worklist, chest_ct, expected, held, local_cluster, tomorrow};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::service::wait_for;
use crate::support::studies::Study;
use crate::support::wlmscpfs::Wlmscpfs;

const PATIENTS: [&str; 8] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"];

/// A cluster with a worklist of eight patients, each with a prior at a slow source.
fn scene() -> (Env, Vec<Study>, Dcmqrscp, Wlmscpfs) {
    let env = local_cluster();
    let priors: Vec<Study> = PATIENTS.iter().map(|id| chest_ct(id, 2025, 4)).collect();
    let slow = ArchiveOptions {
        tcp_nodelay: false,
        ..ArchiveOptions::new("SITEB")
    };
    let siteb = Dcmqrscp::start_with(&slow, &priors);
    add_source(&env, "SITEB", siteb.port);
    let worklist = Wlmscpfs::start("WORKLIST", &tomorrow(&PATIENTS));
    add_worklist(&env, &worklist);
    (env, priors, siteb, worklist)
}

fn jobs(env: &Env) -> Vec<PrefetchJob> {
    let store = Store::open(&env.store(), Access::ReadOnly).unwrap();
    store.prefetch_jobs(&JobFilter::default()).unwrap()
}

fn in_state(env: &Env, state: JobState) -> usize {
    jobs(env).iter().filter(|job| job.state == state).count()
}

#[track_caller]
fn assert_each_came_once(env: &Env, priors: &[Study]) {
    assert_eq!(held(env), expected(priors));
    let jobs = jobs(env);
    assert_eq!(jobs.len(), priors.len());
    assert!(jobs.iter().all(|job| job.state == JobState::Done), "{jobs:#?}");
}

#[test]
fn what_a_killed_job_left_is_taken_up_by_the_next() {
    let (env, priors, _siteb, _worklist) = scene();
    let arguments = ["prefetch", "--worklist", "tomorrow"];
    for done in [1, 3] {
        let mut night = env.start(&arguments);
        wait_for("some priors brought and others under way", || {
            in_state(&env, JobState::Done) >= done && in_state(&env, JobState::Running) > 0
        });
        night.signal(Signal::KILL);
        night.wait(Duration::from_secs(10));
        assert!(
            in_state(&env, JobState::Done) < priors.len(),
            "it was killed too late"
        );
    }
    let before: u32 = jobs(&env).iter().map(|job| job.fetched).sum();
    env.impaxlink(&arguments).success();
    assert_each_came_once(&env, &priors);
    let after: u32 = jobs(&env).iter().map(|job| job.fetched).sum();
    assert!(before > 0 && after <= 32, "no instance twice: {before}, {after}");
}

#[test]
fn two_jobs_that_overlap_fetch_nothing_twice() {
    let (env, priors, _siteb, _worklist) = scene();
    let arguments = ["prefetch", "--worklist", "tomorrow"];
    let mut nights = [
        env.start(&arguments),
        env.start(&arguments),
        env.start(&arguments),
    ];
    for night in &mut nights {
        let status = night.wait(Duration::from_secs(60));
        assert!(status.success(), "{}", night.output());
    }
    assert_each_came_once(&env, &priors);
    let fetched: u32 = jobs(&env).iter().map(|job| job.fetched).sum();
    assert_eq!(fetched, 32, "each instance by one of them");
}

#[test]
fn a_job_that_is_interrupted_leaves_the_queue_in_order() {
    let (env, priors, _siteb, _worklist) = scene();
    let mut night = env.start(&["prefetch", "--worklist", "tomorrow"]);
    wait_for("a prior under way", || in_state(&env, JobState::Running) > 0);
    night.signal(Signal::INT);
    let status = night.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(130), "{}", night.output());
    assert_eq!(in_state(&env, JobState::Running), 0);
    assert!(
        night
            .output()
            .contains("interrupted, what was left is in the queue")
    );
    env.impaxlink(&["prefetch", "run"]).success();
    assert_each_came_once(&env, &priors);
}
