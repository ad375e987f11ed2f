//! Priors looked for on many occasions: a worklist, several studies, what has just arrived.
//!
//! Invariants: a few searches at once. A station that did not answer one is not waited for by the next. A prior of
//! several occasions is wanted once. Each search leaves its ledger.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::find::{FindPriors, PriorsFound, PriorsOf, find_priors};
use super::relevance::{Current, Verdict};
use super::wanted::{Need, need};
use crate::link::completeness::Completeness;
use crate::model::{
    Asker, Caller, ConflictPath, IssuerDomain, LedgerId, Level, PatientIdKey, QueryLedger, StationName,
    StudyAnswer, StudyConflict, Told, Uid, WantedPrior,
};
use crate::store::{LinkOutcome, LinkReport, Store, StoreError};

/// How many searches go on at once.
const AT_ONCE: usize = 4;

/// What priors are looked for.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// Whose.
    pub of: PriorsOf,
    /// The study that they are priors of, where there is one.
    pub study: Option<Uid>,
}

impl Occasion {
    /// A study that is there.
    pub fn study(uid: Uid) -> Self {
        Occasion {
            of: PriorsOf::Study(uid.clone()),
            study: Some(uid),
        }
    }

    /// A patient, whatever for.
    pub fn patient(key: PatientIdKey) -> Self {
        Occasion {
            of: PriorsOf::Patient(key, None),
            study: None,
        }
    }

    /// A study that is scheduled.
    pub fn scheduled(study: &StudyAnswer) -> Self {
        let issuer = match &study.patient_id.domain {
            IssuerDomain::Named(issuer) => Some(issuer.clone()),
            IssuerDomain::Inferred(_) => None,
        };
        let id = study.patient_id.id.clone();
        Occasion {
            of: PriorsOf::Patient(PatientIdKey { id, issuer }, Some(Current::from(study))),
            study: Some(study.study_instance_uid.clone()),
        }
    }
}

/// What was found on all occasions.
#[derive(Debug, Default)]
pub struct Looked {
    /// The priors that are to be brought, those of the first occasion first.
    pub wanted: Vec<WantedPrior>,
    /// Those that are here already.
    pub here: Vec<WantedPrior>,
    /// How many patients they were looked for.
    pub patients: usize,
    /// Studies whose priors were wanted, and that nobody has.
    pub unknown: Vec<Uid>,
    /// Stations that should have answered and did not, or not fully, each with why.
    pub troubles: BTreeMap<StationName, String>,
    /// How many occasions there were.
    pub occasions: usize,
    /// On how many of them no archive station answered.
    pub failed: usize,
    /// What the searches leave in the store.
    pub ledgers: Vec<QueryLedger>,
    /// How the links fared.
    pub reports: Vec<LinkReport>,
    /// The studies whose UID stands for another patient as well.
    pub conflicts: Vec<StudyConflict>,
    seen: HashSet<Uid>,
    known_patients: HashSet<(String, String)>,
}

/// Looks for the priors of all `occasions`, as `search` says but for whose. What was found when `cancel` is cancelled is
/// given back.
pub async fn look(
    mut search: FindPriors,
    occasions: Vec<Occasion>,
    destination: &StationName,
    asker: &Asker,
    cancel: &CancellationToken,
) -> Looked {
    let mut looked = Looked::default();
    let mut waiting = occasions.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(occasion) = waiting.next()
        {
            let one = FindPriors {
                of: occasion.of.clone(),
                ..search.clone()
            };
            under_way.spawn(async move {
                let (began, at) = (Instant::now(), Timestamp::now());
                let keywords = one.keywords();
                let found = find_priors(one).await;
                (occasion, found, keywords, at, began.elapsed())
            });
        }
        let ended = tokio::select! {
            ended = under_way.join_next() => ended,
            () = cancel.cancelled() => return looked,
        };
        let Some(ended) = ended else { return looked };
        let Ok((occasion, found, keywords, at, elapsed)) = ended else {
            looked.failed += 1;
            continue;
        };
        for report in &found.reports {
            if let LinkOutcome::Failed {
                next_try: Some(next_try),
                ..
            } = &report.outcome
            {
                search.resting.insert(report.station.clone(), *next_try);
            }
        }
        looked.ledgers.push(QueryLedger {
            id: LedgerId::new(at, Uuid::new_v4().as_fields().0),
            at,
            asker: asker.clone(),
            asked_as: Caller::Internal,
            generation: search.configuration.generation,
            level: Level::Study,
            keywords,
            entries: found.ledger.clone(),
            complete: found.completeness == Completeness::Complete,
            told: Told {
                status: 0,
                matches: found.judged.len() as u64,
            },
            elapsed,
        });
        looked.take(&occasion, found, destination);
    }
}

impl Looked {
    /// Leaves in the store what the searches have seen, and leaves out what has come under review meanwhile. Blocks.
    pub fn settle(&mut self, store: &Store) -> Result<(), StoreError> {
        store.record_link_health(&self.reports)?;
        store.record_ledgers(&self.ledgers)?;
        store.note_conflicts(&self.conflicts)?;
        let uids = self.wanted.iter().map(|prior| prior.study_instance_uid.clone());
        let under_review = store.under_review(&uids.collect::<Vec<_>>())?;
        self.wanted
            .retain(|prior| !under_review.contains(&prior.study_instance_uid));
        Ok(())
    }

    fn take(&mut self, occasion: &Occasion, found: PriorsFound, destination: &StationName) {
        self.occasions += 1;
        self.failed += usize::from(found.completeness == Completeness::Failed);
        for entry in found.ledger.iter().filter(|entry| !entry.is_complete()) {
            let why = || {
                entry
                    .detail
                    .clone()
                    .unwrap_or_else(|| entry.outcome.as_str().to_owned())
            };
            self.troubles.entry(entry.station.clone()).or_insert_with(why);
        }
        match (&occasion.of, &found.current) {
            (PriorsOf::Study(_), Some(study)) => {
                let patient = &study.study.patient_id;
                self.count_patient(&patient.id, &patient.domain.to_string());
            }
            (PriorsOf::Study(uid), None) => self.unknown.push(uid.clone()),
            (PriorsOf::Patient(key, _), _) => {
                let issuer = key.issuer.as_ref().map(ToString::to_string);
                self.count_patient(&key.id, &issuer.unwrap_or_default());
            }
        }
        for prior in &found.judged {
            let Verdict::Chosen(chosen) = &prior.verdict else {
                continue;
            };
            if !self.seen.insert(prior.study.study.study_instance_uid.clone()) {
                continue;
            }
            let reason = format!("{}: {}", chosen.rule, chosen.reason);
            let (sources, study) = (&found.sources, occasion.study.as_ref());
            match need(&prior.study, sources, destination, reason, study) {
                Need::Bring(wanted) => self.wanted.push(wanted),
                Need::IsHere(prior) => self.here.push(prior),
                Need::Nowhere => {}
            }
        }
        self.conflicts.extend(found.conflicts(ConflictPath::Prefetch));
        self.reports.extend(found.reports);
    }

    fn count_patient(&mut self, id: &str, issuer: &str) {
        self.known_patients.insert((id.to_owned(), issuer.to_owned()));
        self.patients = self.known_patients.len();
    }
}
