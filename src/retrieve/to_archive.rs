//! A study brought to an archive station, from the best of its sources and then the next.
//!
//! Invariants: sources are tried one after the other, in the order of the copies. After each attempt the destination is
//! looked at again. A method by which nothing came is not tried twice at a source.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::copies::Copy;
use super::destination::{Contents, Destination};
use super::direct_move;
use super::find::{Found, find};
use super::peer::{Attempt, Source};
use super::records::{note_conflict, note_use};
use super::transfer::{Client, Sink, Transfer};
use super::{
    Gate, Method, Progress, Refusal, Resources, RetrieveError, RetrieveRequest, Retrieved, Scope,
    SourceReport, Unanswered,
};
use crate::dimse::Status;
use crate::model::{AeTitle, Station, StationName, Uid, in_full};

/// How often, and after which waits, an archive is asked again that may not have indexed yet what it has taken.
const ASK_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
];

/// Brings a study to an archive station, as the request says.
///
/// `progress` says how far it is. When `cancel` is cancelled, the source is told by C-CANCEL; what came stays.
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
        return Err(destination.failed(detail));
    }
    let resources = request.resources();
    let sink = destination.sink(&resources)?;
    let contents = match (&destination.archive, &found.here) {
        (Some(_), _) => destination.contents(request).await?,
        (None, Some(here)) => Contents::of(here, &request.scope),
        (None, None) => Contents::default(),
    };
    let copies = std::mem::take(&mut found.copies);
    let client = Client::Process {
        cancel: cancel.clone(),
        progress: progress.clone(),
    };
    let mut transfer = Transfer::new(&resources, client, sink);
    let mut retrieve = ArchiveRetrieve {
        request,
        resources: &resources,
        wanted: contents.wanted.clone(),
        before: contents.wanted.clone(),
        contents,
        destination,
        cancel,
        began,
        progress,
        refused: BTreeMap::new(),
        kept_aside: Vec::new(),
        sources: Vec::new(),
        sent_all: BTreeSet::new(),
        say_partial: BTreeSet::new(),
        is_misfiled: false,
        unrecorded: None,
    };
    for copy in &copies {
        if retrieve.cancel.is_cancelled() {
            break;
        }
        retrieve.fetch_from(copy, &mut transfer).await?;
    }
    transfer.close().await;
    Ok(retrieve.conclude(&copies, found))
}

/// A retrieve to an archive station under way.
pub(super) struct ArchiveRetrieve<'r> {
    pub(super) request: &'r RetrieveRequest,
    resources: &'r Resources,
    pub(super) destination: Destination<'r>,
    pub(super) cancel: CancellationToken,
    /// When the sources were asked what they have.
    pub(super) began: Timestamp,
    progress: watch::Sender<Progress>,
    /// What the destination has of the study.
    pub(super) contents: Contents,
    /// What it had before of what is wanted.
    before: BTreeSet<Uid>,
    /// What is wanted, as far as any copy lists it.
    wanted: BTreeSet<Uid>,
    refused: BTreeMap<Uid, Refusal>,
    kept_aside: Vec<Uid>,
    sources: Vec<SourceReport>,
    /// The sources that have said that they sent all that was asked for, by their place in the configuration.
    sent_all: BTreeSet<usize>,
    /// Those that have said beside success that what they sent is not all.
    say_partial: BTreeSet<usize>,
    /// Whether the destination lists the study under another patient.
    is_misfiled: bool,
    pub(super) unrecorded: Option<String>,
}

impl<'r> ArchiveRetrieve<'r> {
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
    pub(super) fn instances_there(&self) -> usize {
        self.contents.all.len()
    }

    /// How many instances of the study the destination has now; the error says why that is not known.
    pub(super) async fn count_there(&self) -> Result<usize, String> {
        match self.destination.contents(self.request).await {
            Ok(contents) => Ok(contents.all.len()),
            Err(error) => Err(in_full(&error)),
        }
    }

    /// Reports that so many instances have arrived since the attempt began.
    pub(super) fn report(&self, arrived: u64) {
        self.progress.send_modify(|progress| progress.advance(arrived, 0));
    }

