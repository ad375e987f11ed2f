//! New objects that received updates name: what a local archive that holds the study lacks of them is brought to it.
//!
//! Invariants: an update is done when the archive lists all that it names, or when no archive of the local cluster holds the
//! study; until then it is tried again, for ever but ever more rarely. A study that is another patient's anywhere is not
//! touched. Of one study one update at a time is pulled, by the one process that has the right to.
//!
//! - `puller`: one attempt, from the look at what is here to the count of what is then

mod puller;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::puller::Puller;
use super::wait::{backoff, later};
use crate::model::UPDATES_CONCURRENCY;
use crate::store::{DuePull, SharedStore, StoreError};

/// How often it is looked what is due when nothing is told.
const TICK: Duration = Duration::from_millis(500);
/// How long is waited after the first attempt in vain, and after each later one at most.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15 * 60)];

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// All that the update names is here.
    Here {
        /// How many came.
        fetched: u64,
    },
    /// No archive of the local cluster holds the study: there is nothing to do.
    NotHeld,
    /// Not all of it is here.
    Lacking {
        /// Why, in words without patient data.
        reason: String,
    },
    /// Nothing is moved: the study's UID stands for another patient at some station.
    InConflict {
        /// Where.
        reason: String,
    },
    /// It was interrupted, by no fault of a source.
    Interrupted,
}

/// Pulls what is due until `cancel` is cancelled or, where it does not `wait` for more, until nothing is due now. `wake`
/// tells that more may be due, `puller` is asked for before each attempt, and `told` is told what became of it.
pub async fn run(
    store: &SharedStore,
    puller: impl Fn() -> Puller,
    mut wake: watch::Receiver<u64>,
    wait: bool,
    cancel: &CancellationToken,
    mut told: impl FnMut(&DuePull, &Pulled),
) -> Result<(), StoreError> {
    let mut work = JoinSet::new();
    let mut busy: HashMap<Id, DuePull> = HashMap::new();
    loop {
        wake.mark_unchanged();
        let puller = puller();
        let at_once = puller.configuration.settings.count(UPDATES_CONCURRENCY);
        for due in next(store, at_once).await? {
            let is_busy = |other: &DuePull| other.logged.update.study == due.logged.update.study;
            if work.len() >= at_once || cancel.is_cancelled() || busy.values().any(is_busy) {
                continue;
            }
            let pulling = {
                let (puller, due, cancel) = (puller.clone(), due.clone(), cancel.clone());
                work.spawn(async move { puller.pull(&due, cancel).await })
            };
            busy.insert(pulling.id(), due);
        }
        if work.is_empty() && (cancel.is_cancelled() || !wait) {
            return Ok(());
        }
        tokio::select! {
            biased;
            Some(ended) = work.join_next_with_id() => {
                let (task, pulled) = match ended {
                    Ok(ended) => ended,
                    Err(failed) => (failed.id(), broke_off()),
                };
                if let Some(due) = busy.remove(&task) {
                    settle(store, &due, &pulled).await?;
                    told(&due, &pulled);
                }
            }
            () = cancel.cancelled(), if work.is_empty() => {}
            Ok(()) = wake.changed() => {}
            () = sleep(TICK) => {}
        }
    }
}

/// Of how many studies more than are begun at once what is due is read: those that are under way are among them.
async fn next(store: &SharedStore, at_once: usize) -> Result<Vec<DuePull>, StoreError> {
    store
        .with(move |store| store.next_pulls(Timestamp::now(), 2 * at_once))
        .await
}

/// What an attempt comes to that panicked: it counts, or it would be made again without end.
fn broke_off() -> Pulled {
    Pulled::Lacking {
        reason: "pulling it broke off: see the log".to_owned(),
    }
}

async fn settle(store: &SharedStore, due: &DuePull, pulled: &Pulled) -> Result<(), StoreError> {
    let id = due.logged.update.id.clone();
    let failures = due.trouble.as_ref().map_or(0, |trouble| trouble.failures);
    let pulled = pulled.clone();
    let settled = store.with(move |store| match pulled {
        Pulled::Here { .. } | Pulled::NotHeld => store.pull_is_done(&id),
        Pulled::Lacking { reason } | Pulled::InConflict { reason } => {
            let [first, longest] = WAITS;
            let next_try = later(Timestamp::now(), backoff(failures, first, longest));
            store.pull_failed(&id, &reason, next_try)
        }
        Pulled::Interrupted => Ok(()),
    });
    settled.await
}
