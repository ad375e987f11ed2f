//! Looking for the priors of a study or of a patient, at the archive stations and at clusters with *link prefetching*.
//!
//! The study at hand is looked for at the archive stations first, and elsewhere only where they don't have it; then all
//! are asked for the studies of its patient, by every ID that the cross-reference knows.
//!
//! Invariants: a study of which it is not known that it is this patient's is no prior, whatever its ID. A station that
//! failed once is not waited for again. What no answer says of body part and specialty, our mapping tables give.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::dimse::charset::Decoder;
use crate::link::completeness::{Completeness, completeness};
use crate::link::merge::{Merge, MergedStudy, Source};
use crate::link::policy::{Caller, Narrowing, Purpose, Role, Target, plan};
use crate::link::tls::LinkTls;
use crate::link::{
    Answer, AskedPerson, EmbeddedArchive, Ended, Event, LinkedQuery, MAPPED_KEYS, Request, StudyStates,
    Turns, keywords, mapped,
};
use crate::model::{
    Availability, Configuration, ConflictPath, CrossReference, IssuerDomain, LedgerEntry, Outcome, PatientId,
    PatientIdKey, PrefetchRules, Query, StationName, StudyAnswer, StudyConflict, Uid,
};
use crate::store::{LinkHealth, LinkReport};

use super::relevance::{Candidate, Current, Doubt, Verdict, judge};

/// Whose priors are wanted.
#[derive(Debug, Clone)]
pub enum PriorsOf {
    /// Those of a study.
    Study(Uid),
    /// Those of a patient, for a study that is yet to come where something is known of it. A bare ID is of the local
    /// cluster's issuer.
    Patient(PatientIdKey, Option<Current>),
}

/// A search for priors.
#[derive(Debug, Clone)]
pub struct FindPriors {
    /// Whose.
    pub of: PriorsOf,
    /// By which rules.
    pub rules: PrefetchRules,
    /// Studies that a person has yet to look at.
    pub under_review: HashSet<Uid>,
    /// The configuration under which the search runs to its end.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards the stations that are asked over it.
    pub tls: LinkTls,
    /// The embedded archive, should a station be it.
    pub archive: EmbeddedArchive,
    /// How the links fared before.
    pub health: BTreeMap<StationName, LinkHealth>,
    /// Linked stations that keep failing, each with the time before which it is not asked.
    pub resting: BTreeMap<StationName, Timestamp>,
    /// The turns at stations, where queries share them.
    pub turns: Option<Arc<Turns>>,
    /// How long each of its queries may take.
    pub timeout: Option<Duration>,
}

/// What was found.
#[derive(Debug)]
pub struct PriorsFound {
    /// The study at hand; `None` where it was not found, or none was named.
    pub current: Option<MergedStudy>,
    /// All studies of the patient: the relevant ones by rank, then the others, newest first.
    pub judged: Vec<JudgedPrior>,
    /// The stations, to whose places the locations of studies refer.
    pub sources: Vec<Source>,
    /// What each of them did.
    pub ledger: Vec<LedgerEntry>,
    /// What the ledger says of the whole.
    pub completeness: Completeness,
    /// How the links fared, for the store.
    pub reports: Vec<LinkReport>,
}

impl PriorsFound {
    /// The studies whose UID stands for another patient as well, met by `path`.
    pub fn conflicts(&self, path: ConflictPath) -> Vec<StudyConflict> {
        let of_patient = self.judged.iter().map(|prior| &prior.study);
        let studies = self.current.iter().chain(of_patient);
        studies
            .filter_map(|study| study.conflict(&self.sources, path))
            .collect()
    }
}

/// A study of the patient with its verdict.
#[derive(Debug, Clone)]
pub struct JudgedPrior {
    /// The study.
    pub study: MergedStudy,
    /// Whether it is a relevant prior, and why.
    pub verdict: Verdict,
}

impl FindPriors {
    /// Whom it asks, and why another is not asked.
    pub fn targets(&self, now: Timestamp) -> Vec<Target> {
        let narrowing = Narrowing {
            purpose: Purpose::Prefetch,
            ..Narrowing::default()
        };
        let query = self.query();
        plan(&self.configuration, &Caller::Internal, &query, &narrowing, now)
    }

    /// The first thing it asks for.
    pub fn query(&self) -> Query {
        match &self.of {
            PriorsOf::Study(uid) => Query {
                study_uids: vec![uid.clone()],
                ..asking_for_all()
            },
            PriorsOf::Patient(key, _) => self.of_patient(key.clone()),
        }
    }

    /// The keywords of all that it asks by.
    pub fn keywords(&self) -> Vec<String> {
        let mut keywords = keywords(&self.query());
        if let PriorsOf::Study(_) = self.of {
            keywords.push("PatientID".to_owned());
        }
        keywords
    }

