//! What can go wrong with the store, each case told apart, and what a caller may do about it.
//!
//! Invariant: every error names the store's path; `Display` leaves out the source. Hints are `cli`'s.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rustix::fs::Access as FileAccess;

use super::held_files::Replacement;
use super::lock::{self, Holder};
use crate::model::Generation;

/// What a caller may do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Someone else may do it.
    NotPermitted,
    /// It may work later, or once another process has ended.
    Busy,
    /// What was asked for does not exist.
    NotFound,
    /// Anything else.
    Failed,
}

/// Why the store could not be opened, read or written. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is there, and it was opened for reading.
    #[error("there is no store at {}", path.display())]
    Missing {
        /// The store.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not an impaxlink store", path.display())]
    NotAStore {
        /// The file or folder.
        path: PathBuf,
    },
    /// A newer version of impaxlink has migrated it.
    #[error("{} was made by a newer version of impaxlink (schema {found}, this version knows {known})", path.display())]
    MadeByNewer {
        /// The store.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
        /// The newest number known here.
        known: i64,
    },
    /// It must be migrated first, and was opened for reading.
    #[error("{} was made by an older version of impaxlink and has not been migrated (schema {found})", path.display())]
    MadeByOlder {
        /// The store.
        path: PathBuf,
        /// Its schema's number.
        found: i64,
    },
    /// A service that must not see the change of version is running.
    #[error("{} is in use by a running service of version {} (pid {})", path.display(), holder.version, holder.pid)]
    InUse {
        /// The store.
        path: PathBuf,
        /// The service.
        holder: Holder,
    },
    /// It is not the file any more that this process has open. What was written may be lost with the old one.
    #[error("the store {} {how}", path.display())]
    Replaced {
        /// The store.
        path: PathBuf,
        /// What happened to it.
        how: Replacement,
    },
    /// A running service holds another file, and has not taken up the one that is there now.
    #[error("the store {} {how} under the running service (pid {})", path.display(), holder.pid)]
    NotTakenUp {
        /// The store.
        path: PathBuf,
        /// What happened to the file that the service holds.
        how: Replacement,
        /// The service.
        holder: Holder,
    },
    /// It has the UID of another cluster than the one that the service is.
    #[error("{} is the store of another cluster than the running service's", path.display())]
    OtherCluster {
        /// The store.
        path: PathBuf,
    },
    /// It can be read and not written.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// The operating system does not let us.
    #[error("no permission for {}", path.display())]
    NotPermitted {
        /// The file or folder.
        path: PathBuf,
    },
    /// The disk or the quota is full.
    #[error("no space left to write {}", path.display())]
    Full {
        /// The store.
        path: PathBuf,
    },
    /// Others wrote for longer than we wait.
    #[error("{} is busy{}", path.display(), writer_text(*.writer))]
    Busy {
        /// The store.
        path: PathBuf,
        /// The process that was writing, where that is known.
        writer: Option<u32>,
    },
    /// It is a store, but what is in it can't be.
    #[error("{} is damaged: {detail}", path.display())]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// That generation was never saved.
    #[error("there is no generation {generation}; the newest is {newest}")]
    NoSuchGeneration {
        /// The one that was asked for.
        generation: Generation,
        /// The newest.
        newest: Generation,
    },
    /// A file operation failed.
    #[error("can't {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite failed in another way.
    #[error("SQLite can't work with {}", path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

fn writer_text(writer: Option<u32>) -> String {
    writer.map_or(String::new(), |pid| format!(": process {pid} is writing"))
}

impl StoreError {
    /// What a caller may do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            StoreError::ReadOnly { .. } | StoreError::NotPermitted { .. } => ErrorClass::NotPermitted,
            StoreError::InUse { .. } | StoreError::Busy { .. } | StoreError::NotTakenUp { .. } => {
                ErrorClass::Busy
            }
            StoreError::Missing { .. } | StoreError::NoSuchGeneration { .. } => ErrorClass::NotFound,
            _ => ErrorClass::Failed,
        }
    }

    /// The case that a failed file operation is.
    pub(super) fn from_io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => StoreError::NotPermitted { path },
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
            _ => StoreError::Io {
                operation,
                path,
                source,
            },
        }
    }

    /// The case that an error of SQLite is.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::Error as Sqlite;
        let owned = path.to_owned();
        let corrupt = |detail| StoreError::Corrupt {
            path: path.to_owned(),
            detail,
        };
        match &source {
            Sqlite::ToSqlConversionFailure(cause) if cause.is::<Replacement>() => {
                match cause.downcast_ref::<Replacement>() {
                    Some(how) => StoreError::Replaced {
                        path: owned,
                        how: *how,
                    },
                    None => StoreError::Sqlite { path: owned, source },
                }
            }
            Sqlite::FromSqlConversionFailure(_, _, cause) => corrupt(cause.to_string()),
            Sqlite::InvalidColumnType(..)
            | Sqlite::IntegralValueOutOfRange(..)
            | Sqlite::Utf8Error(..)
            | Sqlite::QueryReturnedNoRows => corrupt(source.to_string()),
            Sqlite::SqliteFailure(failure, text) => match failure.code {
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed => StoreError::Busy {
                    writer: lock::writing_process(path),
                    path: owned,
                },
                ErrorCode::ReadOnly => StoreError::ReadOnly { path: owned },
                ErrorCode::PermissionDenied => StoreError::NotPermitted { path: owned },
                ErrorCode::DiskFull => StoreError::Full { path: owned },
                ErrorCode::SystemIoFailure if failure.extended_code == SQLITE_IOERR_SHMSIZE => {
                    StoreError::Full { path: owned }
                }
                ErrorCode::NotADatabase => StoreError::NotAStore { path: owned },
                ErrorCode::DatabaseCorrupt => corrupt(text.clone().unwrap_or_else(|| failure.to_string())),
                ErrorCode::CannotOpen => cannot_open(path, source),
                _ => StoreError::Sqlite { path: owned, source },
            },
            _ => StoreError::Sqlite { path: owned, source },
        }
    }
}

/// SQLite tells no reason where it can't open a file; the file system does.
fn cannot_open(path: &Path, source: rusqlite::Error) -> StoreError {
    let folder = path.parent().unwrap_or(Path::new("."));
    let reasons = [
        rustix::fs::access(path, FileAccess::READ_OK),
        rustix::fs::access(folder, FileAccess::WRITE_OK | FileAccess::EXEC_OK),
    ];
    match reasons.into_iter().find_map(Result::err) {
        Some(reason) if reason.kind() == io::ErrorKind::NotFound => StoreError::Missing {
            path: path.to_owned(),
        },
        Some(reason) => StoreError::from_io("open", path, reason.into()),
        None => StoreError::Sqlite {
            path: path.to_owned(),
            source,
        },
    }
}
