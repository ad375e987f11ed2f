//! The outbox: which update is to be sent to which station, and what became of it.
//!
//! Invariants: rows are made in the transaction of their update, in the order in which updates are made. To one station
//! the updates of one study go in that order: none is due while an earlier one waits to be tried again. A row that was
//! refused for good is parked, and holds up nothing. When a whole station is to rest, its rows don't change: that is for
//! the sender to keep.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params, params};
use serde::Serialize;

use super::configuration::{parsed, unreadable, word};
use super::link_health::one_line;
use super::{Store, StoreError, audit_log};
use crate::audit::{Attribution, Event, UpdateAct, UpdateRecord};
use crate::model::{Change, StationName, Subject, Uid, Update};

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// It is to be sent.
    Queued,
    /// The station has committed it.
    Delivered,
    /// The station has refused it for good, and a person has to look.
    Parked,
}

impl OutboxState {
    /// The word: `queued`, `delivered`, `parked`.
    pub fn as_str(self) -> &'static str {
        match self {
            OutboxState::Queued => "queued",
            OutboxState::Delivered => "delivered",
            OutboxState::Parked => "parked",
        }
    }
}

/// An update that is due to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// How often it was tried before.
    pub attempts: u32,
    /// The update.
    pub update: Update,
}

/// What became of an attempt to send a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The station has committed it.
    Delivered,
    /// It is to be tried again.
    TryAgain {
        /// Not before this moment.
        at: Timestamp,
        /// Why it did not go, in words that hold no patient data.
        reason: String,
    },
    /// The station has refused it for good.
    Refused {
        /// Why, in words that hold no patient data.
        reason: String,
    },
}

/// A row as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// The station it goes to.
    pub station: StationName,
    /// What became of it.
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, where it is queued.
    pub next_try: Timestamp,
    /// When it came to be as it is.
    pub changed_at: Timestamp,
    /// Why it was not delivered.
    pub reason: Option<String>,
    /// The update.
    pub update: Update,
}

/// Which rows are meant; what is `None` leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFilter {
    /// Those to this station.
    pub station: Option<StationName>,
    /// Those of this study.
    pub study: Option<Uid>,
    /// Those of this update.
    pub update: Option<Uid>,
    /// Those in this state.
    pub state: Option<OutboxState>,
}

/// How many updates wait for a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLength {
    /// To be sent.
    pub queued: u64,
    /// Refused for good.
    pub parked: u64,
    /// Since when the oldest of the queued ones waits.
    pub oldest: Option<Timestamp>,
}

const DUE: &str = "SELECT o.attempts, u.body FROM outbox o \
    JOIN update_log u ON u.sequence = o.update_sequence \
    WHERE o.station = ?1 AND o.state = 'queued' AND o.next_try <= ?2 AND NOT EXISTS \
    (SELECT 1 FROM outbox w WHERE w.station = o.station AND w.study = o.study AND w.state = 'queued' \
    AND w.next_try > ?2 AND w.sequence < o.sequence) ORDER BY o.sequence LIMIT ?3";

const MEANT: &str = "(:station IS NULL OR station = :station) AND (:study IS NULL OR outbox.study = :study) \
    AND (:state IS NULL OR state = :state) \
    AND (:update IS NULL OR update_sequence = (SELECT sequence FROM update_log WHERE id = :update))";

impl Store {
    /// The updates that are due to that station now, in the order in which they are to be sent.
    pub fn due_updates(
        &self,
        station: &StationName,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(DUE)?;
            let due = statement.query_map(params![station.as_str(), now.as_microsecond(), limit], |row| {
                Ok(Due {
                    attempts: row.get(0)?,
                    update: body(row, 1)?,
                })
            })?;
            due.collect()
        };
        self.sqlite(read())
    }

    /// Keeps what became of attempts to send updates to that station, all in one transaction. A row that is gone is passed
    /// over: by its update it is known, since SQLite gives the number of a row that is gone to another one.
    pub fn settle_outbox(&self, station: &StationName, settled: &[(Uid, Settled)]) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let now = Timestamp::now();
        let written = settled
            .iter()
            .try_for_each(|(update, settled)| settle(&transaction, station, update, settled, now))
            .and_then(|()| transaction.commit());
        self.sqlite(written)
    }

    /// How many updates wait for each station; stations for which none does are not among them.
    pub fn queue_lengths(&self) -> Result<BTreeMap<StationName, QueueLength>, StoreError> {
        let read = || -> rusqlite::Result<BTreeMap<StationName, QueueLength>> {
            let mut lengths: BTreeMap<StationName, QueueLength> = BTreeMap::new();
            let sql = "SELECT station, count(*), min(changed_at) FROM outbox WHERE state = 'queued' GROUP BY station";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let length = lengths.entry(parsed(row, 0)?).or_default();
                length.queued = row.get(1)?;
                length.oldest = super::configuration::moment(row, 2)?;
            }
            let sql = "SELECT station, count(*) FROM outbox WHERE state = 'parked' GROUP BY station";
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                lengths.entry(parsed(row, 0)?).or_default().parked = row.get(1)?;
            }
            Ok(lengths)
        };
        self.sqlite(read())
    }

    /// The rows that are meant, newest first, at most `limit`.
    pub fn outbox(&self, filter: &OutboxFilter, limit: Option<u32>) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = format!(
            "SELECT station, state, attempts, next_try, changed_at, outbox.reason, body FROM outbox \
             JOIN update_log ON update_log.sequence = update_sequence WHERE {MEANT} \
             ORDER BY outbox.sequence DESC LIMIT :limit"
        );
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(
                named_params! {
                    ":station": filter.station.as_ref().map(StationName::as_str),
                    ":study": filter.study.as_ref().map(Uid::as_str),
                    ":state": filter.state.map(OutboxState::as_str),
                    ":update": filter.update.as_ref().map(Uid::as_str),
                    ":limit": limit.map_or(-1, i64::from),
                },
                outbox_row,
            )?;
            rows.collect()
        };
        self.sqlite(read())
    }

    /// Has the rows that are meant, and not delivered, tried at once, those that were parked too; how many there were.
    pub fn retry_outbox(&self, filter: &OutboxFilter) -> Result<usize, StoreError> {
        self.change_outbox(
            "UPDATE outbox SET state = 'queued', attempts = 0, next_try = :now, changed_at = :now, reason = NULL \
             WHERE state <> 'delivered' AND",
            filter,
        )
    }

    /// Takes out the rows that are meant, and not delivered: they will not be sent. How many there were.
    pub fn drop_outbox(&self, by: &Attribution, filter: &OutboxFilter) -> Result<usize, StoreError> {
        let rows = self.outbox(filter, None)?;
        let meant = rows.iter().filter(|row| row.state != OutboxState::Delivered);
        let transaction = self.begin_write()?;
        let dropped = meant
            .map(|row| drop_row(&transaction, &self.cluster_uid, by, row))
            .sum::<rusqlite::Result<usize>>()
            .and_then(|count| transaction.commit().map(|()| count));
        self.sqlite(dropped)
    }

    fn change_outbox(&self, change: &str, filter: &OutboxFilter) -> Result<usize, StoreError> {
        let transaction = self.begin_write()?;
        let changed = transaction
            .execute(
                &format!("{change} {MEANT}"),
                named_params! {
                    ":now": Timestamp::now().as_microsecond(),
                    ":station": filter.station.as_ref().map(StationName::as_str),
                    ":study": filter.study.as_ref().map(Uid::as_str),
                    ":state": filter.state.map(OutboxState::as_str),
                    ":update": filter.update.as_ref().map(Uid::as_str),
                },
            )
            .and_then(|count| transaction.commit().map(|()| count));
        self.sqlite(changed)
    }
}

