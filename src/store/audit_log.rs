//! The audit's table: records are appended and listed, never changed.
//!
//! Invariant: what is appended follows the record that is last in the same transaction. How records are chained is
//! `audit`'s; whether they are whole, `audit_verification`'s.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::configuration::unreadable;
use super::{Store, StoreError, configuration};
use crate::audit::{Attribution, AuditRecord, Disclosure, Event, EventKind, Hash};
use crate::model::Uid;

/// The columns that [`record`] reads, in its order.
pub(super) const RECORD_COLUMNS: &str =
    "sequence, at, user, uid, real_user, command, reason, kind, generation, detail, previous_hash, hash";

/// Which records to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only those made at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those of this kind.
    pub kind: Option<EventKind>,
    /// Only those before this place in the chain: how to go on after a first page.
    pub before: Option<u64>,
    /// At most so many, the newest; `None` for all, which may be more than fits in memory.
    pub limit: Option<u32>,
}

impl Store {
    /// The audit's records, newest first.
    pub fn audit_records(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let sql = format!(
            "SELECT {RECORD_COLUMNS} FROM audit WHERE at >= :since AND sequence < :before \
             AND kind = coalesce(:kind, kind) ORDER BY sequence DESC LIMIT :limit"
        );
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let parameters = named_params! {
                ":since": filter.since.map_or(i64::MIN, Timestamp::as_microsecond),
                ":before": filter.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX)),
                ":kind": filter.kind.map(EventKind::as_str),
                ":limit": filter.limit.map_or(-1, i64::from),
            };
            statement.query_map(parameters, record)?.collect()
        };
        self.sqlite(read())
    }

    /// Records that patient data were asked for. It makes no generation, and does not wait for the disk: a power cut may
    /// take the last of these records, and the chain is whole without them.
    pub fn record_disclosure(
        &self,
        attribution: &Attribution,
        disclosure: &Disclosure,
    ) -> Result<(), StoreError> {
        let event = Event::Disclosure(disclosure.clone());
        self.write_without_sync(|connection| append(connection, &self.cluster_uid, attribution, &event))
    }
}

/// Appends the record of `event` to the chain.
pub(super) fn append(
    connection: &Connection,
    cluster_uid: &Uid,
    attribution: &Attribution,
    event: &Event,
) -> rusqlite::Result<()> {
    let last = connection
        .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, u64>(0)?, hash(row, 1)?)))
        .optional()?;
    let (sequence, previous_hash) = match last {
        Some((sequence, hash)) => (sequence + 1, hash),
        None => (1, Hash::genesis(cluster_uid)),
    };
    let record = AuditRecord::seal(
        sequence,
        Timestamp::now(),
        attribution.clone(),
        event,
        previous_hash,
    )
    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    insert(connection, &record)?;
    // By this the cut end of the chain is found, of whatever kind it was.
    let sql = "INSERT INTO audit_head (kind, records, hash) VALUES (?1, 1, ?2) \
        ON CONFLICT DO UPDATE SET records = records + 1, hash = excluded.hash";
    let head = rusqlite::params![record.kind.as_str(), record.hash.as_bytes()];
    connection.prepare_cached(sql)?.execute(head).map(drop)
}

fn insert(connection: &Connection, record: &AuditRecord) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO audit ({RECORD_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    let attribution = &record.attribution;
    connection.prepare_cached(&sql)?.execute(rusqlite::params![
        record.sequence,
        record.at.as_microsecond(),
        attribution.user,
        attribution.uid,
        attribution.real_user,
        attribution.command,
        attribution.reason,
        record.kind.as_str(),
        record.generation,
        record.detail,
        record.previous_hash.as_bytes(),
        record.hash.as_bytes(),
    ])?;
    Ok(())
}

/// Reads one record.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let at = Timestamp::from_microsecond(row.get(1)?).map_err(|error| unreadable(1, error))?;
    Ok(AuditRecord {
        sequence: row.get(0)?,
        at,
        attribution: Attribution {
            user: row.get(2)?,
            uid: row.get(3)?,
            real_user: row.get(4)?,
            command: row.get(5)?,
            reason: row.get(6)?,
        },
        kind: configuration::word(row, 7)?,
        generation: row.get(8)?,
        detail: row.get(9)?,
        previous_hash: hash(row, 10)?,
        hash: hash(row, 11)?,
    })
}

pub(super) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    row.get::<_, [u8; 32]>(column).map(Hash::from)
}
