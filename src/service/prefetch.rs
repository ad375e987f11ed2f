//! Priors brought by the service: it runs the queue, and puts into it the priors of studies that have arrived or are
//! scheduled, where the settings say so.
//!
//! Invariants: what was brought from a linked cluster has no priors brought for it, so that no chain of visitors ever
//! begins. Each step is taken under the snapshot in force then. The store is used on blocking threads alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ZonedDateTime};
use tokio::time::{Instant, sleep};

use super::find::failing_links;
use super::lasting::keep_at;
use super::{Service, chain};
use crate::model::{Asker, DateRange, JobState, PREFETCH_ON_ARRIVAL, PrefetchJob, Uid};
use crate::priors::bring::Carrier;
use crate::priors::destination;
use crate::priors::find::FindPriors;
use crate::priors::looking::{Looked, Occasion, look};
use crate::priors::runner::{self, Goal, Limits, Queue};
use crate::priors::worklist::{WorklistQuestion, ask_worklist, worklist_station};
use crate::store::{CopyRecord, Enqueued, SharedStore, Store, StoreError};

/// How often arrivals and the worklist are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long after the store has failed the queue is run again.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// As whom the service asks, in the ledgers.
const ASKER: &str = "impaxlink serve";

/// The part of the service that brings priors.
pub(super) struct Prefetch {
    queue: Queue,
    store: PathBuf,
}

impl Prefetch {
    /// With a connection to the store of its own.
    pub(super) fn of(store: SharedStore, path: &Path) -> Result<Self, StoreError> {
        Ok(Prefetch {
            store: path.to_owned(),
            queue: Queue::of_shared(store)?,
        })
    }

    /// Works until the service drains; what it is at then is left to the next runner.
    pub(super) fn start(self, service: &Arc<Service>) {
        let Prefetch { queue, store } = self;
        let (tasks, drain) = (&service.connections, || service.drain.clone());
        let (here, its) = (Arc::clone(service), queue.clone());
        let running = move || run_queue(Arc::clone(&here), its.clone(), store.clone());
        tasks.spawn(keep_at("bringing priors", drain(), running));
        let (here, its) = (Arc::clone(service), queue.clone());
        let arrivals = move || follow_arrivals(Arc::clone(&here), its.clone());
        tasks.spawn(keep_at("looking for priors of what arrives", drain(), arrivals));
        let here = Arc::clone(service);
        let worklist = move || follow_worklist(Arc::clone(&here), queue.clone());
        tasks.spawn(keep_at(
            "looking for priors of who is scheduled",
            drain(),
            worklist,
        ));
    }
}

async fn run_queue(service: Arc<Service>, queue: Queue, store: PathBuf) {
    let limits = || Limits::of(service.in_force.pin().settings());
    loop {
        let bring = |job, cancel| {
            let snapshot = service.in_force.pin();
            let carrier = Carrier {
                arrivals: Some(Arc::clone(&service.arrivals)),
                configuration: Arc::clone(snapshot.configuration()),
                cross_reference: service.known_patients.pin(),
                tls: snapshot.tls().clone(),
                archive: service.archive.clone(),
                turns: Some(Arc::clone(&service.turns)),
                store: store.clone(),
                queue: queue.clone(),
            };
            carrier.bring(job, cancel)
        };
        match runner::run(&queue, limits, &Goal::Forever, &service.drain, bring, log).await {
            Ok(()) => return,
            Err(error) => tracing::warn!("the queue of priors stands still: {}", chain(&error)),
        }
        if is_draining_after(&service, AFTER_FAILURE).await {
            return;
        }
    }
}

fn log(job: &PrefetchJob) {
    let (uid, source) = (&job.wanted.study_instance_uid, &job.source);
    let why = job.detail.as_deref().unwrap_or_default();
    match job.state {
        JobState::Done => tracing::info!("prior {uid} is here: {} instances came", job.fetched),
        JobState::Failed => tracing::warn!("prior {uid} was given up: {why}"),
        JobState::Queued => tracing::debug!("prior {uid} is to be tried again: {why}"),
        JobState::Running => tracing::debug!("prior {uid} is asked for at {source}"),
    }
}

async fn is_draining_after(service: &Service, wait: Duration) -> bool {
    tokio::select! {
        () = service.drain.cancelled() => true,
        () = sleep(wait) => false,
    }
}

/// Puts the priors of studies that have arrived into the queue.
async fn follow_arrivals(service: Arc<Service>, queue: Queue) {
    while !is_draining_after(&service, TICK).await {
        let snapshot = service.in_force.pin();
        let settings = snapshot.settings();
        let arrived = service
            .arriving
            .take_quiet(settings.duration("prefetch.quiet_time"));
        if arrived.is_empty() || !settings.is_on(PREFETCH_ON_ARRIVAL) {
            continue;
        }
        let acquired = queue.with_store(move |store| acquired_here(store, arrived)).await;
        let queued = match acquired {
            Ok(studies) => {
                let occasions = studies.into_iter().map(Occasion::study).collect();
                enqueue_priors(&service, &queue, occasions).await
            }
            Err(error) => Err(chain(&error)),
        };
        match queued {
            Ok((looked, count)) if looked.occasions > 0 => {
                tracing::info!("{} studies have arrived: {count} priors queued", looked.occasions);
            }
            Ok(_) => {}
            Err(why) => tracing::warn!("no priors are brought for what has arrived: {why}"),
        }
    }
}

