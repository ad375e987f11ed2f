//! One station's part in a linked query, from the first attempt to its line in the ledger.
//!
//! Invariant: it ends with exactly one [`Ended`], and every failure becomes words there.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dimse::{Status, StatusClass};
use crate::model::{
    ASSOCIATIONS_TO_STATION, AeTitle, CharacterSet, Configuration, CrossReference, LedgerEntry, Outcome,
    Query, Station, in_full, show_duration,
};
use crate::store::{LinkOutcome, LinkReport, TakenCharacterSets};

use super::answer::AnswerReader;
use super::conversation::{Call, Interrupt, calling};
use super::embedded::EmbeddedArchive;
use super::event::{Ended, Event};
use super::failure;
use super::health::next_try;
use super::question::Question;
use super::repertoire::Repertoire;
use super::respondent::Respondent;
use super::search::{Notes, Search};
use super::stated::StudyStates;
use super::stop::{Stop, StopSignal};
use super::tls::LinkTls;
use super::turns::{Turn, Turns};

/// Numbers of matches at which archives are known to cut an answer and say nothing.
const USUAL_LIMITS: [u64; 3] = [100, 500, 1000];

/// What one station's part needs.
pub(super) struct Session {
    pub(super) target: usize,
    pub(super) configuration: Arc<Configuration>,
    /// Its place in the configuration.
    pub(super) station: usize,
    /// Whether the policy allows the linked syntax there.
    pub(super) may_speak_linked: bool,
    pub(super) query: Arc<Query>,
    pub(super) cross_reference: Arc<CrossReference>,
    pub(super) tls: LinkTls,
    pub(super) archive: EmbeddedArchive,
    /// What is on record of studies.
    pub(super) states: Option<StudyStates>,
    /// The character sets that it is known to take, where that has been looked up already.
    pub(super) known_sets: Option<TakenCharacterSets>,
    /// How often its link has failed before, without a success since.
    pub(super) failures_in_a_row: u32,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: StopSignal,
    /// Where queries have to wait for their turn at the station.
    pub(super) turns: Option<Arc<Turns>>,
}

impl Session {
    /// Searches the station, and ends.
    pub(super) async fn run(self) {
        let Some(station) = self.configuration.stations.get(self.station) else {
            return;
        };
        let ended = Box::new(self.search(station).await);
        // Nobody is left to be told where the query was dropped.
        let _ = self.events.send(Event::Ended(ended)).await;
    }

    async fn search(&self, station: &Station) -> Ended {
        let began = Instant::now();
        let mut entry = LedgerEntry::new(station.name.clone(), Outcome::Searched);
        let settings = &self.configuration.settings;
        let repertoire = self.repertoire(station).await;
        let known_sets = repertoire.known.clone();
        let call = || Call::new(station, settings, &self.tls, repertoire, self.may_speak_linked);
        let respondent = match Respondent::of(station, settings, &self.archive, call) {
            Ok(respondent) => respondent,
            Err(reason) => {
                entry.outcome = Outcome::Failed;
                entry.detail = Some(reason.to_string());
                return self.ended(entry, None);
            }
        };
        let local = settings.issuer();
        let reader = AnswerReader::new(station, local.as_ref());
        let (query, known) = (Arc::clone(&self.query), Arc::clone(&self.cross_reference));
        let mut question = Question::new(query, known, station);
        if let Err(interrupt) = self.state(&mut question, station).await {
            entry.outcome = outcome(&interrupt, 0);
            entry.detail = Some(describe(&interrupt, station, &calling(station, settings)));
            return self.ended(entry, None);
        }
        let mut search = Search::new(
            self.target,
            &question,
            &respondent,
            &self.events,
            self.stop.clone(),
            reader,
            entry,
        );
        let searched = match self.wait_for_turn(station).await {
            Ok(_turn) => search.run().await,
            Err(interrupt) => Err(interrupt),
        };
        let reads_as_latin = search.reader.assumed_a_charset();
        let lists_cut = search.reader.answers_cut();
        let Search { mut entry, notes, .. } = search;
        entry.elapsed = began.elapsed();
        let has_more_by_state = question.states.as_ref().is_some_and(|states| states.has_more);
        let mut details = Vec::new();
        if let Err(interrupt) = &searched {
            entry.outcome = outcome(interrupt, entry.matches);
            details.push(describe(interrupt, station, &calling(station, settings)));
        }
        let is_partial = notes.is_partial
            || notes.has_too_many_patients
            || has_more_by_state
            || entry.dropped > 0
            || !notes.unanswered.is_empty();
        if searched.is_ok() && is_partial {
            entry.outcome = Outcome::Truncated;
        }
        details.extend(remarks(&entry, &notes, reads_as_latin));
        if lists_cut > 0 {
            details.push(format!(
                "{lists_cut} values of answers were too long and were cut"
            ));
        }
        if has_more_by_state {
            details
                .push("more studies have such a value by what was said of them: narrow the query".to_owned());
        }
        entry.detail = (!details.is_empty()).then(|| details.join("; "));
        let report = self.report(&entry, &searched, &notes, &known_sets, station);
        entry.retry_at = match &report {
            Some(LinkReport {
                outcome: LinkOutcome::Failed { next_try, .. },
                ..
            }) => *next_try,
            _ => None,
        };
        self.ended(entry, report)
    }

