//! The JSON shape of `status`.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::Generation;
use crate::store::{Hl7Counts, JobCounts, PullCounts};

/// `status --json`.
#[derive(Debug, Serialize)]
pub struct StatusView {
    pub running: bool,
    pub pid: Option<u32>,
    /// Null where the store can't be read.
    pub generation_saved: Option<Generation>,
    pub generation_in_force: Option<Generation>,
    pub started: Option<Timestamp>,
    pub listen: Option<String>,
    pub associations: Option<usize>,
    pub ending: bool,
    /// How far the newest revision is ahead of the clock, where that is further than is allowed.
    pub newest_revision_ahead_ms: Option<u64>,
    /// How far the clock has jumped ahead, where changes do not follow it.
    pub clock_jumped_ahead_ms: Option<u64>,
    /// What happened to the store of the running service, which it does not use until a reload.
    pub store_lost: Option<String>,
    pub reload_refused: Option<String>,
    pub links: Vec<LinkView>,
    pub queues: QueuesView,
    /// Study UIDs found with two patients, and not acknowledged.
    pub conflicts: u64,
    /// Objects that the embedded archive keeps aside; null where its index can't be read.
    pub kept_aside: Option<u64>,
}

/// What waits to be done.
#[derive(Debug, Serialize)]
pub struct QueuesView {
    /// Priors to be brought.
    pub prefetch: QueueView,
    /// Updates to be sent to linked clusters.
    pub updates: UpdatesView,
    /// Updates of linked clusters with new objects that are to be fetched.
    pub pulls: PullsView,
    /// HL7 messages.
    pub hl7: Hl7View,
}

/// What is to be fetched.
#[derive(Debug, Serialize)]
pub struct PullsView {
    pub due: u64,
    /// Tried in vain so far.
    pub failing: u64,
    /// Waiting for a person to acknowledge a review.
    pub under_review: u64,
    pub oldest: Option<Timestamp>,
}

impl From<PullCounts> for PullsView {
    fn from(counts: PullCounts) -> Self {
        PullsView {
            due: counts.due,
            failing: counts.failing,
            under_review: counts.under_review,
            oldest: counts.oldest,
        }
    }
}

/// The HL7 messages that are not done.
#[derive(Debug, Serialize)]
pub struct Hl7View {
    /// For their study, or an archive that does not answer.
    pub waiting: u64,
    /// They want a person.
    pub failed: u64,
}

/// The queues of updates, all stations together.
#[derive(Debug, Serialize)]
pub struct UpdatesView {
    pub queued: u64,
    /// Refused for good: they want a person.
    pub parked: u64,
    pub oldest: Option<Timestamp>,
}

/// One queue.
#[derive(Debug, Serialize)]
pub struct QueueView {
    pub queued: u64,
    pub running: u64,
    /// Given up: they want a person.
    pub failed: u64,
}

impl From<JobCounts> for QueueView {
    fn from(counts: JobCounts) -> Self {
        QueueView {
            queued: counts.queued,
            running: counts.running,
            failed: counts.failed,
        }
    }
}

impl From<Hl7Counts> for Hl7View {
    fn from(Hl7Counts { waiting, failed }: Hl7Counts) -> Self {
        Hl7View { waiting, failed }
    }
}

/// One link of it.
#[derive(Debug, Serialize)]
pub struct LinkView {
    pub station: String,
    pub health: &'static str,
    pub last_success: Option<Timestamp>,
    pub latency_ms: Option<u64>,
    /// In how many queries of the last 24 hours it should have answered and did not, or not fully.
    pub partial_24h: u64,
    pub next_try: Option<Timestamp>,
    pub queued: u64,
    pub parked: u64,
    /// Since when the oldest queued update waits.
    pub oldest: Option<Timestamp>,
    /// What keeps updates from it.
    pub updates_detail: Option<String>,
    /// Why it was not looked through for new objects.
    pub poll_detail: Option<String>,
    pub detail: Option<String>,
}