/// Those of the studies that were not brought from a linked cluster.
fn acquired_here(store: &Store, studies: Vec<Uid>) -> Result<Vec<Uid>, StoreError> {
    let mut acquired = Vec::new();
    for study in studies {
        // What was pulled into a study that is at home makes no visitor of it.
        if !store.copies(&study)?.iter().any(CopyRecord::is_visitor) {
            acquired.push(study);
        }
    }
    Ok(acquired)
}

/// Puts the priors of who is scheduled today and tomorrow into the queue, as often as the settings say.
async fn follow_worklist(service: Arc<Service>, queue: Queue) {
    let mut asked: Option<Instant> = None;
    let mut known: HashMap<Uid, Date> = HashMap::new();
    while !is_draining_after(&service, TICK).await {
        let every = service.in_force.pin().settings().worklist_poll();
        let Some(every) = every.filter(|every| asked.is_none_or(|asked| asked.elapsed() >= *every)) else {
            continue;
        };
        asked = Some(Instant::now());
        tracing::debug!("asking the worklist, as every {every:.0?}");
        if let Err(why) = take_worklist(&service, &queue, &mut known).await {
            tracing::warn!("no priors are brought for who is scheduled: {why}");
        }
    }
}

/// Asks the worklist; looks for the priors of studies that are not `known` to have been looked at.
async fn take_worklist(
    service: &Service,
    queue: &Queue,
    known: &mut HashMap<Uid, Date>,
) -> Result<(), String> {
    let snapshot = service.in_force.pin();
    let configuration = snapshot.configuration();
    let today = ZonedDateTime::now().date();
    let station = worklist_station(configuration, None).map_err(|error| chain(&error))?;
    let question = WorklistQuestion {
        days: DateRange::parse("today..tomorrow", today).map_err(|error| error.to_string())?,
        modalities: Vec::new(),
        scheduled_station: None,
    };
    let worklist = ask_worklist(configuration, station, snapshot.tls(), &question);
    let worklist = worklist.await.map_err(|error| chain(&error))?;
    for shortfall in worklist.shortfalls(&station.name) {
        tracing::warn!("{shortfall}");
    }
    known.retain(|_, day| *day >= today);
    let new = worklist.studies.iter();
    let new: Vec<_> = new
        .filter(|study| !known.contains_key(&study.study_instance_uid))
        .collect();
    let occasions = new.iter().map(|study| Occasion::scheduled(study)).collect();
    let (looked, count) = enqueue_priors(service, queue, occasions).await?;
    if looked.occasions > 0 {
        let name = &station.name;
        tracing::info!(
            "{} newly scheduled at {name}: {count} priors queued",
            looked.occasions
        );
    }
    // Where a station did not answer, all are looked at again.
    if looked.troubles.is_empty() {
        let days = new.iter().map(|study| {
            let day = study.study_date.unwrap_or(today);
            (study.study_instance_uid.clone(), day)
        });
        known.extend(days);
    }
    Ok(())
}

/// Looks for priors and puts them into the queue; how many were not there before.
async fn enqueue_priors(
    service: &Service,
    queue: &Queue,
    occasions: Vec<Occasion>,
) -> Result<(Looked, usize), String> {
    let Some(first) = occasions.first() else {
        return Ok((Looked::default(), 0));
    };
    let snapshot = service.in_force.pin();
    let configuration = snapshot.configuration();
    let to = destination(configuration, None).map_err(|error| error.to_string())?;
    let (health, resting) = failing_links(service);
    let under_review = queue.with_store(Store::all_under_review).await;
    let search = FindPriors {
        of: first.of.clone(),
        rules: configuration.prefetch_rules_in_force().clone(),
        under_review: under_review.map_err(|error| chain(&error))?,
        configuration: Arc::clone(configuration),
        cross_reference: service.known_patients.pin(),
        tls: snapshot.tls().clone(),
        archive: service.archive.clone(),
        health,
        resting,
        turns: Some(Arc::clone(&service.turns)),
        timeout: None,
    };
    let looked_at = Timestamp::now();
    let asker = Asker::User(ASKER.to_owned());
    let mut looked = look(search, occasions, &to, &asker, &service.drain).await;
    for (station, why) in &looked.troubles {
        tracing::warn!("priors may be missing: {station} {why}");
    }
    let enqueued = queue.with_store(move |store| {
        looked.settle(store)?;
        let enqueued = store.enqueue_prefetch(&looked.wanted, looked_at)?;
        Ok((looked, enqueued))
    });
    let (looked, enqueued) = enqueued.await.map_err(|error| chain(&error))?;
    let is_new = |enqueued: &&Enqueued| matches!(enqueued, Enqueued::New(_));
    let count = enqueued.iter().filter(is_new).count();
    Ok((looked, count))
}
