//! A retrieve from its first question to the last count.
//!
//! Invariants: sources are tried one after the other, in the order of the copies. After each attempt the destination is
//! looked at again. A method by which nothing came is not tried twice at a source.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::copies::{Copy, Found, find};
use super::destination::Destination;
use super::line::Trouble;
use super::{Method, Progress, RetrieveError, RetrieveRequest, Retrieved, Scope, SourceReport};
use super::{getting, moving};
use crate::dimse::Status;
use crate::model::{AeTitle, Station, StudyConflict, Uid, in_full};
use crate::store::{self, Access, Store, StudyUse};

/// How often, and after which waits, an archive is asked again that may not have indexed yet what it has taken.
const ASK_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
];

/// Brings a study to an archive station, as the request says.
///
/// How far it is, is told by `progress`. When `cancel` is cancelled, the source is told by C-CANCEL; what came stays.
pub async fn retrieve(
    request: &RetrieveRequest,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Retrieved, RetrieveError> {
    let destination = Destination::of(request).await?;
    if destination.archive.is_some() && !request.dry_run {
        note_use(request).await;
    }
    let began = Timestamp::now();
    let mut found = find(request, destination.index, &cancel).await;
    if let Some(conflict) = found.conflict.take() {
        note_conflict(request, conflict).await;
    }
    if let (Some(detail), None) = (found.destination_failed.take(), &destination.archive) {
        return Err(RetrieveError::Destination {
            station: destination.station.name.clone(),
            detail,
        });
    }
    let copies = std::mem::take(&mut found.copies);
    let mut errand = Errand::new(request, destination, began, &found, progress, cancel).await?;
    for copy in &copies {
        if errand.cancel.is_cancelled() {
            break;
        }
        errand.fetch_from(copy).await?;
    }
    Ok(errand.conclude(&copies, found))
}

/// Before anything is counted: what is there of a visitor that is wanted again does not expire meanwhile.
async fn note_use(request: &RetrieveRequest) {
    let path = request.store.clone();
    let used = StudyUse {
        study_instance_uid: request.study_instance_uid.clone(),
        at: Timestamp::now(),
    };
    // Where it fails, putting on record what comes will tell.
    let _ = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.note_uses(&[used])).await;
}

/// Keeps in the store that the study UID was found with two patients. A store that can't be written fails no retrieve
/// for that.
async fn note_conflict(request: &RetrieveRequest, conflict: StudyConflict) {
    let path = request.store.clone();
    let noted = spawn_blocking(move || Store::open(&path, Access::ReadWrite)?.note_conflicts(&[conflict]));
    if let Ok(Err(error)) = noted.await {
        tracing::warn!("a study conflict was not noted: {}", in_full(&error));
    }
}

/// A retrieve under way.
pub(super) struct Errand<'r> {
    pub(super) request: &'r RetrieveRequest,
    pub(super) destination: Destination<'r>,
    pub(super) cancel: CancellationToken,
    /// When the sources were asked what they have.
    began: Timestamp,
    progress: watch::Sender<Progress>,
    /// What the destination has of the study.
    here: BTreeSet<Uid>,
    /// What it had before.
    before: BTreeSet<Uid>,
    /// What is wanted, as far as any copy lists it.
    wanted: BTreeSet<Uid>,
    kept_aside: Vec<Uid>,
    sources: Vec<SourceReport>,
    unrecorded: Option<String>,
}

/// What one method came to at one source.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// What is known to have come; what was moved is seen only at the destination.
    pub(super) got: BTreeSet<Uid>,
    pub(super) kept_aside: Vec<Uid>,
    pub(super) status: Option<Status>,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) trouble: Option<Trouble>,
}

impl<'r> Errand<'r> {
    async fn new(
        request: &'r RetrieveRequest,
        destination: Destination<'r>,
        began: Timestamp,
        found: &Found,
        progress: watch::Sender<Progress>,
        cancel: CancellationToken,
    ) -> Result<Self, RetrieveError> {
        let here = match &destination.archive {
            Some(_) => destination.instances(request).await?,
            None => found.here.keys().cloned().collect(),
        };
        let at_destination = found.here.iter();
        let at_destination = at_destination.filter(|(uid, it)| request.scope.takes(&it.series, uid));
        Ok(Errand {
            wanted: at_destination.map(|(uid, _)| uid.clone()).collect(),
            before: here.clone(),
            here,
            request,
            destination,
            cancel,
            began,
            progress,
            kept_aside: Vec::new(),
            sources: Vec::new(),
            unrecorded: None,
        })
    }

