//! A prior that is to be brought to the local cluster: what is wanted, and how far it has come.
//!
//! Invariant: a prior in the queue has at least one source. Which priors are wanted is for `priors` to say; who brings them,
//! and that nobody brings one twice, is the store's.

use std::str::FromStr;

use jiff::Timestamp;

use super::{Invalid, PatientId, StationName, Uid};

/// A prior that is to be brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPrior {
    /// The study.
    pub study_instance_uid: Uid,
    /// Whose it is, as the source says.
    pub patient_id: PatientId,
    /// The archive station that it is to be brought to.
    pub destination: StationName,
    /// Who has it, in the order in which they are asked.
    pub sources: Vec<StationName>,
    /// How many instances the fullest copy has, where that is known.
    pub instances: Option<u32>,
    /// Why it was chosen: the rule.
    pub reason: String,
    /// The study that it is a prior of; `None` where the patient alone was named.
    pub wanted_for: Option<Uid>,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// It waits for its turn, for the first time or again.
    Queued,
    /// Someone brings it.
    Running,
    /// The study is here.
    Done,
    /// All retries are used up.
    Failed,
}

impl JobState {
    /// All of them.
    pub const ALL: [JobState; 4] = [
        JobState::Queued,
        JobState::Running,
        JobState::Done,
        JobState::Failed,
    ];

    /// As it is shown and kept.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
        }
    }

    /// Whether nothing more comes of it.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed)
    }
}

impl FromStr for JobState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = "it is 'queued', 'running', 'done' or 'failed'";
        let mut states = JobState::ALL.into_iter();
        states
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("state", text, rule))
    }
}

/// The number of a job.
pub type JobId = i64;

/// A prior in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchJob {
    /// Its number.
    pub id: JobId,
    /// What is to be brought.
    pub wanted: WantedPrior,
    /// How far it has come.
    pub state: JobState,
    /// The source that is asked, or is to be asked next.
    pub source: StationName,
    /// How often all sources were asked in vain.
    pub attempts: u32,
    /// When it may be taken next, while it is queued.
    pub next_try: Timestamp,
    /// How many instances were brought for it.
    pub fetched: u32,
    /// Why it has come no further, in words without patient data.
    pub detail: Option<String>,
    /// When it came into the queue.
    pub created: Timestamp,
    /// When its state last changed.
    pub changed: Timestamp,
}
