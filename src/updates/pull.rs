//! New objects that received updates name: what a local archive that holds the study lacks of them is brought to it.
//!
//! Invariants: an update is done when the archive lists all that it names, or when no archive of the local cluster holds the
//! study; until then it is tried again, for ever but ever more rarely. A study that is another patient's anywhere is not
//! touched. Of one study one update at a time is pulled, by the one process that has the right to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::wait::{backoff, later};
use crate::link::policy::Target;
use crate::link::retrieve::{
    Held, Progress, RetrieveRequest, Retrieved, Scope, Unanswered, held_here, retrieve, sources_to_ask,
};
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{
    Configuration, CrossReference, IssuerDomain, NewObjects, PatientId, StationName, StudyPatient,
    UPDATES_CONCURRENCY, Uid, in_full,
};
use crate::store::{CopyRecord, DuePull, Purpose, SharedStore, StoreError, StudyUse};

/// How often it is looked what is due when nothing is told.
const TICK: Duration = Duration::from_secs(1);
/// How long is waited after the first attempt in vain, and after each later one at most.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15 * 60)];

/// So long after it was begun a study may be on its way and not be listed here.
const BRINGING: SignedDuration = SignedDuration::from_mins(2);

/// What pulling needs.
#[derive(Debug, Clone)]
pub struct Puller {
    /// The configuration under which an update's objects are pulled.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards the sources.
    pub tls: LinkTls,
    /// The embedded archive, should it hold the study.
    pub archive: EmbeddedArchive,
    /// The turns at stations, where they are shared.
    pub turns: Option<Arc<Turns>>,
    /// Linked stations that keep failing, each with the time before which it is not asked.
    pub resting: BTreeMap<StationName, Timestamp>,
    /// Where the store is.
    pub path: PathBuf,
    /// What is due, and where the health of links is recorded.
    pub store: SharedStore,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// All that the update names is here, so many objects of it now.
    Here {
        /// How many came.
        fetched: u64,
    },
    /// No archive of the local cluster holds the study: there is nothing to do.
    NotHeld,
    /// Not all of it is here.
    Lacking {
        /// Why, in words without patient data.
        reason: String,
    },
    /// Nothing is moved: the study's UID stands for another patient at some station.
    InConflict {
        /// Where.
        reason: String,
    },
    /// It was interrupted, by no fault of a source.
    Interrupted,
}

/// Pulls what is due until `cancel` is cancelled or, where it does not `wait` for more, until nothing is due now. `wake`
/// tells that more may be due, `puller` is asked for before each attempt, and `told` is told what became of it.
pub async fn run(
    store: &SharedStore,
    puller: impl Fn() -> Puller,
    mut wake: watch::Receiver<u64>,
    wait: bool,
    cancel: &CancellationToken,
    mut told: impl FnMut(&DuePull, &Pulled),
) -> Result<(), StoreError> {
    let mut work = JoinSet::new();
    let mut busy: HashMap<Id, DuePull> = HashMap::new();
    loop {
        wake.mark_unchanged();
        let puller = puller();
        let at_once = puller.configuration.settings.count(UPDATES_CONCURRENCY);
        for due in next(store, at_once).await? {
            let is_busy = |other: &DuePull| other.logged.update.study == due.logged.update.study;
            if work.len() >= at_once || cancel.is_cancelled() || busy.values().any(is_busy) {
                continue;
            }
            let pulling = {
                let (puller, due, cancel) = (puller.clone(), due.clone(), cancel.clone());
                work.spawn(async move { puller.pull(&due, cancel).await })
            };
            busy.insert(pulling.id(), due);
        }
        if work.is_empty() && (cancel.is_cancelled() || !wait) {
            return Ok(());
        }
        tokio::select! {
            biased;
            Some(ended) = work.join_next_with_id() => {
                let (task, pulled) = match ended {
                    Ok(ended) => ended,
                    Err(failed) => (failed.id(), broke_off()),
                };
                if let Some(due) = busy.remove(&task) {
                    settle(store, &due, &pulled).await?;
                    told(&due, &pulled);
                }
            }
            () = cancel.cancelled(), if work.is_empty() => {}
            Ok(()) = wake.changed() => {}
            () = sleep(TICK) => {}
        }
    }
}

