//! Taking the newest generation: read, checked, bound, swapped; or refused, and the one in force stays.
//!
//! Invariant: reloads happen one after the other. A request is answered by a reload whose reading began after it was
//! made, so whatever its client had saved before is in force, or refused, when it has its answer; requests that come
//! while one reload runs share the next.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::control::{RefusedReload, ReloadReport};
use super::listener::{Bound, Listening, Transport};
use super::{Service, Snapshot, Unusable, chain, notify};
use crate::model::{Change, Generation, changes};
use crate::store::{Replacement, SharedStore, Store, StoreError};

/// Why the newest generation is not in force.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the configuration cannot be read")]
    Store(#[source] StoreError),
    #[error("the store can't be taken up")]
    Lost(#[source] StoreError),
    #[error("the configuration was not read to its end")]
    Unread,
    #[error("generation {generation} is unusable")]
    Unusable {
        generation: Generation,
        source: Unusable,
    },
    #[error("generation {generation} cannot listen on {address}")]
    Listen {
        generation: Generation,
        address: SocketAddr,
        source: io::Error,
    },
}

/// The answer to a request: what was done, or why not.
pub(super) type Outcome = Result<ReloadReport, String>;

/// Asks for reloads.
#[derive(Debug, Clone)]
pub(super) struct ReloadRequests(mpsc::Sender<oneshot::Sender<Outcome>>);

impl ReloadRequests {
    /// A sender, and what [`Reloader::run`] takes.
    pub(super) fn new() -> (Self, mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let (sender, receiver) = mpsc::channel(64);
        (ReloadRequests(sender), receiver)
    }

    /// Has the newest generation taken; `None` when the service is ending.
    pub(super) async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// Where the service listens.
pub(super) struct AllListening {
    /// For associations over TCP.
    pub(super) plain: Listening,
    /// For those over TLS.
    pub(super) tls: Option<Listening>,
    /// For messages of HL7.
    pub(super) hl7: Option<Listening>,
}

/// The one who reloads, and who holds the addresses where the service listens.
pub(super) struct Reloader {
    service: Arc<Service>,
    store: SharedStore,
    listening: AllListening,
}

impl Reloader {
    /// Reads from `store`; `listening` is given up when the service drains.
    pub(super) fn new(service: Arc<Service>, store: SharedStore, listening: AllListening) -> Self {
        Reloader {
            service,
            store,
            listening,
        }
    }

    /// Reloads when asked, until the service drains.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<oneshot::Sender<Outcome>>) {
        let drain = self.service.drain.clone();
        while let Some(Some(first)) = drain.run_until_cancelled(requests.recv()).await {
            let mut waiting = vec![first];
            while let Ok(another) = requests.try_recv() {
                waiting.push(another);
            }
            notify::reloading();
            let outcome = self.reload().await;
            notify::ready();
            for reply in waiting {
                // A client that has gone away has no use for it.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    async fn reload(&mut self) -> Outcome {
        let outcome = self.take_up_and_reload().await;
        let refused = outcome.as_ref().err().map(|reason| RefusedReload {
            at: Timestamp::now(),
            reason: reason.clone(),
        });
        match &outcome {
            Ok(report) if report.changes.is_empty() => {
                tracing::info!("generation {} in force", report.generation);
            }
            Ok(report) => tracing::info!(
                "generation {} in force after {}, changes: {}",
                report.generation,
                report.previous,
                report.changes.len()
            ),
            Err(reason) => tracing::error!("reload refused: {reason}"),
        }
        self.service.state().refused = refused;
        let patients = &self.service.known_patients;
        let is_other = outcome
            .as_ref()
            .is_ok_and(|report| report.store_taken_up.is_some());
        // It says itself in the log where it can't be read; the configuration does not depend on it.
        let _ = match is_other {
            true => patients.take_from_other_store().await,
            false => patients.take_newest().await,
        };
        outcome
    }

    /// Takes up the store that is at the path now, where the one that is held was lost.
    async fn take_up_and_reload(&mut self) -> Outcome {
        let service = Arc::clone(&self.service);
        let taking_up = tokio::task::spawn_blocking(move || {
            // A connection that is left to the very same file would have the next ones use the old log.
            if service.store.look().is_some_and(Replacement::is_same_file) {
                service.states.close();
            }
            let taken_up = service.store.take_up()?;
            if taken_up.is_some() {
                service.states.close();
            }
            Ok(taken_up)
        });
        let lost = match taking_up.await {
            Ok(taken_up) => taken_up.map_err(ReloadError::Lost),
            Err(_) => Err(ReloadError::Unread),
        };
        let lost = lost.map_err(|error| chain(&error))?;
        let mut report = self.take_newest().await.map_err(|error| chain(&error))?;
        report.store_taken_up = lost.map(|how| how.to_string());
        Ok(report)
    }

    async fn take_newest(&mut self) -> Result<ReloadReport, ReloadError> {
        let began = std::time::Instant::now();
        let before = self.service.in_force.pin();
        let store = self.store.clone();
        let previous = Arc::clone(&before);
        let reading = tokio::task::spawn_blocking(move || Newest::read(&store, &previous));
        let newest = reading.await.map_err(|_| ReloadError::Unread)??;
        if let Some(next) = newest.snapshot {
            let bound = self.bind(&next)?;
            // Before anything is taken there: who calls a new address is answered under what asked for it.
            self.service.in_force.replace(next);
            self.listen(bound);
            // The same generation comes in force again where its files may be others.
            if newest.generation != before.generation() {
                self.service.state().in_force_since = Timestamp::now();
            }
        }
        Ok(ReloadReport {
            previous: before.generation(),
            generation: newest.generation,
            elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            changes: newest.changes,
            store_taken_up: None,
        })
    }

    /// Binds the addresses of `next`, where they are others: all, or none.
    fn bind(&self, next: &Snapshot) -> Result<NextAddresses, ReloadError> {
        let generation = next.generation();
        let bind = |listening: Option<&Listening>, address: SocketAddr| {
            let bound = match listening {
                Some(listening) if listening.asked() == address => return Ok(None),
                Some(listening) => listening.bind_next(address),
                None => Bound::new(address),
            };
            bound.map(Some).map_err(|source| ReloadError::Listen {
                generation,
                address,
                source,
            })
        };
        let optional = |listening: &Option<Listening>, address: Option<SocketAddr>| match address {
            Some(address) => Ok(match bind(listening.as_ref(), address)? {
                Some(bound) => Next::Moves(bound),
                None => Next::Stays,
            }),
            None => Ok(Next::Ends),
        };
        Ok(NextAddresses {
            plain: bind(Some(&self.listening.plain), next.settings().listen())?,
            tls: optional(&self.listening.tls, next.settings().tls_listen())?,
            hl7: optional(&self.listening.hl7, next.settings().hl7().listen)?,
        })
    }

    /// Moves to the addresses that are bound.
    fn listen(&mut self, next: NextAddresses) {
        if let Some(bound) = next.plain {
            self.listening.plain = bound.serve(&self.service, Transport::Plain);
            self.service.state().listen = self.listening.plain.local();
            tracing::info!("listening on {}", self.listening.plain.local());
        }
        let service = &self.service;
        next.tls
            .take_up(&mut self.listening.tls, service, Transport::Tls, "TLS");
        next.hl7
            .take_up(&mut self.listening.hl7, service, Transport::Hl7, "HL7");
    }
}

/// Where the service is to listen next.
struct NextAddresses {
    /// `None` where it stays as it is.
    plain: Option<Bound>,
    tls: Next,
    hl7: Next,
}

/// What becomes of an address that need not be.
enum Next {
    Stays,
    Moves(Bound),
    Ends,
}

impl Next {
    fn take_up(
        self,
        listening: &mut Option<Listening>,
        service: &Arc<Service>,
        transport: Transport,
        what: &str,
    ) {
        match self {
            Next::Stays => {}
            Next::Moves(bound) => {
                tracing::info!("listening for {what} on {}", bound.local());
                *listening = Some(bound.serve(service, transport));
            }
            Next::Ends if listening.take().is_some() => tracing::info!("no longer listening for {what}"),
            Next::Ends => {}
        }
    }
}

/// The newest generation, as it follows the one in force.
struct Newest {
    generation: Generation,
    /// `None` where it is in force already.
    snapshot: Option<Snapshot>,
    changes: Vec<Change>,
}

impl Newest {
    /// Reads and compares; with thousands of stations that is too long for a thread that serves.
    fn read(store: &SharedStore, in_force: &Snapshot) -> Result<Self, ReloadError> {
        let newest = store
            .with_blocking(Store::configuration)
            .map_err(ReloadError::Store)?;
        let generation = newest.generation;
        if newest == **in_force.configuration() && !in_force.depends_on_files() {
            return Ok(Newest {
                generation,
                snapshot: None,
                changes: Vec::new(),
            });
        }
        let changes = changes(in_force.configuration(), &newest);
        let snapshot = Snapshot::load(newest);
        Ok(Newest {
            generation,
            changes,
            snapshot: Some(snapshot.map_err(|source| ReloadError::Unusable { generation, source })?),
        })
    }
}
