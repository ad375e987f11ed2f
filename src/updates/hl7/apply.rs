//! What waiting messages want, done: looked up at the archives of the local cluster, and made updates.
//!
//! Invariants: nothing is guessed. A study that is not here is waited for; where the archives give several, or another
//! patient's, a person is to look. A message is done whole or not at all, and once. A merge of patients is never relayed:
//! other clusters are told to look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::decode;
use super::intent::{Intent, StudyKey, intents};
use super::message::Message;
use super::receive::clean;
use crate::audit::Attribution;
use crate::link::merge::MergedStudy;
use crate::model::hl7::Hl7Settings;
use crate::model::{
    FieldValue, IssuedId, Issuer, IssuerDomain, PatientId, PatientIdKey, Query, StateField, StudyPatient,
};
use crate::store::{Draft, Hl7Message, Hl7Settlement, Hl7State, SharedStore, StoreError};
use crate::updates::local_studies::{FoundStudies, LocalStudies, patient_of};
use crate::updates::wait::{backoff, later};

/// How many waiting messages are read at once.
const BATCH: usize = 64;
/// How long is waited for an archive, after the first failure and at most.
const FOR_ARCHIVE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// How long until a study is looked for again.
const FOR_STUDY: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(30 * 60)];
/// What is said of a merge in other clusters. It names nobody.
const MERGED: &str = "its patient ID was merged into another (HL7 ADT^A40)";

/// Does what messages want.
#[derive(Debug, Clone)]
pub struct Applier {
    /// Where messages and updates are kept.
    pub store: SharedStore,
    /// Where studies are looked for.
    pub studies: LocalStudies,
    /// As whose doing it is recorded.
    pub attribution: Attribution,
}

/// What was done of the waiting messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkedOff {
    /// How many are done.
    pub done: usize,
    /// How many want a person.
    pub failed: usize,
    /// Whether there are updates to be sent.
    pub has_updates: bool,
    /// Whether the cross-reference changed. It ends the work: the rest is for one who knows it.
    pub has_linked: bool,
}

/// Why a message is not done now.
#[derive(Debug)]
enum Hindrance {
    /// Its study is not here yet.
    Study(&'static str),
    /// An archive does not answer.
    Archive(String),
    /// A person is to look.
    Person(String),
}

/// What a message comes to.
#[derive(Debug, Default)]
struct Plan {
    drafts: Vec<Draft>,
    link: Vec<IssuedId>,
    notes: Vec<&'static str>,
}

impl Applier {
    /// Works off what is due, in order, until nothing is or `stop` is cancelled. An archive that does not answer ends it
    /// too: the others would wait for it one after the other.
    pub async fn work_off(&self, stop: &CancellationToken) -> Result<WorkedOff, StoreError> {
        let mut worked = WorkedOff::default();
        loop {
            let due = self
                .store
                .with(|store| store.due_hl7(Timestamp::now(), BATCH))
                .await?;
            if due.is_empty() {
                return Ok(worked);
            }
            for message in due {
                if stop.is_cancelled() {
                    return Ok(worked);
                }
                let (settlement, is_hindered) = self.settlement(&message).await;
                let (number, attribution) = (message.number, self.attribution.clone());
                let settled = self
                    .store
                    .with(move |store| store.settle_hl7(&attribution, number, &settlement))
                    .await?;
                let Some(settled) = settled else { continue };
                worked.done += usize::from(settled.state == Hl7State::Done);
                worked.failed += usize::from(settled.state == Hl7State::Failed);
                worked.has_updates |= settled.has_updates;
                worked.has_linked |= settled.has_linked;
                if is_hindered || worked.has_linked {
                    return Ok(worked);
                }
            }
        }
    }

    /// How a message goes on, and whether an archive is what holds it up.
    async fn settlement(&self, message: &Hl7Message) -> (Hl7Settlement, bool) {
        let settings = self.studies.configuration.settings.hl7();
        let plan = self.plan(message, &settings).await;
        let (reason, waits) = match plan {
            Ok(plan) => {
                let note = (!plan.notes.is_empty()).then(|| plan.notes.join("; "));
                let (drafts, link) = (plan.drafts, plan.link);
                return (Hl7Settlement::Do { drafts, link, note }, false);
            }
            Err(Hindrance::Person(ref reason)) => {
                return (
                    Hl7Settlement::Fail {
                        reason: clean(reason),
                    },
                    false,
                );
            }
            Err(Hindrance::Study(reason)) => (reason.to_owned(), FOR_STUDY),
            Err(Hindrance::Archive(ref reason)) => (reason.clone(), FOR_ARCHIVE),
        };
        let is_hindered = matches!(plan, Err(Hindrance::Archive(_)));
        let now = Timestamp::now();
        let longest = SignedDuration::try_from(settings.wait).unwrap_or(SignedDuration::MAX);
        let settlement = match now.duration_since(message.since) >= longest {
            true => Hl7Settlement::Fail { reason },
            false => Hl7Settlement::Wait {
                reason,
                next_try: later(now, backoff(message.attempts, waits[0], waits[1])),
            },
        };
        (settlement, is_hindered)
    }

