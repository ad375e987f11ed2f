//! How a query under way is told to stop.
//!
//! Invariant: the first stop stands; a later one does not replace it.

use std::time::Duration;

use tokio::sync::watch;

/// Why a station is asked no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The caller cancelled, or a limit of theirs was reached: the peer is told by C-CANCEL.
    Cancelled,
    /// It held up the end for so long after the others had finished.
    Overdue(Duration),
    /// The whole query had only so long.
    TimedOut(Duration),
}

/// Tells stations to stop.
#[derive(Debug)]
pub(super) struct StopSender(watch::Sender<Option<Stop>>);

impl StopSender {
    pub(super) fn new() -> Self {
        StopSender(watch::Sender::new(None))
    }

    pub(super) fn send(&self, stop: Stop) {
        self.0.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(stop);
            }
            is_first
        });
    }

    pub(super) fn is_sent(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn signal(&self) -> StopSignal {
        StopSignal(self.0.subscribe())
    }
}

/// Tells a station's conversation that it is to stop.
#[derive(Debug, Clone)]
pub(super) struct StopSignal(watch::Receiver<Option<Stop>>);

impl StopSignal {
    /// Waits for the stop. A query that was dropped is cancelled. Cancel-safe.
    pub(super) async fn raised(&mut self) -> Stop {
        match self.0.wait_for(Option::is_some).await {
            Ok(stop) => stop.unwrap_or(Stop::Cancelled),
            Err(_) => Stop::Cancelled,
        }
    }
}
