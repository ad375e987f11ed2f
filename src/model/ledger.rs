//! The ledger of a linked query: what each station did, in words that never hide a missing site.
//!
//! Invariant: `is_complete` is false as soon as one station that should have answered did not, or not fully.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::{Invalid, StationName};

/// What became of a station in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, to the end.
    Searched,
    /// It did not answer, or ended with a failure.
    Failed,
    /// It answered a part, and said or showed that there is more.
    Truncated,
    /// It was not asked.
    Skipped,
    /// The caller cancelled, or a limit was reached, before its end.
    Cancelled,
}

impl Outcome {
    /// As it is shown and recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Searched => "searched",
            Outcome::Failed => "failed",
            Outcome::Truncated => "truncated",
            Outcome::Skipped => "skipped",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Outcome {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let outcomes = [
            Outcome::Searched,
            Outcome::Failed,
            Outcome::Truncated,
            Outcome::Skipped,
            Outcome::Cancelled,
        ];
        let rule = "it is 'searched', 'failed', 'truncated', 'skipped' or 'cancelled'";
        outcomes
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| Invalid::new("outcome", text, rule))
    }
}

/// One station's line in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// The station.
    pub station: StationName,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether its silence leaves the answer incomplete: false for skips that the flags or its constraint want.
    pub was_due: bool,
    /// Answers taken from it.
    pub matches: u64,
    /// Answers left out here because the peer had ignored a key.
    pub filtered: u64,
    /// Answers that could not be used: without study UID, malformed.
    pub dropped: u64,
    /// From the first attempt to the end.
    pub elapsed: Duration,
    /// The syntax spoken: `linked` or `dicom`; `None` where it did not come to that.
    pub syntax: Option<&'static str>,
    /// The final DIMSE status, where one came.
    pub dicom_status: Option<u16>,
    /// Keywords of keys asked for that did not come back, so that nobody can tell whether they were matched.
    pub unverified_keys: Vec<String>,
    /// When a failing link is tried again by the service.
    pub retry_at: Option<Timestamp>,
    /// Why, for a person. Never patient data.
    pub detail: Option<String>,
    /// The comment of its final response. It may hold patient data, so it is shown and never stored.
    pub comment: Option<String>,
}

impl LedgerEntry {
    /// An entry for a station of which nothing has been counted yet.
    pub fn new(station: StationName, outcome: Outcome) -> Self {
        LedgerEntry {
            station,
            outcome,
            was_due: true,
            matches: 0,
            filtered: 0,
            dropped: 0,
            elapsed: Duration::ZERO,
            syntax: None,
            dicom_status: None,
            unverified_keys: Vec::new(),
            retry_at: None,
            detail: None,
            comment: None,
        }
    }

    /// Whether the answer lacks what the station should have given, other than by the caller's own cut.
    pub fn is_missing(&self) -> bool {
        !self.is_complete() && self.outcome != Outcome::Cancelled
    }

    /// The detail with the station's comment, for the person who asked.
    pub fn shown_detail(&self) -> Option<String> {
        match (&self.detail, &self.comment) {
            (Some(detail), Some(comment)) => Some(format!("{detail}; its comment: {comment}")),
            (None, Some(comment)) => Some(format!("its comment: {comment}")),
            (detail, None) => detail.clone(),
        }
    }

    /// Whether the station gave all it should have.
    pub fn is_complete(&self) -> bool {
        self.outcome == Outcome::Searched || !self.was_due
    }
}