    async fn plan(&self, message: &Hl7Message, settings: &Hl7Settings) -> Result<Plan, Hindrance> {
        let text = decode(&message.body);
        let read = Message::read(&text).map_err(|error| Hindrance::Person(error.to_string()))?;
        let intents = intents(&read, settings)
            .map_err(|verdict| Hindrance::Person(verdict.reason().unwrap_or_default().to_owned()))?;
        let mut plan = Plan::default();
        let (kind, event) = read.kind();
        if settings.ignored.include(&kind, &event) {
            plan.notes.push("nothing is done with its type: hl7.ignore");
        } else if intents.is_empty() {
            plan.notes.push("its codes say nothing of a report");
        }
        for intent in intents {
            match intent {
                Intent::Report {
                    study,
                    patients,
                    status,
                    is_correction,
                } => {
                    self.are_one_person(&patients)?;
                    let study = self
                        .study(study, &patients, settings.local_issuer.as_ref())
                        .await?;
                    plan.drafts.push(Draft {
                        is_correction,
                        ..draft(
                            &study,
                            BTreeMap::from([(StateField::InterpretationStatus, status)]),
                        )
                    });
                }
                Intent::Demographics { patients, wanted } => {
                    self.demographics(&patients, wanted, &mut plan).await?
                }
                Intent::Merge {
                    surviving,
                    prior,
                    named,
                } => {
                    self.are_one_person(&named)?;
                    self.are_one_person(&prior)?;
                    self.merge(&surviving, &prior, &mut plan).await?;
                }
            }
        }
        Ok(plan)
    }

    /// Whether the IDs that a message gives to one patient may be one patient's: of those of one issuer the
    /// cross-reference must say so, and of no two it may say otherwise.
    fn are_one_person(&self, patients: &[StudyPatient]) -> Result<(), Hindrance> {
        let known = &self.studies.cross_reference;
        let identity = |patient: &StudyPatient| {
            let domain = IssuerDomain::Named(patient.issuer.clone()?);
            let id = patient.id.clone();
            Some(PatientId { id, domain })
        };
        for (place, one) in patients.iter().enumerate() {
            for other in patients.iter().skip(place + 1) {
                let both = identity(one).zip(identity(other));
                let is_linked = both
                    .as_ref()
                    .is_some_and(|(one, other)| known.is_same_person(one, other));
                if one.issuer == other.issuer && !is_linked {
                    return Err(person(
                        "it gives one patient several IDs of one issuer, which are not linked (patient link)",
                    ));
                }
                let global_ids = both
                    .as_ref()
                    .and_then(|(one, other)| known.global_id(one).zip(known.global_id(other)));
                if global_ids.is_some_and(|(one, other)| one != other) {
                    return Err(person("its patient IDs have two global patient IDs"));
                }
            }
        }
        Ok(())
    }

    /// The study of a report. Of one that names no patient it must be a patient's of `local_issuer`.
    async fn study(
        &self,
        key: StudyKey,
        patients: &[StudyPatient],
        local_issuer: Option<&Issuer>,
    ) -> Result<MergedStudy, Hindrance> {
        let is_by_uid = matches!(key, StudyKey::Uid(_));
        let query = match key {
            StudyKey::Uid(uid) => Query {
                study_uids: vec![uid],
                ..Query::default()
            },
            StudyKey::Accession(number) => Query {
                accession_number: Some(number),
                ..Query::default()
            },
        };
        let found = self.studies.find(query).await;
        let is_named = |study: &MergedStudy| match patients {
            [] => is_by_uid && local_issuer.is_some() && patient_of(study).issuer.as_ref() == local_issuer,
            _ => patients.iter().any(|patient| self.is_of(study, patient)),
        };
        let has_others = !found.studies.is_empty();
        // One that is found by its UID is the one, whatever another archive has.
        if !is_by_uid || !has_others {
            all_answered(&found)?;
        }
        let mut studies = found.studies.into_iter().filter(is_named);
        match (studies.next(), studies.next()) {
            (Some(study), None) if !study.conflicts.is_empty() => {
                Err(person("the archives give its study to several patients"))
            }
            (Some(study), None) => Ok(study),
            (Some(_), Some(_)) => Err(person("several studies have its accession number")),
            (None, _) if has_others && is_by_uid && patients.is_empty() => Err(person(
                "it names no patient, and its study is not known as one of the local issuer's",
            )),
            (None, _) if has_others && is_by_uid => {
                Err(person("its study is another patient's at the archives"))
            }
            (None, _) if has_others => Err(Hindrance::Study(
                "no study of its accession number is its patient's at the archives here",
            )),
            (None, _) if is_by_uid => Err(Hindrance::Study("no archive here has its study")),
            (None, _) => Err(Hindrance::Study(
                "no archive here has a study of its accession number",
            )),
        }
    }

