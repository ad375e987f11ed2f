//! What a review says of one prerequisite.
//!
//! Invariant: whatever is not well has a hint that can be followed; no text has a control character, as some of it is a
//! peer's.

use std::fmt;

use crate::model::StationName;

/// How a prerequisite stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It is met.
    Pass,
    /// It can't be told from here: strict DICOM has no words for it, or something before it failed.
    Unknown,
    /// Linking works, but not as well or as safely as it should.
    Warn,
    /// It is not met.
    Fail,
}

impl Outcome {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Unknown => "unknown",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
        }
    }
}

/// What a prerequisite is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The local cluster.
    Local,
    /// A station.
    Station(StationName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Local => f.write_str("local"),
            Subject::Station(name) => name.fmt(f),
        }
    }
}

/// One prerequisite, reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is a prerequisite of.
    pub subject: Subject,
    /// Which one it is: a word that scripts know it by.
    pub check: &'static str,
    /// How it stands.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do about it; none where it is met.
    pub hint: Option<String>,
}

/// The items of one subject, as they come.
#[derive(Debug)]
pub(super) struct Items {
    subject: Subject,
    pub(super) all: Vec<Item>,
}

impl Items {
    pub(super) fn of(subject: Subject) -> Self {
        Items {
            subject,
            all: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, check: &'static str, detail: impl Into<String>) {
        self.put(check, Outcome::Pass, detail.into(), None);
    }

    pub(super) fn unknown(
        &mut self,
        check: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.put(check, Outcome::Unknown, detail.into(), Some(hint.into()));
    }

    pub(super) fn warn(&mut self, check: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        self.put(check, Outcome::Warn, detail.into(), Some(hint.into()));
    }

    pub(super) fn fail(&mut self, check: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        self.put(check, Outcome::Fail, detail.into(), Some(hint.into()));
    }

    fn put(&mut self, check: &'static str, outcome: Outcome, detail: String, hint: Option<String>) {
        let printable = |text: String| text.replace(char::is_control, " ");
        self.all.push(Item {
            subject: self.subject.clone(),
            check,
            outcome,
            detail: printable(detail),
            hint: hint.map(printable),
        });
    }
}
