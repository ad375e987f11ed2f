//! What a query ends with on standard error: how many studies, from how many stations, and who is missing.
//!
//! Invariant: a site that is missing is told, also with `--quiet`. Nothing here holds patient data.

use jiff::tz::TimeZone;

use super::asking::{Asked, Cut};
use crate::cli::Format;
use crate::cli::output::Ui;
use crate::link::completeness::Completeness;
use crate::model::{LedgerEntry, Outcome, StationName};

/// What is to be told at the end.
pub struct Closing {
    summary: String,
    /// Station, outcome and what there is to say, for each station that is of interest.
    lines: Vec<[String; 3]>,
    /// The stations that did not answer in full, and why, for the one line with `--quiet`.
    missing: Vec<String>,
    /// Lines that are of interest only when asked to say more.
    further: Vec<[String; 3]>,
    is_all_well: bool,
}

impl Closing {
    /// Of a query that has ended. Where one of `unexpected` was skipped it is told, though that leaves the answer complete.
    pub fn of(asked: &Asked, completeness: Completeness, unexpected: &[StationName]) -> Self {
        let noun = if asked.studies == 1 { "study" } else { "studies" };
        let found = format!("{} {noun}", asked.studies);
        let ledger = &asked.ledger;
        let mut closing = Closing::new(&found, ledger, asked.cut, completeness, unexpected);
        if asked.unwritable > 0 && closing.is_all_well {
            closing.summary.push_str(" INCOMPLETE.");
            closing.is_all_well = false;
        }
        closing
    }

    /// Of a search that has ended and found what `found` says.
    pub fn new(
        found: &str,
        ledger: &[(usize, LedgerEntry)],
        cut: Option<Cut>,
        completeness: Completeness,
        unexpected: &[StationName],
    ) -> Self {
        let entries = || ledger.iter().map(|(_, entry)| entry);
        let due = entries().filter(|entry| entry.was_due).count();
        let answered = entries().filter(|entry| gave_something(entry)).count();
        let is_of_interest = |entry: &&LedgerEntry| {
            let is_told = entry.outcome != Outcome::Skipped || unexpected.contains(&entry.station);
            let is_unverified = !entry.unverified_keys.is_empty() && entry.matches > 0;
            // With a limit it is what the caller wanted; who presses Ctrl-C wants to know for whom they had waited.
            let is_wanted = entry.outcome == Outcome::Cancelled && cut == Some(Cut::Limit);
            !is_wanted && (!entry.is_complete() || entry.shown_detail().is_some() && is_told || is_unverified)
        };
        let (of_interest, others): (Vec<&LedgerEntry>, Vec<&LedgerEntry>) =
            entries().partition(is_of_interest);
        let word = match (cut, completeness) {
            (_, Completeness::Failed) => " FAILED",
            (Some(Cut::Interrupted), _) => " INTERRUPTED",
            (_, Completeness::Partial) => " INCOMPLETE",
            (Some(Cut::Limit), _) => " Limit reached",
            _ => "",
        };
        let from = match (answered, due) {
            (1, 1) => "1 station".to_owned(),
            (answered, due) if answered == due => format!("{due} stations"),
            (answered, due) => format!("{answered} of {due} stations"),
        };
        let end = match (word.is_empty(), of_interest.is_empty()) {
            (true, _) => "",
            (false, true) => ".",
            (false, false) => ":",
        };
        Closing {
            summary: format!("{found} from {from}.{word}{end}"),
            missing: of_interest.iter().filter_map(|entry| missing(entry)).collect(),
            lines: of_interest.into_iter().map(line).collect(),
            further: others.into_iter().map(line).collect(),
            is_all_well: word.is_empty(),
        }
    }

    /// Tells it.
    pub fn tell(&self, ui: &Ui) {
        if ui.is_quiet() {
            if !self.is_all_well {
                ui.warning(format!("{} {}", self.summary, self.missing.join(", ")).trim_end());
            }
            return;
        }
        if ui.format() == Format::Table || !self.is_all_well || ui.verbosity() > 0 {
            ui.notice(&self.summary);
        }
        let further = self.further.iter().filter(|_| ui.verbosity() > 0);
        let lines: Vec<&[String; 3]> = self.lines.iter().chain(further).collect();
        let width = |column: usize| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let (first, second) = (width(0), width(1));
        for [station, outcome, text] in &lines {
            ui.notice(format!("{station:first$}  {outcome:second$}  {text}").trim_end());
        }
    }
}

fn gave_something(entry: &LedgerEntry) -> bool {
    entry.matches > 0 || matches!(entry.outcome, Outcome::Searched | Outcome::Truncated)
}

/// What became of a station that did not answer in full, and why, without its comment: that may hold patient data.
fn missing(entry: &LedgerEntry) -> Option<String> {
    let why = entry.detail.as_ref().map(|detail| format!(" ({detail})"));
    (!entry.is_complete()).then(|| {
        let (station, outcome) = (&entry.station, entry.outcome.as_str());
        format!("{station} {outcome}{}", why.unwrap_or_default())
    })
}

fn line(entry: &LedgerEntry) -> [String; 3] {
    let mut parts: Vec<String> = Vec::new();
    if entry.outcome == Outcome::Searched || entry.matches > 0 {
        let millis = entry.elapsed.as_millis();
        let noun = if entry.matches == 1 { "match" } else { "matches" };
        parts.push(format!("{} {noun} in {millis} ms", entry.matches));
    }
    parts.extend(entry.shown_detail());
    if !entry.unverified_keys.is_empty() && entry.matches > 0 {
        parts.push(format!(
            "not to be verified, as they did not come back: {}",
            entry.unverified_keys.join(", ")
        ));
    }
    if let Some(retry_at) = entry.retry_at {
        let local = retry_at.to_zoned_datetime(TimeZone::system());
        parts.push(format!("next try {}", local.strftime("%H:%M")));
    }
    [
        entry.station.to_string(),
        entry.outcome.as_str().to_owned(),
        parts.join("; "),
    ]
}
