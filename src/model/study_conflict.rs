//! A study UID that stations use for two different patients (rule 7 of a linked query).
//!
//! Invariant: no patient's name is kept, only what tells the patients apart.

use std::str::FromStr;

use super::{Invalid, PatientId, StationName, Uid};

/// A study UID found with different patients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyConflict {
    /// The study.
    pub study: Uid,
    /// The stations that list it, each with the patient it lists the study under; two or more where all are known.
    pub parties: Vec<ConflictParty>,
    /// What met it.
    pub path: ConflictPath,
}

/// A station that lists the study, and its patient there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConflictParty {
    pub station: StationName,
    pub patient_id: PatientId,
}

/// The operation that met a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConflictPath {
    /// `impaxlink query`.
    Query,
    /// A C-FIND of a caller of the service.
    Find,
    /// `impaxlink retrieve`, or a C-MOVE or C-GET of a caller of the service.
    Retrieve,
    /// Relevant priors were listed.
    Priors,
    /// Relevant priors were to be brought.
    Prefetch,
    /// New objects that a linked cluster announced were to be fetched.
    Pull,
}

impl ConflictPath {
    /// Its word, as `c-find`.
    pub fn as_str(self) -> &'static str {
        match self {
            ConflictPath::Query => "query",
            ConflictPath::Find => "c-find",
            ConflictPath::Retrieve => "retrieve",
            ConflictPath::Priors => "priors",
            ConflictPath::Prefetch => "prefetch",
            ConflictPath::Pull => "pull",
        }
    }
}

impl FromStr for ConflictPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        use ConflictPath::{Find, Prefetch, Priors, Pull, Query, Retrieve};
        let all = [Query, Find, Retrieve, Priors, Prefetch, Pull];
        all.into_iter()
            .find(|path| path.as_str() == text)
            .ok_or_else(|| Invalid::new("path of a conflict", text, "not one of the known ones"))
    }
}