    fn of_patient(&self, key: PatientIdKey) -> Query {
        let issuer = key.issuer.or_else(|| self.configuration.settings.issuer());
        Query {
            patient_id: Some(PatientIdKey { id: key.id, issuer }),
            ..asking_for_all()
        }
    }
}

/// All that a verdict depends on.
fn asking_for_all() -> Query {
    Query {
        further_keys: MAPPED_KEYS.map(|tag| (tag, String::new())).to_vec(),
        ..Query::default()
    }
}

/// Looks for priors. Must be called within a tokio runtime; dropping the future ends all associations.
pub async fn find_priors(search: FindPriors) -> PriorsFound {
    let now = Timestamp::now();
    let targets = search.targets(now);
    let mut asking = Asking {
        sources: Source::of(&search.configuration, &targets),
        ledger: vec![None; targets.len()],
        reports: Vec::new(),
        search: &search,
        targets,
    };
    let (current, key, at_hand) = match &search.of {
        PriorsOf::Study(_) => {
            let Some(study) = asking.study_at_hand().await else {
                return asking.finish(None, Vec::new());
            };
            let at_hand = Current::from(&study.study);
            let key = key_of(&study.study.patient_id);
            (Some(study), key, Some(at_hand))
        }
        PriorsOf::Patient(key, at_hand) => (None, key.clone(), at_hand.clone()),
    };
    let person = asking.person(current.as_ref().map(|study| &study.study), &key);
    let query = match person.is_of_named_issuer() {
        true => search.of_patient(key),
        false => Query {
            patient_id: Some(key),
            ..asking_for_all()
        },
    };
    let studies = match query.patient_id.as_ref().is_some_and(|key| !key.id.is_empty()) {
        true => asking.ask(query, asking.not_failed()).await,
        false => Vec::new(),
    };
    let judged = asking.judge(studies, at_hand.as_ref(), &person, now);
    asking.finish(current, judged)
}

fn key_of(patient: &PatientId) -> PatientIdKey {
    let issuer = match &patient.domain {
        IssuerDomain::Named(issuer) => Some(issuer.clone()),
        IssuerDomain::Inferred(_) => None,
    };
    let id = patient.id.clone();
    PatientIdKey { id, issuer }
}

/// Who the patient is known to be.
struct Person {
    identities: Vec<PatientId>,
    known: AskedPerson,
    global_id: Option<String>,
}

impl Person {
    fn is_of_named_issuer(&self) -> bool {
        let mut domains = self.identities.iter().map(|identity| &identity.domain);
        domains.any(|domain| matches!(domain, IssuerDomain::Named(_)))
    }

    fn is_patient_of(&self, study: &StudyAnswer) -> bool {
        let has_global_id = self.global_id.is_some() && self.global_id == study.global_patient_id;
        has_global_id || self.identities.contains(&study.patient_id) || self.known.is(&study.patient_id)
    }
}

/// A search under way.
struct Asking<'s> {
    search: &'s FindPriors,
    targets: Vec<Target>,
    sources: Vec<Source>,
    /// By target.
    ledger: Vec<Option<LedgerEntry>>,
    reports: Vec<LinkReport>,
}

