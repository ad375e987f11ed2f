//! The record of what a person decided about an object that was kept aside.
//!
//! Invariant: it names the object by UIDs, never its patient.

use serde::{Deserialize, Serialize};

use crate::model::Uid;

/// What a person decided about an object that was kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideDecision {
    /// It was stored.
    Released,
    /// It was stored in the place of another one, which is kept aside since.
    Replaced,
    /// It was deleted.
    Dropped,
}

/// A person has decided about an object that was kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideDecided {
    /// What was done.
    pub decision: AsideDecision,
    /// The object's SOP instance.
    pub sop_instance_uid: Uid,
    /// The object's study.
    pub study_instance_uid: Uid,
    /// Why it had been kept aside, as a code.
    pub kept_for: String,
}
