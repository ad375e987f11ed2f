//! The search of one station: its queries, level by level, and what is taken of its answers.
//!
//! Invariant: what has been taken stays taken, whatever the station does then. One station's search never waits for
//! another's; it waits for the caller where that one reads slowly, and that time is not counted against the peer.

mod attempts;
mod lower;
mod notes;
mod stated;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use dicom_dictionary_std::tags;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::dimse::{DataSet, Status};
use crate::model::{CharacterSet, IssuerDomain, LedgerEntry, Level, Query, StudyAnswer, is_universal};

use super::answer::{AnswerReader, PatientAnswer};
use super::conversation::{Interrupt, Unaskable};
use super::event::{Answer, Event, LowerRow};
use super::filter::{Filter, Verdict};
use super::first_sight::{FirstSight, Sight};
use super::identifier::{Keys, describe};
use super::keys::{Root, check_number, patient_keys, study_keys};
use super::question::{Part, Question};
use super::respondent::{Dialogue, Found, Respondent};
use super::stated::{QueryStates, StatedValue, StudyRecords};
use super::stop::{Stop, StopSignal};
pub(super) use notes::Notes;
use notes::add;

/// The most patients whose studies are asked for in Patient Root.
const MAX_PATIENTS: usize = 1000;

/// One station's search.
pub(super) struct Search<'s> {
    pub(super) target: usize,
    pub(super) question: &'s Question,
    pub(super) respondent: &'s Respondent,
    pub(super) events: &'s mpsc::Sender<Event>,
    pub(super) stop: StopSignal,
    pub(super) reader: AnswerReader,
    pub(super) filter: Filter,
    /// For what is known to be the patient's, whatever its ID.
    filter_of_person: Filter,
    /// Whether only that is taken, as the station is asked by an ID that the caller did not give.
    takes_only_person: bool,
    /// Whether the studies are asked for that were found by what was said of them.
    is_by_state: bool,
    pub(super) entry: LedgerEntry,
    /// What people should know of the answers, besides a failure.
    pub(super) notes: Notes,
    /// How many studies have come that were not known yet.
    new_rows: u64,
    /// The keys that the entry names as unverified.
    unverified_keys: HashSet<String>,
    /// The studies so far, where several queries may bring one to light again.
    seen: Option<FirstSight>,
    /// Studies whose lower levels are still to be asked for.
    studies: Vec<(StudyAnswer, DataSet, Vec<StatedValue>)>,
}

impl<'s> Search<'s> {
    pub(super) fn new(
        target: usize,
        question: &'s Question,
        respondent: &'s Respondent,
        events: &'s mpsc::Sender<Event>,
        stop: StopSignal,
        reader: AnswerReader,
        entry: LedgerEntry,
    ) -> Self {
        Search {
            target,
            filter: Filter::new(&of_study_level(&question.query)),
            filter_of_person: Filter::new(&without_patient(of_study_level(&question.query))),
            takes_only_person: false,
            is_by_state: false,
            question,
            respondent,
            events,
            stop,
            reader,
            entry,
            notes: Notes::default(),
            new_rows: 0,
            unverified_keys: HashSet::new(),
            seen: None,
            studies: Vec::new(),
        }
    }

    /// Asks the station to the end, and closes the association.
    pub(super) async fn run(&mut self) -> Result<(), Interrupt> {
        let first_root = self.respondent.first_root();
        let mut all = Vec::new();
        for part in self.question.parts(first_root)? {
            all.extend(study_keys(&part.query, first_root, None)?);
        }
        check_number(all.len())?;
        self.respondent.check(&all, first_root)?;
        let known = &self.question.cross_reference;
        let attempts = all
            .iter()
            .map(|keys| self.respondent.trial(keys, Root::Study).attempts_left());
        self.seen = (attempts.sum::<usize>() > 1).then(|| FirstSight::new(Arc::clone(known)));
        let mut line = self.open().await?;
        let searched = match line.root() {
            Root::Linked | Root::Study => self.search_by_study(&mut line).await,
            Root::Patient => self.search_by_patient(&mut line).await,
        };
        let searched = match searched {
            Ok(()) => self.find_lower_levels(&mut line).await,
            Err(interrupt) => Err(interrupt),
        };
        // After a failed association there is nothing left to close; closing it says so at once.
        let is_idle = match &searched {
            Ok(()) | Err(Interrupt::Ended(_) | Interrupt::Unaskable(_)) => true,
            Err(Interrupt::Stopped(_)) => self.entry.dicom_status.is_some(),
            Err(_) => false,
        };
        line.close(is_idle).await;
        searched
    }

