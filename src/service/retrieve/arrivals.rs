//! Objects that a source sends to our own listener, as it knows no C-GET: handed to the retrieve that waits for them.
//!
//! Invariants: an object is handed over only to a retrieve that has asked this very station for this very instance, and
//! its sender is answered when that retrieve has taken it. Nobody waiting, it is an object like any other.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::delivery::{Announced, Pieces, SourceBroke};
use crate::dimse::{IncomingObject, Status, StoreRequest};
use crate::model::{StationName, Uid};

/// How many fragments of an object wait to be passed on.
const WAITING_FRAGMENTS: usize = 8;

/// The retrieves that wait for objects at our listener.
#[derive(Debug, Default)]
pub(in crate::service) struct Arrivals(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    station: StationName,
    /// Of our C-MOVE-RQ.
    message_id: u16,
    instances: HashSet<Uid>,
    objects: mpsc::Sender<Arrival>,
}

/// An object that has come, still to be taken.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) announced: Announced,
    fragments: mpsc::Receiver<Option<Vec<u8>>>,
    answer: oneshot::Sender<Status>,
}

/// Keeps objects coming to a retrieve, until it is dropped.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    arrivals: &'a Arrivals,
    pub(super) objects: mpsc::Receiver<Arrival>,
}

impl Arrivals {
    /// Begins to wait for these instances, which `station` was asked to send by a C-MOVE of this message ID.
    pub(super) fn expect(
        &self,
        station: &StationName,
        message_id: u16,
        instances: HashSet<Uid>,
    ) -> Expected<'_> {
        let (sender, objects) = mpsc::channel(1);
        self.waiting().push(Waiting {
            station: station.clone(),
            message_id,
            instances,
            objects: sender,
        });
        Expected {
            arrivals: self,
            objects,
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether objects of this station are waited for.
    pub(in crate::service) fn are_expected_of(&self, station: &StationName) -> bool {
        self.waiting().iter().any(|waiting| waiting.station == *station)
    }

    /// Hands over an object to the retrieve that waits for it, and gives the status of the response; `None` where
    /// nobody does.
    pub(in crate::service) async fn hand_over(
        &self,
        station: &StationName,
        request: &StoreRequest,
        object: &mut IncomingObject<'_>,
    ) -> Option<Status> {
        let instance = &request.sop_instance_uid;
        let message_id = request
            .move_originator
            .as_ref()
            .map(|(_, message_id)| *message_id);
        let objects = self.waiting().iter().find_map(|waiting| {
            let is_meant = waiting.station == *station
                && waiting.instances.contains(instance)
                && message_id.is_none_or(|id| id == waiting.message_id);
            is_meant.then(|| waiting.objects.clone())
        })?;
        let (fragments, to_take) = mpsc::channel(WAITING_FRAGMENTS);
        let (answer, status) = oneshot::channel();
        let arrival = Arrival {
            announced: Announced {
                kind: (
                    request.context.sop_class_uid.clone(),
                    request.context.transfer_syntax_uid.clone(),
                ),
                instance: instance.clone(),
            },
            fragments: to_take,
            answer,
        };
        objects.send(arrival).await.ok()?;
        while let Ok(fragment) = object.next().await {
            let is_last = fragment.is_none();
            // What is not taken any more is passed over.
            if fragments.send(fragment).await.is_err() || is_last {
                break;
            }
        }
        drop(fragments);
        Some(status.await.unwrap_or(Status::PROCESSING_FAILURE))
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.objects.close();
        self.arrivals
            .waiting()
            .retain(|waiting| !waiting.objects.is_closed());
    }
}

impl Arrival {
    /// Answers it.
    pub(super) fn answer(self, status: Status) {
        // A sender that is gone needs none.
        let _ = self.answer.send(status);
    }
}

impl Pieces for Arrival {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        self.fragments.recv().await.ok_or(SourceBroke)
    }
}