impl Asking<'_> {
    async fn study_at_hand(&mut self) -> Option<MergedStudy> {
        for role in [Role::Archive, Role::Linked] {
            let of_role = |place: &usize| self.targets.get(*place).is_some_and(|target| target.role == role);
            let places = (0..self.targets.len()).filter(of_role).collect();
            let found = self.ask(self.search.query(), places).await;
            if let Some(study) = found.into_iter().next() {
                return Some(study);
            }
        }
        None
    }

    /// Who the patient is: of the study at hand, else of the ID that was given.
    fn person(&self, study: Option<&StudyAnswer>, key: &PatientIdKey) -> Person {
        let named = self.search.of_patient(key.clone());
        let issuer = named.patient_id.as_ref().and_then(|key| key.issuer.clone());
        let in_domain = |domain| PatientId {
            id: key.id.clone(),
            domain,
        };
        let identities = match (study, issuer) {
            (Some(study), _) => vec![study.patient_id.clone()],
            (None, Some(issuer)) => vec![in_domain(IssuerDomain::Named(issuer))],
            // Nobody has named the local cluster's issuer: then its archives are what a bare ID is of.
            (None, None) => {
                let sources = self.sources.iter();
                let archives = sources.filter(|source| source.role == Role::Archive);
                archives
                    .map(|source| in_domain(IssuerDomain::Inferred(source.station.clone())))
                    .collect()
            }
        };
        let has_issuer = identities
            .iter()
            .any(|known| matches!(known.domain, IssuerDomain::Named(_)));
        let known = match has_issuer {
            true => AskedPerson::of(&named, &self.search.cross_reference),
            false => AskedPerson::default(),
        };
        let global_id = study
            .and_then(|study| study.global_patient_id.clone())
            .or_else(|| {
                let identity = identities.first()?;
                self.search.cross_reference.global_id(identity).map(str::to_owned)
            });
        Person {
            identities,
            known,
            global_id,
        }
    }

    /// The stations that may still answer.
    fn not_failed(&self) -> Vec<usize> {
        let failed = |entry: &LedgerEntry| entry.outcome == Outcome::Failed;
        let places = self.ledger.iter().enumerate();
        places
            .filter(|(_, entry)| !entry.as_ref().is_some_and(failed))
            .map(|(place, _)| place)
            .collect()
    }

    /// Asks the targets at `places` and merges what they answer.
    async fn ask(&mut self, query: Query, places: Vec<usize>) -> Vec<MergedStudy> {
        let search = self.search;
        let targets = places.iter().filter_map(|place| self.targets.get(*place));
        let request = Request {
            configuration: Arc::clone(&search.configuration),
            query: Arc::new(query),
            targets: targets.cloned().collect(),
            health: search.health.clone(),
            tls: search.tls.clone(),
            archive: search.archive.clone(),
            states: Some(StudyStates::of_store(search.archive.store())),
            timeout: search.timeout,
            resting: search.resting.clone(),
            turns: search.turns.clone(),
            cross_reference: Arc::clone(&search.cross_reference),
        };
        let mut merge = Merge::new(self.sources.clone(), Arc::clone(&search.cross_reference));
        let mut query = LinkedQuery::start(request);
        while let Some(event) = query.next().await {
            match event {
                Event::Answer(answer) => {
                    if let Some(place) = places.get(answer.target) {
                        merge.add(*place, self.with_body_part(*place, answer));
                    }
                }
                Event::Ended(ended) => {
                    if let Some(place) = places.get(ended.target) {
                        self.take_end(*place, *ended);
                    }
                }
            }
        }
        merge.finish()
    }

    /// The answer with what its station leaves open of body part and specialty.
    fn with_body_part(&self, place: usize, answer: Answer) -> Box<StudyAnswer> {
        let Answer {
            mut study, data_set, ..
        } = answer;
        if study.body_part.is_some() && study.specialty.is_some() {
            return study;
        }
        let configuration = &self.search.configuration;
        let target = self.targets.get(place);
        let station = target.and_then(|target| configuration.stations.get(target.station));
        let charset = station.and_then(|station| station.charset.as_ref());
        let decoder = Decoder::for_answer(data_set.specific_character_set(), charset);
        let mapped = mapped(configuration.mapping_in_force(), &study, &data_set, &decoder);
        let (body_part, specialty) = (mapped.body_part(), mapped.specialty());
        study.body_part = study.body_part.or_else(|| body_part.map(str::to_owned));
        study.specialty = study.specialty.or_else(|| specialty.map(str::to_owned));
        study
    }

    /// The line of a station is that of what it was asked last, with the time of all.
    fn take_end(&mut self, place: usize, ended: Ended) {
        let mut entry = ended.entry;
        if let Some(kept) = self.ledger.get_mut(place) {
            entry.elapsed += kept.as_ref().map_or(Duration::ZERO, |before| before.elapsed);
            *kept = Some(entry);
        }
        self.reports.extend(ended.report);
    }

    fn judge(
        &self,
        studies: Vec<MergedStudy>,
        at_hand: Option<&Current>,
        person: &Person,
        now: Timestamp,
    ) -> Vec<JudgedPrior> {
        let candidates: Vec<Candidate<'_>> = studies
            .iter()
            .map(|merged| Candidate {
                study: &merged.study,
                availability: match merged.best_location() {
                    Some(location) => location.availability,
                    None => Some(Availability::Unavailable),
                },
                doubt: self.doubt(merged, person),
            })
            .collect();
        let judged = judge(&self.search.rules, at_hand, &candidates, now);
        let mut studies: Vec<Option<MergedStudy>> = studies.into_iter().map(Some).collect();
        let judged = judged.into_iter().filter_map(|judged| {
            Some(JudgedPrior {
                study: studies.get_mut(judged.candidate)?.take()?,
                verdict: judged.verdict,
            })
        });
        judged.collect()
    }

    fn doubt(&self, merged: &MergedStudy, person: &Person) -> Option<Doubt> {
        if !merged.conflicts.is_empty() {
            Some(Doubt::Conflict)
        } else if !person.is_patient_of(&merged.study) {
            Some(Doubt::OtherPatient)
        } else {
            let is_under_review = self
                .search
                .under_review
                .contains(&merged.study.study_instance_uid);
            is_under_review.then_some(Doubt::UnderReview)
        }
    }

    fn finish(self, current: Option<MergedStudy>, judged: Vec<JudgedPrior>) -> PriorsFound {
        let targets = self.targets.iter().zip(&self.ledger);
        let roles = targets.filter_map(|(target, entry)| Some((target.role, entry.as_ref()?)));
        let completeness = completeness(roles);
        PriorsFound {
            current,
            judged,
            completeness,
            sources: self.sources,
            ledger: self.ledger.into_iter().flatten().collect(),
            reports: self.reports,
        }
    }
}
