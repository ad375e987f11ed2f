//! The files of a store as a connection holds them, and whether they are still the ones at the store's path.
//!
//! Invariant: a commit after which [`HeldFiles::replacement`] finds nothing is in the file at the path. A look costs
//! three calls of stat; the database is read, by SQLite, only where the file has changed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::ErrorCode;
use serde::{Deserialize, Serialize};

use super::connection;
use super::lock::beside;

/// The files of SQLite's write-ahead log, beside the database.
pub(super) const LOG_FILES: [&str; 2] = ["-wal", "-shm"];

/// How often a database that can't be read is read again: another process may be writing it back from the log.
const READ_ATTEMPTS: u32 = 5;
const READ_PAUSE: Duration = Duration::from_millis(20);

/// The identity of a file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity of the file at `path` now, symbolic links followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// What happened to the files of an open store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// Nothing is at the path.
    #[error("was deleted")]
    Deleted,
    /// Another file is at the path.
    #[error("was replaced by another file")]
    Replaced,
    /// It is the same file with the content of another or an older store.
    #[error("was overwritten")]
    Overwritten,
    /// What was committed and not yet written back is gone from the path.
    #[error("lost its write-ahead log (-wal or -shm was deleted or replaced)")]
    LogLost,
    /// The file system does not let us look.
    #[error("can't be looked at any more")]
    OutOfReach,
}

impl Replacement {
    /// Whether the file at the path is still the one that is held.
    pub fn is_same_file(self) -> bool {
        matches!(self, Replacement::Overwritten | Replacement::LogLost)
    }
}

/// What tells the content of a store from that of an older or of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) cluster_uid: String,
    /// How many transactions have written.
    pub(super) writes: i64,
}

/// The state of the database file when it was read last.
#[derive(Debug, Clone)]
struct LastLook {
    size: u64,
    modified: (i64, i64),
    /// `None` where its schema had no mark yet.
    mark: Option<Mark>,
}

/// The files that a connection holds.
#[derive(Debug)]
pub(super) struct HeldFiles {
    database: FileId,
    log: [Option<FileId>; 2],
    /// Connections of one process that share it notice more: each sees some of what was written back.
    last: Arc<Mutex<LastLook>>,
}

impl HeldFiles {
    /// Those at `path`, whose database had the identity `database` before a connection opened and read it. Fails where
    /// they were replaced meanwhile.
    pub(super) fn of_open_store(path: &Path, database: FileId) -> io::Result<Self> {
        if FileId::of(path)? != database {
            return Err(io::Error::other("it was replaced while it was being opened"));
        }
        let metadata = path.metadata()?;
        let last = LastLook {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            mark: connection::written_mark(path).ok().flatten(),
        };
        Ok(HeldFiles {
            database,
            log: LOG_FILES.map(|suffix| FileId::of(&beside(path, suffix)).ok()),
            last: Arc::new(Mutex::new(last)),
        })
    }

    /// Has this connection and `other`, to the same file, know what either sees of it.
    pub(super) fn share_with(&mut self, other: &HeldFiles) {
        if self.database == other.database {
            self.last = Arc::clone(&other.last);
        }
    }

    /// The identity of the database file.
    pub(super) fn database(&self) -> FileId {
        self.database
    }

    /// The identities of the files of the log, in the order of [`LOG_FILES`].
    pub(super) fn log(&self) -> [Option<FileId>; 2] {
        self.log
    }

    /// What has happened to the files at `path` since; `None` where they are the ones that are held.
    pub(super) fn replacement(&self, path: &Path) -> Option<Replacement> {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => return Some(Replacement::Deleted),
            Err(_) => return Some(Replacement::OutOfReach),
        };
        if (metadata.dev(), metadata.ino()) != (self.database.device, self.database.inode) {
            return Some(Replacement::Replaced);
        }
        for (suffix, held) in LOG_FILES.into_iter().zip(self.log) {
            if held.is_some() && FileId::of(&beside(path, suffix)).ok() != held {
                return Some(Replacement::LogLost);
            }
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        self.is_overwritten(path, metadata.size(), modified)
            .then_some(Replacement::Overwritten)
    }

    /// SQLite writes the log back into the database from time to time, by which the mark in it only grows.
    fn is_overwritten(&self, path: &Path, size: u64, modified: (i64, i64)) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.size == size && last.modified == modified {
            return false;
        }
        // What can't be read for now is looked at again next time.
        let Some(mark) = read_mark(path) else {
            return false;
        };
        let is_overwritten = match (&last.mark, &mark) {
            (Some(before), Some(now)) => before.cluster_uid != now.cluster_uid || before.writes > now.writes,
            (Some(_), None) => true,
            (None, _) => false,
        };
        // What is overwritten is looked at again next time, and found so again.
        if !is_overwritten {
            *last = LastLook { size, modified, mark };
        }
        is_overwritten
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The mark, or `Some(None)` where the content has none; `None` where that can't be told: the log may be written back at
/// this moment, and what is in the file is no whole database until all of it is.
fn read_mark(path: &Path) -> Option<Option<Mark>> {
    for attempt in 1..=READ_ATTEMPTS {
        match connection::written_mark(path) {
            Ok(mark) => return Some(mark),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => return Some(None),
            Err(_) if attempt < READ_ATTEMPTS => std::thread::sleep(READ_PAUSE),
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::connection;
    use crate::store::{Access, Store};

    /// The log can be written back in part only while somebody reads an older state, which leaves the file longer than
    /// it is in its own words, or shorter.
    #[test]
    fn a_log_that_is_written_back_in_part_is_not_taken_for_another_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("impaxlink.db");
        let open = || Store::open(&path, Access::ReadWrite).unwrap();
        let (writer, reader) = (open(), open());
        writer
            .connection
            .execute_batch("CREATE TABLE filler (x BLOB)")
            .unwrap();
        for round in 0..40 {
            let snapshot = reader.begin_read().unwrap();
            reader.generation().unwrap();
            for _ in 0..12 {
                let transaction = writer.begin_write().unwrap();
                let fill = "INSERT INTO filler VALUES (zeroblob(9000))";
                transaction.execute(fill, []).unwrap();
                transaction.commit().unwrap();
                assert_eq!(reader.replacement(), None, "{round}");
                assert!(connection::written_mark(&path).unwrap().is_some(), "{round}");
            }
            drop(snapshot);
        }
    }
}
