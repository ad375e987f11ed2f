//! Objects that a source sends to our own listener, as it knows no C-GET: handed to the retrieve that waits for them.
//!
//! Invariants: an object is handed over only to a retrieve that has asked this very station for this very instance, and
//! its sender is answered when that retrieve has taken it. Where several retrieves wait for it, each gets it once before
//! one gets it again. Nobody waiting, it is an object like any other.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::object::{ObjectHeader, ObjectStream, SourceBroke};
use crate::dimse::{IncomingObject, Status, StoreRequest};
use crate::model::{StationName, Uid};

/// How many fragments of an object wait to be passed on.
const WAITING_FRAGMENTS: usize = 8;

/// The retrieves that wait for objects at our listener.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Vec<Waiting>>);

#[derive(Debug)]
struct Waiting {
    station: StationName,
    /// Of our C-MOVE-RQ.
    message_id: u16,
    /// How often each was handed over.
    instances: HashMap<Uid, u32>,
    objects: mpsc::Sender<Arrival>,
}

/// An object that has come, still to be taken.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) header: ObjectHeader,
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
    /// The data under the lock is whole after every statement, so a panic elsewhere does not spoil it.
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
            instances: instances.into_iter().map(|uid| (uid, 0)).collect(),
            objects: sender,
        });
        Expected {
            arrivals: self,
            objects,
        }
    }

    /// Whether objects of this station are waited for.
    pub fn are_expected_of(&self, station: &StationName) -> bool {
        self.waiting().iter().any(|waiting| waiting.station == *station)
    }

    /// Hands over an object to the retrieve that waits for it, and gives the status of the response; `None` where
    /// nobody does.
    pub async fn hand_over(
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
        let objects = self.who_waits(station, instance, message_id)?;
        let (fragments, to_take) = mpsc::channel(WAITING_FRAGMENTS);
        let (answer, status) = oneshot::channel();
        let arrival = Arrival {
            header: ObjectHeader {
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

    /// The retrieve that an object goes to: of several that wait for it, the one that was handed it least often, as each
    /// has asked for it itself, and message IDs do not tell them apart.
    fn who_waits(
        &self,
        station: &StationName,
        instance: &Uid,
        message_id: Option<u16>,
    ) -> Option<mpsc::Sender<Arrival>> {
        let mut waiting = self.waiting();
        let meant = waiting.iter_mut().filter(|waiting| {
            waiting.station == *station && message_id.is_none_or(|id| id == waiting.message_id)
        });
        let (times, objects) = meant
            .filter_map(|waiting| Some((waiting.instances.get_mut(instance)?, &waiting.objects)))
            .min_by_key(|(times, _)| **times)?;
        *times += 1;
        Some(objects.clone())
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

impl ObjectStream for Arrival {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        self.fragments.recv().await.ok_or(SourceBroke)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_retrieves_of_one_study_each_get_what_each_has_asked_for() {
        let (arrivals, station) = (Arrivals::default(), "PACS".parse().unwrap());
        let instance: Uid = "1.2.3".parse().unwrap();
        let expect = || arrivals.expect(&station, 1, HashSet::from([instance.clone()]));
        let [_one, other] = [expect(), expect()];
        let who = |message_id| arrivals.who_waits(&station, &instance, message_id).unwrap();
        let [first, second, again] = [who(Some(1)), who(None), who(Some(1))];
        assert!(!first.same_channel(&second) && first.same_channel(&again));
        let nobody = |message_id, instance: &str| {
            let instance = instance.parse().unwrap();
            arrivals.who_waits(&station, &instance, message_id).is_none()
        };
        assert!(nobody(Some(2), "1.2.3") && nobody(None, "1.2.4"));
        drop(other);
        assert!(who(None).same_channel(&first), "who is gone gets nothing");
    }
}
