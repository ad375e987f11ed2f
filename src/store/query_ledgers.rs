//! The ledgers of past linked queries, the CLI's and the service's.
//!
//! Invariant: they make no generation and no audit record, and the last of them may be lost in a power cut. Whoever
//! records one takes a few out that are older than `ledger.keep_days`, so that they never pile up and no query waits for
//! a long clean-up.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::configuration::{self, list, moment, parsed, unreadable};
use super::link_health::one_line;
use super::{Store, StoreError};
use crate::model::{Asker, LEDGER_KEEP_DAYS, LedgerEntry, LedgerId, QueryLedger, StationName, Told};

/// How many old ledgers are taken out for each that is recorded, at most: twice as many go as come.
const REMOVED_FOR_EACH: usize = 2;
/// How many more at each occasion.
const REMOVED_BESIDES: usize = 8;

const LEDGER_COLUMNS: &str = "id, at, user, ae_title, address, asked_as, generation, level, keywords, complete, \
    told_status, told_matches, elapsed_us";

const INSERT: &str = "INSERT INTO query_ledger (id, at, user, ae_title, address, asked_as, generation, level, keywords, \
    complete, told_status, told_matches, elapsed_us, has_failed) VALUES (:id, :at, :user, :ae_title, :address, :asked_as, \
    :generation, :level, :keywords, :complete, :told_status, :told_matches, :elapsed_us, :has_failed)";

const INSERT_ENTRY: &str = "INSERT INTO query_ledger_entry (ledger, place, station, outcome, was_due, matches, filtered, \
    dropped, elapsed_us, syntax, dicom_status, unverified_keys, retry_at, detail) VALUES (:ledger, :place, :station, \
    :outcome, :was_due, :matches, :filtered, :dropped, :elapsed_us, :syntax, :dicom_status, :unverified_keys, :retry_at, \
    :detail)";

const ENTRIES: &str = "SELECT station, outcome, was_due, matches, filtered, dropped, elapsed_us, syntax, dicom_status, \
    unverified_keys, retry_at, detail FROM query_ledger_entry WHERE ledger = ?1 ORDER BY place";

/// A caller's cancel is no fault of a station's.
const MISSING: &str = "SELECT station, count(*) FROM query_ledger_entry WHERE ledger >= ?1 AND was_due = 1 \
    AND outcome NOT IN ('searched', 'cancelled') GROUP BY station";

const PRUNE: &str = "DELETE FROM query_ledger WHERE id IN \
    (SELECT id FROM query_ledger WHERE id < ?1 ORDER BY id LIMIT ?2)";

/// Which ledgers to list.
#[derive(Debug, Clone, Default)]
pub struct LedgerFilter {
    /// Only queries that began at this moment or later.
    pub since: Option<Timestamp>,
    /// Only queries that began before this moment.
    pub until: Option<Timestamp>,
    /// Only those in which something went wrong.
    pub failed_only: bool,
    /// At most so many, the newest; `None` for all, which may be more than fits in memory.
    pub limit: Option<u32>,
}

impl Store {
    /// Records past queries, without waiting for the disk, all in one transaction.
    pub fn record_ledgers(&self, ledgers: &[QueryLedger]) -> Result<(), StoreError> {
        if ledgers.is_empty() {
            return Ok(());
        }
        self.write_without_sync(|connection| {
            ledgers.iter().try_for_each(|ledger| insert(connection, ledger))?;
            prune(connection, ledgers.len() * REMOVED_FOR_EACH + REMOVED_BESIDES)
        })
    }

    /// Past queries, newest first.
    pub fn ledgers(&self, filter: &LedgerFilter) -> Result<Vec<QueryLedger>, StoreError> {
        // A term that the index of the failed ones goes by; else the table itself is read, which is in the same order.
        let failed = if filter.failed_only {
            "AND has_failed = 1"
        } else {
            ""
        };
        let sql = format!(
            "SELECT {LEDGER_COLUMNS} FROM query_ledger WHERE id >= :since AND id < :until {failed} \
             ORDER BY id DESC LIMIT :limit"
        );
        let snapshot = self.begin_read()?;
        let read = || {
            let mut statement = snapshot.prepare_cached(&sql)?;
            let parameters = named_params! {
                ":since": filter.since.map(LedgerId::prefix).unwrap_or_default(),
                ":until": filter.until.map_or("g".to_owned(), LedgerId::prefix),
                ":limit": filter.limit.map_or(-1, i64::from),
            };
            let ledgers = statement.query_map(parameters, |row| with_entries(&snapshot, ledger(row)?))?;
            ledgers.collect()
        };
        self.sqlite(read())
    }

    /// For each station, in how many queries since then it should have answered and did not, or not fully.
    pub fn missing_answers(&self, since: Timestamp) -> Result<BTreeMap<StationName, u64>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(MISSING)?;
            let counts = statement.query_map([LedgerId::prefix(since)], |row| {
                Ok((parsed(row, 0)?, row.get(1)?))
            })?;
            counts.collect()
        };
        self.sqlite(read())
    }

    /// That past query; `None` where there is none, or none any more.
    pub fn ledger(&self, id: &LedgerId) -> Result<Option<QueryLedger>, StoreError> {
        let sql = format!("SELECT {LEDGER_COLUMNS} FROM query_ledger WHERE id = ?1");
        let snapshot = self.begin_read()?;
        let found = snapshot.query_row(&sql, [id.as_str()], |row| with_entries(&snapshot, ledger(row)?));
        self.sqlite(found.optional())
    }
}

