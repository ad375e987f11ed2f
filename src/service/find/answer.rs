//! A query under way: each study to the caller at first sight, and what the ledger says of the rest.
//!
//! Invariants: a study whose UID comes with another patient is given once, as the local cluster (else the first) has
//! it, and patients whom the caller does not mean are withheld. Both are counted, and logged without patient data. A caller that reads slowly holds up its own query alone.

use tokio_util::sync::CancellationToken;

use super::closing::{Cut, final_response, missing};
use super::given::GivenBesides;
use super::identifier::{Asked, AskedLevel};
use super::linked::LocalCluster;
use super::rows::Rows;
use super::station_of;
use super::withheld::Withheld;
use crate::dimse::{DataSet, FindEnd, FindRequest, FindResponder, Status, uids};
use crate::link::completeness::{Completeness, completeness};
use crate::link::first_sight::{FirstSight, Sight};
use crate::link::linked_syntax::UnansweredStation;
use crate::link::policy::Target;
use crate::link::visibility::{self, Visibility};
use crate::link::{Answer, ConflictLog, Ended, Event, LinkedQuery};
use crate::model::{ConflictPath, LedgerEntry, Level, PatientIdKey, Returned, Station, StationName};
use crate::service::health::note;
use crate::service::{Service, Snapshot};

/// A query under way for one caller.
pub(super) struct Answering<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    caller: &'a Station,
    asked: &'a Asked,
    targets: &'a [Target],
    rows: Rows<'a>,
    visibility: Visibility,
    sight: FirstSight,
    conflicts: ConflictLog,
    given_besides: GivenBesides,
    limit: usize,
    cut: Option<Cut>,
    /// By target: what was not given of its answers.
    withheld: Vec<Withheld>,
    ledger: Vec<(usize, LedgerEntry)>,
    given: u64,
}

/// What a query came to.
pub(super) struct Answered {
    /// What the caller is told.
    pub(super) end: FindEnd,
    /// What each station did.
    pub(super) entries: Vec<LedgerEntry>,
    /// Whether it was the whole answer.
    pub(super) complete: bool,
    /// How many matches were given.
    pub(super) given: u64,
}

impl<'a> Answering<'a> {
    pub(super) fn new(
        service: &'a Service,
        snapshot: &'a Snapshot,
        caller: &'a Station,
        visibility: Visibility,
        asked: &'a Asked,
        targets: &'a [Target],
        request: &FindRequest,
    ) -> Self {
        let settings = snapshot.settings();
        let sources = targets.iter().filter(|target| target.skip.is_none()).count();
        let is_linked = request.context.abstract_syntax == uids::LINKED_CLUSTER_QUERY;
        let our_title = caller.calling_ae.clone().unwrap_or_else(|| settings.ae_title());
        Answering {
            service,
            snapshot,
            caller,
            asked,
            targets,
            rows: Rows::new(
                asked,
                request.context.transfer_syntax,
                our_title,
                sources > 1,
                caller.charset.as_ref(),
                is_linked.then(|| LocalCluster::new(service, snapshot)),
            ),
            sight: FirstSight::new(visibility.cross_reference()),
            conflicts: ConflictLog::new(visibility.cross_reference()),
            visibility,
            given_besides: GivenBesides::default(),
            limit: settings.count("limits.studies"),
            cut: None,
            withheld: vec![Withheld::default(); targets.len()],
            ledger: Vec::new(),
            given: 0,
        }
    }

    /// What stations are asked for besides the caller's keys. Whose a study is does not matter where one station alone
    /// is asked, as it does not contradict itself; the linked syntax computes its elements of all that a row shows.
    pub(super) fn returned(&self) -> Returned {
        let asked = self.targets.iter().filter(|target| target.skip.is_none());
        let names_issuer = |key: &PatientIdKey| key.issuer.is_some();
        let tells_patients_apart = self.asked.level == AskedLevel::Patient
            || asked.count() > 1
            || self.visibility.needs_patient()
            || self.asked.query.patient_id.as_ref().is_some_and(names_issuer);
        match tells_patients_apart {
            _ if !self.asked.linked.is_empty() => Returned::Usual,
            true => Returned::Patient,
            false => Returned::Nothing,
        }
    }

