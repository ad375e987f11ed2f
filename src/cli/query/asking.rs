//! A query under way: what is done with each event, and what stops it.
//!
//! Invariant: with a format that streams, a row is written when it arrives and then forgotten, but for its hash; else
//! all are merged at the end. Progress is shown only where standard error is a terminal, after a second.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::raw;
use super::streams;
use super::view::{ConflictLine, LocationLine, StudyLine};
use crate::cli::Format;
use crate::cli::output::Ui;
use crate::link::completeness::{Completeness, completeness};
use crate::link::first_sight::{FirstSight, Sight};
use crate::link::merge::{Merge, MergedStudy, Source};
use crate::link::policy::Target;
use crate::link::{Answer, ConflictLog, Ended, Event, LinkedQuery, Request};
use crate::model::{CharacterSet, ConflictPath, LedgerEntry, Level, Outcome, StudyConflict};
use crate::store::LinkReport;

/// When progress is first shown, and how often it is drawn.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What the caller cut the answer by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// `--limit` was reached.
    Limit,
    /// Ctrl-C.
    Interrupted,
}

/// A query under way.
pub struct Asking<'u> {
    ui: &'u mut Ui,
    limit: Option<u64>,
    stations: usize,
    /// The character set of each target, where its station has one.
    charsets: Vec<Option<CharacterSet>>,
    sight: FirstSight,
    conflicts: ConflictLog,
    asked: Asked,
}

/// What a query brought.
pub struct Asked {
    /// The stations, one a target of the plan and in its order.
    pub sources: Vec<Source>,
    /// The lines of the ledger, each with the place of its station among the sources.
    pub ledger: Vec<(usize, LedgerEntry)>,
    /// How the links fared.
    pub reports: Vec<LinkReport>,
    /// What the caller cut it by.
    pub cut: Option<Cut>,
    /// How many studies came.
    pub studies: usize,
    /// The study UIDs that were found with two patients.
    pub conflicts: Vec<StudyConflict>,
    /// At which level it was asked.
    pub level: Level,
    /// The studies to be merged; none where they were written as they came.
    merge: Merge,
    /// Whether any row has been written yet, of a list that is written as it comes.
    has_begun: bool,
    /// Answers that could not be written in the format asked for.
    pub unwritable: u64,
    /// Whether a study came after the cut, and was left out.
    has_left_out: bool,
}

impl Asked {
    /// What the ledger says of the whole.
    pub fn completeness(&self, targets: &[Target]) -> Completeness {
        let entries = self
            .ledger
            .iter()
            .filter_map(|(target, entry)| Some((targets.get(*target)?.role, entry)));
        match completeness(entries) {
            // A fast station ends before the cancel reaches it.
            Completeness::Complete if self.has_left_out => Completeness::Cut,
            other => other,
        }
    }

    /// The merged studies; they can be taken once.
    pub fn take_studies(&mut self) -> Vec<MergedStudy> {
        std::mem::replace(&mut self.merge, Merge::new(Vec::new(), Arc::default())).finish()
    }

    /// Enters the stations that had not ended when nobody waited for them any more, and puts all in order.
    fn cut_the_rest(&mut self) {
        for (target, source) in self.sources.iter().enumerate() {
            if self.ledger.iter().all(|(ended, _)| *ended != target) {
                let entry = LedgerEntry::new(source.station.clone(), Outcome::Cancelled);
                self.ledger.push((target, entry));
            }
        }
        self.ledger.sort_by_key(|(target, _)| *target);
    }

    /// Notes that a list which is written as it comes has begun; says whether it had before.
    pub fn begin_list(&mut self) -> bool {
        std::mem::replace(&mut self.has_begun, true)
    }
}

impl<'u> Asking<'u> {
    /// A query about to be put.
    pub fn new(ui: &'u mut Ui, request: &Request, limit: Option<u64>) -> Self {
        let sources = Source::of(&request.configuration, &request.targets);
        let station = |target: &Target| request.configuration.stations.get(target.station);
        let charset = |target| station(target).and_then(|station| station.charset.clone());
        Asking {
            ui,
            limit,
            stations: request
                .targets
                .iter()
                .filter(|target| target.skip.is_none())
                .count(),
            charsets: request.targets.iter().map(charset).collect(),
            sight: FirstSight::new(Arc::clone(&request.cross_reference)),
            conflicts: ConflictLog::new(Arc::clone(&request.cross_reference)),
            asked: Asked {
                merge: Merge::new(sources.clone(), Arc::clone(&request.cross_reference)),
                sources,
                ledger: Vec::new(),
                reports: Vec::new(),
                cut: None,
                studies: 0,
                conflicts: Vec::new(),
                level: request.query.level,
                has_begun: false,
                unwritable: 0,
                has_left_out: false,
            },
        }
    }

