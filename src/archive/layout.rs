//! Where the archive's files are.
//!
//! ```text
//! index.db            the index
//! lock                held shared by who uses the archive, exclusively by who rebuilds or recovers it
//! files/000017/       up to some thousand files each, filled one after the other
//!     6f…e1.dcm       named by the SHA-256 of the SOP Instance UID
//!     .3.incoming     one that is being received
//! aside/              instances whose data differ from those stored under their UID
//! ```
//! Folders are filled in the order of arrival, and not by hash, so that the files of one moment lie in one folder: one
//! fsync serves many, and after a crash only the folders in use are looked through.
//!
//! Invariant: no name comes from a peer; folders are 0700, files 0600.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ArchiveError;

/// The end of the name of a file that is being received.
const INCOMING: &str = ".incoming";

#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    /// Makes the folders of an archive that are not there.
    pub(super) fn create(root: &Path) -> Result<Self, ArchiveError> {
        let layout = Layout {
            root: root.to_owned(),
        };
        for folder in [root, &layout.files(), &layout.aside()] {
            let mut builder = DirBuilder::new();
            let created = builder.mode(0o700).recursive(folder == root).create(folder);
            match created {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(ArchiveError::io("create", folder))?,
            }
        }
        sync_folder(root)?;
        Ok(layout)
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index.db")
    }

    /// An index that is being rebuilt.
    pub(super) fn draft_index(&self) -> PathBuf {
        self.root.join("index.db.new")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    pub(super) fn folder(&self, number: i64) -> PathBuf {
        self.files().join(format!("{number:06}"))
    }

    pub(super) fn file(&self, folder: i64, sop_instance_uid: &str) -> PathBuf {
        self.folder(folder).join(file_name(sop_instance_uid))
    }

    pub(super) fn incoming(&self, folder: i64, number: u64) -> PathBuf {
        self.folder(folder).join(format!(".{number}{INCOMING}"))
    }

    pub(super) fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// The numbers of the folders that are there, in order.
    pub(super) fn folders(&self) -> Result<Vec<i64>, ArchiveError> {
        let names = names_in(&self.files())?;
        let mut numbers: Vec<i64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// The name of an instance's file.
pub(super) fn file_name(sop_instance_uid: &str) -> String {
    format!("{}.dcm", hex(&Sha256::digest(sop_instance_uid)))
}

/// The name of a file with other data than those stored under its UID, by both.
pub(super) fn aside_name(sop_instance_uid: &str, digest_of_data: &[u8]) -> String {
    format!(
        "{}.{}.dcm",
        hex(&Sha256::digest(sop_instance_uid)),
        hex(digest_of_data)
    )
}

pub(super) fn is_incoming(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(INCOMING)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names in a folder; none where it is not there. What is not named in UTF-8 is not ours.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, ArchiveError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ArchiveError::io("read", folder))?,
    };
    let names = entries.filter_map(|entry| {
        entry
            .map(|entry| entry.file_name().into_string().ok())
            .transpose()
    });
    names
        .collect::<io::Result<_>>()
        .map_err(ArchiveError::io("read", folder))
}

/// Makes a file that must not be there.
pub(super) fn create_file(path: &Path) -> Result<File, ArchiveError> {
    let mut options = OpenOptions::new();
    let created = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    created.map_err(ArchiveError::io("create", path))
}

/// Makes the names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(ArchiveError::io("sync", folder))
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<(), ArchiveError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(ArchiveError::io("remove", path)),
    }
}