    async fn open(&mut self) -> Result<Dialogue<'s>, Interrupt> {
        let opened = self.respondent.open(self.stop.clone()).await;
        if let Err(Interrupt::Unaskable(Unaskable::LacksLinkedSyntax)) = opened {
            self.notes.speaks_linked = Some(false);
        }
        let line = opened?;
        self.notes.latency = self.notes.latency.or(line.latency());
        let is_linked = line.root() == Root::Linked;
        if self.respondent.first_root() == Root::Linked {
            self.notes.speaks_linked = Some(is_linked);
        }
        self.entry.syntax = line.syntax();
        Ok(line)
    }

    async fn search_by_study(&mut self, line: &mut Dialogue<'s>) -> Result<(), Interrupt> {
        for part in self.question.parts(line.root())? {
            self.begin(&part);
            let all = study_keys(&part.query, line.root(), None)?;
            self.find_all(line, &all, None).await?;
        }
        Ok(())
    }

    fn begin(&mut self, part: &Part) {
        self.takes_only_person = part.is_translated;
        self.is_by_state = part.is_by_state;
        self.notes.translated_ids += usize::from(part.is_translated);
    }

    /// Patient Root: the patients first, then the studies of each.
    async fn search_by_patient(&mut self, line: &mut Dialogue<'s>) -> Result<(), Interrupt> {
        for part in self.question.parts(Root::Patient)? {
            self.begin(&part);
            let mut patients = Vec::new();
            for keys in patient_keys(&part.query)? {
                for data_set in self.collect(line, &keys, tags::PATIENT_ID).await? {
                    let patient = self.reader.patient(&data_set);
                    match &patient.id {
                        Some(id) if !id.contains(['\\', '*', '?']) => patients.push(patient),
                        _ => self.entry.dropped += 1,
                    }
                }
            }
            self.notes.has_too_many_patients |= patients.len() > MAX_PATIENTS;
            for patient in patients.iter().take(MAX_PATIENTS) {
                let all = study_keys(&part.query, Root::Patient, patient.id.as_deref())?;
                self.find_all(line, &all, Some(patient)).await?;
            }
        }
        Ok(())
    }

    /// Asks for studies once, with the keys written in `charset`.
    async fn find_studies(
        &mut self,
        line: &mut Dialogue<'s>,
        keys: &Keys,
        charset: Option<&CharacterSet>,
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        self.entry.dicom_status = None;
        let mut matches = line.find(keys, charset).await?;
        let question = self.question;
        let taken = match &question.states {
            Some(states) => self.take_stated(states, &mut matches, patient).await,
            None => self.take_studies(&mut matches, patient).await,
        };
        self.count(&matches);
        taken
    }

    async fn take_studies(
        &mut self,
        matches: &mut Found<'_>,
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        while let Some(data_set) = matches.next().await? {
            let Some((study, stated)) = self.read_study(&data_set, patient, None) else {
                continue;
            };
            if self.question.query.level != Level::Study {
                self.studies.push((study, data_set, stated));
            } else if let Err(stop) = self.emit(study, data_set, Vec::new(), stated).await {
                return Err(matches.stopped(stop).await);
            }
        }
        Ok(())
    }

    /// What a match says, unless it is of no use, of another query, or known already.
    fn read_study(
        &mut self,
        data_set: &DataSet,
        patient: Option<&PatientAnswer>,
        said: Option<(&QueryStates, &StudyRecords)>,
    ) -> Option<(StudyAnswer, Vec<StatedValue>)> {
        let Some(mut study) = self.reader.study(data_set) else {
            self.entry.dropped += 1;
            return None;
        };
        let mut names_issuer = self.reader.names_issuer(data_set);
        if let Some(patient) = patient {
            patient.complete(&mut study, names_issuer);
            names_issuer |= patient.names_issuer;
        }
        let delivered = said.and_then(|(_, records)| records.delivered_as(&study));
        if let Some(delivered) = delivered.filter(|_| !names_issuer) {
            study.patient_id = delivered.clone();
        }
        self.question.complete(&mut study);
        let is_persons = self.is_by_state || self.question.person.is(&study.patient_id);
        let stated = self.lay_over(&mut study, said)?;
        let filter = match is_persons {
            true => &self.filter_of_person,
            false => &self.filter,
        };
        let decoder = self.reader.decoder();
        let by_tag = OnceCell::new();
        let further = |tag| match stated.iter().find(|stated| stated.tag == tag) {
            Some(stated) => stated.value.text().map(Cow::Borrowed),
            None => {
                let elements = by_tag.get_or_init(|| data_set.elements_by_tag());
                Some(decoder.decode(elements.element(tag)?.value, describe(tag).0))
            }
        };
        if !is_persons && self.takes_only_person {
            self.entry.filtered += 1;
            match self.question.is_to_local_archive {
                true => self.notes.of_unknown_patients += 1,
                false => self.notes.of_other_issuers += 1,
            }
            return None;
        }
        if let Verdict::Drop(keyword) = filter.judge(&study, further) {
            self.entry.filtered += 1;
            add(&mut self.notes.ignored_keys, keyword);
            return None;
        }
        if !is_persons && is_of_another_issuer(&self.question.query, &study) {
            self.entry.filtered += 1;
            self.notes.of_other_issuers += 1;
            return None;
        }
        for keyword in filter.unverified_keys(&study, further) {
            if !self.unverified_keys.contains(keyword) {
                self.unverified_keys.insert(keyword.to_owned());
                self.entry.unverified_keys.push(keyword.to_owned());
            }
        }
        let is_known = self
            .seen
            .as_mut()
            .is_some_and(|seen| seen.see(&study) == Sight::Location);
        self.new_rows += u64::from(!is_known);
        if !is_known && !is_persons && lacks_the_id_asked_for(&self.question.query, &study) {
            self.notes.without_one_id += 1;
        }
        (!is_known).then_some((study, stated))
    }

    fn count(&mut self, matches: &Found<'_>) {
        self.entry.dropped += matches.unusable();
        self.entry.dicom_status = matches.status().map(|Status(code)| code);
        if let Some(comment) = matches.comment().filter(|_| matches.unanswered().is_empty()) {
            self.entry.comment = Some(comment.to_owned());
        }
        self.notes.take_end(matches);
        if matches.status().is_some_and(Status::is_success) {
            self.notes.counts.push(matches.count());
        }
    }

    /// Gives an answer to the caller, who may be slow to take it.
    async fn emit(
        &mut self,
        study: StudyAnswer,
        data_set: DataSet,
        lower: Vec<LowerRow>,
        stated: Vec<StatedValue>,
    ) -> Result<(), Stop> {
        let answer = Event::Answer(Answer {
            target: self.target,
            study: Box::new(study),
            data_set,
            stated,
            lower,
        });
        match self.events.try_send(answer) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(Stop::Cancelled),
            Err(TrySendError::Full(answer)) => tokio::select! {
                biased;
                stop = self.stop.raised() => return Err(stop),
                sent = self.events.send(answer) => sent.map_err(|_| Stop::Cancelled)?,
            },
        }
        self.entry.matches += 1;
        Ok(())
    }
}

