//! The queue of priors to be brought.
//!
//! Invariants: a study is wanted at a destination by one job, whoever asks for it and how often. A job is brought by one
//! runner at a time, and by the next at once where that one has ended. No source is read by more jobs than allowed, all
//! processes together. The queue makes no generation and no audit record; each step is on the disk before it counts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::configuration::{list, optional, parsed, unreadable};
use super::link_health::one_line;
use super::prefetch_runner::{PrefetchRunner, has_ended};
use super::{Store, StoreError, configuration};
use crate::model::{IssuerDomain, JobId, JobState, PatientId, PrefetchJob, WantedPrior};

/// How long finished jobs are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

const COLUMNS: &str = "id, study_instance_uid, patient_id, issuer, inferred_from, destination, sources, instances, \
    reason, wanted_for, state, source, attempts, next_try, fetched, detail, created, changed";

/// A job that has ended begins anew, with what is known now.
const ENQUEUE: &str = "INSERT INTO prefetch_job (study_instance_uid, patient_id, issuer, inferred_from, destination, \
    sources, instances, reason, wanted_for, state, next_try, created, changed) VALUES (:study, :patient_id, :issuer, \
    :inferred_from, :destination, :sources, :instances, :reason, :wanted_for, 'queued', :now, :now, :now) \
    ON CONFLICT (study_instance_uid, destination) DO UPDATE SET patient_id = excluded.patient_id, \
    issuer = excluded.issuer, inferred_from = excluded.inferred_from, sources = excluded.sources, source_place = 0, \
    instances = excluded.instances, reason = excluded.reason, wanted_for = excluded.wanted_for, state = 'queued', \
    attempts = 0, next_try = excluded.next_try, fetched = 0, detail = NULL, created = excluded.created, \
    changed = excluded.changed RETURNING id";

const NEXT: &str = "SELECT id FROM prefetch_job WHERE state = 'queued' AND next_try <= :now AND source NOT IN \
    (SELECT source FROM prefetch_job WHERE state = 'running' GROUP BY source HAVING count(*) >= :limit) \
    ORDER BY attempts, id LIMIT 1";

/// What became of a prior that was to be put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue now.
    New(JobId),
    /// It was there already, queued or being brought.
    Already(JobId),
    /// It was brought since the caller looked.
    DoneMeanwhile(JobId),
}

impl Enqueued {
    /// The job that brings it.
    pub fn job(self) -> JobId {
        match self {
            Enqueued::New(id) | Enqueued::Already(id) | Enqueued::DoneMeanwhile(id) => id,
        }
    }
}

/// How a runner's work on a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// The study is here; so many instances were brought.
    Done {
        /// How many.
        fetched: u32,
    },
    /// This source did not give all of it: the next one is asked, and after the last one all of them again.
    Incomplete {
        /// How many instances were brought all the same.
        fetched: u32,
        /// Why, in words without patient data.
        detail: String,
    },
    /// It was interrupted, by no fault of the source.
    Interrupted,
}

/// How often and when all sources of a job are asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often.
    pub most: u32,
    /// How long after the first time; after each further one twice as long, up to an hour.
    pub after: Duration,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those in one of these states; empty means all.
    pub states: Vec<JobState>,
    /// Only those with one of these numbers.
    pub ids: Option<Vec<JobId>>,
}

/// How many jobs there are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Waiting for their turn.
    pub queued: u64,
    /// Being brought.
    pub running: u64,
    /// Given up.
    pub failed: u64,
}

impl Store {
    /// Puts priors into the queue, all in one transaction; `looked` is when the caller looked for them.
    pub fn enqueue_prefetch(
        &self,
        wanted: &[WantedPrior],
        looked: Timestamp,
    ) -> Result<Vec<Enqueued>, StoreError> {
        let transaction = self.begin_write()?;
        let enqueue = || {
            let enqueued = wanted.iter().map(|prior| enqueue(&transaction, prior, looked));
            let enqueued = enqueued.collect::<rusqlite::Result<_>>()?;
            let oldest = (Timestamp::now() - KEPT).as_microsecond();
            transaction
                .prepare_cached(
                    "DELETE FROM prefetch_job WHERE state IN ('done', 'failed') AND changed < ?1",
                )?
                .execute([oldest])?;
            Ok(enqueued)
        };
        let enqueued = enqueue();
        let enqueued = self.sqlite(enqueued)?;
        self.sqlite(transaction.commit())?;
        Ok(enqueued)
    }