    /// Gives the question what is on record of studies.
    async fn state(&self, question: &mut Question, station: &Station) -> Result<(), Interrupt> {
        if let Some(states) = &self.states {
            let (person, known) = (question.person.clone(), Arc::clone(&question.cross_reference));
            let stated = states.of_query(&question.query, person, known, station).await;
            question.set_states(stated.map_err(Interrupt::States)?);
        }
        Ok(())
    }

    /// In which character sets the station is asked. What it was seen to take is looked up where a key may need it.
    async fn repertoire(&self, station: &Station) -> Repertoire {
        let mut repertoire = Repertoire {
            configured: station.charset.clone(),
            callers: self.query.character_set.clone(),
            known: Vec::new(),
        };
        if repertoire.configured.is_none() && !self.query.is_ascii() {
            let known = match (&self.known_sets, &self.states) {
                (Some(known), _) => Some(known.clone()),
                (None, Some(states)) => states.character_sets(&station.name).await,
                (None, None) => None,
            };
            repertoire.known = known.map_or(Vec::new(), |known| known.of(station).to_vec());
        }
        repertoire
    }

    /// Waits until an association with the station may be opened; as long as it may be silent at most.
    async fn wait_for_turn(&self, station: &Station) -> Result<Option<Turn>, Interrupt> {
        let Some(turns) = self.turns.as_ref().filter(|_| !station.is_embedded()) else {
            return Ok(None);
        };
        let limit = self.configuration.settings.count(ASSOCIATIONS_TO_STATION);
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            stop = stop.raised() => Err(Interrupt::Stopped(stop)),
            turn = timeout(station.timeout, turns.wait(&station.name, limit)) => match turn {
                Ok(turn) => Ok(turn),
                Err(_) => Err(Interrupt::NoTurn(limit)),
            },
        }
    }

    fn ended(&self, entry: LedgerEntry, report: Option<LinkReport>) -> Ended {
        Ended {
            target: self.target,
            entry,
            report,
        }
    }

    /// How the link fared: whether the station was there, whatever it thought of the query.
    fn report(
        &self,
        entry: &LedgerEntry,
        searched: &Result<(), Interrupt>,
        notes: &Notes,
        known: &[CharacterSet],
        station: &Station,
    ) -> Option<LinkReport> {
        let at = Timestamp::now();
        let is_failure = match searched {
            Err(Interrupt::Peer(_)) => true,
            Err(Interrupt::Stopped(Stop::Overdue(_))) => entry.matches == 0,
            _ => false,
        };
        let outcome = if is_failure {
            LinkOutcome::Failed {
                detail: entry.detail.clone().unwrap_or_default(),
                next_try: Some(next_try(self.failures_in_a_row.saturating_add(1), at)),
            }
        } else {
            LinkOutcome::Answered {
                latency: notes.latency?,
                speaks_linked: notes.speaks_linked,
                character_sets: learned(notes, known, station),
            }
        };
        Some(LinkReport {
            station: station.name.clone(),
            at,
            outcome,
        })
    }
}

/// The character sets that the station is known to take by now, where that is news.
fn learned(notes: &Notes, known: &[CharacterSet], station: &Station) -> Option<TakenCharacterSets> {
    let mut sets = known.to_vec();
    sets.extend(
        notes
            .matched_in
            .iter()
            .filter(|set| !known.contains(set))
            .cloned(),
    );
    let is_news = sets.len() > known.len() && station.charset.is_none();
    is_news.then_some(TakenCharacterSets {
        peer: TakenCharacterSets::peer(station)?,
        sets,
    })
}