/// The query for a patient who is known already.
fn without_patient(query: Query) -> Query {
    Query {
        patient_id: None,
        global_id: None,
        ..query
    }
}

/// The query without what only its lower levels can be held to.
fn of_study_level(query: &Query) -> Query {
    let further = super::keys::further_at(query, Level::Study).map(|(tag, value)| (tag, value.to_owned()));
    Query {
        further_keys: further.collect(),
        ..query.clone()
    }
}

/// Whether the query is by a patient ID, and the answer has none or several.
fn lacks_the_id_asked_for(query: &Query, study: &StudyAnswer) -> bool {
    let gives_id = query
        .patient_id
        .as_ref()
        .is_some_and(|key| !is_universal(&key.id));
    let id = &study.patient_id.id;
    gives_id && (id.is_empty() || id.contains('\\'))
}

/// Whether the caller named an issuer, and the answer names another.
fn is_of_another_issuer(query: &Query, study: &StudyAnswer) -> bool {
    let asked = query.patient_id.as_ref().and_then(|key| key.issuer.as_ref());
    match (asked, &study.patient_id.domain) {
        (Some(asked), IssuerDomain::Named(issuer)) => asked != issuer,
        _ => false,
    }
}

fn is_of_another_modality(query: &Query, modality: Option<&str>) -> bool {
    let asked = &query.modalities;
    modality.is_some_and(|modality| {
        !asked.is_empty() && !asked.iter().any(|asked| asked.eq_ignore_ascii_case(modality))
    })
}
