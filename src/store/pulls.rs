//! Objects that received updates name and that are still to be pulled: which are due, and what kept them from coming.
//!
//! Invariants: an update is due until all that it names is known to be here, or a person drops it; what went wrong meanwhile
//! is kept beside it. What is under review is not due before a person has acknowledged it. That one process at a time pulls
//! is for the holder of the [`PullLock`](super::PullLock) to keep.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::configuration::{moment, unreadable};
use super::link_health::one_line;
use super::update_log::{COLUMNS, audit_drop, logged_update};
use super::{LoggedUpdate, Store, StoreError};
use crate::audit::Attribution;
use crate::model::Uid;

/// An update whose new objects are still to be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePull {
    /// The update.
    pub logged: LoggedUpdate,
    /// Why it was not pulled; `None` where it was not tried yet.
    pub trouble: Option<PullTrouble>,
    /// Whether the study is under review: until a person acknowledges it, nothing is pulled.
    pub is_under_review: bool,
}

/// What kept objects from being pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullTrouble {
    /// How often it was tried in vain, since a person last had it tried again.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried next.
    pub next_try: Timestamp,
    /// Why, in words without patient data.
    pub reason: String,
}

/// How many pulls are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullCounts {
    /// In all.
    pub due: u64,
    /// Of those: tried in vain.
    pub failing: u64,
    /// Of those: under review.
    pub under_review: u64,
    /// Since when the oldest is due.
    pub oldest: Option<Timestamp>,
}

/// A cluster that passes an update on may have its objects only so much later.
const LATENESS: SignedDuration = SignedDuration::from_mins(10);

const FROM: &str = "FROM update_log u LEFT JOIN pull_trouble t ON t.update_sequence = u.sequence \
    WHERE u.pull = 'due' AND u.outcome = 'applied'";

const UNDER_REVIEW: &str =
    "EXISTS (SELECT 1 FROM review_notice r WHERE r.study = u.study AND r.acknowledged_at IS NULL)";

impl Store {
    /// What may be pulled now, of each study the oldest, the oldest first.
    pub fn next_pulls(&self, now: Timestamp, limit: usize) -> Result<Vec<DuePull>, StoreError> {
        let oldest = self.sqlite(self.oldest_of_studies(now, limit))?;
        let mut next = Vec::with_capacity(oldest.len());
        for sequence in oldest {
            next.extend(self.pulls(
                "AND u.sequence = :sequence",
                named_params! { ":sequence": sequence, ":limit": 1 },
            )?);
        }
        Ok(next)
    }

    /// Read in order until enough studies are met: however many updates of one wait, each is passed once.
    fn oldest_of_studies(&self, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<i64>> {
        let sql = format!(
            "SELECT u.sequence, u.study {FROM} AND coalesce(t.next_try, 0) <= ?1 AND NOT {UNDER_REVIEW} \
             ORDER BY u.sequence"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([now.as_microsecond()])?;
        let (mut studies, mut oldest) = (HashSet::new(), Vec::new());
        while let Some(row) = rows.next()?.filter(|_| oldest.len() < limit) {
            if studies.insert(row.get::<_, String>(1)?) {
                oldest.push(row.get(0)?);
            }
        }
        Ok(oldest)
    }

    /// What is due, the oldest first, at most `limit`; of all studies where none is named.
    pub fn due_pulls(&self, study: Option<&Uid>, limit: Option<u32>) -> Result<Vec<DuePull>, StoreError> {
        let which = "AND (:study IS NULL OR u.study = :study)";
        let limit = limit.map_or(-1, i64::from);
        self.pulls(
            which,
            named_params! { ":study": study.map(Uid::as_str), ":limit": limit },
        )
    }

    /// That update as one that is due; `None` where it is not.
    pub fn due_pull(&self, id: &Uid) -> Result<Option<DuePull>, StoreError> {
        let found = self.pulls(
            "AND u.id = :id",
            named_params! { ":id": id.as_str(), ":limit": 1 },
        )?;
        Ok(found.into_iter().next())
    }

    /// How many are due.
    pub fn pull_counts(&self) -> Result<PullCounts, StoreError> {
        let sql = format!("SELECT count(*), count(t.detail), total({UNDER_REVIEW}), min(u.at) {FROM}");
        let read = || {
            self.connection.prepare_cached(&sql)?.query_row([], |row| {
                Ok(PullCounts {
                    due: row.get(0)?,
                    failing: row.get(1)?,
                    under_review: row.get::<_, f64>(2)? as u64,
                    oldest: moment(row, 3)?,
                })
            })
        };
        self.sqlite(read())
    }

    /// Notes that nothing of that update is left to be pulled.
    pub fn pull_is_done(&self, id: &Uid) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let written = end(&transaction, id).and_then(|_| transaction.commit());
        self.sqlite(written)
    }

    /// Has it looked at again whether all is here that updates of a study name, those that came a short while before
    /// `listed` or after: what was listed then, and is brought, may lack it. To be called while the study is brought, and
    /// when it is here.
    pub fn pulls_are_due_again(&self, study: &Uid, listed: Timestamp) -> Result<(), StoreError> {
        let since = listed.checked_sub(LATENESS).unwrap_or(Timestamp::MIN);
        let transaction = self.begin_write()?;
        let written = transaction
            .execute(
                "UPDATE update_log SET pull = 'due' WHERE study = ?1 AND at >= ?2 AND pull = 'done' AND outcome = 'applied'",
                params![study.as_str(), since.as_microsecond()],
            )
            .and_then(|_| transaction.commit());
        self.sqlite(written)
    }

    /// Notes that it was tried in vain; it stays due.
    pub fn pull_failed(&self, id: &Uid, reason: &str, next_try: Timestamp) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let written = transaction
            .execute(
                "INSERT INTO pull_trouble (update_sequence, failures, since, next_try, detail) \
                 SELECT sequence, 1, ?2, ?3, ?4 FROM update_log WHERE id = ?1 AND pull = 'due' \
                 ON CONFLICT DO UPDATE SET failures = failures + 1, next_try = excluded.next_try, \
                 detail = excluded.detail",
                params![
                    id.as_str(),
                    Timestamp::now().as_microsecond(),
                    next_try.as_microsecond(),
                    one_line(reason)
                ],
            )
            .and_then(|_| transaction.commit());
        self.sqlite(written)
    }