    /// Takes all that comes until the last station has ended, and says what the caller is told then.
    pub(super) async fn run(
        mut self,
        mut query: LinkedQuery,
        cancelled: &CancellationToken,
        responder: &FindResponder,
    ) -> Answered {
        loop {
            if cancelled.is_cancelled() && self.cut.is_none() {
                self.cut = Some(Cut::Cancelled);
                query.cancel();
            }
            let event = match query.take_ready() {
                Some(event) => Some(event),
                None => tokio::select! {
                    biased;
                    () = cancelled.cancelled(), if self.cut.is_none() => continue,
                    event = query.next() => event,
                },
            };
            match event {
                Some(Event::Answer(answer)) => {
                    let before = self.withheld_conflicts(answer.target);
                    let is_taken = self.takes(&answer, &query);
                    self.note_conflict(&answer, self.withheld_conflicts(answer.target) > before);
                    if is_taken {
                        self.give(&answer, cancelled, responder).await;
                    }
                }
                Some(Event::Ended(ended)) => self.end(*ended),
                None => {
                    self.give_unanswered(responder).await;
                    return self.finish();
                }
            }
        }
    }

    /// Whether the answer is given.
    fn takes(&mut self, answer: &Answer, query: &LinkedQuery) -> bool {
        let Some(withheld) = self.withheld.get_mut(answer.target) else {
            return false;
        };
        if self.cut.is_some() {
            return false;
        }
        match self.visibility.withholds(&answer.study.patient_id) {
            None => {}
            Some(visibility::Withheld::OtherIssuer) => {
                withheld.issuer += 1;
                return false;
            }
            Some(visibility::Withheld::OtherId) => {
                withheld.id += 1;
                return false;
            }
        }
        if self.asked.level == AskedLevel::Patient {
            let is_new = !self
                .given_besides
                .has_patient(self.visibility.shown(&answer.study.patient_id));
            return is_new && self.is_within_limit(self.given_besides.count(), query);
        }
        let is_new = !self.sight.has_seen(&answer.study);
        if is_new && !self.is_within_limit(self.sight.studies(), query) {
            return false;
        }
        let Some(withheld) = self.withheld.get_mut(answer.target) else {
            return false;
        };
        match self.sight.see(&answer.study) {
            Sight::Study => true,
            // A further copy may have series or instances that the first one lacks.
            Sight::Location => !self.is_of_study(),
            Sight::Conflict => {
                withheld.conflict += 1;
                false
            }
        }
    }

    fn withheld_conflicts(&self, target: usize) -> u64 {
        self.withheld.get(target).map_or(0, |withheld| withheld.conflict)
    }

    /// Enters the answer among those that may contradict each other, given or withheld.
    fn note_conflict(&mut self, answer: &Answer, is_conflict: bool) {
        let target = self.targets.get(answer.target);
        if let Some(station) = target.and_then(|target| station_of(self.snapshot, target)) {
            self.conflicts.see(&station.name, &answer.study, is_conflict);
        }
    }

    /// Whether one more may be given; if not, the query ends.
    fn is_within_limit(&mut self, count: usize, query: &LinkedQuery) -> bool {
        let is_within = count < self.limit;
        if !is_within {
            self.cut = Some(Cut::Limit(self.limit));
            query.cancel();
        }
        is_within
    }

    /// Whether a row is a study, or its patient.
    fn is_of_study(&self) -> bool {
        matches!(
            self.asked.level,
            AskedLevel::Patient | AskedLevel::Linked(Level::Study)
        )
    }

    /// Gives the rows of an answer, each once, as fast as the caller takes them.
    async fn give(&mut self, answer: &Answer, cancelled: &CancellationToken, responder: &FindResponder) {
        let Some(station) = self
            .targets
            .get(answer.target)
            .and_then(|target| station_of(self.snapshot, target))
        else {
            return;
        };
        if self.asked.level == AskedLevel::Patient {
            self.given_besides
                .see_patient(self.visibility.shown(&answer.study.patient_id));
        }
        let below = answer.lower.iter().map(Some);
        for lower in self.is_of_study().then_some(None).into_iter().chain(below) {
            if lower.is_some_and(|row| !self.given_besides.see_below(self.asked.query.level, row)) {
                continue;
            }
            match self.rows.row(
                answer,
                lower,
                station,
                self.visibility.shown(&answer.study.patient_id),
            ) {
                Ok(row) => self.give_row(row, cancelled, responder).await,
                Err(_) => {
                    if let Some(withheld) = self.withheld.get_mut(answer.target) {
                        withheld.unwritable += 1;
                    }
                }
            }
        }
    }

