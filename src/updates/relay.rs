//! The queue of each station, sent until delivered.
//!
//! Invariants: the store is used on blocking threads alone. What a station has answered is kept before anything more is
//! sent to it. A station that can't be told rests, its rows as they are; one without the linked syntax has none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Halt, Peer};
use super::wait::{backoff, later};
use crate::link::tls::LinkTls;
use crate::model::{Configuration, Station, StationName, Uid, relay_targets};
use crate::store::{AfterStudy, Due, LinkOutcome, LinkReport, RelayPeer, Settled, SharedStore, StoreError};

/// How many updates are read from the queue at once.
const BATCH: usize = 512;
/// How many studies' state is queued at once.
const STATES: usize = 200;
/// How long a station rests after its first failure, and after each later one at most.
const RESTS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5 * 60)];
/// The same where only a person can change what is wrong.
const LONG_RESTS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(60 * 60)];
/// How long a station rests that was busy.
const BUSY: Duration = Duration::from_millis(500);

/// The stations that have something to be sent now, and neither rest nor are suspended.
pub async fn ready(
    store: &SharedStore,
    configuration: &Arc<Configuration>,
) -> Result<Vec<Station>, StoreError> {
    let configuration = Arc::clone(configuration);
    store
        .with(move |store| {
            let (now, peers) = (Timestamp::now(), store.relay_peers()?);
            let mut ready = Vec::new();
            for station in relay_targets(&configuration, None) {
                let peer = peers.get(&station.name).cloned().unwrap_or_default();
                let rests = peer.trouble.is_some_and(|trouble| trouble.next_try > now);
                if rests || station.is_suspended(now) {
                    continue;
                }
                if peer.is_resync_due || !store.due_updates(&station.name, now, 1)?.is_empty() {
                    ready.push(station.clone());
                }
            }
            Ok(ready)
        })
        .await
}

/// Sends what waits for stations.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The configuration by which stations are called.
    pub configuration: Arc<Configuration>,
    /// TLS towards them.
    pub tls: LinkTls,
    /// The local cluster's identity.
    pub own: Uid,
    /// The queues.
    pub store: SharedStore,
    /// How long an association is kept when nothing more waits.
    pub linger: Duration,
}

/// How sending to a station ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// How many updates were delivered.
    pub delivered: usize,
    /// How many were refused for good.
    pub refused: usize,
    /// What keeps the rest.
    pub halt: Option<Halt>,
}

impl Relay {
    /// Sends to a station until nothing more is due, and for a while what comes besides, told by `wake`.
    pub async fn send(
        &self,
        station: &Station,
        mut wake: watch::Receiver<u64>,
        stop: &CancellationToken,
    ) -> Result<Sent, StoreError> {
        let mut sent = Sent::default();
        let name = station.name.clone();
        let mut conversation: Option<Conversation> = None;
        let mut is_fresh = true;
        while !stop.is_cancelled() {
            wake.mark_unchanged();
            let (peer, due) = self.due(&name).await?;
            if due.is_empty() && !peer.is_resync_due {
                if conversation.is_none() || !self.is_woken(&mut wake, stop).await {
                    break;
                }
                is_fresh = false;
                continue;
            }
            // A person has had it resynchronised: whoever is there now is to show who it is.
            if let Some(former) = conversation.take_if(|_| peer.cluster_uid.is_none()) {
                former.close().await;
            }
            let open = match conversation.as_mut() {
                Some(open) => open,
                None => match self.open(station, &peer).await? {
                    Ok(opened) => conversation.insert(opened),
                    Err(halt) => {
                        sent.halt = Some(halt);
                        break;
                    }
                },
            };
            if peer.is_resync_due {
                self.queue_state(station).await?;
                continue;
            }
            let mut settled = Vec::new();
            let told = open.send(due, &mut settled).await;
            let is_busy = settled
                .iter()
                .any(|(_, settled)| matches!(settled, Settled::TryAgain { .. }));
            sent.delivered += count(&settled, |settled| *settled == Settled::Delivered);
            sent.refused += count(&settled, |settled| matches!(settled, Settled::Refused { .. }));
            let is_progress = !settled.is_empty();
            let settled_by = name.clone();
            self.store
                .with(move |store| store.settle_outbox(&settled_by, &settled))
                .await?;
            match told {
                Ok(()) if is_busy => tokio::time::sleep(BUSY).await,
                Ok(()) => {}
                // The peer may have ended an association that was silent.
                Err(Halt::Failed(_)) if !is_fresh && !is_progress => conversation = None,
                Err(halt) => {
                    self.rest(&name, &peer, &halt).await?;
                    sent.halt = Some(halt);
                    conversation = None;
                    break;
                }
            }
            is_fresh = true;
        }
        if let Some(conversation) = conversation {
            conversation.close().await;
        }
        Ok(sent)
    }

