//! A query under way: each study to the caller at first sight, and what the ledger says of the rest.
//!
//! Invariants: a study whose UID comes with another patient is given once, as the local cluster (else the first) has
//! it. Where the caller asks by a bare patient ID, rows of a known other issuer are withheld (rule 6): it would take them for its own patient's.
//! Both are counted, and logged without patient data. A caller that reads slowly holds up its own query alone.

use std::collections::HashSet;

use dicom_dictionary_std::tags;
use tokio_util::sync::CancellationToken;

use super::closing::{Cut, final_response, missing};
use super::identifier::{Asked, AskedLevel};
use super::linked::LocalCluster;
use super::rows::Rows;
use super::station_of;
use crate::dimse::{DataSet, FindEnd, FindRequest, FindResponder, trim_padding, uids};
use crate::link::completeness::{Completeness, completeness};
use crate::link::first_sight::{FirstSight, Sight};
use crate::link::policy::Target;
use crate::link::{Answer, Ended, Event, HashKey, LinkedQuery, LowerRow};
use crate::model::{
    Caller, Issuer, IssuerDomain, LedgerEntry, Level, Outcome, PatientId, PatientIdKey, Returned, Station,
    StationName, Uid,
};
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
    /// Whose patient ID the caller means, where it has given one and named no issuer.
    meant: Vec<Issuer>,
    sight: FirstSight,
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

/// What was not given of a station's answers.
#[derive(Debug, Clone, Copy, Default)]
struct Withheld {
    /// Of another issuer than the caller's patient ID.
    issuer: u64,
    /// Of another patient than the study stands for.
    conflict: u64,
    /// Not to be written for the caller.
    unwritable: u64,
}

impl<'a> Answering<'a> {
    pub(super) fn new(
        service: &'a Service,
        snapshot: &'a Snapshot,
        caller: &'a Station,
        asks_as: &Caller,
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
            meant: meant_issuers(asked, caller, asks_as, settings.issuer()),
            sight: FirstSight::default(),
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
            || !self.meant.is_empty()
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
                    if self.takes(&answer, &query) {
                        self.give(&answer, cancelled, responder).await;
                    }
                }
                Some(Event::Ended(ended)) => self.end(*ended),
                None => return self.finish(),
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
        if is_of_another(&self.meant, &answer.study.patient_id) {
            withheld.issuer += 1;
            return false;
        }
        if self.asked.level == AskedLevel::Patient {
            let is_new = !self.given_besides.has_patient(&answer.study.patient_id);
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
                self.service.conflicts.note(&answer.study.study_instance_uid);
                false
            }
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
            self.given_besides.see_patient(&answer.study.patient_id);
        }
        let below = answer.lower.iter().map(Some);
        for lower in self.is_of_study().then_some(None).into_iter().chain(below) {
            if lower.is_some_and(|row| !self.given_besides.see_below(self.asked.query.level, row)) {
                continue;
            }
            match self.rows.row(answer, lower, station) {
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
        details.extend(remarks(withheld));
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
        let incomplete = |entry: &LedgerEntry| !entry.is_complete() && entry.outcome != Outcome::Cancelled;
        if self.cut.is_none() && ledger.iter().any(|(_, entry)| incomplete(entry)) {
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
            for remark in remarks(*withheld) {
                tracing::info!("query of {}: of {station}'s answers, {remark}", self.caller.name);
            }
        }
    }
}

fn remarks(withheld: Withheld) -> impl Iterator<Item = String> {
    let remarks = [
        (withheld.issuer, "withheld: patients of another issuer"),
        (
            withheld.conflict,
            "withheld: the study stands for another patient",
        ),
        (
            withheld.unwritable,
            "lost: not to be written in the caller's transfer syntax",
        ),
    ];
    let any = remarks.into_iter().filter(|(count, _)| *count > 0);
    any.map(|(count, what)| format!("{count} {what}"))
}

/// Whose ID a bare patient ID is: the caller's issuers', else the local cluster's. A linked cluster that asks for the
/// issuers tells patients apart by itself, and gets all.
fn meant_issuers(asked: &Asked, caller: &Station, asks_as: &Caller, local: Option<Issuer>) -> Vec<Issuer> {
    let tells_apart = *asks_as == Caller::LinkedCluster && asked.asks_for(tags::ISSUER_OF_PATIENT_ID);
    match &asked.query.patient_id {
        Some(key) if key.issuer.is_none() && !tells_apart => match &caller.issuers[..] {
            [] => local.into_iter().collect(),
            issuers => issuers.to_vec(),
        },
        _ => Vec::new(),
    }
}