    fn report_attempt(&self, source: &Station, method: Method) {
        let there = self.wanted.intersection(&self.contents.all).count() as u64;
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

    /// Fetches from a copy what is lacking, by one method and then the other.
    async fn fetch_from(
        &mut self,
        copy: &Copy,
        transfer: &mut Transfer<'_, '_>,
    ) -> Result<(), RetrieveError> {
        let listed = copy.instances.iter();
        let listed = listed.filter(|(uid, it)| self.request.scope.takes(&it.series, uid));
        let listed: BTreeSet<Uid> = listed.map(|(uid, _)| uid.clone()).collect();
        self.wanted.extend(listed.iter().cloned());
        let mut lacking: BTreeSet<Uid> = listed.difference(&self.contents.all).cloned().collect();
        lacking.retain(|uid| !self.kept_aside.contains(uid));
        if lacking.is_empty() && (copy.is_whole() || self.is_counted(copy)) {
            return Ok(());
        }
        let station = self.station(copy);
        let mut report = SourceReport {
            station: station.name.clone(),
            method: None,
            listed: listed.len() as u64,
            instances: 0,
            failed: 0,
            dicom_status: None,
            detail: None,
            comments: Vec::new(),
            hint: None,
        };
        if self.request.dry_run {
            if !self.is_settled(copy) {
                report.detail = copy.listing_failure();
            }
            report.instances = lacking.len() as u64;
            self.contents.all.extend(lacking.iter().cloned());
            self.contents.wanted.extend(lacking);
            self.sources.push(report);
            return Ok(());
        }
        let gate = Gate::new(
            self.request.study_instance_uid.clone(),
            &copy.patient_id,
            copy.instances.clone(),
            self.request.cross_reference.clone(),
        );
        let source = Source {
            resources: self.resources,
            station,
            study: &self.request.study_instance_uid,
            copy,
            scope: &self.request.scope,
            series: None,
            gate,
            turn_within: Some(station.timeout),
        };
        self.record(copy, None).await?;
        let expectation = self.expect(copy).await;
        let tried = self
            .try_methods(&source, transfer, &mut lacking, &mut report)
            .await;
        self.end_expectation(expectation).await;
        let mut details = tried?;
        lacking.retain(|uid| !self.kept_aside.contains(uid));
        let unlisted = match self.request.scope {
            Scope::Study => self.unlisted(copy, lacking.len()),
            _ => 0,
        };
        report.failed = lacking.len() as u64 + unlisted;
        if report.instances > 0 {
            self.record(copy, Some(report.instances)).await?;
        }
        if !self.is_settled(copy) {
            details.extend(copy.listing_failure());
        }
        report.detail = (!details.is_empty()).then(|| details.join("; "));
        self.sources.push(report);
        Ok(())
    }

    /// Tries one method after the other until something came; what went wrong.
    async fn try_methods(
        &mut self,
        source: &Source<'_>,
        transfer: &mut Transfer<'_, '_>,
        lacking: &mut BTreeSet<Uid>,
        report: &mut SourceReport,
    ) -> Result<Vec<String>, RetrieveError> {
        let (copy, mut details) = (source.copy, Vec::new());
        for method in self.methods(source.station) {
            self.report_attempt(source.station, method);
            let attempt = match method {
                Method::Get => self.transfer(source, lacking, transfer).await?,
                Method::Move => direct_move::move_to(self, source, lacking).await,
            };
            let came = self.look_again(copy, lacking, &attempt).await?;
            report.instances += came as u64;
            lacking.retain(|uid| !self.contents.all.contains(uid));
            let method = attempt.method.unwrap_or(method);
            report.method = Some(method);
            report.dicom_status = attempt.status.map(|status| status.0).or(report.dicom_status);
            report.hint = attempt.hint.or(report.hint.take());
            report.comments.extend(attempt.comment);
            details.extend(
                attempt
                    .detail
                    .map(|detail| format!("{}: {detail}", method.as_str())),
            );
            if attempt.has_sent_all {
                self.sent_all.insert(copy.station);
            }
            if attempt.says_partial {
                self.say_partial.insert(copy.station);
            }
            if method == Method::Move && came > 0 {
                details.extend(self.check_patient_there(source));
            }
            let is_done = lacking.is_empty() && (copy.is_whole() || attempt.has_sent_all);
            if self.cancel.is_cancelled() || came > 0 || is_done || self.is_misfiled {
                break;
            }
        }
        if lacking.is_empty() {
            report.hint = None;
        }
        Ok(details)
    }

    /// Has a source send what is lacking through this process.
    async fn transfer(
        &mut self,
        source: &Source<'_>,
        lacking: &BTreeSet<Uid>,
        transfer: &mut Transfer<'_, '_>,
    ) -> Result<Attempt, RetrieveError> {
        transfer.want(lacking.iter().cloned(), lacking.len());
        let mut attempt = source.transfer(transfer).await;
        transfer.settle_sink().await.map_err(RetrieveError::Archive)?;
        if let Some(refusals) = transfer.refusals() {
            attempt.detail = Some(refusals);
            attempt.has_sent_all = false;
        }
        self.refused.append(&mut transfer.refused);
        if let Sink::Archive(archive) = &mut transfer.sink {
            self.kept_aside.append(&mut archive.kept_aside);
            attempt.detail = archive.detail.take().or(attempt.detail);
        }
        if self.cancel.is_cancelled() {
            attempt.detail = Some("cancelled before its end".to_owned());
        }
        Ok(attempt)
    }

    /// Looks whether an archive that objects were moved to directly lists them under the patient that the source named.
    fn check_patient_there(&mut self, source: &Source<'_>) -> Option<String> {
        let listed_under = self.contents.patient_id.as_ref()?;
        let name = &self.destination.station.name;
        if source.gate.is_listed_under(listed_under) {
            return Some(format!(
                "move: sent directly to {name}, which lists the study under the patient that the source named"
            ));
        }
        self.is_misfiled = true;
        Some(format!(
            "move: sent directly to {name}, which lists the study under another patient than the source named"
        ))
    }

    /// The methods by which a source is asked, in their order. Objects that come through this process pass the gate: so
    /// they do unless the request says otherwise, or nothing comes that way.
    fn methods(&self, source: &Station) -> Vec<Method> {
        match self.request.method {
            // The embedded archive calls nobody.
            _ if source.is_embedded() => vec![Method::Get],
            Some(method) => vec![method],
            None => vec![Method::Get, Method::Move],
        }
    }

    /// Whether as many instances are there as a source counts.
    fn is_counted(&self, copy: &Copy) -> bool {
        let count = copy.count.filter(|_| self.request.scope == Scope::Study);
        count.is_some_and(|count| self.contents.all.len() as u64 >= count.into())
    }

    /// How many instances a copy counts besides those that are there and the `lacking` ones that are known by name.
    fn unlisted(&self, copy: &Copy, lacking: usize) -> u64 {
        let known = (self.contents.all.len() + lacking) as u64;
        u64::from(copy.count.unwrap_or_default()).saturating_sub(known)
    }

    /// Whether it is known that nothing of what is wanted of a copy is missing besides what it lists.
    fn is_settled(&self, copy: &Copy) -> bool {
        let has_sent_all = || self.sent_all.contains(&copy.station);
        match &self.request.scope {
            _ if copy.is_whole() => true,
            Scope::Study if copy.count.is_some() => self.is_counted(copy),
            Scope::Study | Scope::Series(_) => has_sent_all(),
            Scope::Instances(instances) => instances.is_subset(&self.contents.all) || has_sent_all(),
        }
    }

    /// Looks at the destination; how many of the study's instances came. One that moved may be listed a little later.
    async fn look_again(
        &mut self,
        copy: &Copy,
        lacking: &BTreeSet<Uid>,
        attempt: &Attempt,
    ) -> Result<usize, RetrieveError> {
        let before = self.contents.all.len();
        self.contents = self.destination.contents(self.request).await?;
        let is_there = |there: &BTreeSet<Uid>| copy.is_whole() && lacking.is_subset(there);
        if !attempt.has_failed && attempt.status.is_some_and(Status::is_success) {
            for wait in ASK_AGAIN_AFTER {
                if is_there(&self.contents.all) || self.destination.archive.is_some() {
                    break;
                }
                sleep(wait).await;
                self.contents = self.destination.contents(self.request).await?;
            }
        }
        Ok(self.contents.all.len().saturating_sub(before))
    }

    /// Adds the sources that said beside success that what they sent is not all.
    fn add_partial_sources(&self, unanswered: &mut Vec<Unanswered>) {
        let partial = self.say_partial.iter();
        let partial = partial.filter_map(|station| self.request.configuration.stations.get(*station));
        for station in partial {
            if !unanswered.iter().any(|it| it.station == station.name) {
                unanswered.push(Unanswered {
                    station: station.name.clone(),
                    answered_in_part: true,
                    detail: "says that what it sent is not complete".to_owned(),
                });
            }
        }
    }

    fn conclude(self, copies: &[Copy], found: Found) -> Retrieved {
        let are_all_settled = copies.iter().all(|copy| self.is_settled(copy));
        let missing: Vec<Uid> = self.wanted.difference(&self.contents.all).cloned().collect();
        let unlisted = copies.iter().map(|copy| self.unlisted(copy, missing.len()));
        let missing_unlisted = match self.request.scope {
            Scope::Study => unlisted.max().unwrap_or_default(),
            _ => 0,
        };
        let is_withheld = copies.is_empty() && (!found.conflicts.is_empty() || found.deferred.is_some());
        let there = &self.contents.wanted;
        let already_there = there.intersection(&self.before).count() as u64;
        // Where a station's listing broke off, and all that it counts is known to be here, nothing is missed. One that
        // left something out for another reason, like a linked cluster that lacked an archive, may hold more.
        let settled: Vec<&StationName> = copies
            .iter()
            .filter(|copy| self.is_settled(copy))
            .map(|copy| &self.station(copy).name)
            .collect();
        let mut unanswered = found.unanswered;
        unanswered.retain(|it| {
            let broke_off = it.answered_in_part && found.listing_broke_off.contains(&it.station);
            !(broke_off && settled.contains(&&it.station))
        });
        self.add_partial_sources(&mut unanswered);
        Retrieved {
            study_instance_uid: self.request.study_instance_uid.clone(),
            station: self.destination.station.name.clone(),
            complete: missing.is_empty()
                && missing_unlisted == 0
                && are_all_settled
                && !is_withheld
                && !self.is_misfiled
                && !there.is_empty()
                && unanswered.is_empty(),
            instances: match self.request.dry_run {
                true => already_there,
                false => there.len() as u64,
            },
            fetched: there.len() as u64 - already_there,
            already_there,
            refused: self
                .refused
                .into_iter()
                .filter(|(uid, _)| !self.contents.all.contains(uid))
                .collect(),
            missing,
            missing_unlisted,
            deferred: found.deferred,
            kept_aside: self.kept_aside,
            sources: self.sources,
            unanswered,
            conflicts: found.conflicts,
            cancelled: self.cancel.is_cancelled(),
            unrecorded: self.unrecorded,
            link_reports: found.link_reports,
        }
    }
}
