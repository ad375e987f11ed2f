//! How far a report has come, where that can be put in order.
//!
//! Invariant: the order of the values is the order in which a report passes through them. UNKNOWN and words of other
//! systems have no place in it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// An InterpretationStatus that has a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReportStatus {
    /// Not begun.
    New,
    /// Being dictated.
    DictationStarted,
    /// Dictated.
    Dictated,
    /// Written, and not signed yet.
    Transcribed,
    /// Signed.
    Approved,
}

const ALL: [ReportStatus; 5] = [
    ReportStatus::New,
    ReportStatus::DictationStarted,
    ReportStatus::Dictated,
    ReportStatus::Transcribed,
    ReportStatus::Approved,
];

impl ReportStatus {
    /// As the linked syntax writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportStatus::New => "NEW",
            ReportStatus::DictationStarted => "DICTATION_STARTED",
            ReportStatus::Dictated => "DICTATED",
            ReportStatus::Transcribed => "TRANSCRIBED",
            ReportStatus::Approved => "APPROVED",
        }
    }
}

impl FromStr for ReportStatus {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = "it is NEW, DICTATION_STARTED, DICTATED, TRANSCRIBED or APPROVED";
        ALL.into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| Invalid::new("report status", text, rule))
    }
}

impl fmt::Display for ReportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