    /// The next job that is due and whose source is read by fewer than `limit` others, now `runner`'s; `None` where
    /// there is none. Jobs of runners that have ended are in the queue again before.
    pub fn claim_prefetch(
        &self,
        runner: &PrefetchRunner,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<PrefetchJob>, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM prefetch_job WHERE state IN ('queued', 'running'))";
        if !self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))? {
            // A runner with nothing to do holds up no writer.
            return Ok(None);
        }
        let transaction = self.begin_write()?;
        let claim = || {
            self.free_abandoned(&transaction, now)?;
            let parameters = named_params! { ":now": now.as_microsecond(), ":limit": limit };
            let next: Option<JobId> = transaction
                .prepare_cached(NEXT)?
                .query_row(parameters, |row| row.get(0))
                .optional()?;
            let Some(id) = next else { return Ok(None) };
            let sql = format!(
                "UPDATE prefetch_job SET state = 'running', runner = :runner, changed = :now WHERE id = :id \
                 RETURNING {COLUMNS}"
            );
            let parameters = named_params! {
                ":id": id,
                ":runner": runner.name(),
                ":now": now.as_microsecond(),
            };
            transaction
                .prepare_cached(&sql)?
                .query_row(parameters, job)
                .map(Some)
        };
        let claimed = claim();
        let claimed = self.sqlite(claimed)?;
        self.sqlite(transaction.commit())?;
        Ok(claimed)
    }

    fn free_abandoned(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare_cached("SELECT DISTINCT runner FROM prefetch_job WHERE state = 'running'")?;
        let runners = statement.query_map([], |row| row.get(0))?;
        let runners: Vec<String> = runners.collect::<rusqlite::Result<_>>()?;
        for runner in runners.iter().filter(|runner| has_ended(&self.path, runner)) {
            let sql = "UPDATE prefetch_job SET state = 'queued', runner = NULL, next_try = ?2, changed = ?2 \
                WHERE runner = ?1";
            connection
                .prepare_cached(sql)?
                .execute((runner, now.as_microsecond()))?;
        }
        Ok(())
    }

    /// Tells how `runner`'s work on a job ended, and gives the job as it is then; `None` where it was taken from it.
    pub fn finish_prefetch(
        &self,
        runner: &PrefetchRunner,
        id: JobId,
        outcome: &JobOutcome,
        retries: Retries,
        now: Timestamp,
    ) -> Result<Option<PrefetchJob>, StoreError> {
        let transaction = self.begin_write()?;
        let finish = || {
            let sql = format!("SELECT {COLUMNS} FROM prefetch_job WHERE id = ?1 AND runner = ?2");
            let found = transaction.query_row(&sql, (id, runner.name()), job).optional()?;
            let Some(job) = found else { return Ok(None) };
            let job = after(job, outcome, retries, now);
            let place = job.wanted.sources.iter().position(|source| *source == job.source);
            let sql = "UPDATE prefetch_job SET state = :state, runner = NULL, source_place = :place, \
                attempts = :attempts, next_try = :next_try, fetched = :fetched, detail = :detail, changed = :now \
                WHERE id = :id";
            transaction.prepare_cached(sql)?.execute(named_params! {
                ":id": id,
                ":state": job.state.as_str(),
                ":place": place.unwrap_or_default(),
                ":attempts": job.attempts,
                ":next_try": job.next_try.as_microsecond(),
                ":fetched": job.fetched,
                ":detail": job.detail.as_deref().map(one_line),
                ":now": now.as_microsecond(),
            })?;
            Ok(Some(job))
        };
        let finished = finish();
        let finished = self.sqlite(finished)?;
        self.sqlite(transaction.commit())?;
        Ok(finished)
    }

    /// The jobs of the queue, in the order in which they came.
    pub fn prefetch_jobs(&self, filter: &JobFilter) -> Result<Vec<PrefetchJob>, StoreError> {
        let read = || {
            let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            let sql = format!(
                "SELECT {COLUMNS} FROM prefetch_job WHERE (:any_state OR state IN (SELECT value FROM json_each(:states))) \
                 AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids))) ORDER BY id"
            );
            let ids = filter.ids.as_ref().map(configuration::json).transpose()?;
            let mut statement = self.connection.prepare_cached(&sql)?;
            let parameters = named_params! {
                ":any_state": states.is_empty(),
                ":states": configuration::json(&states)?,
                ":ids": ids,
            };
            statement.query_map(parameters, job)?.collect()
        };
        self.sqlite(read())
    }

    /// How many jobs wait, are being brought, and were given up.
    pub fn prefetch_counts(&self) -> Result<JobCounts, StoreError> {
        let read = || {
            let sql = "SELECT state, count(*) FROM prefetch_job GROUP BY state";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut counts = JobCounts::default();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let count = row.get(1)?;
                match parsed(row, 0)? {
                    JobState::Queued => counts.queued = count,
                    JobState::Running => counts.running = count,
                    JobState::Failed => counts.failed = count,
                    JobState::Done => {}
                }
            }
            Ok(counts)
        };
        self.sqlite(read())
    }

    /// Puts jobs that were given up, or wait for a retry, into the queue for now; all of them where `ids` is `None`.
    pub fn retry_prefetch(&self, ids: Option<&[JobId]>) -> Result<usize, StoreError> {
        let sql = "UPDATE prefetch_job SET state = 'queued', attempts = 0, next_try = :now, changed = :now \
            WHERE (state = 'failed' OR state = 'queued' AND attempts > 0) \
            AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))";
        let now = Timestamp::now().as_microsecond();
        self.change_jobs(sql, ids, Some(now))
    }

    /// Takes jobs out of the queue, those not that are being brought; all that wait or were given up where `ids` is
    /// `None`.
    pub fn drop_prefetch(&self, ids: Option<&[JobId]>) -> Result<usize, StoreError> {
        let sql = "DELETE FROM prefetch_job WHERE CASE WHEN :ids IS NULL THEN state IN ('queued', 'failed') \
            ELSE state <> 'running' AND id IN (SELECT value FROM json_each(:ids)) END";
        self.change_jobs(sql, ids, None)
    }

    fn change_jobs(&self, sql: &str, ids: Option<&[JobId]>, now: Option<i64>) -> Result<usize, StoreError> {
        let transaction = self.begin_write()?;
        let change = || {
            let ids = ids.map(configuration::json).transpose()?;
            let mut statement = transaction.prepare(sql)?;
            match now {
                Some(now) => statement.execute(named_params! { ":ids": ids, ":now": now }),
                None => statement.execute(named_params! { ":ids": ids }),
            }
        };
        let changed = change();
        let changed = self.sqlite(changed)?;
        self.sqlite(transaction.commit())?;
        Ok(changed)
    }
}

