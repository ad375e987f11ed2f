//! The SQLite store: configuration, its history, the audit, the health of links, the ledgers of past queries, the queue
//! of priors to be brought, where copies came from, the cross-reference of patients, the states of studies and the
//! updates that made them, what archives were last seen to hold, study UIDs found with two patients, and messages of HL7.
//!
//! Invariants: one write transaction carries a change, its audit record and the new generation, or none of them. What a
//! reader gets is one generation, whole. The newest configuration is kept as rows; older ones are reconstructed from
//! the recorded changes. The archive's index is not here: it is large, and `archive`'s own.
//!
//! Start reading at [`Store::open`], then `save`.

mod aside_decisions;
mod audit_log;
mod audit_verification;
mod configuration;
mod connection;
mod copies;
mod creation;
mod cross_reference;
mod documents;
mod error;
mod expected_objects;
mod held_files;
mod held_store;
mod history;
mod hl7_messages;
mod link_health;
mod lock;
mod mapping_table;
mod outbox;
mod ownership;
mod patience;
mod polled;
mod prefetch_jobs;
mod prefetch_rule_table;
mod prefetch_runner;
mod pulls;
mod query_ledgers;
mod relay_peers;
mod review_notices;
mod save;
mod schema;
mod shared;
mod station_table;
mod study_conflicts;
mod study_state;
mod update_clock;
mod update_log;
mod updates;
mod write;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use audit_log::AuditFilter;
pub use audit_verification::{Break, Broken, KindHead, Verification, VerifyError};
pub use copies::{Copy, CopyRecord, DeliveredStudy, Purpose, StudyUse};
pub use cross_reference::{
    CrossReferenceEdit, EditError, KnownPerson, LinkError, LinkOrigin, LinkedIdentity, Which,
};
pub use error::{ErrorClass, StoreError};
pub use expected_objects::ExpectedObjects;
pub use held_files::{FileId, Replacement};
pub use held_store::HeldStore;
pub use history::SavedGeneration;
pub use hl7_messages::{
    Hl7Arrival, Hl7Counts, Hl7Deed, Hl7Message, Hl7Settlement, Hl7State, KeptHl7, SettledHl7,
};
pub use link_health::{LinkHealth, LinkOutcome, LinkReport, TakenCharacterSets};
pub use lock::{Holder, PullLock, ServiceLock, ServiceLockError};
pub use outbox::{Due, OutboxFilter, OutboxRow, OutboxState, QueueLength, Settled};
pub use ownership::exposures;
pub use polled::{PolledArchive, PolledStudy};
pub use prefetch_jobs::{Enqueued, JobCounts, JobFilter, JobOutcome, Retries};
pub use prefetch_runner::PrefetchRunner;
pub use pulls::{DuePull, PullCounts, PullTrouble};
pub use query_ledgers::LedgerFilter;
pub use relay_peers::{AfterStudy, RelayPeer, RelayTrouble};
pub use review_notices::ReviewNotice;
pub use save::{SaveError, Saved};
pub use shared::SharedStore;
pub use study_conflicts::{Acknowledgement, KnownConflict, KnownParty};
pub use study_state::StatedStudy;
pub use update_clock::ClockTrouble;
pub use update_log::LoggedUpdate;
pub use updates::{Applied, Draft, Made, Received};

use self::held_files::HeldFiles;
use crate::model::{Configuration, Generation, Uid};

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read and write; a store that isn't there is made.
    ReadWrite,
    /// To read; nothing is made, and a read-only folder or medium will do.
    ReadOnly,
}

/// An open store. One thread at a time uses it; each thread may open its own.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    access: Access,
    connection: Connection,
    cluster_uid: Uid,
    /// Its files, where it is open for writing.
    held: Option<HeldFiles>,
}

