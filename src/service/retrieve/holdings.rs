//! Who holds what is asked for: a linked query down to the instances, of each study.
//!
//! Invariants: only stations that a query of the caller would ask are asked. Sources are in the order of the rules, and
//! none of them is a station where the study is another patient's. A site that does not answer holds up what the local
//! cluster has for [`GRACE`] at most.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::super::find::{link_request, missing};
use super::super::health::note;
use super::super::{Service, Snapshot};
use super::asked::Asked;
use crate::link::merge::{Location, Merge, MergedStudy, Source};
use crate::link::policy::{Narrowing, Role, Target, plan};
use crate::link::visibility::Visibility;
use crate::link::{Answer, Ended, Event, LinkedQuery};
use crate::model::{Caller, ConflictPath, CrossReference, LedgerEntry, Level, Outcome, Query, Station, Uid};
use crate::retrieve::{Instance, instances};

/// How much longer others are waited for once the archive stations have answered and hold the study.
const GRACE: Duration = Duration::from_millis(500);

/// One study, and who has what of it.
#[derive(Debug)]
pub(super) struct StudyHeld {
    pub(super) uid: Uid,
    /// Best first.
    pub(super) sources: Vec<Holding>,
    /// The instances that are asked for, as far as any source lists them.
    pub(super) wanted: HashSet<Uid>,
    /// How many there are, by name or by number.
    pub(super) expected: usize,
}

/// What one station has of a study.
#[derive(Debug)]
pub(super) struct Holding {
    /// Its place in the configuration.
    pub(super) station: usize,
    /// What it lists of it.
    pub(super) listed: BTreeMap<Uid, Instance>,
    /// Whether that is all it has.
    pub(super) is_whole: bool,
    /// How many it says to have.
    count: Option<u32>,
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
    fn of(uid: Uid, sources: Vec<Holding>, asked: &Asked) -> Self {
        let listed = sources.iter().flat_map(|holding| &holding.listed);
        let is_wanted = asked.wants();
        let wanted = listed.filter(|(uid, it)| is_wanted(&it.series, uid));
        let wanted: HashSet<Uid> = wanted.map(|(uid, _)| uid.clone()).collect();
        // What a station counts is the study, whatever of it is asked for.
        let unnamed = sources
            .iter()
            .filter(|holding| !holding.is_whole && asked.is_for_whole_studies());
        let counted = unnamed.filter_map(|holding| holding.count).max();
        StudyHeld {
            expected: wanted.len().max(counted.unwrap_or_default() as usize),
            uid,
            sources,
            wanted,
        }
    }
}

impl Found {
    /// Whether all answered who should have.
    pub(super) fn is_complete(&self) -> bool {
        self.ledger
            .iter()
            .all(|(_, entry)| entry.is_complete() || entry.outcome == Outcome::Cancelled)
    }

