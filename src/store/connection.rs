//! Connections to the database, with what must be set on each.
//!
//! Invariant: every connection waits for others as `patience` says, holds foreign keys, and syncs each commit (FULL)
//! unless it says otherwise for itself. The database file is opened by SQLite alone: closing it elsewhere in the
//! process would drop SQLite's locks.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::lock::beside;
use super::patience::wait_in_turn;
use super::schema::{self, Marks};
use super::{Access, StoreError};

/// Opens the database that is at `path`, and reads its marks.
pub(super) fn open(path: &Path, access: Access) -> Result<(Connection, Marks), StoreError> {
    let opened = match access {
        Access::ReadWrite => open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE),
        Access::ReadOnly => open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .or_else(|error| open_immutable(path).unwrap_or(Err(error))),
    };
    opened.map_err(|error| StoreError::from_sqlite(path, error))
}

fn open_with(path: &Path, access: OpenFlags) -> rusqlite::Result<(Connection, Marks)> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    let marks = schema::marks(&connection)?;
    Ok((connection, marks))
}

/// Where the files of the WAL can't be made (a read-only folder or medium), a database can be read as one that nobody
/// changes, provided that nothing is left in a WAL. `None` where that doesn't apply.
fn open_immutable(path: &Path) -> Option<rusqlite::Result<(Connection, Marks)>> {
    let folder = path.parent()?;
    let folder_is_writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok();
    let wal_is_empty = beside(path, "-wal").metadata().is_ok_and(|wal| wal.len() == 0);
    let wal_is_absent = !beside(path, "-wal").exists();
    if folder_is_writable || !(wal_is_absent || wal_is_empty) {
        return None;
    }
    let encoded: String = path
        .to_str()?
        .bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let uri = format!("file:{encoded}?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Some(open_with(Path::new(&uri), flags))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_in_turn))?;
    checkpoint_on_close(connection, false)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Whether the last connection to close moves the WAL into the database, which takes two syncs. Off, the WAL waits for
/// the next that does, or for its 1000 pages.
pub(super) fn checkpoint_on_close(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on)
        .map(drop)
}