fn enqueue(connection: &Connection, prior: &WantedPrior, looked: Timestamp) -> rusqlite::Result<Enqueued> {
    let sql =
        "SELECT id, state, changed FROM prefetch_job WHERE study_instance_uid = ?1 AND destination = ?2";
    let key = (prior.study_instance_uid.as_str(), prior.destination.as_str());
    let known = connection.prepare_cached(sql)?.query_row(key, |row| {
        Ok((
            row.get::<_, JobId>(0)?,
            parsed::<JobState>(row, 1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    match known.optional()? {
        Some((id, JobState::Queued | JobState::Running, _)) => return Ok(Enqueued::Already(id)),
        Some((id, JobState::Done, changed)) if changed >= looked.as_microsecond() => {
            return Ok(Enqueued::DoneMeanwhile(id));
        }
        _ => {}
    }
    let (issuer, inferred_from) = match &prior.patient_id.domain {
        IssuerDomain::Named(issuer) => (Some(issuer.as_str()), None),
        IssuerDomain::Inferred(station) => (None, Some(station.as_str())),
    };
    let parameters = named_params! {
        ":study": prior.study_instance_uid.as_str(),
        ":patient_id": prior.patient_id.id,
        ":issuer": issuer,
        ":inferred_from": inferred_from,
        ":destination": prior.destination.as_str(),
        ":sources": configuration::json(&prior.sources)?,
        ":instances": prior.instances,
        ":reason": prior.reason,
        ":wanted_for": prior.wanted_for.as_ref().map(|uid| uid.as_str()),
        ":now": Timestamp::now().as_microsecond(),
    };
    let id = connection
        .prepare_cached(ENQUEUE)?
        .query_row(parameters, |row| row.get(0))?;
    Ok(Enqueued::New(id))
}

/// The job after its runner's work ended so.
fn after(job: PrefetchJob, outcome: &JobOutcome, retries: Retries, now: Timestamp) -> PrefetchJob {
    let again = PrefetchJob {
        state: JobState::Queued,
        next_try: now,
        changed: now,
        ..job
    };
    match outcome {
        JobOutcome::Interrupted => again,
        JobOutcome::Done { fetched } => PrefetchJob {
            state: JobState::Done,
            fetched: again.fetched.saturating_add(*fetched),
            detail: None,
            ..again
        },
        JobOutcome::Incomplete { fetched, detail } => {
            let job = PrefetchJob {
                fetched: again.fetched.saturating_add(*fetched),
                detail: Some(detail.clone()),
                ..again
            };
            ask_next_source(job, retries, now)
        }
    }
}

fn ask_next_source(job: PrefetchJob, retries: Retries, now: Timestamp) -> PrefetchJob {
    let sources = &job.wanted.sources;
    let place = sources.iter().position(|source| *source == job.source);
    if let Some(next) = place.and_then(|place| sources.get(place + 1)) {
        return PrefetchJob {
            source: next.clone(),
            ..job
        };
    }
    let attempts = job.attempts.saturating_add(1);
    PrefetchJob {
        state: match attempts > retries.most {
            true => JobState::Failed,
            false => JobState::Queued,
        },
        source: sources.first().cloned().unwrap_or_else(|| job.source.clone()),
        next_try: now + backoff(retries.after, job.attempts),
        attempts,
        ..job
    }
}

/// Twice as long each time, up to an hour, and up to a fifth more by chance, so that jobs that failed together do not
/// come back together.
fn backoff(first: Duration, attempts: u32) -> Duration {
    let doubled = first.saturating_mul(1 << attempts.min(12));
    let chance = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    let within_hour = doubled.min(Duration::from_secs(3600));
    within_hour + within_hour / 5 * chance / 255
}

fn job(row: &Row<'_>) -> rusqlite::Result<PrefetchJob> {
    let domain = match optional(row, 3)? {
        Some(issuer) => IssuerDomain::Named(issuer),
        None => IssuerDomain::Inferred(parsed(row, 4)?),
    };
    let when =
        |column| Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error));
    Ok(PrefetchJob {
        id: row.get(0)?,
        wanted: WantedPrior {
            study_instance_uid: parsed(row, 1)?,
            patient_id: PatientId {
                id: row.get(2)?,
                domain,
            },
            destination: parsed(row, 5)?,
            sources: list(row, 6)?,
            instances: row.get(7)?,
            reason: row.get(8)?,
            wanted_for: optional(row, 9)?,
        },
        state: parsed(row, 10)?,
        source: parsed(row, 11)?,
        attempts: row.get(12)?,
        next_try: when(13)?,
        fetched: row.get(14)?,
        detail: row.get(15)?,
        created: when(16)?,
        changed: when(17)?,
    })
}

#[cfg(test)]
mod tests;