fn insert(connection: &Connection, ledger: &QueryLedger) -> rusqlite::Result<()> {
    let (user, ae_title, address) = match &ledger.asker {
        Asker::User(name) => (Some(name.as_str()), None, None),
        Asker::Station { ae_title, address } => (None, Some(ae_title.as_str()), Some(address.to_string())),
    };
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":id": ledger.id.as_str(),
        ":at": ledger.at.as_microsecond(),
        ":user": user,
        ":ae_title": ae_title,
        ":address": address,
        ":asked_as": ledger.asked_as.as_str(),
        ":generation": ledger.generation,
        ":level": ledger.level.as_str(),
        ":keywords": configuration::json(&ledger.keywords)?,
        ":complete": ledger.complete,
        ":told_status": ledger.told.status,
        ":told_matches": ledger.told.matches,
        ":elapsed_us": micros(ledger.elapsed),
        ":has_failed": ledger.has_failed(),
    })?;
    let mut entries = ledger.entries.iter().enumerate();
    entries.try_for_each(|(place, entry)| insert_entry(connection, &ledger.id, place, entry))
}

fn insert_entry(
    connection: &Connection,
    id: &LedgerId,
    place: usize,
    entry: &LedgerEntry,
) -> rusqlite::Result<()> {
    let unverified_keys = match entry.unverified_keys.as_slice() {
        [] => None,
        keys => Some(configuration::json(keys)?),
    };
    connection.prepare_cached(INSERT_ENTRY)?.execute(named_params! {
        ":ledger": id.as_str(),
        ":place": place,
        ":station": entry.station.as_str(),
        ":outcome": entry.outcome.as_str(),
        ":was_due": entry.was_due,
        ":matches": entry.matches,
        ":filtered": entry.filtered,
        ":dropped": entry.dropped,
        ":elapsed_us": micros(entry.elapsed),
        ":syntax": entry.syntax,
        ":dicom_status": entry.dicom_status,
        ":unverified_keys": unverified_keys,
        ":retry_at": entry.retry_at.map(Timestamp::as_microsecond),
        ":detail": entry.detail.as_deref().map(one_line),
    })?;
    Ok(())
}

fn prune(connection: &Connection, most: usize) -> rusqlite::Result<()> {
    let days = configuration::read_settings(connection)?.count(LEDGER_KEEP_DAYS);
    let kept = SignedDuration::from_hours(24 * i64::try_from(days).unwrap_or(i64::from(u16::MAX)));
    let oldest = Timestamp::now()
        .checked_sub(kept)
        .unwrap_or(Timestamp::UNIX_EPOCH);
    connection
        .prepare_cached(PRUNE)?
        .execute((LedgerId::prefix(oldest), most))
        .map(drop)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn with_entries(connection: &Connection, ledger: QueryLedger) -> rusqlite::Result<QueryLedger> {
    let mut statement = connection.prepare_cached(ENTRIES)?;
    let entries = statement.query_map([ledger.id.as_str()], entry)?;
    Ok(QueryLedger {
        entries: entries.collect::<rusqlite::Result<_>>()?,
        ..ledger
    })
}

/// A ledger without its entries.
fn ledger(row: &Row<'_>) -> rusqlite::Result<QueryLedger> {
    let asker = match row.get::<_, Option<String>>(2)? {
        Some(user) => Asker::User(user),
        None => Asker::Station {
            ae_title: parsed(row, 3)?,
            address: row
                .get_ref(4)?
                .as_str()?
                .parse()
                .map_err(|error| unreadable(4, error))?,
        },
    };
    Ok(QueryLedger {
        id: parsed(row, 0)?,
        at: Timestamp::from_microsecond(row.get(1)?).map_err(|error| unreadable(1, error))?,
        asker,
        asked_as: parsed(row, 5)?,
        generation: row.get(6)?,
        level: parsed(row, 7)?,
        keywords: list(row, 8)?,
        entries: Vec::new(),
        complete: row.get(9)?,
        told: Told {
            status: row.get(10)?,
            matches: row.get(11)?,
        },
        elapsed: Duration::from_micros(row.get(12)?),
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<LedgerEntry> {
    let syntax: Option<String> = row.get(7)?;
    Ok(LedgerEntry {
        station: parsed(row, 0)?,
        outcome: parsed(row, 1)?,
        was_due: row.get(2)?,
        matches: row.get(3)?,
        filtered: row.get(4)?,
        dropped: row.get(5)?,
        elapsed: Duration::from_micros(row.get(6)?),
        syntax: match syntax.as_deref() {
            Some("linked") => Some("linked"),
            Some("dicom") => Some("dicom"),
            _ => None,
        },
        dicom_status: row.get(8)?,
        unverified_keys: match row.get_ref(9)?.as_str_or_null()? {
            Some(_) => list(row, 9)?,
            None => Vec::new(),
        },
        retry_at: moment(row, 10)?,
        detail: row.get(11)?,
        comment: None,
    })
}
