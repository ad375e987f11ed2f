//! What a linked query brings, one at a time.
//!
//! Invariant: each target of the plan ends exactly once, after all of its answers.

use crate::dimse::DataSet;
use crate::model::{LedgerEntry, StudyAnswer};
use crate::store::LinkReport;

use super::stated::StatedValue;

/// One thing that a linked query brings.
#[derive(Debug)]
pub enum Event {
    /// A station's answer about a study.
    Answer(Answer),
    /// A station has ended, or was not asked.
    Ended(Box<Ended>),
}

/// A station's answer about a study.
#[derive(Debug)]
pub struct Answer {
    /// The place of the station among the targets of the plan.
    pub target: usize,
    /// What it says.
    pub study: Box<StudyAnswer>,
    /// As it came, at study level.
    pub data_set: DataSet,
    /// The attributes whose value is not that of the data sets, but what clusters have said since.
    pub stated: Vec<StatedValue>,
    /// The rows at the level that was asked for, where that is a lower one.
    pub lower: Vec<LowerRow>,
}

/// A row below study level.
#[derive(Debug, Clone)]
pub struct LowerRow {
    /// As it came.
    pub data_set: DataSet,
    /// Of an instance: its series, as that came.
    pub series: Option<DataSet>,
}

/// The end of a station's part.
#[derive(Debug)]
pub struct Ended {
    /// The place of the station among the targets of the plan.
    pub target: usize,
    /// Its line in the ledger.
    pub entry: LedgerEntry,
    /// How its link fared, for the store; `None` where nothing was learned of it.
    pub report: Option<LinkReport>,
}
