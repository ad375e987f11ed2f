//! Connections to the database, with what must be set on each.
//!
//! Invariant: every connection waits for others as `patience` says, holds foreign keys, and syncs each commit (FULL)
//! unless it says otherwise for itself. The database file is opened by SQLite alone: closing it elsewhere in the
//! process would drop SQLite's locks.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::held_files::Mark;
use super::lock::beside;
use super::patience::wait_in_turn;
use super::schema::{self, Marks};
use super::{Access, StoreError};

/// How long a WAL may get. Whoever opens the database first reads it whole, so that a long one makes each command slow.
const WAL_PAGES: u32 = 128;

/// Opens the database that is at `path`, and reads its marks.
pub(super) fn open(path: &Path, access: Access) -> Result<(Connection, Marks), StoreError> {
    let opened = match (access, immutable_uri(path)) {
        (Access::ReadOnly, Some(uri)) if is_immutable(path) => open_with(
            Path::new(&uri),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        ),
        (Access::ReadOnly, _) => open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY),
        (Access::ReadWrite, _) => open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE),
    };
    opened.map_err(|error| StoreError::from_sqlite(path, error))
}

fn open_with(path: &Path, access: OpenFlags) -> rusqlite::Result<(Connection, Marks)> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    let marks = schema::marks(&connection)?;
    Ok((connection, marks))
}

/// The mark of the content that is in the database file at `path` itself, whatever its log holds; `None` where its schema
/// has none yet.
pub(super) fn written_mark(path: &Path) -> rusqlite::Result<Option<Mark>> {
    let Some(uri) = immutable_uri(path) else {
        return Ok(None);
    };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    // While the log is written back in part, the file may be shorter than it says. This has SQLite read what is there.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    let has_mark = "SELECT 1 FROM pragma_table_info('cluster') WHERE name = 'writes'";
    if !connection.prepare(has_mark)?.exists([])? {
        return Ok(None);
    }
    connection
        .query_row("SELECT uid, writes FROM cluster", [], |row| {
            Ok(Mark {
                cluster_uid: row.get(0)?,
                writes: row.get(1)?,
            })
        })
        .map(Some)
}

/// Whether to read it as a database that nobody changes: where it, or its folder, can't be written. The files of a WAL
/// can't be made there, or would take on its mode and lock out those who may write later. What is in a WAL already must
/// be read, and its files may be those of a process at work.
fn is_immutable(path: &Path) -> bool {
    let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let (wal, shm) = (beside(path, "-wal"), beside(path, "-shm"));
    let is_in_use = wal.exists() && shm.exists();
    let is_wal_empty = wal.metadata().map_or(0, |wal| wal.len()) == 0;
    let is_writable = may_write(path) && path.parent().is_none_or(may_write);
    !is_writable && is_wal_empty && !is_in_use
}

/// `path` as the URI that SQLite takes.
fn immutable_uri(path: &Path) -> Option<String> {
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
    Some(format!("file:{encoded}?immutable=1"))
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_in_turn))?;
    checkpoint_on_close(connection, false)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Whether the last connection to close moves the WAL into the database, which takes two syncs. Off, the WAL waits for
/// the next that does, or for `WAL_PAGES`.
pub(super) fn checkpoint_on_close(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on)
        .map(drop)
}