fn outcome(interrupt: &Interrupt, matches: u64) -> Outcome {
    let has_ended_early = match interrupt {
        Interrupt::Stopped(Stop::Cancelled) => return Outcome::Cancelled,
        Interrupt::Stopped(Stop::Overdue(_) | Stop::TimedOut(_)) => matches > 0,
        Interrupt::Ended(end) if end.status.class() == StatusClass::Cancel => true,
        // Refused for lack of resources: a limit of the station's.
        Interrupt::Ended(end) => matches > 0 && matches!(end.status, Status(0xA700..=0xA7FF)),
        Interrupt::Archive(_)
        | Interrupt::States(_)
        | Interrupt::Unaskable(_)
        | Interrupt::Peer(_)
        | Interrupt::NoTurn(_) => false,
    };
    if has_ended_early {
        Outcome::Truncated
    } else {
        Outcome::Failed
    }
}

fn describe(interrupt: &Interrupt, station: &Station, calling: &AeTitle) -> String {
    match interrupt {
        Interrupt::Unaskable(reason) => reason.to_string(),
        Interrupt::Stopped(stop) => failure::of_stop(*stop),
        Interrupt::NoTurn(limit) => format!(
            "all {limit} associations to it stayed taken for {} ({ASSOCIATIONS_TO_STATION})",
            show_duration(station.timeout)
        ),
        Interrupt::Peer(error) => failure::of_association(error, station, calling),
        Interrupt::Archive(error) => in_full(error),
        Interrupt::States(error) => format!("what was said of the studies can't be read: {}", in_full(error)),
        Interrupt::Ended(end) => failure::of_status(end.status),
    }
}

/// What people should know of the answers besides a failure.
fn remarks(entry: &LedgerEntry, notes: &Notes, reads_as_latin: bool) -> Vec<String> {
    let mut remarks = notes.of_final_responses.clone();
    remarks.extend(notes.unanswered.iter().map(ToString::to_string));
    if let Some(count) = notes.counts.iter().find(|count| USUAL_LIMITS.contains(count)) {
        remarks.push(format!("exactly {count} matches: there may be more"));
    }
    if notes.has_too_many_patients {
        remarks.push("more patients than are asked for: narrow the query".to_owned());
    }
    let by_identity = notes.of_other_issuers + notes.of_unknown_patients;
    let by_ignored_keys = entry.filtered.saturating_sub(by_identity);
    if by_ignored_keys > 0 {
        let (answers, keys) = (answers(by_ignored_keys), notes.ignored_keys.join(", "));
        remarks.push(format!("{answers} left out here, as the station ignored {keys}"));
    }
    if notes.translated_ids > 0 {
        let ids = match notes.translated_ids {
            1 => "1 ID".to_owned(),
            count => format!("{count} IDs"),
        };
        remarks.push(format!(
            "asked by {ids} of the patient that the cross-reference has"
        ));
    }
    if notes.of_other_issuers > 0 {
        let answers = answers(notes.of_other_issuers);
        remarks.push(format!(
            "{answers} left out here, of another issuer than asked for"
        ));
    }
    if notes.of_unknown_patients > 0 {
        let answers = answers(notes.of_unknown_patients);
        remarks.push(format!(
            "{answers} withheld: found by an ID that the patient has at another site, but no record says that the study \
             was brought here under it"
        ));
    }
    if notes.without_one_id > 0 {
        let answers = answers(notes.without_one_id);
        remarks.push(format!(
            "{answers} with no patient ID, or several: the patient may be another"
        ));
    }
    if entry.dropped > 0 {
        remarks.push(format!(
            "{} could not be used (no UID, or malformed)",
            answers(entry.dropped)
        ));
    }
    if !notes.tried_in.is_empty() {
        let sets: Vec<&str> = notes.tried_in.iter().map(CharacterSet::as_str).collect();
        remarks.push(format!(
            "asked in {}, as its character set is not known (--charset)",
            sets.join(" and in ")
        ));
    }
    if reads_as_latin {
        remarks.push("text of unknown character set was read as Latin-1 (--charset)".to_owned());
    }
    remarks
}

fn answers(count: u64) -> String {
    match count {
        1 => "1 answer".to_owned(),
        count => format!("{count} answers"),
    }
}
