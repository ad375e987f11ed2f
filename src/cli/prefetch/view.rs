//! The JSON of the queue and of a run.
//!
//! Invariant: a field once documented keeps its name and meaning.

use jiff::Timestamp;
use serde::Serialize;

use super::outcome::Outcome;
use crate::cli::output::Ui;
use crate::model::{IssuerDomain, JobId, JobState, PrefetchJob, WantedPrior};

/// A prior: in the queue, or not to be brought.
#[derive(Debug, Serialize)]
pub struct JobView<'a> {
    /// Its number in the queue; null where it was not put there.
    job: Option<JobId>,
    study_instance_uid: &'a str,
    patient_id: &'a str,
    issuer_of_patient_id: Option<&'a str>,
    destination: &'a str,
    sources: Vec<&'a str>,
    instances: Option<u32>,
    /// The rule, and what the study met of it.
    reason: &'a str,
    /// The study that it is a prior of.
    wanted_for: Option<&'a str>,
    /// queued, running, done, failed; here: it was complete in the local cluster; wanted: only looked for.
    state: &'static str,
    attempts: u32,
    next_try: Option<Timestamp>,
    fetched: u32,
    detail: Option<&'a str>,
}

impl<'a> JobView<'a> {
    /// A prior that is not in the queue.
    pub fn outside(prior: &'a WantedPrior, state: &'static str) -> Self {
        JobView {
            job: None,
            study_instance_uid: prior.study_instance_uid.as_str(),
            patient_id: &prior.patient_id.id,
            issuer_of_patient_id: match &prior.patient_id.domain {
                IssuerDomain::Named(issuer) => Some(issuer.as_str()),
                IssuerDomain::Inferred(_) => None,
            },
            destination: prior.destination.as_str(),
            sources: prior.sources.iter().map(|source| source.as_str()).collect(),
            instances: prior.instances,
            reason: &prior.reason,
            wanted_for: prior.wanted_for.as_ref().map(|uid| uid.as_str()),
            state,
            attempts: 0,
            next_try: None,
            fetched: 0,
            detail: None,
        }
    }
}

impl<'a> From<&'a PrefetchJob> for JobView<'a> {
    fn from(job: &'a PrefetchJob) -> Self {
        let is_waiting = job.state == JobState::Queued;
        JobView {
            job: Some(job.id),
            attempts: job.attempts,
            next_try: is_waiting.then_some(job.next_try),
            fetched: job.fetched,
            detail: job.detail.as_deref(),
            ..JobView::outside(&job.wanted, job.state.as_str())
        }
    }
}

/// What a run came to: `prefetch --json`.
#[derive(Debug, Serialize)]
pub struct RunView<'a> {
    /// Whether all was looked at and nothing failed.
    complete: bool,
    summary: SummaryView<'a>,
    items: Vec<JobView<'a>>,
}

#[derive(Debug, Serialize)]
struct SummaryView<'a> {
    patients: usize,
    priors: usize,
    fetched: usize,
    already_here: usize,
    failed: usize,
    queued: usize,
    interrupted: bool,
    queued_until: Option<Timestamp>,
    elapsed_ms: u128,
    /// Why not all priors may have been found, a station each.
    incomplete: &'a [String],
}

impl<'a> RunView<'a> {
    /// The view of a run; `here` are the priors that were here before.
    pub fn of(outcome: &'a Outcome, here: &'a [WantedPrior]) -> Self {
        let here = here.iter().map(|prior| JobView::outside(prior, "here"));
        RunView {
            complete: outcome.is_well(),
            summary: SummaryView {
                patients: outcome.patients,
                priors: outcome.here + outcome.jobs.len(),
                fetched: outcome.fetched(),
                already_here: outcome.already_here(),
                failed: outcome.failed(),
                queued: outcome.waiting(),
                interrupted: outcome.interrupted,
                queued_until: outcome.closed_until,
                elapsed_ms: outcome.elapsed.as_millis(),
                incomplete: &outcome.incomplete,
            },
            items: outcome.jobs.iter().map(JobView::from).chain(here).collect(),
        }
    }

    /// A prior a line, and last the summary.
    pub fn ndjson(&self, ui: &mut Ui) -> anyhow::Result<()> {
        self.items.iter().try_for_each(|item| ui.ndjson(item))?;
        ui.ndjson(&self.summary)
    }
}
