//! Bringing one image of a study over by C-MOVE, to see whether the way back works.
//!
//! Invariant: it is a retrieve like any other: what came is on record as a copy. An image that is here already proves
//! nothing, so it is one that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::item::Items;
use super::ours::Ours;
use super::{Review, ServiceState};
use crate::model::{Outcome, Station, StationName, Uid, in_full};
use crate::retrieve::{
    Copy, Method, Progress, RetrieveError, RetrieveRequest, Retrieved, Scope, list, retrieve,
};
use crate::store::Purpose;

/// A study of which one image is to be moved here.
#[derive(Debug, Clone)]
pub struct MoveTest {
    /// The study.
    pub study_instance_uid: Uid,
    /// The store, where the copy is put on record.
    pub store: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Moved {
    /// There is no archive station to move it to.
    NoArchive,
    /// The embedded archive needs the service for what others send.
    NoService,
    /// The station was asked for the study, and lists none of its images; why, where that is known.
    NotThere(Option<String>),
    /// All its images are here.
    AllHere,
    /// It was not at its end in time.
    Overdue,
    /// It was tried.
    Tried(Result<Box<Retrieved>, RetrieveError>, Duration),
}

impl MoveTest {
    /// Moves an image from `station`.
    pub(super) async fn run(&self, review: &Review, station: &StationName) -> Moved {
        let ours = Ours::new(&review.configuration, &review.cluster_uid, &review.service);
        let place = |name: &StationName| {
            review
                .configuration
                .stations
                .iter()
                .position(|it| it.name == *name)
        };
        let source = place(station).and_then(|at| Some((at, review.configuration.stations.get(at)?)));
        let Some((from, source)) = source else {
            return Moved::NoArchive;
        };
        let Some(destination) = ours.destination(source) else {
            return Moved::NoArchive;
        };
        if destination.host.is_none() && review.service == ServiceState::NotRunning {
            return Moved::NoService;
        }
        let to = place(&destination.archive).unwrap_or(from);
        let request = self.request(review, station);
        let listed = timeout(review.limit, list(&request, [from, to])).await;
        let Ok([(there, entry), (here, _)]) = listed else {
            return Moved::Overdue;
        };
        let listed = |copy: Option<Copy>| -> BTreeSet<Uid> {
            copy.map(|copy| copy.instances.keys().cloned().collect())
                .unwrap_or_default()
        };
        let (there, here) = (listed(there), listed(here));
        let Some(instance) = there.difference(&here).next() else {
            let failed = entry.filter(|entry| entry.outcome != Outcome::Searched);
            return match there.is_empty() {
                true => Moved::NotThere(failed.and_then(|entry| entry.detail)),
                false => Moved::AllHere,
            };
        };
        let request = RetrieveRequest {
            scope: Scope::Instances([instance.clone()].into()),
            ..request
        };
        fetch(&request, review.limit).await
    }

    fn request(&self, review: &Review, station: &StationName) -> RetrieveRequest {
        RetrieveRequest {
            configuration: Arc::clone(&review.configuration),
            // Whose the study is makes no difference to the way that it comes.
            cross_reference: Arc::default(),
            tls: review.tls.clone(),
            archive: review.archive.clone(),
            turns: None,
            store: self.store.clone(),
            purpose: Purpose::Retrieve,
            study_instance_uid: self.study_instance_uid.clone(),
            patient: None,
            scope: Scope::Study,
            from: vec![station.clone()],
            first: None,
            resting: BTreeMap::new(),
            regardless: true,
            to: None,
            method: Some(Method::Move),
            dry_run: false,
            arrivals: None,
        }
    }
}

async fn fetch(request: &RetrieveRequest, limit: Duration) -> Moved {
    let began = Instant::now();
    let (progress, _) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let retrieving = retrieve(request, progress, cancel.clone());
    tokio::pin!(retrieving);
    let retrieved = tokio::select! {
        retrieved = &mut retrieving => retrieved,
        () = sleep(limit) => {
            // The peer is told, and what came stays.
            cancel.cancel();
            retrieving.await
        }
    };
    Moved::Tried(retrieved.map(Box::new), began.elapsed())
}

/// Judges what came of it.
pub(super) fn judge(items: &mut Items, station: &Station, moved: Moved, ours: &Ours<'_>) {
    const CHECK: &str = "move_test";
    let other = "name a study that it has and that is not here in full";
    let (retrieved, took) = match moved {
        Moved::NoArchive => {
            let hint = "impaxlink station add NAME --kind archive …";
            return items.unknown(CHECK, "there is no archive station to move an image to", hint);
        }
        Moved::NoService => {
            let detail = "the service is not running, so that nothing moved to the embedded archive arrives";
            return items.unknown(CHECK, detail, "impaxlink serve");
        }
        Moved::NotThere(Some(why)) => {
            return items.fail(CHECK, format!("it does not list the study: {why}"), other);
        }
        Moved::NotThere(None) => return items.unknown(CHECK, "it does not have that study", other),
        Moved::AllHere => return items.unknown(CHECK, "the whole study is here already", other),
        Moved::Overdue => {
            let hint = "give it more time with --timeout";
            return items.unknown(CHECK, "the time was up before the study was listed", hint);
        }
        Moved::Tried(Err(error), _) => {
            let hint = "look with 'impaxlink check' at the archive station";
            return items.fail(CHECK, in_full(&error), hint);
        }
        Moved::Tried(Ok(retrieved), took) => (retrieved, took),
    };
    if retrieved.fetched > 0 {
        // What could not be told before has shown itself.
        items
            .all
            .retain(|item| item.outcome != super::Outcome::Unknown || item.check != "move_destination");
        let detail = format!(
            "an image that was moved here arrived in {}, in {} ms",
            retrieved.station,
            took.as_millis()
        );
        return items.pass(CHECK, detail);
    }
    let report = retrieved.sources.into_iter().next();
    let (detail, hint) = report.map_or((None, None), |report| (report.detail, report.hint));
    let title = ours
        .destination(station)
        .map(|destination| destination.title.to_string());
    let nowhere = || {
        format!(
            "it says that it has sent the image, and nothing arrived in {}",
            retrieved.station
        )
    };
    items.fail(
        CHECK,
        detail.unwrap_or_else(nowhere),
        hint.unwrap_or_else(|| {
            format!(
                "have it looked up where {} leads there: 'impaxlink check {} --handover' prints where it should",
                title.unwrap_or_default(),
                station.name
            )
        }),
    );
}