    async fn give_row(&mut self, row: DataSet, cancelled: &CancellationToken, responder: &FindResponder) {
        tokio::select! {
            biased;
            // A caller that is gone has cancelled as well, which is looked at next.
            given = responder.give(self.asked.pending, row) => self.given += u64::from(given.is_ok()),
            () = cancelled.cancelled() => {}
        }
    }

    fn end(&mut self, ended: Ended) {
        let Ended {
            target,
            mut entry,
            report,
        } = ended;
        let withheld = self.withheld.get(target).copied().unwrap_or_default();
        let mut details: Vec<String> = entry.detail.take().into_iter().collect();
        details.extend(withheld.remarks());
        entry.detail = (!details.is_empty()).then(|| details.join("; "));
        let station = self
            .targets
            .get(target)
            .and_then(|target| station_of(self.snapshot, target));
        if let (Some(station), Some(report)) = (station, report) {
            note(self.service, station, report);
        }
        self.ledger.push((target, entry));
    }

    /// Gives a linked caller that asks for it the stations that did not answer in full, as the last pending response.
    async fn give_unanswered(&self, responder: &FindResponder) {
        let entries = self.ledger.iter().map(|(_, entry)| entry);
        let stations: Vec<UnansweredStation> = entries.filter_map(UnansweredStation::of).collect();
        if !self.asked.asks_for_unanswered || stations.is_empty() || self.cut == Some(Cut::Cancelled) {
            return;
        }
        let written = UnansweredStation::to_builder(&stations).encode(self.rows.transfer_syntax());
        if let Ok(identifier) = written {
            // The comment of the final response says so as well, and a caller that is gone misses both.
            let _ = responder.give(Status::PENDING, identifier).await;
        }
    }

    fn finish(mut self) -> Answered {
        self.ledger.sort_by_key(|(target, _)| *target);
        let targets = self.targets;
        let ledger: Vec<_> = self
            .ledger
            .drain(..)
            .filter_map(|(target, entry)| Some((targets.get(target)?.role, entry)))
            .collect();
        let on_partial = self.caller.on_partial;
        let on_partial = on_partial.unwrap_or_else(|| self.snapshot.settings().on_partial());
        let end = final_response(&ledger, self.cut, on_partial);
        let name = &self.caller.name;
        if self.cut.is_none() && ledger.iter().any(|(_, entry)| entry.is_missing()) {
            tracing::warn!("query of {name} ended with {}: {}", end.status, missing(&ledger));
        } else {
            tracing::debug!("query of {name} ended with {}", end.status);
        }
        for (_, entry) in &ledger {
            if let Some(detail) = &entry.detail {
                tracing::debug!(
                    "query of {name}: {} {}, {detail}",
                    entry.station,
                    entry.outcome.as_str()
                );
            }
        }
        self.log_withheld();
        for conflict in self.conflicts.finish(ConflictPath::Find) {
            self.service.records.conflict(conflict);
        }
        let is_whole = completeness(ledger.iter().map(|(role, entry)| (*role, entry)));
        Answered {
            complete: is_whole == Completeness::Complete && self.cut.is_none() && end.status.is_success(),
            end,
            entries: ledger.into_iter().map(|(_, entry)| entry).collect(),
            given: self.given,
        }
    }

    fn log_withheld(&self) {
        let stations = self
            .targets
            .iter()
            .map(|target| station_of(self.snapshot, target));
        for (station, withheld) in stations.zip(&self.withheld) {
            let station = station.map_or("?", |station| StationName::as_str(&station.name));
            for remark in withheld.remarks() {
                tracing::info!("query of {}: of {station}'s answers, {remark}", self.caller.name);
            }
        }
    }
}