/// Of how many studies more than are begun at once what is due is read: those that are under way are among them.
async fn next(store: &SharedStore, at_once: usize) -> Result<Vec<DuePull>, StoreError> {
    store
        .with(move |store| store.next_pulls(Timestamp::now(), 2 * at_once))
        .await
}

/// What an attempt comes to that panicked: it counts, or it would be made again without end.
fn broke_off() -> Pulled {
    Pulled::Lacking {
        reason: "pulling it broke off: see the log".to_owned(),
    }
}

async fn settle(store: &SharedStore, due: &DuePull, pulled: &Pulled) -> Result<(), StoreError> {
    let id = due.logged.update.id.clone();
    let failures = due.trouble.as_ref().map_or(0, |trouble| trouble.failures);
    let pulled = pulled.clone();
    let settled = store.with(move |store| match pulled {
        Pulled::Here { .. } | Pulled::NotHeld => store.pull_is_done(&id),
        Pulled::Lacking { reason } | Pulled::InConflict { reason } => {
            let [first, longest] = WAITS;
            let next_try = later(Timestamp::now(), backoff(failures, first, longest));
            store.pull_failed(&id, &reason, next_try)
        }
        Pulled::Interrupted => Ok(()),
    });
    settled.await
}

impl Puller {
    /// Brings what is lacking of the objects that an update names, until `cancel` is cancelled.
    async fn pull(&self, due: &DuePull, cancel: CancellationToken) -> Pulled {
        let update = &due.logged.update;
        let (Some(new), Some(from)) = (&update.new_objects, &due.logged.from) else {
            return Pulled::NotHeld;
        };
        self.note_use(&update.study).await;
        let mut request = self.request(&update.study, &update.patient, from);
        let (held, unanswered) = held_here(&request).await;
        let Some(archive) = held.first() else {
            return match unanswered.into_iter().next() {
                None if self.is_being_brought(&update.study).await => Pulled::Lacking {
                    reason: "the study is being brought, and not listed here yet".to_owned(),
                },
                None => Pulled::NotHeld,
                Some(Unanswered { station, detail }) => Pulled::Lacking {
                    reason: format!("{station} does not say whether it has the study: {detail}"),
                },
            };
        };
        request.to = RetrieveRequest::to_archive(&self.configuration, &archive.station);
        let mut fetched = 0;
        for (scope, count) in lacking(new, &held) {
            request.scope = scope;
            let progress = watch::Sender::new(Progress::default());
            let mut retrieved = match retrieve(&request, progress, cancel.clone()).await {
                Ok(retrieved) => retrieved,
                Err(error) => {
                    return Pulled::Lacking {
                        reason: in_full(&error),
                    };
                }
            };
            self.keep_health(&mut retrieved).await;
            fetched += retrieved.fetched;
            if let Some(lacking) = shortfall(&request, &retrieved, count, from) {
                return match retrieved.cancelled {
                    true => Pulled::Interrupted,
                    false => lacking,
                };
            }
        }
        Pulled::Here { fetched }
    }

    fn request(&self, study: &Uid, patient: &StudyPatient, from: &StationName) -> RetrieveRequest {
        // No update without an issuer is ever received.
        let domain = match &patient.issuer {
            Some(issuer) => IssuerDomain::Named(issuer.clone()),
            None => IssuerDomain::Inferred(from.clone()),
        };
        let patient = PatientId {
            id: patient.id.clone(),
            domain,
        };
        RetrieveRequest {
            configuration: Arc::clone(&self.configuration),
            cross_reference: Arc::clone(&self.cross_reference),
            tls: self.tls.clone(),
            archive: self.archive.clone(),
            turns: self.turns.clone(),
            store: self.path.clone(),
            purpose: Purpose::Update,
            study_instance_uid: study.clone(),
            patient: Some((patient, from.clone())),
            scope: Scope::Study,
            from: Vec::new(),
            first: Some(from.clone()),
            resting: self.resting.clone(),
            regardless: false,
            to: None,
            method: None,
            dry_run: false,
        }
    }

