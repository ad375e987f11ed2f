//! Senders served, and what they sent done: by the service, or by a command of its own.
//!
//! Invariants: what waits is in the store alone, so that an end at any moment loses nothing. What a person should know is
//! logged, without patient data.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, WorkedOff};
use super::receive::Taken;
use super::session::{Session, SessionError};
use crate::model::hl7::Hl7Settings;
use crate::store::{SharedStore, StoreError};

/// How many senders are connected at once.
const MOST_SENDERS: usize = 64;
/// How often it is looked whether something is due, when nothing is told.
const TICK: Duration = Duration::from_secs(1);

/// Where messages that come are kept, and their doing is begun.
#[derive(Debug)]
pub struct Feed {
    store: SharedStore,
    kept: Notify,
    places: Semaphore,
}

impl Feed {
    /// With a connection to the store of its own.
    pub fn new(store: SharedStore) -> Self {
        Feed {
            store,
            kept: Notify::new(),
            places: Semaphore::new(MOST_SENDERS),
        }
    }

    /// Where messages are kept.
    pub fn store(&self) -> SharedStore {
        self.store.clone()
    }

    /// Serves a sender by the settings that `settings` gives, until it ends, is silent for `idle`, or `stop` is cancelled
    /// and no message has begun.
    pub async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        settings: impl Fn() -> Hl7Settings,
        idle: Duration,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(SessionError::Full(MOST_SENDERS));
        };
        let session = Session {
            store: self.store(),
            settings,
            taken: |taken: &Taken| self.note(address, taken),
            idle,
        };
        session.serve(stream, address.ip(), stop).await
    }

    fn note(&self, address: SocketAddr, taken: &Taken) {
        let number = taken.kept.number;
        match &taken.refused {
            // The reason may quote the message. A sender that repeats it is told of once.
            Some(_) if !taken.kept.is_duplicate => {
                tracing::warn!("HL7 message {number} from {address} is refused: impaxlink hl7 show {number}")
            }
            _ if taken.kept.is_duplicate => {
                tracing::debug!("HL7 message {number} has come again from {address}")
            }
            _ => tracing::debug!("HL7 message {number} from {address} is kept"),
        }
        self.kept.notify_one();
    }

    /// Whether a message is due.
    pub async fn is_due(&self) -> Result<bool, StoreError> {
        let due = self
            .store
            .with(|store| store.due_hl7(Timestamp::now(), 1))
            .await?;
        Ok(!due.is_empty())
    }

    /// Waits until one may be due.
    pub async fn wait(&self) {
        // None of them is more than a look into the store.
        let _ = tokio::time::timeout(TICK, self.kept.notified()).await;
    }
}

/// Works off what is due, and tells of it in the log.
pub async fn work_off(applier: &Applier, stop: &CancellationToken) -> Result<WorkedOff, StoreError> {
    let worked = applier.work_off(stop).await?;
    if worked.failed > 0 {
        tracing::warn!("{} HL7 messages want a person: impaxlink hl7 list", worked.failed);
    }
    if worked.done > 0 {
        tracing::debug!("{} HL7 messages are done", worked.done);
    }
    Ok(worked)
}
