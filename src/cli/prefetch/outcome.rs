//! What a run came to: one line fit for a cron mail, and the exit status.
//!
//! Invariant: no patient data are in the line.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::error::ExitStatus;
use crate::cli::time::moment;
use crate::model::{JobState, PrefetchJob};

/// How many reasons for failures are told.
const REASONS: usize = 2;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many patients priors were looked for.
    pub patients: usize,
    /// How many priors were here already.
    pub here: usize,
    /// The jobs of the others, as they are now.
    pub jobs: Vec<PrefetchJob>,
    /// Why not all priors may have been found, a station each.
    pub incomplete: Vec<String>,
    /// Whether anything could be looked for at all.
    pub nothing_answered: bool,
    /// When jobs may be begun again, where they may not now.
    pub closed_until: Option<Timestamp>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// How many jobs brought something.
    pub fn fetched(&self) -> usize {
        self.count(|job| job.state == JobState::Done && job.fetched > 0)
    }

    /// How many priors were here, also those of which only a job found that out.
    pub fn already_here(&self) -> usize {
        self.here + self.count(|job| job.state == JobState::Done && job.fetched == 0)
    }

    /// How many were given up.
    pub fn failed(&self) -> usize {
        self.count(|job| job.state == JobState::Failed)
    }

    /// How many are still to be brought.
    pub fn waiting(&self) -> usize {
        self.count(|job| !job.state.is_final())
    }

    fn count(&self, is: impl Fn(&PrefetchJob) -> bool) -> usize {
        self.jobs.iter().filter(|job| is(job)).count()
    }

    /// Whether all is well: everything found and brought, or waiting for its hour.
    pub fn is_well(&self) -> bool {
        self.failed() == 0 && self.incomplete.is_empty() && !self.interrupted
    }

    /// The exit status.
    pub fn status(&self) -> ExitStatus {
        let all_failed = self.failed() > 0 && self.failed() == self.jobs.len() && self.here == 0;
        if self.interrupted {
            ExitStatus::Interrupted
        } else if self.nothing_answered || all_failed {
            ExitStatus::Failed
        } else if self.is_well() {
            ExitStatus::Done
        } else {
            ExitStatus::Partial
        }
    }

    /// The line.
    pub fn line(&self) -> String {
        let priors = counted(self.here + self.jobs.len(), "prior");
        let mut parts = Vec::new();
        for (count, what) in [(self.fetched(), "fetched"), (self.already_here(), "already here")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if self.failed() > 0 {
            parts.push(format!("{} failed ({})", self.failed(), self.reasons()));
        }
        if self.waiting() > 0 {
            let until = self.closed_until.map(|until| {
                let until = moment(until, Timestamp::now());
                format!(" until {until} (prefetch.hours)")
            });
            parts.push(format!("{} queued{}", self.waiting(), until.unwrap_or_default()));
        }
        let mut line = format!("prefetch: {priors} of {}", counted(self.patients, "patient"));
        if !parts.is_empty() {
            line.push_str(&format!(": {}", parts.join(", ")));
        }
        line.push_str(&format!("; {}", span(self.elapsed)));
        if !self.incomplete.is_empty() {
            line.push_str(&format!("; INCOMPLETE: {}", self.incomplete.join("; ")));
        }
        if self.interrupted {
            line.push_str("; interrupted, what was left is in the queue");
        }
        line
    }

    fn reasons(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        for detail in self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Failed)
            .filter_map(|job| job.detail.as_deref())
        {
            if !reasons.contains(&detail) {
                reasons.push(detail);
            }
        }
        let more = reasons.len().saturating_sub(REASONS);
        reasons.truncate(REASONS);
        let mut told = reasons.join("; ");
        if more > 0 {
            told.push_str(&format!("; {more} other reasons: impaxlink prefetch list"));
        }
        told
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// `12 m 3 s`, `2.4 s`.
fn span(elapsed: Duration) -> String {
    match (elapsed.as_secs() / 60, elapsed.as_secs() % 60) {
        (0, _) => format!("{:.1} s", elapsed.as_secs_f32()),
        (minutes, seconds) => format!("{minutes} m {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IssuerDomain, PatientId, WantedPrior};

    fn job(state: JobState, fetched: u32, detail: Option<&str>) -> PrefetchJob {
        PrefetchJob {
            id: 1,
            wanted: WantedPrior {
                study_instance_uid: "1.2".parse().unwrap(),
                patient_id: PatientId {
                    id: "4711".to_owned(),
                    domain: IssuerDomain::Named("NORTH".parse().unwrap()),
                },
                destination: "OWN".parse().unwrap(),
                sources: vec!["SITEC".parse().unwrap()],
                instances: None,
                reason: "a rule".to_owned(),
                wanted_for: None,
            },
            state,
            source: "SITEC".parse().unwrap(),
            attempts: 0,
            next_try: Timestamp::UNIX_EPOCH,
            fetched,
            detail: detail.map(str::to_owned),
            created: Timestamp::UNIX_EPOCH,
            changed: Timestamp::UNIX_EPOCH,
        }
    }

    fn outcome(jobs: Vec<PrefetchJob>) -> Outcome {
        Outcome {
            patients: 2,
            here: 1,
            jobs,
            elapsed: Duration::from_secs(723),
            ..Outcome::default()
        }
    }

    #[test]
    fn the_line_counts_what_became_of_each() {
        let down = Some("SITEC: connection refused");
        let some = outcome(vec![
            job(JobState::Done, 3, None),
            job(JobState::Done, 0, None),
            job(JobState::Failed, 0, down),
            job(JobState::Failed, 0, down),
        ]);
        assert_eq!(
            some.line(),
            "prefetch: 5 priors of 2 patients: 1 fetched, 2 already here, 2 failed (SITEC: connection refused); 12 m 3 s"
        );
        assert_eq!(some.status(), ExitStatus::Partial);
        let nothing = Outcome::default();
        assert_eq!(nothing.line(), "prefetch: 0 priors of 0 patients; 0.0 s");
        assert_eq!(nothing.status(), ExitStatus::Done);
    }

    #[test]
    fn the_status_tells_part_from_whole() {
        let failed = || vec![job(JobState::Failed, 0, Some("down"))];
        assert_eq!(outcome(failed()).status(), ExitStatus::Partial);
        let all = Outcome {
            here: 0,
            ..outcome(failed())
        };
        assert_eq!(all.status(), ExitStatus::Failed);
        assert_eq!(
            outcome(vec![job(JobState::Queued, 0, None)]).status(),
            ExitStatus::Done
        );
        let unheard = Outcome {
            incomplete: vec!["SITEC failed".to_owned()],
            ..outcome(vec![])
        };
        assert_eq!(unheard.status(), ExitStatus::Partial);
        assert!(unheard.line().ends_with("; INCOMPLETE: SITEC failed"));
    }
}