    /// The station of a copy.
    pub(super) fn station(&self, copy: &Copy) -> &'r Station {
        &self.request.configuration.stations[copy.station]
    }

    /// The AE title by which a source knows the destination.
    pub(super) fn move_destination(&self, source: &Station) -> AeTitle {
        let is_default = self.request.to.is_none();
        let known_as = source.move_destination.as_ref().filter(|_| is_default);
        known_as.unwrap_or(&self.destination.station.ae_title).clone()
    }

    /// How many instances of the study the destination had when it was last looked at.
    pub(super) fn here(&self) -> usize {
        self.here.len()
    }

    /// How many instances of the study the destination has now.
    pub(super) async fn count_there(&self) -> Result<usize, Trouble> {
        match self.destination.instances(self.request).await {
            Ok(instances) => Ok(instances.len()),
            Err(RetrieveError::Archive(error)) => Err(Trouble::Archive(error)),
            Err(error) => Err(Trouble::Destination(error.to_string())),
        }
    }

    /// Tells that so many instances have `arrived` since the attempt began, and `bytes` more.
    pub(super) fn tell(&self, arrived: u64, bytes: u64) {
        self.progress.send_modify(|progress| {
            let there = progress.there_before + arrived;
            progress.instances = there.min(progress.of.max(arrived));
            progress.bytes += bytes;
        });
    }

    /// Tells that an attempt begins.
    fn tell_attempt(&self, source: &Station, method: Method) {
        let there = self.wanted.intersection(&self.here).count() as u64;
        self.progress.send_modify(|progress| {
            *progress = Progress {
                station: Some(source.name.clone()),
                method: Some(method),
                there_before: there,
                instances: there,
                of: self.wanted.len() as u64,
                bytes: progress.bytes,
            };
        });
    }

    /// Puts on record where what came is from, and under which patient ID; before anything is asked for, that it will come. What was told to be new
    /// meanwhile no source may have listed, and who looked for the study here may not have found it.
    async fn record(&mut self, from: &Copy, came: Option<u64>) -> Result<(), RetrieveError> {
        let copy = store::Copy {
            study_instance_uid: self.request.study_instance_uid.clone(),
            station: self.destination.station.name.clone(),
            source: self.station(from).name.clone(),
            at: Timestamp::now(),
            instances: came.unwrap_or_default(),
            purpose: self.request.purpose,
            patient: Some(from.patient_id.clone()),
        };
        let (path, held) = (self.request.store.clone(), self.here.len() as u64);
        let began = self.began;
        let recording = spawn_blocking(move || {
            let store = Store::open(&path, Access::ReadWrite)?;
            match came {
                None => store.begin_copy(&copy, held)?,
                Some(_) => store.record_copy(&copy)?,
            }
            store.pulls_are_due_again(&copy.study_instance_uid, began)
        });
        match recording.await {
            Ok(Err(error)) if self.destination.archive.is_some() => Err(RetrieveError::Unrecorded(error)),
            Ok(Err(error)) => {
                self.unrecorded = Some(in_full(&error));
                Ok(())
            }
            // The thread has died, as it does not by itself.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Fetches from a copy what is lacking, by one method and then the other.
    async fn fetch_from(&mut self, copy: &Copy) -> Result<(), RetrieveError> {
        let listed = copy.instances.iter();
        let listed = listed.filter(|(uid, it)| self.request.scope.takes(&it.series, uid));
        let listed: BTreeSet<Uid> = listed.map(|(uid, _)| uid.clone()).collect();
        self.wanted.extend(listed.iter().cloned());
        let mut lacking: BTreeSet<Uid> = listed.difference(&self.here).cloned().collect();
        lacking.retain(|uid| !self.kept_aside.contains(uid));
        if lacking.is_empty() && (copy.is_whole || self.is_counted(copy)) {
            return Ok(());
        }
        let mut report = SourceReport {
            station: self.station(copy).name.clone(),
            method: None,
            listed: listed.len() as u64,
            instances: 0,
            failed: 0,
            dicom_status: None,
            detail: None,
            hint: None,
        };
        if self.request.dry_run {
            report.instances = lacking.len() as u64;
            self.here.extend(lacking);
            self.sources.push(report);
            return Ok(());
        }
        let mut details = Vec::new();
        self.record(copy, None).await?;
        for method in self.methods(self.station(copy)) {
            report.method = Some(method);
            self.tell_attempt(self.station(copy), method);
            let attempt = match method {
                Method::Get => getting::get(self, copy, &lacking).await,
                Method::Move => moving::move_to(self, copy, &lacking).await,
            };
            let came = self.look_again(copy, &lacking, &attempt).await?;
            report.instances += came as u64;
            lacking.retain(|uid| !self.here.contains(uid));
            let is_over = self.note(attempt, method, &mut report, &mut details)?;
            if is_over || came > 0 || (lacking.is_empty() && copy.is_whole) {
                break;
            }
        }
        lacking.retain(|uid| !self.kept_aside.contains(uid));
        report.failed = lacking.len() as u64;
        if report.instances > 0 {
            self.record(copy, Some(report.instances)).await?;
        }
        report.detail = (!details.is_empty()).then(|| details.join("; "));
        self.sources.push(report);
        Ok(())
    }

    /// Enters what an attempt came to; whether no other method is to be tried.
    fn note(
        &mut self,
        attempt: Attempt,
        method: Method,
        report: &mut SourceReport,
        details: &mut Vec<String>,
    ) -> Result<bool, RetrieveError> {
        report.dicom_status = attempt.status.map(|status| status.0).or(report.dicom_status);
        report.hint = attempt.hint.or(report.hint.take());
        self.kept_aside.extend(attempt.kept_aside);
        let detail = match attempt.trouble {
            Some(Trouble::Archive(error)) => return Err(RetrieveError::Archive(error)),
            Some(Trouble::Cancelled) => Some("cancelled before its end".to_owned()),
            Some(Trouble::Source(detail) | Trouble::Destination(detail)) => Some(detail),
            None => attempt.detail,
        };
        details.extend(detail.map(|detail| format!("{}: {detail}", method.as_str())));
        Ok(self.cancel.is_cancelled())
    }

    /// The methods by which a source may be asked, in their order.
    fn methods(&self, source: &Station) -> Vec<Method> {
        match (self.request.method, &self.destination.archive) {
            // The embedded archive calls nobody, and is called by nobody.
            _ if source.is_embedded() => vec![Method::Move],
            (Some(method), _) => vec![method],
            (None, Some(_)) => vec![Method::Get, Method::Move],
            (None, None) => vec![Method::Move, Method::Get],
        }
    }

    /// Whether as many instances are there as a source counts, where it does not list them all.
    fn is_counted(&self, copy: &Copy) -> bool {
        let count = copy.count.filter(|_| self.request.scope == Scope::Study);
        count.is_some_and(|count| self.here.len() as u64 >= count.into())
    }

    /// Looks at the destination; how many of the study's instances came. One that moved may be listed a little later.
    async fn look_again(
        &mut self,
        copy: &Copy,
        lacking: &BTreeSet<Uid>,
        attempt: &Attempt,
    ) -> Result<usize, RetrieveError> {
        let before = self.here.len();
        self.here = self.destination.instances(self.request).await?;
        let is_there = |here: &BTreeSet<Uid>| copy.is_whole && lacking.is_subset(here);
        if attempt.trouble.is_none() && attempt.status.is_some_and(Status::is_success) {
            for wait in ASK_AGAIN_AFTER {
                if is_there(&self.here) || self.destination.archive.is_some() {
                    break;
                }
                sleep(wait).await;
                self.here = self.destination.instances(self.request).await?;
            }
        }
        Ok(self.here.len().saturating_sub(before))
    }

    fn conclude(self, copies: &[Copy], found: Found) -> Retrieved {
        let unlisted = copies.iter().filter(|copy| !copy.is_whole);
        let all_are_listed = unlisted.into_iter().all(|copy| self.is_counted(copy));
        let missing: Vec<Uid> = self.wanted.difference(&self.here).cloned().collect();
        let is_withheld = !found.conflicts.is_empty() && copies.is_empty();
        let there: BTreeSet<&Uid> = match (&self.request.scope, all_are_listed) {
            // Where not all is listed, what is there is all that is known of it.
            (Scope::Study, false) => self.here.iter().collect(),
            _ => self.wanted.intersection(&self.here).collect(),
        };
        let already_there = there.iter().filter(|uid| self.before.contains(**uid)).count() as u64;
        Retrieved {
            study_instance_uid: self.request.study_instance_uid.clone(),
            station: self.destination.station.name.clone(),
            complete: missing.is_empty()
                && all_are_listed
                && !is_withheld
                && !there.is_empty()
                && found.unanswered.is_empty(),
            instances: match self.request.dry_run {
                true => already_there,
                false => there.len() as u64,
            },
            fetched: there.len() as u64 - already_there,
            already_there,
            missing,
            kept_aside: self.kept_aside,
            sources: self.sources,
            unanswered: found.unanswered,
            conflicts: found.conflicts,
            cancelled: self.cancel.is_cancelled(),
            unrecorded: self.unrecorded,
            link_reports: found.link_reports,
        }
    }
}
