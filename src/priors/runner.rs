//! Runs the queue of priors: takes jobs as limits and hours allow, has them brought, and tells the queue how it went.
//!
//! Invariants: what a job is brought by is given; the store is used on blocking threads alone. However a run ends, its
//! jobs are in the queue again or final, and those of a process that was killed are taken up by the next run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::model::{DailyWindow, JobId, JobState, PrefetchJob, Settings};
use crate::store::{JobFilter, JobOutcome, PrefetchRunner, Retries, SharedStore, Store, StoreError};

/// How often the queue is looked at while there is nothing to do, or others do it.
const POLL: Duration = Duration::from_millis(500);

/// How many jobs one process runs at once, whatever the number of sources.
const MOST_AT_ONCE: usize = 64;

/// The store of the queue, and this process as one of its runners.
#[derive(Debug, Clone)]
pub struct Queue {
    store: SharedStore,
    runner: Arc<PrefetchRunner>,
}

impl Queue {
    /// The queue of `store`, with a runner of its own.
    pub fn of(store: Store) -> Result<Self, StoreError> {
        Queue::of_shared(SharedStore::of(store))
    }

    /// The queue of a store that others use too.
    pub fn of_shared(store: SharedStore) -> Result<Self, StoreError> {
        let runner = Arc::new(store.with_blocking(Store::prefetch_runner)?);
        Ok(Queue { store, runner })
    }

    /// Does something with the store on a blocking thread.
    pub async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.with(work).await
    }

    async fn claim(&self, per_source: usize) -> Result<Option<PrefetchJob>, StoreError> {
        let runner = Arc::clone(&self.runner);
        self.with_store(move |store| store.claim_prefetch(&runner, per_source, Timestamp::now()))
            .await
    }

    async fn finish(
        &self,
        id: JobId,
        outcome: JobOutcome,
        retries: Retries,
    ) -> Result<Option<PrefetchJob>, StoreError> {
        let runner = Arc::clone(&self.runner);
        self.with_store(move |store| store.finish_prefetch(&runner, id, &outcome, retries, Timestamp::now()))
            .await
    }

    /// These jobs as they are now.
    pub async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<PrefetchJob>, StoreError> {
        let filter = JobFilter {
            states: Vec::new(),
            ids: Some(ids),
        };
        self.with_store(move |store| store.prefetch_jobs(&filter)).await
    }

    /// Whether none of these jobs waits or is being brought; of all jobs, where none are named.
    async fn are_final(&self, ids: Option<&[JobId]>) -> Result<bool, StoreError> {
        let filter = JobFilter {
            states: vec![JobState::Queued, JobState::Running],
            ids: ids.map(<[JobId]>::to_vec),
        };
        self.with_store(move |store| Ok(store.prefetch_jobs(&filter)?.is_empty()))
            .await
    }
}

/// What a run is held to; asked for again before each job, as a reload may change it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many jobs read one source at once, all processes together.
    pub per_source: usize,
    /// How often and when sources are asked again.
    pub retries: Retries,
    /// The hours in which jobs are begun.
    pub hours: Option<DailyWindow>,
}

impl Limits {
    /// As the settings say.
    pub fn of(settings: &Settings) -> Self {
        Limits {
            per_source: settings.count("prefetch.concurrency"),
            retries: Retries {
                most: settings.count("prefetch.retries").try_into().unwrap_or(u32::MAX),
                after: settings.duration("prefetch.retry_after"),
            },
            hours: settings.prefetch_hours(),
        }
    }

    /// Whether jobs may be begun now.
    pub fn are_open(&self) -> bool {
        self.hours
            .is_none_or(|hours| hours.contains(ZonedDateTime::now().time()))
    }
}

/// When a run ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// When these jobs have come to their end, whoever brought them, or may not be begun at this hour.
    These(Vec<JobId>),
    /// When all jobs have, or may not.
    All,
    /// Never.
    Forever,
}

/// Runs the queue to its goal, or until it is cancelled: `bring` brings the study of a job, and ends soon when its token
/// is cancelled. `told` is told of each job when it has come a step further.
pub async fn run<B, F>(
    queue: &Queue,
    limits: impl Fn() -> Limits,
    goal: &Goal,
    cancel: &CancellationToken,
    bring: B,
    mut told: impl FnMut(&PrefetchJob),
) -> Result<(), StoreError>
where
    B: Fn(PrefetchJob, CancellationToken) -> F,
    F: Future<Output = JobOutcome> + Send + 'static,
{
    let mut work = JoinSet::new();
    let mut jobs: HashMap<Id, JobId> = HashMap::new();
    loop {
        let now = limits();
        let may_begin = now.are_open() && !cancel.is_cancelled();
        while may_begin && work.len() < MOST_AT_ONCE {
            let Some(job) = queue.claim(now.per_source).await? else {
                break;
            };
            told(&job);
            let id = job.id;
            let begun = work.spawn(bring(job, cancel.clone()));
            jobs.insert(begun.id(), id);
        }
        if work.is_empty() && (!may_begin && *goal != Goal::Forever || is_reached(queue, goal).await?) {
            return Ok(());
        }
        tokio::select! {
            biased;
            Some(ended) = work.join_next_with_id() => {
                let (task, outcome) = match ended {
                    Ok((task, outcome)) => (task, outcome),
                    Err(failed) => (failed.id(), broke_off()),
                };
                if let Some(id) = jobs.remove(&task)
                    && let Some(job) = queue.finish(id, outcome, now.retries).await?
                {
                    told(&job);
                }
            }
            () = cancel.cancelled(), if work.is_empty() => return Ok(()),
            () = sleep(POLL) => {}
        }
    }
}

/// What a job comes to whose bringing panicked: it counts as an attempt, or it would be tried again without end.
fn broke_off() -> JobOutcome {
    JobOutcome::Incomplete {
        fetched: 0,
        detail: "bringing it broke off: see the log".to_owned(),
    }
}

async fn is_reached(queue: &Queue, goal: &Goal) -> Result<bool, StoreError> {
    match goal {
        Goal::Forever => Ok(false),
        Goal::All => queue.are_final(None).await,
        Goal::These(ids) => queue.are_final(Some(ids)).await,
    }
}

#[cfg(test)]
mod tests;
