//! The log of updates: what came, and what waits to be looked at. Which new objects are still to be pulled is `pulls`'.
//!
//! Invariant: the log is written by `updates` alone; here it is read, and what waits in it is brought to an end.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::configuration::{optional, unreadable};
use super::outbox::body;
use super::{Store, StoreError, audit_log};
use crate::audit::{Attribution, Event, UpdateAct, UpdateRecord};
use crate::model::{StationName, Uid, Update};

/// An update in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedUpdate {
    /// The update.
    pub update: Update,
    /// When it was made here, or came.
    pub at: Timestamp,
    /// The station that sent it; `None` where it was made here.
    pub from: Option<StationName>,
    /// Why it is parked; `None` where it is applied.
    pub parked: Option<String>,
}

pub(super) const COLUMNS: &str =
    "at, from_station, iif(outcome = 'parked', coalesce(reason, ''), NULL), body";

impl Store {
    /// Received updates that are parked: kept and not applied. Oldest first.
    pub fn parked_updates(&self) -> Result<Vec<LoggedUpdate>, StoreError> {
        self.logged("outcome = 'parked' ORDER BY sequence LIMIT ?1", &i64::MAX)
    }

    /// The updates of that study, newest first, those that were dropped left out.
    pub fn logged_updates(&self, study: &Uid) -> Result<Vec<LoggedUpdate>, StoreError> {
        self.logged(
            "study = ?1 AND outcome <> 'dropped' ORDER BY sequence DESC",
            &study.as_str(),
        )
    }

    /// That update, where the log has it and it was not dropped.
    pub fn logged_update(&self, id: &Uid) -> Result<Option<LoggedUpdate>, StoreError> {
        let found = self.logged("id = ?1 AND outcome <> 'dropped'", &id.as_str())?;
        Ok(found.into_iter().next())
    }

    /// Drops a parked update for good: it is not applied, also when it comes again. Whether there was one.
    pub fn drop_parked(&self, attribution: &Attribution, id: &Uid) -> Result<bool, StoreError> {
        let Some(logged) = self.logged_update(id)?.filter(|logged| logged.parked.is_some()) else {
            return Ok(false);
        };
        let transaction = self.begin_write()?;
        let written = drop_one(&transaction, &self.cluster_uid, attribution, &logged)
            .and_then(|is_dropped| transaction.commit().map(|()| is_dropped));
        self.sqlite(written)
    }

    fn logged(&self, which: &str, key: &dyn rusqlite::ToSql) -> Result<Vec<LoggedUpdate>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM update_log WHERE {which}");
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map(params![key], logged_update)?.collect()
        };
        self.sqlite(read())
    }
}

fn drop_one(
    connection: &Connection,
    cluster: &Uid,
    attribution: &Attribution,
    logged: &LoggedUpdate,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE update_log SET outcome = 'dropped', pull = NULL WHERE id = ?1 AND outcome = 'parked'";
    if connection.execute(sql, [logged.update.id.as_str()])? == 0 {
        return Ok(false);
    }
    audit_drop(connection, cluster, attribution, logged)?;
    Ok(true)
}

pub(super) fn audit_drop(
    connection: &Connection,
    cluster: &Uid,
    attribution: &Attribution,
    LoggedUpdate { update, from, .. }: &LoggedUpdate,
) -> rusqlite::Result<()> {
    let event = Event::Update(UpdateRecord {
        act: UpdateAct::Dropped,
        update: update.id.clone(),
        study: update.study.clone(),
        from: from.clone(),
        not_to: None,
        changed: update.changes.iter().map(|change| change.field).collect(),
    });
    audit_log::append(connection, cluster, attribution, &event)
}

pub(super) fn logged_update(row: &Row<'_>) -> rusqlite::Result<LoggedUpdate> {
    Ok(LoggedUpdate {
        at: Timestamp::from_microsecond(row.get(0)?).map_err(|error| unreadable(0, error))?,
        from: optional(row, 1)?,
        parked: row.get(2)?,
        update: body(row, 3)?,
    })
}
