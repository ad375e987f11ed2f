//! One attempt to bring what an update names.
//!
//! Invariant: whatever a source claims, what counts is what the archive lists in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Pulled;
use crate::link::policy::Target;
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{
    Configuration, CrossReference, IssuerDomain, NewObjects, PatientId, StationName, StudyPatient, Uid,
    in_full,
};
use crate::retrieve::{
    Arrivals, Held, Progress, RetrieveRequest, Retrieved, Scope, Unanswered, held_here, retrieve,
    stations_to_ask,
};
use crate::store::{CopyRecord, DuePull, Purpose, SharedStore, StudyUse};

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
    /// Where our listener hands over what sources send to it, if this process has one.
    pub arrivals: Option<Arc<Arrivals>>,
    /// Where the store is.
    pub path: PathBuf,
    /// What is due, and where the health of links is recorded.
    pub store: SharedStore,
}

impl Puller {
    /// Brings what is lacking of the objects that an update names, until `cancel` is cancelled.
    pub(super) async fn pull(&self, due: &DuePull, cancel: CancellationToken) -> Pulled {
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
                Some(Unanswered { station, detail, .. }) => Pulled::Lacking {
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
            arrivals: self.arrivals.clone(),
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
        scopes.push((Scope::Series(whole.into_iter().collect()), None));
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
        None => retrieved.complete,
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
    let sender = stations_to_ask(request).into_iter().find(is_sender);
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