    async fn due(&self, name: &StationName) -> Result<(RelayPeer, Vec<Due>), StoreError> {
        let name = name.clone();
        let read = self.store.with(move |store| {
            let peer = store.relay_peers()?.remove(&name).unwrap_or_default();
            Ok((peer, store.due_updates(&name, Timestamp::now(), BATCH)?))
        });
        read.await
    }

    /// Waits for more to send; `false` where none came for a while.
    async fn is_woken(&self, wake: &mut watch::Receiver<u64>, stop: &CancellationToken) -> bool {
        tokio::select! {
            () = stop.cancelled() => false,
            changed = wake.changed() => changed.is_ok(),
            () = tokio::time::sleep(self.linger) => false,
        }
    }

    async fn open(
        &self,
        station: &Station,
        peer: &RelayPeer,
    ) -> Result<Result<Conversation, Halt>, StoreError> {
        let began = Instant::now();
        let opened = Conversation::open(Peer {
            station,
            settings: &self.configuration.settings,
            tls: &self.tls,
            own: &self.own,
            known: peer.cluster_uid.as_ref(),
        });
        let opened = opened.await;
        let name = station.name.clone();
        match &opened {
            Ok(conversation) => {
                let cluster = conversation.cluster().clone();
                let (is_news, report) = (
                    peer.cluster_uid.as_ref() != Some(&cluster) || peer.trouble.is_some(),
                    speaks_linked(&name, began, true),
                );
                let noted = self.store.with(move |store| {
                    store.record_link_health(&[report])?;
                    if is_news {
                        store.relay_opened(&name, &cluster)?;
                    }
                    Ok(())
                });
                noted.await?;
            }
            Err(halt) => {
                if *halt == Halt::LacksSyntax {
                    let report = speaks_linked(&name, began, false);
                    let noted = self.store.with(move |store| {
                        store.record_link_health(&[report])?;
                        store.relay_give_up(&name)
                    });
                    noted.await?;
                }
                self.rest(&station.name, peer, halt).await?;
            }
        }
        Ok(opened)
    }

    async fn rest(&self, name: &StationName, peer: &RelayPeer, halt: &Halt) -> Result<(), StoreError> {
        let [first, longest] = if halt.lasts() { LONG_RESTS } else { RESTS };
        let next_try = later(Timestamp::now(), backoff(peer.failures, first, longest));
        let (name, reason) = (name.clone(), halt.to_string());
        let noted = self
            .store
            .with(move |store| store.relay_failed(&name, &reason, next_try));
        noted.await
    }

    /// Queues the current state of all studies.
    async fn queue_state(&self, station: &Station) -> Result<(), StoreError> {
        let mut after: Option<AfterStudy> = None;
        loop {
            let station = station.clone();
            let queued = self
                .store
                .with(move |store| store.queue_state(&station, after.as_ref(), STATES));
            after = queued.await?;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

fn count(settled: &[(Uid, Settled)], is_meant: impl Fn(&Settled) -> bool) -> usize {
    settled.iter().filter(|(_, settled)| is_meant(settled)).count()
}

fn speaks_linked(name: &StationName, began: Instant, speaks_linked: bool) -> LinkReport {
    LinkReport {
        station: name.clone(),
        at: Timestamp::now(),
        outcome: LinkOutcome::Answered {
            latency: began.elapsed(),
            speaks_linked: Some(speaks_linked),
            character_sets: None,
        },
    }
}