    /// What the caller should know besides the counts.
    pub(super) fn remark(&self) -> String {
        match (self.conflicts, self.is_complete()) {
            (0, true) => String::new(),
            (0, false) => missing(&self.ledger),
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
    asked: &Asked,
) -> Found {
    let mut found = Found::default();
    let search = Search {
        service,
        snapshot,
        caller,
        known: service.known_patients.pin(),
    };
    let is_named = !asked.studies.is_empty();
    let local = snapshot.settings().issuer();
    // A linked station is taken to know the issuers, as it may ask for them.
    let visibility = Visibility::of(&asked.query(), station, true, local, &search.known);
    let studies = match is_named {
        true => asked.studies.clone(),
        false => search.studies_of_patient(&visibility, asked, &mut found).await,
    };
    for uid in studies {
        let query = Query {
            level: Level::Image,
            study_uids: vec![uid],
            ..Query::default()
        };
        let (merged, mut rows) = search.ask(query, &mut found.ledger).await.finish();
        for study in merged {
            if let Some(conflict) = study.conflict(&rows.sources, ConflictPath::Retrieve) {
                service.records.conflict(conflict);
            }
            if visibility.withholds(&study.study.patient_id).is_some() {
                found.withheld += 1;
                continue;
            }
            match rows.held(study, asked, is_named) {
                Some(held) if held.sources.is_empty() => {}
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

struct Search<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    caller: &'a Caller,
    known: Arc<CrossReference>,
}

impl Search<'_> {
    /// The studies of a patient, without those of other patients of that ID.
    async fn studies_of_patient(
        &self,
        visibility: &Visibility,
        asked: &Asked,
        found: &mut Found,
    ) -> Vec<Uid> {
        let mut query = asked.query();
        query.meant_issuers = visibility.issuers().to_vec();
        let (merged, _) = self.ask(query, &mut found.ledger).await.finish();
        let is_visible = |study: &MergedStudy| visibility.withholds(&study.study.patient_id).is_none();
        let of_patient = merged.into_iter().filter(|study| {
            let is_visible = is_visible(study);
            found.withheld += usize::from(!is_visible);
            is_visible
        });
        of_patient.map(|study| study.study.study_instance_uid).collect()
    }

    /// Asks all who may be asked.
    async fn ask(&self, query: Query, ledger: &mut Vec<(Role, LedgerEntry)>) -> Answers {
        let configuration = self.snapshot.configuration();
        let targets = plan(
            configuration,
            self.caller,
            &query,
            &Narrowing::default(),
            Timestamp::now(),
        );
        let request = link_request(
            self.service,
            self.snapshot,
            query,
            Arc::clone(&self.known),
            targets.clone(),
        );
        let mut answers = Answers {
            sources: Source::of(configuration, &targets),
            merge: Merge::new(Source::of(configuration, &targets), Arc::clone(&self.known)),
            listed: Listed::new(),
            cut_short: HashSet::new(),
            targets,
        };
        let mut linked = LinkedQuery::start(request);
        let mut open: Vec<usize> = answers.asked();
        let mut is_local = false;
        let mut until: Option<Instant> = None;
        loop {
            let event = match until {
                Some(until) => timeout_at(until, linked.next()).await,
                None => Ok(linked.next().await),
            };
            match event {
                Ok(Some(Event::Answer(answer))) => {
                    is_local |= answers.is_archive(answer.target);
                    answers.take(answer);
                }
                Ok(Some(Event::Ended(ended))) => {
                    open.retain(|target| *target != ended.target);
                    if ended.entry.outcome != Outcome::Searched || ended.entry.dropped > 0 {
                        answers.cut_short.insert(ended.target);
                    }
                    self.end(&answers, *ended, ledger);
                }
                Ok(None) => return answers,
                // They are left where they are.
                Err(_) => break,
            }
            if is_local && until.is_none() && !open.iter().any(|target| answers.is_archive(*target)) {
                until = Some(Instant::now() + GRACE);
            }
        }
        for target in open {
            if let Some((role, station)) = self.station(&answers, target) {
                let mut entry = LedgerEntry::new(station.name.clone(), Outcome::Cancelled);
                entry.detail = Some("not waited for: the local cluster has the study".to_owned());
                add_entry(ledger, role, entry);
            }
        }
        answers
    }

    fn station(&self, answers: &Answers, target: usize) -> Option<(Role, &Station)> {
        let target = answers.targets.get(target)?;
        let station = self.snapshot.configuration().stations.get(target.station)?;
        Some((target.role, station))
    }

    fn end(&self, answers: &Answers, ended: Ended, ledger: &mut Vec<(Role, LedgerEntry)>) {
        if let Some((role, station)) = self.station(answers, ended.target) {
            if let Some(report) = ended.report {
                note(self.service, station, report);
            }
            add_entry(ledger, role, ended.entry);
        }
    }
}

/// What was answered to one query.
struct Answers {
    targets: Vec<Target>,
    sources: Vec<Source>,
    merge: Merge,
    /// By target and study.
    listed: Listed,
    /// The targets that have not told all they have.
    cut_short: HashSet<usize>,
}

type Listed = HashMap<(usize, Uid), BTreeMap<Uid, Instance>>;

impl Answers {
    fn asked(&self) -> Vec<usize> {
        let targets = self.targets.iter().enumerate();
        let asked = targets.filter(|(_, target)| target.skip.is_none());
        asked.map(|(place, _)| place).collect()
    }

    fn is_archive(&self, target: usize) -> bool {
        self.targets
            .get(target)
            .is_some_and(|target| target.role == Role::Archive)
    }

    fn take(&mut self, answer: Answer) {
        let mut study = answer.study;
        let key = (answer.target, study.study_instance_uid.clone());
        let listed = instances(std::mem::take(&mut study.series));
        self.listed.entry(key).or_default().extend(listed);
        self.merge.add(answer.target, study);
    }

    fn finish(self) -> (Vec<MergedStudy>, Rows) {
        let Answers {
            targets,
            sources,
            merge,
            listed,
            cut_short,
        } = self;
        let rows = Rows {
            targets,
            sources,
            listed,
            cut_short,
        };
        (merge.finish(), rows)
    }
}

/// The instances that were answered.
struct Rows {
    targets: Vec<Target>,
    sources: Vec<Source>,
    listed: Listed,
    cut_short: HashSet<usize>,
}

impl Rows {
    /// Who holds what is asked for of a study; `None` where it stands for two patients and nobody can tell whose is meant: it
    /// was not asked for by name, or is not the local cluster's.
    fn held(&mut self, study: MergedStudy, asked: &Asked, is_named: bool) -> Option<StudyHeld> {
        let uid = study.study.study_instance_uid;
        let mut sources = study.locations;
        if !study.conflicts.is_empty() {
            let targets = &self.targets;
            sources.retain(|location| {
                let target = targets.get(location.source);
                // One that has it of both does not tell their instances apart.
                let is_one = !study.conflicts.iter().any(|it| it.source == location.source);
                is_one && target.is_some_and(|target| target.role == Role::Archive)
            });
            if !is_named || sources.is_empty() {
                return None;
            }
        }
        let holding = |location: Location| {
            let target = self.targets.get(location.source)?;
            let listed = self.listed.remove(&(location.source, uid.clone()));
            let listed = listed.unwrap_or_default();
            let is_short = location
                .instances
                .is_some_and(|count| listed.len() < count as usize);
            Some(Holding {
                station: target.station,
                is_whole: !listed.is_empty() && !is_short && !self.cut_short.contains(&location.source),
                listed,
                count: location.instances,
            })
        };
        let sources = sources.into_iter().filter_map(holding).collect();
        Some(StudyHeld::of(uid, sources, asked))
    }
}

/// One line a station, whatever number of queries was put to it.
fn add_entry(ledger: &mut Vec<(Role, LedgerEntry)>, role: Role, entry: LedgerEntry) {
    let known = ledger
        .iter_mut()
        .find(|(_, known)| known.station == entry.station);
    match known {
        None => ledger.push((role, entry)),
        Some((_, known)) => {
            let (matches, elapsed) = (known.matches + entry.matches, known.elapsed + entry.elapsed);
            if known.is_complete() {
                *known = entry;
            }
            (known.matches, known.elapsed) = (matches, elapsed);
        }
    }
}
