//! What can go wrong in the archive, each case told apart, and none of it losing what was stored before.
//!
//! Invariant: `Display` says one thing and not its source, and holds nothing that a peer wrote but a UID's tag.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dicom_core::Tag;

use super::description::NoPlace;
use super::scanner::Unreadable;
use super::sound::Damage;

/// Why the archive could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Another process has it open, and what is to be done can't be done beside it.
    #[error("the archive {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// There are files and no index.
    #[error("the archive {} has no index", .0.display())]
    IndexMissing(PathBuf),
    /// A newer version has made the index.
    #[error("the index of the archive {} was made by a newer version", .0.display())]
    MadeByNewer(PathBuf),
    /// The object is no data set.
    #[error("the object cannot be read")]
    Unreadable(#[source] Unreadable),
    /// The object lacks a UID.
    #[error("the object cannot be placed")]
    NoPlace(#[source] NoPlace),
    /// The object is another one than the one announced or asked for.
    #[error("the object has another value in {0} than was announced or asked for")]
    Contradiction(Tag),
    /// A file is not what was stored.
    #[error("{}: {}", .0.display(), .1)]
    Damaged(PathBuf, Damage),
    /// The disk or the quota is full.
    #[error("no space left in the archive {}", .0.display())]
    Full(PathBuf),
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite failed on the index.
    #[error("the index cannot be read or written")]
    Index(#[from] rusqlite::Error),
    /// The index cannot be brought to its newest form.
    #[error("the index cannot be migrated")]
    Migration(#[from] rusqlite_migration::Error),
    /// The object was received whole and is not stored, because those that were to be committed with it failed.
    #[error("the object could not be committed")]
    NotCommitted(#[source] Arc<ArchiveError>),
    /// The archive is closing.
    #[error("the archive is closing")]
    Closing,
}

impl ArchiveError {
    /// A closure that puts an I/O error in its context.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ArchiveError::Full(path.to_owned()),
            _ => ArchiveError::Io {
                operation,
                path: path.to_owned(),
                source,
            },
        }
    }
}
