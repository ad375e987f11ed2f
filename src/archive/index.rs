//! The index: an SQLite database beside the files, which can be made again from them.
//!
//! WAL with `synchronous=NORMAL`: a commit survives the end of the process at once, and a loss of power at the latest
//! from the next checkpoint on. What the index may lose with the power it gets back from the files, whose folder is
//! marked as in use by a commit that was synced: that spares each store a sync.
//!
//! Invariant: one connection writes, all others are read-only and see whole transactions.

mod insert;

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rusqlite_migration::{M, Migrations};

pub(super) use self::insert::{Inserted, describe_patient, insert, replace_file};
use super::ArchiveError;
use super::layout::{create_file, remove_file};

/// "ImxA": what tells the index from any other database.
const APPLICATION_ID: i32 = 0x496d_7841;
/// How long a writer waits for another process's transaction, which are all short.
const PATIENCE: Duration = Duration::from_secs(30);
/// Read-only connections that are kept open when they are not in use.
const IDLE_READERS: usize = 16;

const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/0001_first.sql")),
    M::up(include_str!("migrations/0002_removal.sql")),
    M::up(include_str!("migrations/0003_arrivals.sql")),
    M::up(include_str!("migrations/0004_aside.sql")),
    M::up(include_str!("migrations/0005_digest.sql")),
];
static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| Migrations::from_slice(STEPS));

/// Where the data set of an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) folder: i64,
    pub(super) transfer_syntax_uid: String,
    pub(super) data_set_offset: u64,
    /// The size of the whole file.
    pub(super) bytes: u64,
    /// The SHA-256 of the data set, where it was computed when that arrived.
    pub(super) digest: Option<[u8; 32]>,
    /// Whether the file is known not to be what arrived.
    pub(super) is_damaged: bool,
}

/// Makes an empty index; one that was begun before is thrown away.
pub(super) fn create(path: &Path) -> Result<Connection, ArchiveError> {
    remove(path)?;
    drop(create_file(path)?);
    let mut connection = open_for_writing(path)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    MIGRATIONS.to_latest(&mut connection)?;
    Ok(connection)
}

/// Removes an index with all its files.
pub(super) fn remove(path: &Path) -> Result<(), ArchiveError> {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        remove_file(Path::new(&name))?;
    }
    Ok(())
}

/// Opens the index to write.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, ArchiveError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    set_durable(&connection, false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -32_000)?;
    Ok(connection)
}

/// Brings the index to the newest schema. Only for who has the archive for itself.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<(), ArchiveError> {
    let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if schema > STEPS.len() as i64 {
        return Err(ArchiveError::MadeByNewer(path.to_owned()));
    }
    Ok(MIGRATIONS.to_latest(connection)?)
}

/// Whether the next commits of this connection are synced, and with them all before.
pub(super) fn set_durable(connection: &Connection, durable: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })
}

/// Opens the index to read alone.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, ArchiveError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, ArchiveError> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Where an instance is, if it is there.
pub(super) fn placement(
    connection: &Connection,
    sop_instance_uid: &str,
) -> rusqlite::Result<Option<Placement>> {
    let mut statement = connection.prepare_cached(
        "SELECT folder, transfer_syntax_uid, data_set_offset, bytes, digest, damage IS NOT NULL FROM instance
         WHERE uid = ?1",
    )?;
    let placement = statement.query_row([sop_instance_uid], |row| {
        Ok(Placement {
            folder: row.get(0)?,
            transfer_syntax_uid: row.get(1)?,
            data_set_offset: row.get(2)?,
            bytes: row.get(3)?,
            digest: row.get(4)?,
            is_damaged: row.get(5)?,
        })
    });
    placement.optional()
}

/// Read-only connections, each used by one thread at a time.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Readers {
            path,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Lends a connection, and keeps it for the next where there are not too many.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_for_reading(&self.path)?,
        };
        let result = read(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_migrations_apply_to_an_empty_database() {
        super::MIGRATIONS.validate().unwrap();
    }
}