    /// Takes all that comes until the last station has ended, Ctrl-C is pressed a second time, or nobody reads any more.
    /// What came until then is there also where it failed.
    pub async fn run(mut self, mut query: LinkedQuery) -> (Asked, anyhow::Result<()>) {
        let ended = self.take_all(&mut query).await;
        self.asked.studies = self.sight.studies();
        self.asked.conflicts = self.conflicts.finish(ConflictPath::Query);
        self.asked.cut_the_rest();
        (self.asked, ended)
    }

    async fn take_all(&mut self, query: &mut LinkedQuery) -> anyhow::Result<()> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let progress = self.progress();
        let mut ticks = interval_at(Instant::now() + PROGRESS_AFTER, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(event) = query.take_ready() {
                self.take(event, query)?;
            }
            self.ui.out().flush()?;
            tokio::select! {
                event = query.next() => match event {
                    Some(event) => self.take(event, query)?,
                    None => break,
                },
                _ = interrupts.recv() => {
                    if self.asked.cut.replace(Cut::Interrupted) == Some(Cut::Interrupted) {
                        break;
                    }
                    query.cancel();
                }
                _ = ticks.tick(), if !progress.is_hidden() => progress.set_message(self.state()),
            }
        }
        progress.finish_and_clear();
        Ok(())
    }

    fn progress(&self) -> ProgressBar {
        let would_mix = streams(self.ui.format()) && std::io::stdout().is_terminal();
        if would_mix {
            ProgressBar::hidden()
        } else {
            self.ui.progress_line()
        }
    }

    fn state(&self) -> String {
        let studies = self.sight.studies();
        let ended: Vec<usize> = self.asked.ledger.iter().map(|(target, _)| *target).collect();
        let names = self
            .asked
            .sources
            .iter()
            .enumerate()
            .filter(|(target, _)| !ended.contains(target));
        let waiting: Vec<&str> = names.map(|(_, source)| source.station.as_str()).take(5).collect();
        let asked_and_ended = self
            .stations
            .saturating_sub(self.asked.sources.len() - ended.len());
        format!(
            "{studies} studies, {asked_and_ended} of {} stations at their end; waiting for {}",
            self.stations,
            waiting.join(", ")
        )
    }

    fn take(&mut self, event: Event, query: &LinkedQuery) -> anyhow::Result<()> {
        match event {
            Event::Answer(answer) => self.take_answer(answer, query),
            Event::Ended(ended) => {
                let Ended {
                    target,
                    entry,
                    report,
                } = *ended;
                self.asked.ledger.push((target, entry));
                self.asked.reports.extend(report);
                Ok(())
            }
        }
    }

    fn take_answer(&mut self, answer: Answer, query: &LinkedQuery) -> anyhow::Result<()> {
        // After a cut only more of the studies that are there is of use.
        if self.asked.cut.is_some() && !self.sight.has_seen(&answer.study) {
            self.asked.has_left_out = true;
            return Ok(());
        }
        let sight = self.sight.see(&answer.study);
        if let Some(source) = self.asked.sources.get(answer.target) {
            let is_conflict = sight == Sight::Conflict;
            self.conflicts.see(&source.station, &answer.study, is_conflict);
        }
        match self.ui.format() {
            Format::Ndjson => self.write_line(sight, &answer)?,
            Format::DicomJson => {
                let charset = self.charsets.get(answer.target).and_then(Option::as_ref);
                raw::write(self.ui, &answer, charset, &mut self.asked)?;
            }
            _ => self.asked.merge.add(answer.target, answer.study),
        }
        let is_reached = self
            .limit
            .is_some_and(|limit| self.sight.studies() as u64 >= limit);
        if is_reached && self.asked.cut.is_none() {
            self.asked.cut = Some(Cut::Limit);
            query.cancel();
        }
        Ok(())
    }

    fn write_line(&mut self, sight: Sight, answer: &Answer) -> anyhow::Result<()> {
        let Some(source) = self.asked.sources.get(answer.target) else {
            return Ok(());
        };
        match sight {
            Sight::Study => self.ui.ndjson(&StudyLine::new(&answer.study, source)),
            Sight::Location => self.ui.ndjson(&LocationLine::new(&answer.study, source)),
            Sight::Conflict => self.ui.ndjson(&ConflictLine::new(&answer.study, source)),
        }
    }
}
