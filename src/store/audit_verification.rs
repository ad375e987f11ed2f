//! Whether the audit is whole: its chain is followed, its counts are compared, and the configuration that its records
//! yield is compared with the tables.
//!
//! Invariant: a row of the audit or of the configuration that was changed, removed, inserted or exchanged outside
//! impaxlink is named. Who makes the whole chain anew, with its counts, is found out by a hash noted elsewhere alone.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::audit_log::{RECORD_COLUMNS, hash, record};
use super::documents::Documents;
use super::{Store, StoreError, configuration};
use crate::audit::{AuditRecord, Event, EventKind, Hash};
use crate::model::{Change, Configuration, Generation, Uid, changes};

/// A chain that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many records it has.
    pub records: u64,
    /// The hash of the last one, or the genesis value; worth noting elsewhere, for a later `--expect`.
    pub head: Hash,
    /// The records of each kind, in order of the kinds' names.
    pub kinds: Vec<KindHead>,
}

/// The records of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindHead {
    /// The kind.
    pub kind: EventKind,
    /// How many records of it there are.
    pub records: u64,
    /// The hash of the last one.
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
    /// Records were counted when they were made, and there are fewer or others now.
    #[error(
        "the end of the chain was cut or replaced: {counted} {kind} records were made, {found} are there"
    )]
    Cut {
        /// The kind, as a word.
        kind: String,
        /// How many were made.
        counted: u64,
        /// How many there are.
        found: u64,
    },
    /// The tables hold another configuration than the records yield.
    #[error("the tables were changed outside impaxlink: {0}")]
    Tables(String),
    /// The changes that a record lists can't be made to what the records before it yield.
    #[error("its changes can't be read: {0}")]
    Unreadable(String),
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
    /// Follows the whole chain, in memory that does not grow with it. With `expect`, a hash noted earlier must be that of
    /// a record (or the genesis value): so a chain that was cut before it or made anew is found out. The tables of the
    /// configuration must hold what the records yield.
    pub fn verify_audit(&self, expect: Option<&Hash>) -> Result<Verification, VerifyError> {
        let snapshot = self.begin_read()?;
        let verified = verify(&snapshot, &self.cluster_uid, expect);
        Ok(self.sqlite(verified)??)
    }
}

fn verify(
    connection: &Connection,
    cluster_uid: &Uid,
    expect: Option<&Hash>,
) -> rusqlite::Result<Result<Verification, Broken>> {
    let mut chain = Chain::new(Hash::genesis(cluster_uid), expect)?;
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
    let sequence = chain.records + 1;
    let broken = |what| Ok(Err(Broken { sequence, what }));
    if let Some(what) = chain.end(saved, &counted(connection)?) {
        return broken(what);
    }
    let Chain {
        records,
        head,
        kinds,
        documents,
        ..
    } = chain;
    let recorded = match documents.into_configuration(saved) {
        Ok(recorded) => recorded,
        Err(error) => return broken(Break::Unreadable(cause(&error))),
    };
    let tables = match configuration::read(connection) {
        Ok(tables) => tables,
        Err(error @ rusqlite::Error::SqliteFailure(..)) => return Err(error),
        Err(error) => return broken(Break::Tables(cause(&error))),
    };
    if let Some(what) = difference(&recorded, &tables) {
        return broken(what);
    }
    let kinds = kinds.into_values().collect();
    Ok(Ok(Verification { records, head, kinds }))
}

/// How many records of each kind were made, and the hash of the last one.
fn counted(connection: &Connection) -> rusqlite::Result<BTreeMap<String, (u64, Hash)>> {
    let mut statement = connection.prepare("SELECT kind, records, hash FROM audit_head")?;
    let heads = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, hash(row, 2)?))))?;
    heads.collect()
}

/// The rows by which the tables differ from what was recorded.
fn difference(recorded: &Configuration, tables: &Configuration) -> Option<Break> {
    let named = |change: &Change| {
        let field = match change.field.as_deref() {
            None | Some("value") => String::new(),
            Some(field) => format!(" {field}"),
        };
        let whole = field.is_empty();
        match (&change.before, &change.after) {
            (_, Value::Null) if whole => format!("{} is missing", change.subject),
            (Value::Null, _) if whole => format!("{} is in no record", change.subject),
            (before, after) => format!("{}{field} is {after}, recorded is {before}", change.subject),
        }
    };
    let differences: Vec<String> = changes(recorded, tables).iter().map(named).collect();
    (!differences.is_empty()).then(|| Break::Tables(differences.join("; ")))
}

fn cause(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, cause) => cause.to_string(),
        error => error.to_string(),
    }
}

/// How far a chain was followed, and what its records yield.
struct Chain<'a> {
    records: u64,
    head: Hash,
    generation: Generation,
    kinds: BTreeMap<&'static str, KindHead>,
    documents: Documents,
    expect: Option<&'a Hash>,
}

impl<'a> Chain<'a> {
    fn new(genesis: Hash, expect: Option<&'a Hash>) -> rusqlite::Result<Self> {
        Ok(Chain {
            records: 0,
            head: genesis,
            generation: 0,
            kinds: BTreeMap::new(),
            documents: Documents::of(Configuration::default())?,
            expect: expect.filter(|hash| **hash != genesis),
        })
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
        self.apply(&record)?;
        self.records = record.sequence;
        self.head = record.hash;
        self.generation = record.generation.unwrap_or(self.generation);
        self.expect = self.expect.filter(|hash| **hash != self.head);
        let of_kind = self.kinds.entry(record.kind.as_str()).or_insert(KindHead {
            kind: record.kind,
            records: 0,
            head: record.hash,
        });
        of_kind.records += 1;
        of_kind.head = record.hash;
        Ok(())
    }

    /// Makes the changes that the record lists.
    fn apply(&mut self, record: &AuditRecord) -> Result<(), Break> {
        if record.kind != EventKind::Configuration {
            return Ok(());
        }
        match record.event() {
            Ok(Event::Configuration { changes, .. }) => {
                let applied = self.documents.apply(changes);
                applied.map_err(|error| Break::Unreadable(cause(&error)))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Break::Unreadable(error.to_string())),
        }
    }

    /// What is wrong with where the chain ends, where something is.
    fn end(&self, saved: Generation, counted: &BTreeMap<String, (u64, Hash)>) -> Option<Break> {
        if let Some(hash) = self.expect {
            return Some(Break::Unexpected(*hash));
        }
        if self.generation != saved {
            return Some(Break::Ends {
                recorded: self.generation,
                saved,
            });
        }
        let found = |kind: &str| {
            self.kinds
                .get(kind)
                .map(|of_kind| (of_kind.records, of_kind.head))
        };
        let kinds = counted
            .keys()
            .map(String::as_str)
            .chain(self.kinds.keys().copied());
        let mut wrong = kinds.filter(|kind| counted.get(*kind).copied() != found(kind));
        let kind = wrong.next()?;
        Some(Break::Cut {
            counted: counted.get(kind).map_or(0, |(records, _)| *records),
            found: found(kind).map_or(0, |(records, _)| records),
            kind: kind.to_owned(),
        })
    }
}
