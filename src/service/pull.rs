//! Objects that linked clusters told of, pulled by the service as updates come.
//!
//! Invariants: nothing is pulled while another process does. Each attempt is made under the snapshot in force then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::find::failing_links;
use super::{Service, chain};
use crate::store::{DuePull, PullLock, SharedStore, StoreError};
use crate::updates::pull::{self, Pulled, Puller};

/// How often the right to pull is asked for while another process has it.
const LOCK_TICK: Duration = Duration::from_secs(1);
/// So many attempts in vain are usual.
const USUAL_FAILURES: u32 = 4;
/// How long after the store has failed it is gone on.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Pulls what is due, until the service drains.
pub(super) async fn pull_objects(service: Arc<Service>, store: SharedStore) {
    while !service.drain.is_cancelled() {
        let wait = match pull_until_drained(&service, &store).await {
            Ok(()) => LOCK_TICK,
            Err(error) => {
                tracing::warn!("the pulling of new objects stands still: {}", chain(&error));
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = service.drain.cancelled() => {}
            () = sleep(wait) => {}
        }
    }
}

/// Does nothing where another process has the right to pull.
async fn pull_until_drained(service: &Arc<Service>, store: &SharedStore) -> Result<(), StoreError> {
    let path = service.archive.store();
    let lock_path = path.to_owned();
    let Some(_lock) = store.with(move |_| PullLock::acquire(&lock_path)).await? else {
        return Ok(());
    };
    let puller = || {
        let snapshot = service.in_force.pin();
        Puller {
            arrivals: Some(Arc::clone(&service.arrivals)),
            configuration: Arc::clone(snapshot.configuration()),
            cross_reference: service.known_patients.pin(),
            tls: snapshot.tls().clone(),
            archive: service.archive.clone(),
            turns: Some(Arc::clone(&service.turns)),
            resting: failing_links(service).1,
            path: path.to_owned(),
            store: store.clone(),
        }
    };
    pull::run(store, puller, service.updates.watch(), true, &service.drain, tell).await
}

fn tell(due: &DuePull, pulled: &Pulled) {
    let (update, study) = (&due.logged.update.id, &due.logged.update.study);
    match pulled {
        Pulled::Here { fetched } => {
            tracing::info!("{fetched} new objects of {study} have come, as update {update} names them");
        }
        Pulled::NotHeld => {
            tracing::debug!("study {study} is not here: nothing is pulled for update {update}")
        }
        Pulled::Interrupted => {}
        Pulled::InConflict { reason } | Pulled::Lacking { reason } => tell_reason(due, reason),
    }
}

/// At first the sender may not have the objects itself yet: that is no news.
fn tell_reason(due: &DuePull, reason: &str) {
    let study = &due.logged.update.study;
    let is_news = due.trouble.as_ref().is_some_and(|known| {
        known.failures == USUAL_FAILURES || known.failures > USUAL_FAILURES && known.reason != reason
    });
    match is_news {
        true => tracing::warn!("new objects of {study} are not here yet: {reason}"),
        false => tracing::debug!("new objects of {study} are not here yet: {reason}"),
    }
}