    /// Before it is looked what is here: no visitor expires between the look and the retrieve, which would leave a part of it.
    async fn note_use(&self, study: &Uid) {
        let used = StudyUse {
            study_instance_uid: study.clone(),
            at: Timestamp::now(),
        };
        if let Err(error) = self.store.with(move |store| store.note_uses(&[used])).await {
            tracing::warn!("that {study} is in use was not kept: {}", in_full(&error));
        }
    }

    /// Whether a copy of the study was begun a short while ago: what is new may be missing in what is brought.
    async fn is_being_brought(&self, study: &Uid) -> bool {
        let study = study.clone();
        let copies = self.store.with(move |store| store.copies(&study)).await;
        let is_recent = |copy: &CopyRecord| {
            copy.expired_at.is_none() && Timestamp::now().duration_since(copy.last_brought) < BRINGING
        };
        copies.is_ok_and(|copies| copies.iter().any(is_recent))
    }

    async fn keep_health(&self, retrieved: &mut Retrieved) {
        let reports = std::mem::take(&mut retrieved.link_reports);
        let kept = self.store.with(move |store| store.record_link_health(&reports));
        if let Err(error) = kept.await {
            tracing::warn!("how links fared was not kept: {}", in_full(&error));
        }
    }
}

/// What is to be brought of the objects that are named, with their number where they are named one by one: those that no
/// archive lists. A series of which no objects are named is meant whole.
fn lacking(new: &NewObjects, held: &[Held]) -> Vec<(Scope, Option<usize>)> {
    let named = new.series.iter().flat_map(|series| &series.objects);
    let named = named.map(|(_, instance)| instance);
    let is_here = |instance: &&Uid| {
        held.iter()
            .any(|archive| archive.instances.contains_key(*instance))
    };
    let lacking: BTreeSet<Uid> = named.filter(|instance| !is_here(instance)).cloned().collect();
    let whole = new.series.iter().filter(|series| series.objects.is_empty());
    let whole: Vec<Uid> = whole.map(|series| series.series.clone()).collect();
    let mut scopes = Vec::new();
    if !lacking.is_empty() {
        let count = lacking.len();
        scopes.push((Scope::Instances(lacking), Some(count)));
    }
    if !whole.is_empty() {
        scopes.push((Scope::Series(whole), None));
    }
    scopes
}

/// Why not all of it is here; `None` where it is.
fn shortfall(
    request: &RetrieveRequest,
    retrieved: &Retrieved,
    count: Option<usize>,
    from: &StationName,
) -> Option<Pulled> {
    let is_here = match count {
        Some(count) => retrieved.instances >= count as u64,
        None => retrieved.complete && retrieved.unanswered.is_empty(),
    };
    if is_here {
        return None;
    }
    if !retrieved.conflicts.is_empty() {
        let names: Vec<&str> = retrieved.conflicts.iter().map(StationName::as_str).collect();
        let reason = format!(
            "in conflict: it is another patient's study at {}",
            names.join(", ")
        );
        return Some(Pulled::InConflict { reason });
    }
    if let Some((station, detail)) = retrieved.troubles().min_by_key(|(station, _)| *station != from) {
        let reason = format!("{station}: {detail}");
        return Some(Pulled::Lacking { reason });
    }
    let is_sender = |target: &Target| {
        let station = request.configuration.stations.get(target.station);
        station.is_some_and(|station| station.name == *from)
    };
    let sender = sources_to_ask(request).into_iter().find(is_sender);
    let reason = match (sender.and_then(|sender| sender.skip), count) {
        (Some(skip), _) => format!("{from} is not asked: {skip}"),
        (None, Some(count)) => {
            let absent = (count as u64).saturating_sub(retrieved.instances);
            format!("{absent} of {count} objects are at no station yet")
        }
        (None, None) => "the series is at no station yet".to_owned(),
    };
    Some(Pulled::Lacking { reason })
}