/// Puts an update into the queue of a station.
pub(super) fn enqueue(
    connection: &Connection,
    station: &StationName,
    update: i64,
    study: &Uid,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO outbox (station, update_sequence, study, state, next_try, changed_at) \
             VALUES (?1, ?2, ?3, 'queued', ?4, ?4)",
        )?
        .execute(params![
            station.as_str(),
            update,
            study.as_str(),
            now.as_microsecond()
        ])
        .map(drop)
}

/// Has the queues follow stations that were renamed, and ends those of stations that were removed.
pub(super) fn follow(connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
    for change in changes {
        let Subject::Station(name) = &change.subject else {
            continue;
        };
        match (change.field.as_deref(), change.before.as_str()) {
            (Some("name"), Some(former)) => {
                connection.execute(
                    "UPDATE outbox SET station = ?2 WHERE station = ?1",
                    [former, name],
                )?;
            }
            (None, _) if change.after.is_null() => {
                connection.execute(
                    "DELETE FROM outbox WHERE station = ?1 AND state <> 'delivered'",
                    [name],
                )?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// An update, as the log has it.
pub(super) fn body(row: &Row<'_>, column: usize) -> rusqlite::Result<Update> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

fn drop_row(
    connection: &Connection,
    cluster: &Uid,
    by: &Attribution,
    row: &OutboxRow,
) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM outbox WHERE station = ?1 AND state <> 'delivered' \
        AND update_sequence = (SELECT sequence FROM update_log WHERE id = ?2)";
    let mut statement = connection.prepare_cached(sql)?;
    let count = statement.execute(params![row.station.as_str(), row.update.id.as_str()])?;
    if count > 0 {
        let event = Event::Update(UpdateRecord {
            act: UpdateAct::Dropped,
            update: row.update.id.clone(),
            study: row.update.study.clone(),
            from: None,
            not_to: Some(row.station.clone()),
            changed: row.update.changes.iter().map(|change| change.field).collect(),
        });
        audit_log::append(connection, cluster, by, &event)?;
    }
    Ok(count)
}

fn settle(
    connection: &Connection,
    station: &StationName,
    update: &Uid,
    settled: &Settled,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (state, next_try, reason) = match settled {
        Settled::Delivered => (OutboxState::Delivered, now, None),
        Settled::TryAgain { at, reason } => (OutboxState::Queued, *at, Some(one_line(reason))),
        Settled::Refused { reason } => (OutboxState::Parked, now, Some(one_line(reason))),
    };
    connection
        .prepare_cached(
            "UPDATE outbox SET state = ?2, attempts = attempts + 1, next_try = ?3, reason = ?4, \
             changed_at = iif(?2 = 'queued', changed_at, ?5) WHERE station = ?1 AND state <> 'delivered' \
             AND update_sequence = (SELECT sequence FROM update_log WHERE id = ?6)",
        )?
        .execute(params![
            station.as_str(),
            state.as_str(),
            next_try.as_microsecond(),
            reason,
            now.as_microsecond(),
            update.as_str()
        ])
        .map(drop)
}

fn outbox_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    let moment =
        |column| Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error));
    Ok(OutboxRow {
        station: parsed(row, 0)?,
        state: word(row, 1)?,
        attempts: row.get(2)?,
        next_try: moment(3)?,
        changed_at: moment(4)?,
        reason: row.get(5)?,
        update: body(row, 6)?,
    })
}
