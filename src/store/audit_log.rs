//! The audit's table: records are appended, listed and verified, never changed.
//!
//! Invariant: what is appended follows the record that is last in the same transaction. How records are chained is
//! `audit`'s.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::configuration::unreadable;
use super::{Store, StoreError, configuration};
use crate::audit::{Attribution, AuditRecord, Disclosure, Event, EventKind, Hash};
use crate::model::{Generation, Uid};

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

/// A chain that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many records it has.
    pub records: u64,
    /// The hash of the last one, or the genesis value; worth noting elsewhere, for a later `--expect`.
    pub head: Hash,
}

/// Where the chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit record {sequence}: {what}")]
pub struct Broken {
    /// The first place at which it shows.
    pub sequence: u64,
    /// How.
    pub what: Break,
}

/// How a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The record is not what its hash was made of.
    #[error("it was edited")]
    Edited,
    /// The place in the chain is empty, and later ones are not.
    #[error("it was removed")]
    Removed,
    /// It does not follow the record that is before it now.
    #[error("it does not follow the record before it: one was removed, inserted or replaced there")]
    Detached,
    /// The newest generation has no record, or one that was never saved has.
    #[error("the records end with generation {recorded}, the configuration is of generation {saved}")]
    Ends {
        /// The last generation that has a record.
        recorded: Generation,
        /// The generation of the configuration.
        saved: Generation,
    },
    /// The hash that was noted earlier is not in the chain.
    #[error("no record has the expected hash {0}: the chain was cut or made anew")]
    Unexpected(Hash),
}

/// Why the chain was not found whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
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

    /// Follows the whole chain, in memory that does not grow with it. With `expect`, a hash noted earlier must be that of
    /// a record (or the genesis value): so a chain that was cut before it or made anew is found out.
    pub fn verify_audit(&self, expect: Option<&Hash>) -> Result<Verification, VerifyError> {
        let snapshot = self.begin_read()?;
        let verified = follow(&snapshot, &self.cluster_uid, expect);
        Ok(self.sqlite(verified)??)
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
    insert(connection, &record)
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

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    row.get::<_, [u8; 32]>(column).map(Hash::from)
}

fn follow(
    connection: &Connection,
    cluster_uid: &Uid,
    expect: Option<&Hash>,
) -> rusqlite::Result<Result<Verification, Broken>> {
    let mut chain = Chain::new(Hash::genesis(cluster_uid), expect);
    let mut statement =
        connection.prepare(&format!("SELECT {RECORD_COLUMNS} FROM audit ORDER BY sequence"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(what) = chain.follow(row) {
            let sequence = chain.records + 1;
            return Ok(Err(Broken { sequence, what }));
        }
    }
    let saved = configuration::read_generation(connection)?;
    Ok(chain.end(saved))
}

/// How far a chain was followed.
struct Chain<'a> {
    records: u64,
    head: Hash,
    generation: Generation,
    expect: Option<&'a Hash>,
}

impl<'a> Chain<'a> {
    fn new(genesis: Hash, expect: Option<&'a Hash>) -> Self {
        Chain {
            records: 0,
            head: genesis,
            generation: 0,
            expect: expect.filter(|hash| **hash != genesis),
        }
    }

    fn follow(&mut self, row: &Row<'_>) -> Result<(), Break> {
        if row.get::<_, u64>(0).map_err(|_| Break::Edited)? != self.records + 1 {
            return Err(Break::Removed);
        }
        let record = record(row).map_err(|_| Break::Edited)?;
        if record.computed_hash() != record.hash {
            return Err(Break::Edited);
        }
        if record.previous_hash != self.head {
            return Err(Break::Detached);
        }
        self.records = record.sequence;
        self.head = record.hash;
        self.generation = record.generation.unwrap_or(self.generation);
        self.expect = self.expect.filter(|hash| **hash != self.head);
        Ok(())
    }

    fn end(self, saved: Generation) -> Result<Verification, Broken> {
        let what = match self.expect {
            Some(hash) => Break::Unexpected(*hash),
            None if self.generation != saved => Break::Ends {
                recorded: self.generation,
                saved,
            },
            None => {
                return Ok(Verification {
                    records: self.records,
                    head: self.head,
                });
            }
        };
        Err(Broken {
            sequence: self.records + 1,
            what,
        })
    }
}
