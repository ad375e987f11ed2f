//! Cluster Updates that linked clusters send: taken from those who are proven, kept, and answered then.
//!
//! Invariants: success is answered after the commit, and never before. What has come over all associations meanwhile shares
//! one transaction. Nothing of it meets an archive.

use tokio::sync::{mpsc, oneshot, watch};

use super::admission::Calls;
use super::{Service, chain};
use crate::audit::Attribution;
use crate::dimse::{Status, WholeObject, WholeStored, uids};
use crate::model::{Objection, StationName, accepts_updates};
use crate::store::{Applied, ErrorClass, Received, SharedStore, StoreError};
use crate::updates::object;

/// How many associations' updates share a transaction.
const SHARE: usize = 64;

/// Where updates that came are handed in, and where the relay hears of new ones.
pub(super) struct Updates {
    inbox: mpsc::Sender<Parcel>,
    wake: watch::Sender<u64>,
}

/// What came together over one association.
struct Parcel {
    received: Vec<Received>,
    /// `None` for one that could not be kept.
    answer: oneshot::Sender<Vec<Option<Applied>>>,
}

/// Keeps what is handed in.
pub(super) struct UpdateKeeper {
    parcels: mpsc::Receiver<Parcel>,
    store: SharedStore,
    attribution: Attribution,
}

impl Updates {
    /// With a connection to the store of its own; what is done is recorded as done by `attribution`.
    pub(super) fn new(store: SharedStore, attribution: Attribution) -> (Self, UpdateKeeper) {
        let (inbox, parcels) = mpsc::channel(SHARE);
        let keeper = UpdateKeeper {
            parcels,
            store,
            attribution,
        };
        let wake = watch::Sender::new(0);
        (Updates { inbox, wake }, keeper)
    }

    /// Has the relay look whether there is something to send.
    pub(super) fn wake(&self) {
        self.wake.send_modify(|count| *count += 1);
    }

    /// Tells when there may be something to send.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// None of those that nobody was there to keep.
    async fn keep(&self, received: Vec<Received>) -> Vec<Option<Applied>> {
        let (answer, kept) = oneshot::channel();
        match self.inbox.send(Parcel { received, answer }).await {
            Ok(()) => kept.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

impl UpdateKeeper {
    /// Keeps what is handed in until nobody can hand in any more.
    pub(super) async fn run(mut self) {
        let mut parcels = Vec::new();
        while self.parcels.recv_many(&mut parcels, SHARE).await > 0 {
            let together = std::mem::take(&mut parcels);
            let (store, attribution) = (self.store.clone(), self.attribution.clone());
            let keeping = tokio::task::spawn_blocking(move || keep(&store, &attribution, together));
            if let Err(error) = keeping.await {
                tracing::error!("keeping updates broke off: {error}");
            }
        }
    }
}

fn keep(store: &SharedStore, attribution: &Attribution, parcels: Vec<Parcel>) {
    let all: Vec<Received> = parcels
        .iter()
        .flat_map(|parcel| parcel.received.clone())
        .collect();
    let mut applied = apply(store, attribution, &all).into_iter();
    for parcel in parcels {
        let its = applied.by_ref().take(parcel.received.len()).collect();
        // Who does not wait any more gets them again.
        let _ = parcel.answer.send(its);
    }
}

/// Where together they can't be kept, each is tried alone: one that is at fault holds up none of the others.
fn apply(store: &SharedStore, attribution: &Attribution, received: &[Received]) -> Vec<Option<Applied>> {
    match store.with_blocking(|store| store.apply_updates(attribution, received)) {
        Ok(applied) => applied.into_iter().map(Some).collect(),
        Err(error) if received.len() > 1 && is_of_one(&error) => received
            .iter()
            .flat_map(|one| apply(store, attribution, std::slice::from_ref(one)))
            .collect(),
        Err(error) => {
            tracing::warn!("{} updates could not be kept: {}", received.len(), chain(&error));
            vec![None; received.len()]
        }
    }
}

/// Whether one of several updates may be at fault.
fn is_of_one(error: &StoreError) -> bool {
    error.class() == ErrorClass::Failed && !matches!(error, StoreError::Replaced { .. })
}

/// Takes objects that came together over one association, and gives what each is answered.
pub(super) async fn take_updates(
    service: &Service,
    calls: &Calls,
    objects: Vec<WholeObject>,
) -> Vec<WholeStored> {
    let snapshot = service.in_force.pin();
    let refuse_all = |why: &str| vec![answer(Status::NOT_AUTHORIZED, why); objects.len()];
    let Ok(station) = calls.station(&snapshot) else {
        return refuse_all("not known here any more");
    };
    let why = if !accepts_updates(station) {
        Some("link cluster updates is off here")
    } else if !calls.is_proven(station, &service.host_names).await {
        Some("not proven by address or certificate (--from-address)")
    } else {
        None
    };
    if let Some(why) = why {
        let address = calls.address();
        service
            .rejections
            .log(address, None, &format!("updates of {}: {why}", station.name));
        return refuse_all(why);
    }
    let read: Vec<Result<Received, WholeStored>> =
        objects.iter().map(|object| read(object, &station.name)).collect();
    let good: Vec<Received> = read.iter().flatten().cloned().collect();
    let kept = match good.is_empty() {
        true => Vec::new(),
        false => service.updates.keep(good).await,
    };
    let known = kept
        .iter()
        .flatten()
        .filter(|one| **one == Applied::Duplicate)
        .count();
    tracing::debug!(
        "{} updates of {} came, {known} known already",
        objects.len(),
        station.name
    );
    if kept.iter().flatten().any(is_more_to_do) {
        service.updates.wake();
    }
    let mut kept = kept.into_iter();
    let answers = read.into_iter().map(|read| match read {
        Err(answer) => answer,
        Ok(_) => match kept.next().flatten() {
            Some(applied) => answer_to(applied, &station.name),
            None => answer(Status::OUT_OF_RESOURCES, &service.why_not_kept()),
        },
    });
    answers.collect()
}

fn read(object: &WholeObject, from: &StationName) -> Result<Received, WholeStored> {
    if object.sop_class_uid != uids::CLUSTER_UPDATE {
        return Err(Status::SOP_CLASS_NOT_SUPPORTED.into());
    }
    match object::read(&object.sop_instance_uid, &object.data_set) {
        Ok(update) => Ok(Received {
            update,
            from: from.clone(),
        }),
        Err(error) => {
            tracing::warn!("an update of {from} is refused: {error}");
            Err(answer(Status::DOES_NOT_MATCH_SOP_CLASS, &error.to_string()))
        }
    }
}

fn is_more_to_do(applied: &Applied) -> bool {
    matches!(applied, Applied::Applied { .. })
}

fn answer_to(applied: Applied, from: &StationName) -> WholeStored {
    match applied {
        Applied::Applied { .. } | Applied::Duplicate => Status::SUCCESS.into(),
        // It is kept, and applied once its time has come.
        Applied::Parked(objection) => {
            tracing::warn!("an update of {from} is parked: {objection}");
            Status::SUCCESS.into()
        }
        Applied::Refused(objection) => {
            tracing::warn!("an update of {from} is refused: {objection}");
            let status = match objection {
                Objection::FlagOff(_) => Status::NOT_AUTHORIZED,
                _ => Status::DOES_NOT_MATCH_SOP_CLASS,
            };
            answer(status, &objection.to_string())
        }
    }
}

fn answer(status: Status, comment: &str) -> WholeStored {
    WholeStored {
        status,
        comment: Some(comment.to_owned()),
    }
}