    async fn demographics(
        &self,
        patients: &[StudyPatient],
        wanted: BTreeMap<StateField, FieldValue>,
        plan: &mut Plan,
    ) -> Result<(), Hindrance> {
        if wanted.is_empty() {
            plan.notes.push("it says nothing that is kept of a patient");
            return Ok(());
        }
        self.are_one_person(patients)?;
        let mut seen = BTreeSet::new();
        for patient in patients {
            let studies = self.of_patient(patient).await?;
            let is_bare = |study: &&MergedStudy| patient.issuer.is_none() && patient_of(study) == *patient;
            let domains: BTreeSet<&PatientId> = studies
                .iter()
                .filter(is_bare)
                .map(|study| &study.study.patient_id)
                .collect();
            if domains.len() > 1 {
                return Err(person(
                    "archives that name no issuer have its patient ID, each its own patient",
                ));
            }
            for study in studies {
                let its = patient_of(&study);
                // Who speaks for one issuer's patients says nothing of another's.
                let is_spoken_for = patients.iter().any(|patient| patient.issuer == its.issuer);
                if !is_spoken_for || !self.is_of(&study, patient) {
                    continue;
                }
                if !study.conflicts.is_empty() {
                    plan.notes
                        .push("a study that the archives give to several patients stays as it is");
                } else if seen.insert(study.study.study_instance_uid.clone()) {
                    plan.drafts.push(draft(&study, wanted.clone()));
                }
            }
        }
        if seen.is_empty() {
            plan.notes.push("no study of the patient is here");
        }
        Ok(())
    }

    async fn merge(
        &self,
        surviving: &[StudyPatient],
        prior: &[StudyPatient],
        plan: &mut Plan,
    ) -> Result<(), Hindrance> {
        for patient in prior {
            for study in self.of_patient(patient).await? {
                if patient_of(&study) == *patient {
                    let review = MERGED.parse().ok();
                    plan.drafts.push(Draft {
                        review,
                        ..draft(&study, BTreeMap::new())
                    });
                }
            }
        }
        let ids = surviving.iter().chain(prior).cloned().map(issued);
        plan.link = ids.collect::<Result<_, _>>()?;
        Ok(())
    }

    async fn of_patient(&self, patient: &StudyPatient) -> Result<Vec<MergedStudy>, Hindrance> {
        let (id, issuer) = (patient.id.clone(), patient.issuer.clone());
        let found = self
            .studies
            .find(Query {
                patient_id: Some(PatientIdKey { id, issuer }),
                ..Query::default()
            })
            .await;
        all_answered(&found)?;
        Ok(found.studies)
    }

    /// Whether a study is that patient's, by its ID or by one that is known to be the same person's.
    fn is_of(&self, study: &MergedStudy, patient: &StudyPatient) -> bool {
        let is_same_person = || {
            let issuer = patient.issuer.clone()?;
            let patient = PatientId {
                id: patient.id.clone(),
                domain: IssuerDomain::Named(issuer),
            };
            let known = &self.studies.cross_reference;
            Some(known.is_same_person(&study.study.patient_id, &patient))
        };
        patient_of(study) == *patient || is_same_person() == Some(true)
    }
}

fn all_answered(found: &FoundStudies) -> Result<(), Hindrance> {
    match found.missing.first() {
        None => Ok(()),
        Some((station, why)) => Err(Hindrance::Archive(format!("{station} does not answer: {why}"))),
    }
}

fn person(reason: &str) -> Hindrance {
    Hindrance::Person(reason.to_owned())
}

fn issued(patient: StudyPatient) -> Result<IssuedId, Hindrance> {
    let (id, issuer) = (patient.id, patient.issuer);
    IssuedId::new(PatientIdKey { id, issuer }, None).map_err(|_| person("a patient ID names no issuer"))
}

fn draft(study: &MergedStudy, wanted: BTreeMap<StateField, FieldValue>) -> Draft {
    Draft {
        study: study.study.study_instance_uid.clone(),
        patient: patient_of(study),
        wanted,
        is_correction: false,
        new_objects: None,
        review: None,
    }
}