    /// Has pulls tried again at once, all or that update's; how many had been tried in vain.
    pub fn retry_pulls(&self, id: Option<&Uid>) -> Result<usize, StoreError> {
        let transaction = self.begin_write()?;
        let written = transaction
            .execute(
                "UPDATE pull_trouble SET failures = 0, next_try = 0 WHERE ?1 IS NULL \
                 OR update_sequence = (SELECT sequence FROM update_log WHERE id = ?1)",
                [id.map(Uid::as_str)],
            )
            .and_then(|count| transaction.commit().map(|()| count));
        self.sqlite(written)
    }

    /// Gives up what is still to be pulled of an update. Whether anything was.
    pub fn drop_pull(&self, attribution: &Attribution, id: &Uid) -> Result<bool, StoreError> {
        let Some(due) = self.due_pull(id)? else {
            return Ok(false);
        };
        let transaction = self.begin_write()?;
        let dropped = || {
            if !end(&transaction, id)? {
                return Ok(false);
            }
            audit_drop(&transaction, &self.cluster_uid, attribution, &due.logged)?;
            Ok(true)
        };
        let dropped = dropped().and_then(|is_dropped| transaction.commit().map(|()| is_dropped));
        self.sqlite(dropped)
    }

    fn pulls(
        &self,
        which: &str,
        parameters: &[(&str, &dyn rusqlite::ToSql)],
    ) -> Result<Vec<DuePull>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, t.failures, t.since, t.next_try, t.detail, {UNDER_REVIEW} {FROM} {which} \
             ORDER BY u.sequence LIMIT :limit"
        );
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map(parameters, due_pull)?.collect()
        };
        self.sqlite(read())
    }
}

fn end(connection: &Connection, id: &Uid) -> rusqlite::Result<bool> {
    let sql = "UPDATE update_log SET pull = 'done' WHERE id = ?1 AND pull = 'due' RETURNING sequence";
    let ended: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    if let Some(sequence) = ended {
        connection
            .prepare_cached("DELETE FROM pull_trouble WHERE update_sequence = ?1")?
            .execute([sequence])?;
    }
    Ok(ended.is_some())
}

fn due_pull(row: &Row<'_>) -> rusqlite::Result<DuePull> {
    let time =
        |column| Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error));
    let failures: Option<u32> = row.get(4)?;
    let trouble = failures.map(|failures| {
        Ok::<_, rusqlite::Error>(PullTrouble {
            failures,
            since: time(5)?,
            next_try: time(6)?,
            reason: row.get(7)?,
        })
    });
    Ok(DuePull {
        logged: logged_update(row)?,
        trouble: trouble.transpose()?,
        is_under_review: row.get(8)?,
    })
}
