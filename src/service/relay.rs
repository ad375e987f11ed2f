//! The relay of updates by the service: each station that has something waiting is sent it, all at the same time.
//!
//! Invariants: one task sends to a station at a time, under one snapshot; another generation ends it, and the next one
//! goes on. What a person should know is logged when it is news.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Service, chain};
use crate::audit::Attribution;
use crate::model::StationName;
use crate::store::{SharedStore, StoreError};
use crate::updates::relay::{Relay, Sent, ready};

/// How often the queues are looked at when nothing is told.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether parked updates may be applied.
const PARKED_TICK: Duration = Duration::from_secs(10);
/// How many of them are applied at once.
const PARKED: usize = 100;
/// How long an association is kept for what may come.
const LINGER: Duration = Duration::from_secs(5);

type Ended = Result<Sent, StoreError>;
/// The stations that are sent to, each by its task.
type Busy = HashMap<tokio::task::Id, StationName>;

/// Sends what waits for stations, until the service drains.
pub(super) async fn relay_updates(service: Arc<Service>, store: SharedStore, attribution: Attribution) {
    let (mut generation, mut wake) = (service.in_force.watch(), service.updates.watch());
    let mut stop = service.drain.child_token();
    let mut sending: JoinSet<Ended> = JoinSet::new();
    let mut busy = Busy::new();
    let mut told: BTreeMap<StationName, String> = BTreeMap::new();
    let mut parked_at = Instant::now();
    loop {
        wake.mark_unchanged();
        if parked_at.elapsed() >= PARKED_TICK {
            parked_at = Instant::now();
            apply_parked(&store, &attribution).await;
        }
        if let Err(error) = begin(&service, &store, &stop, &mut sending, &mut busy).await {
            tracing::warn!("the relay of updates stands still: {}", chain(&error));
        }
        tokio::select! {
            () = service.drain.cancelled() => break,
            Ok(()) = generation.changed() => {
                stop.cancel();
                stop = service.drain.child_token();
            }
            Ok(()) = wake.changed() => {}
            Some(ended) = sending.join_next_with_id() => {
                let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
                if let Some(station) = busy.remove(&task) {
                    tell(&mut told, station, ended.map(|(_, ended)| ended));
                }
            }
            () = sleep(TICK) => {}
        }
    }
    while sending.join_next().await.is_some() {}
}

/// Begins to send to the stations that are ready, and not sent to already.
async fn begin(
    service: &Arc<Service>,
    store: &SharedStore,
    stop: &CancellationToken,
    sending: &mut JoinSet<Ended>,
    busy: &mut Busy,
) -> Result<(), StoreError> {
    let snapshot = service.in_force.pin();
    for station in ready(store, snapshot.configuration()).await? {
        if busy.values().any(|name| *name == station.name) {
            continue;
        }
        let relay = Relay {
            configuration: Arc::clone(snapshot.configuration()),
            tls: snapshot.tls().clone(),
            own: service.cluster_uid.clone(),
            store: store.clone(),
            linger: LINGER,
        };
        let (wake, stop, name) = (service.updates.watch(), stop.clone(), station.name.clone());
        let task = sending.spawn(async move { relay.send(&station, wake, &stop).await });
        busy.insert(task.id(), name);
    }
    Ok(())
}

fn tell(told: &mut BTreeMap<StationName, String>, station: StationName, ended: Result<Ended, JoinError>) {
    let sent = match ended {
        Ok(Ok(sent)) => sent,
        Ok(Err(error)) => {
            return tracing::warn!("updates to {station} stand still: {}", chain(&error));
        }
        Err(error) => return tracing::error!("sending updates to {station} broke off: {error}"),
    };
    if sent.refused > 0 {
        tracing::warn!(
            "{station} has refused {} updates: impaxlink updates list",
            sent.refused
        );
    }
    match sent.halt {
        None if told.remove(&station).is_some() => tracing::info!("{station} takes updates again"),
        None => tracing::debug!("{} updates delivered to {station}", sent.delivered),
        Some(halt) => {
            let halt = halt.to_string();
            if told.get(&station) != Some(&halt) {
                tracing::warn!("updates to {station} wait: {halt}");
                told.insert(station, halt);
            }
        }
    }
}

async fn apply_parked(store: &SharedStore, attribution: &Attribution) {
    let attribution = attribution.clone();
    let applied = store.with(move |store| match store.parked_updates()?.is_empty() {
        true => Ok(0),
        false => store.apply_parked(&attribution, PARKED),
    });
    match applied.await {
        Ok(0) => {}
        Ok(count) => tracing::info!("{count} parked updates are applied now"),
        Err(error) => tracing::warn!("parked updates stay parked: {}", chain(&error)),
    }
}