fn is_of_another(meant: &[Issuer], patient: &PatientId) -> bool {
    match &patient.domain {
        IssuerDomain::Named(issuer) => !meant.is_empty() && !meant.contains(issuer),
        IssuerDomain::Inferred(_) => false,
    }
}

/// What has been given that is no study: patients by (ID, issuer), or series and instances by their UIDs.
struct GivenBesides {
    key: HashKey,
    seen: HashSet<[u64; 2]>,
}

impl Default for GivenBesides {
    fn default() -> Self {
        GivenBesides {
            key: HashKey::random(),
            seen: HashSet::new(),
        }
    }
}

impl GivenBesides {
    fn count(&self) -> usize {
        self.seen.len()
    }

    fn has_patient(&self, patient: &PatientId) -> bool {
        self.seen.contains(&self.key.patient(patient))
    }

    fn see_patient(&mut self, patient: &PatientId) {
        self.seen.insert(self.key.patient(patient));
    }

    /// Whether the row is a new one of its level.
    fn see_below(&mut self, level: Level, row: &LowerRow) -> bool {
        let tag = match level {
            Level::Study => return false,
            Level::Series => tags::SERIES_INSTANCE_UID,
            Level::Image => tags::SOP_INSTANCE_UID,
        };
        let value = row.data_set.element(tag).map(trim_padding).unwrap_or_default();
        let uid = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<Uid>().ok());
        uid.is_some_and(|uid| self.seen.insert(self.key.uid(&uid)))
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::*;
    use crate::dimse::Status;
    use crate::model::Query;
    use crate::service::examples::station;

    fn asked(id: Option<&str>) -> Asked {
        Asked {
            level: AskedLevel::Linked(Level::Study),
            query: Query {
                patient_id: id.map(|id| id.parse::<PatientIdKey>().unwrap()),
                ..Query::default()
            },
            returned: Vec::new(),
            linked: Vec::new(),
            pending: Status::PENDING,
        }
    }

    fn patient(domain: IssuerDomain) -> PatientId {
        PatientId {
            id: "4711".to_owned(),
            domain,
        }
    }

    fn named(issuer: &str) -> IssuerDomain {
        IssuerDomain::Named(issuer.parse().unwrap())
    }

    #[test]
    fn a_bare_patient_id_is_the_callers_else_the_local_one() {
        let mut caller = station("VIEWER", "VIEWER", "10.0.0.1");
        let north = || "NORTH".parse::<Issuer>().ok();
        let meant = |id: Option<&str>, caller: &Station| {
            meant_issuers(&asked(id), caller, &Caller::Internal, north())
        };
        assert_eq!(meant(Some("4711"), &caller), ["NORTH".parse().unwrap()]);
        caller.issuers = vec!["VALLEY".parse().unwrap()];
        assert_eq!(meant(Some("4711"), &caller), ["VALLEY".parse().unwrap()]);
        assert!(
            meant(Some("4711^^^HARBOUR"), &caller).is_empty(),
            "it is not bare"
        );
        assert!(meant(None, &caller).is_empty());
    }

    #[test]
    fn a_linked_cluster_that_asks_for_issuers_gets_all() {
        let caller = station("SITEB", "SITEB", "10.0.0.1");
        let north = || "NORTH".parse::<Issuer>().ok();
        let mut asked = asked(Some("4711"));
        let meant = |asked: &Asked, asks_as| meant_issuers(asked, &caller, &asks_as, north()).len();
        assert_eq!(meant(&asked, Caller::LinkedCluster), 1);
        asked.returned.push((tags::ISSUER_OF_PATIENT_ID, VR::LO));
        assert_eq!(meant(&asked, Caller::LinkedCluster), 0);
        assert_eq!(
            meant(&asked, Caller::External),
            1,
            "a viewer keys on the ID alone"
        );
    }

    #[test]
    fn only_a_known_other_issuer_is_another() {
        let meant = ["NORTH".parse().unwrap()];
        assert!(is_of_another(&meant, &patient(named("HARBOUR"))));
        assert!(!is_of_another(&meant, &patient(named("NORTH"))));
        let inferred = IssuerDomain::Inferred("SITEB".parse().unwrap());
        assert!(!is_of_another(&meant, &patient(inferred)));
        assert!(!is_of_another(&[], &patient(named("HARBOUR"))));
    }

    #[test]
    fn a_patient_is_an_id_of_an_issuer() {
        let mut given = GivenBesides::default();
        given.see_patient(&patient(named("NORTH")));
        assert!(given.has_patient(&patient(named("NORTH"))));
        assert!(!given.has_patient(&patient(named("HARBOUR"))));
        let station = IssuerDomain::Inferred("NORTH".parse().unwrap());
        assert!(!given.has_patient(&patient(station)));
    }
}