impl Store {
    /// Opens the store at `path`. For `ReadWrite` it is made on first use, with its folders (0700; the store 0600, or
    /// 0660 in a folder that is made for a group), and migrated where it is of an older version.
    ///
    /// # Errors
    /// Also where a running service holds another file than the one at `path`, and for `ReadWrite` where a service of
    /// another version runs on it. Whatever the error, nothing was written.
    pub fn open(path: &Path, access: Access) -> Result<Store, StoreError> {
        let path = resolve(path);
        refuse_unfit_service(&path, access)?;
        match path.metadata() {
            Ok(found) if !found.is_file() => return Err(StoreError::NotAStore { path }),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match access {
                Access::ReadWrite => creation::create(&path)?,
                Access::ReadOnly => return Err(StoreError::Missing { path }),
            },
            Err(error) => return Err(StoreError::from_io("open", &path, error)),
        }
        if access == Access::ReadWrite {
            refuse_read_only(&path)?;
        }
        let io_error = |error| StoreError::from_io("open", &path, error);
        let database = FileId::of(&path).map_err(io_error)?;
        let (mut connection, marks) = connection::open(&path, access)?;
        refuse_unknown_schema(&path, &marks)?;
        match access {
            _ if marks.schema == schema::newest() => {}
            Access::ReadWrite => {
                creation::migrate(&path, &mut connection, marks.schema, &schema::MIGRATIONS)?;
            }
            Access::ReadOnly => {
                let found = marks.schema;
                return Err(StoreError::MadeByOlder { path, found });
            }
        }
        let cluster_uid = read_cluster_uid(&connection).map_err(|e| StoreError::from_sqlite(&path, e))?;
        let held = match access {
            Access::ReadWrite => Some(HeldFiles::of_open_store(&path, database).map_err(io_error)?),
            Access::ReadOnly => None,
        };
        Ok(Store {
            path,
            access,
            connection,
            cluster_uid,
            held,
        })
    }

    /// Where it is, symbolic links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The UID of the cluster whose store this is; made at random with the store.
    pub fn cluster_uid(&self) -> &Uid {
        &self.cluster_uid
    }

    /// The number of the newest configuration; 0 where none was saved yet.
    pub fn generation(&self) -> Result<Generation, StoreError> {
        self.sqlite(configuration::read_generation(&self.connection))
    }

    /// The newest configuration, stations in order of name.
    pub fn configuration(&self) -> Result<Configuration, StoreError> {
        let snapshot = self.begin_read()?;
        self.sqlite(configuration::read(&snapshot))
    }

    /// A view of the store that stays the same while it lasts.
    fn begin_read(&self) -> Result<Transaction<'_>, StoreError> {
        self.sqlite(Transaction::new_unchecked(
            &self.connection,
            TransactionBehavior::Deferred,
        ))
    }

    fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::from_sqlite(&self.path, error))
    }
}

/// `path` with symbolic links followed, so that the files beside the store are found from everywhere.
pub fn resolve(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// SQLite opens a file that can't be written for reading instead, and leaves files beside it that can't be written
/// either.
fn refuse_read_only(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    for file in [path, folder] {
        rustix::fs::access(file, rustix::fs::Access::WRITE_OK)
            .map_err(|error| StoreError::from_io("write", file, error.into()))?;
    }
    Ok(())
}

fn refuse_unknown_schema(path: &Path, marks: &schema::Marks) -> Result<(), StoreError> {
    let path = path.to_owned();
    if marks.application_id != schema::APPLICATION_ID || marks.schema == 0 {
        Err(StoreError::NotAStore { path })
    } else if marks.schema > schema::newest() {
        Err(StoreError::MadeByNewer {
            path,
            found: marks.schema,
            known: schema::newest(),
        })
    } else {
        Ok(())
    }
}

/// A service that holds another file than the one at `path` must take that up first; one of another version must not see
/// the store migrated.
fn refuse_unfit_service(path: &Path, access: Access) -> Result<(), StoreError> {
    let holder = match (ServiceLock::holder(path), access) {
        (Ok(holder), _) => holder,
        (Err(error), Access::ReadWrite) => return Err(error),
        // Who may read the store may not be allowed to read the lock.
        (Err(_), Access::ReadOnly) => None,
    };
    let Some(holder) = holder else {
        return Ok(());
    };
    let path = path.to_owned();
    if let Some(how) = holder.replacement(&path) {
        return Err(StoreError::NotTakenUp { path, how, holder });
    }
    if access == Access::ReadWrite && holder.version != env!("CARGO_PKG_VERSION") {
        return Err(StoreError::InUse { path, holder });
    }
    Ok(())
}

fn read_cluster_uid(connection: &Connection) -> rusqlite::Result<Uid> {
    connection.query_row("SELECT uid FROM cluster", [], |row| configuration::parsed(row, 0))
}
