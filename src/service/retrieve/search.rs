//! Who holds what a caller asks for: a linked query down to the instances, of each study.
//!
//! Invariants: only stations that a query of the caller would ask are asked. Sources are in the order of the rules, and
//! none of them is a station where the study is another patient's. A site that does not answer holds up what the local
//! cluster has for [`GRACE`] at most.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::find::{link_request, missing};
use super::super::health::note;
use super::super::{Service, Snapshot};
use super::identifier::RetrieveKeys;
use crate::link::completeness::{Completeness, completeness};
use crate::link::policy::{Narrowing, Role, plan};
use crate::link::visibility::Visibility;
use crate::model::{
    Caller, ConflictPath, CrossReference, Kind, LedgerEntry, Level, Outcome, Query, Station, StationName, Uid,
};
use crate::retrieve::{Copy, Scope, Search, StudyCopies};

/// How much longer others are waited for once the archive stations have answered and hold the study.
const GRACE: Duration = Duration::from_millis(500);

/// One study, and who has what of it.
#[derive(Debug)]
pub(super) struct StudyHeld {
    pub(super) uid: Uid,
    /// Best first.
    pub(super) copies: Vec<Copy>,
    /// The instances that are asked for, as far as any source lists them.
    pub(super) wanted: HashSet<Uid>,
    /// How many there are, by name or by number.
    pub(super) expected: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) studies: Vec<StudyHeld>,
    /// How many studies were left out because they stand for two patients.
    pub(super) conflicts: usize,
    /// How many studies were left out because the caller would not find them by these keys either.
    pub(super) withheld: usize,
    pub(super) ledger: Vec<(Role, LedgerEntry)>,
}

impl StudyHeld {
    fn of(uid: Uid, copies: Vec<Copy>, scope: &Scope) -> Self {
        let listed = copies.iter().flat_map(|copy| copy.instances.iter());
        let wanted = listed.filter(|(uid, it)| scope.takes(&it.series, uid));
        let wanted: HashSet<Uid> = wanted.map(|(uid, _)| uid.clone()).collect();
        // What a station counts is the study, whatever of it is asked for.
        let unnamed = copies
            .iter()
            .filter(|copy| !copy.is_whole() && *scope == Scope::Study);
        let counted = unnamed.filter_map(|copy| copy.count).max();
        StudyHeld {
            expected: wanted.len().max(counted.unwrap_or_default() as usize),
            uid,
            copies,
            wanted,
        }
    }
}

impl Found {
    /// How complete the answers are of all who should have answered.
    pub(super) fn completeness(&self) -> Completeness {
        completeness(self.ledger.iter().map(|(role, entry)| (*role, entry)))
    }

    /// Whether a site that should have answered did not, or not in full. One that was not waited for is no such site.
    pub(super) fn lacks_a_site(&self) -> bool {
        matches!(self.completeness(), Completeness::Partial | Completeness::Failed)
    }

    /// Notes that a station has said of its objects that they are not all.
    pub(super) fn note_partial(&mut self, station: &StationName) {
        let mut entries = self.ledger.iter_mut().map(|(_, entry)| entry);
        if let Some(entry) = entries.find(|entry| entry.station == *station && entry.is_complete()) {
            entry.outcome = Outcome::Truncated;
            entry.detail = Some("says of its objects that they are not complete".to_owned());
        }
    }

    /// What the caller should know besides the counts.
    pub(super) fn remark(&self) -> String {
        match (self.conflicts, self.completeness()) {
            (0, Completeness::Complete) => String::new(),
            (0, _) => missing(&self.ledger),
            (1, _) => "the study stands for two patients: see impaxlink query".to_owned(),
            (count, _) => format!("{count} studies stand for two patients each"),
        }
    }
}

/// Finds all that a caller asks for and may have.
pub(super) async fn find(
    service: &Service,
    snapshot: &Snapshot,
    station: &Station,
    caller: &Caller,
    keys: &RetrieveKeys,
) -> Found {
    let mut found = Found::default();
    let asking = Asking {
        service,
        snapshot,
        caller,
        known: service.known_patients.pin(),
    };
    let is_named = !keys.studies.is_empty();
    let local = snapshot.settings().issuer();
    // A linked station is taken to know the issuers, as it may ask for them.
    let visibility = Visibility::of(&keys.query(), station, true, local, &asking.known);
    let studies = match is_named {
        true => keys.studies.clone(),
        false => asking.studies_of_patient(&visibility, keys, &mut found).await,
    };
    let scope = keys.scope();
    for uid in studies {
        let query = Query {
            level: Level::Image,
            study_uids: vec![uid],
            ..Query::default()
        };
        for study in asking.ask(query, &mut found.ledger).await {
            if let Some(conflict) = &study.conflict {
                service.records.conflict(conflict.clone());
            }
            if visibility.withholds(&study.study.patient_id).is_some() {
                found.withheld += 1;
                continue;
            }
            match held(snapshot, study, &scope, is_named) {
                Some(held) if held.copies.is_empty() => {}
                Some(held) => found.studies.push(held),
                None => found.conflicts += 1,
            }
        }
    }
    if found.withheld > 0 {
        let count = found.withheld;
        tracing::info!(
            "retrieve of {}: {count} studies withheld: of another patient than asked for",
            station.name
        );
    }
    found
}

struct Asking<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    known: Arc<CrossReference>,
}

impl Asking<'_> {
    /// The studies of a patient, without those of other patients of that ID.
    async fn studies_of_patient(
        &self,
        visibility: &Visibility,
        keys: &RetrieveKeys,
        found: &mut Found,
    ) -> Vec<Uid> {
        let mut query = keys.query();
        query.meant_issuers = visibility.issuers().to_vec();
        let studies = self.ask(query, &mut found.ledger).await.into_iter();
        let of_patient = studies.filter(|study| {
            let is_visible = visibility.withholds(&study.study.patient_id).is_none();
            found.withheld += usize::from(!is_visible);
            is_visible
        });
        of_patient.map(|study| study.study.study_instance_uid).collect()
    }

    /// Asks all who may be asked.
    async fn ask(&self, query: Query, ledger: &mut Vec<(Role, LedgerEntry)>) -> Vec<StudyCopies> {
        let configuration = self.snapshot.configuration();
        let (narrowing, now) = (Narrowing::default(), Timestamp::now());
        let targets = plan(configuration, self.caller, &query, &narrowing, now);
        let known = Arc::clone(&self.known);
        let search = Search {
            request: link_request(self.service, self.snapshot, query, known, targets),
            named: None,
            grace: Some(GRACE),
            cancel: CancellationToken::new(),
        };
        let mut answers = search.run().await;
        let station = |target: usize| {
            let target = answers.targets.get(target)?;
            let station = configuration.stations.get(target.station)?;
            Some((target.role, station))
        };
        for (target, report) in std::mem::take(&mut answers.reports) {
            if let Some((_, station)) = station(target) {
                note(self.service, station, report);
            }
        }
        for (target, entry) in answers.entries.iter().enumerate() {
            let Some((role, station)) = station(target) else {
                continue;
            };
            // One that was not waited for is left where it is.
            let entry = entry.clone().unwrap_or_else(|| {
                let mut entry = LedgerEntry::new(station.name.clone(), Outcome::Cancelled);
                entry.detail = Some("not waited for: the local cluster has the study".to_owned());
                entry
            });
            add_entry(ledger, role, entry);
        }
        answers.into_studies(ConflictPath::Retrieve)
    }
}

/// Who holds what is asked for of a study; `None` where it stands for two patients and nobody can tell whose is meant: it
/// was not asked for by name, or is not the local cluster's.
fn held(snapshot: &Snapshot, study: StudyCopies, scope: &Scope, is_named: bool) -> Option<StudyHeld> {
    let StudyCopies {
        study,
        mut copies,
        conflicting,
        in_conflict_at,
        ..
    } = study;
    if !in_conflict_at.is_empty() {
        let stations = &snapshot.configuration().stations;
        copies.retain(|copy| {
            // One that has it of both does not tell their instances apart.
            let is_one = !conflicting.iter().any(|it| it.station == copy.station);
            let station = stations.get(copy.station);
            is_one && station.is_some_and(|station| station.kind == Kind::Archive)
        });
        if !is_named || copies.is_empty() {
            return None;
        }
    }
    Some(StudyHeld::of(study.study_instance_uid, copies, scope))
}

/// One entry a station, whatever number of queries was put to it.
fn add_entry(ledger: &mut Vec<(Role, LedgerEntry)>, role: Role, entry: LedgerEntry) {
    let known = ledger
        .iter_mut()
        .find(|(_, known)| known.station == entry.station);
    match known {
        None => ledger.push((role, entry)),
        Some((_, known)) => {
            let (matches, elapsed) = (known.matches + entry.matches, known.elapsed + entry.elapsed);
            // A failure counts more than a station that was not waited for.
            if known.is_complete() || (!known.is_missing() && entry.is_missing()) {
                *known = entry;
            }
            (known.matches, known.elapsed) = (matches, elapsed);
        }
    }
}
