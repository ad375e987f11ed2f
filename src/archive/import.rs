//! Files of folders taken into the archive, several at once.
//!
//! An import that broke off is begun again: what is stored is only compared, and not copied. Symbolic links to folders
//! are not followed, and what is no regular file is left out.
//!
//! Invariant: a file that can't be taken never ends the import; an archive that can't store does.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use dicom_dictionary_std::uids::MEDIA_STORAGE_DIRECTORY_STORAGE;

use super::incoming::{Incoming, Outcome};
use super::object::{ObjectFile, are_equal, data_set};
use super::{Archive, ArchiveError, index};

/// How many files are read and synced at the same time: syncs at one time cost little more than one.
const WORKERS: usize = 8;

/// What became of one file.
#[derive(Debug)]
pub enum Imported {
    /// It is in the archive, now or since before, or aside.
    Taken(Outcome),
    /// It is no DICOM file.
    NotDicom,
    /// It is a DICOMDIR, which lists other files.
    Directory,
    /// It is a DICOM file and can't be read, or lacks a UID.
    Damaged(ArchiveError),
    /// The file or folder can't be read.
    Unreachable(ArchiveError),
}

/// How many files an import has dealt with, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportCounts {
    /// Stored now.
    pub stored: u64,
    /// Stored before, with the same data.
    pub already_stored: u64,
    /// Kept aside, because other data are stored under the UID.
    pub kept_aside: u64,
    /// No DICOM files.
    pub not_dicom: u64,
    /// DICOMDIRs.
    pub directories: u64,
    /// Damaged, or without a UID.
    pub damaged: u64,
    /// Files and folders that can't be read.
    pub unreachable: u64,
}

impl ImportCounts {
    fn count(&mut self, imported: &Imported) {
        let counter = match imported {
            Imported::Taken(Outcome::Stored) => &mut self.stored,
            Imported::Taken(Outcome::AlreadyStored) => &mut self.already_stored,
            Imported::Taken(Outcome::KeptAside(_)) => &mut self.kept_aside,
            Imported::NotDicom => &mut self.not_dicom,
            Imported::Directory => &mut self.directories,
            Imported::Damaged(_) => &mut self.damaged,
            Imported::Unreachable(_) => &mut self.unreachable,
        };
        *counter += 1;
    }
}

type Report = (PathBuf, Result<Imported, ArchiveError>);

impl Archive {
    /// Takes files, and all files in folders. `progress` hears of each file what became of it, and the counts so far; it
    /// may break off, and then the files at hand are still finished. With `is_acquired` what is stored is among the
    /// [arrivals](Archive::arrivals).
    pub fn import(
        &self,
        paths: &[PathBuf],
        is_acquired: bool,
        mut progress: impl FnMut(&Path, &Imported, &ImportCounts) -> ControlFlow<()>,
    ) -> Result<ImportCounts, ArchiveError> {
        let (found, files) = sync_channel::<PathBuf>(WORKERS * 4);
        let files = Arc::new(Mutex::new(files));
        let (report, reports) = sync_channel::<Report>(WORKERS * 4);
        let mut counts = ImportCounts::default();
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                let (files, report) = (Arc::clone(&files), report.clone());
                scope.spawn(move || self.work(&files, &report, is_acquired));
            }
            // Only the workers keep the walk going: it ends with them.
            drop(files);
            scope.spawn(move || walk(paths, &found, &report));
            for (path, imported) in reports {
                let imported = imported?;
                counts.count(&imported);
                if progress(&path, &imported, &counts).is_break() {
                    break;
                }
            }
            Ok(counts)
        })
    }

    fn work(&self, files: &Mutex<Receiver<PathBuf>>, report: &SyncSender<Report>, is_acquired: bool) {
        loop {
            let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(path) = next else { return };
            let imported = self.import_file(&path, is_acquired);
            if report.send((path, imported)).is_err() {
                return;
            }
        }
    }

    /// An error is one of the archive; one of the file is `Imported`'s.
    fn import_file(&self, path: &Path, is_acquired: bool) -> Result<Imported, ArchiveError> {
        let object = match ObjectFile::open(path) {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(Imported::NotDicom),
            Err(error) => return Ok(Imported::Unreachable(error)),
        };
        if object.meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY_STORAGE {
            return Ok(Imported::Directory);
        }
        match self.is_stored(path, &object) {
            Ok(true) => return Ok(Imported::Taken(Outcome::AlreadyStored)),
            Ok(false) => {}
            Err(error) => return Ok(Imported::Unreachable(error)),
        }
        match Incoming::copy(self, object, is_acquired) {
            Ok(outcome) => Ok(Imported::Taken(outcome)),
            Err(error @ (ArchiveError::Unreadable(_) | ArchiveError::NoPlace(_))) => {
                Ok(Imported::Damaged(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the file's data are stored under the UID that the file names before its data set.
    fn is_stored(&self, path: &Path, object: &ObjectFile) -> Result<bool, ArchiveError> {
        let uid = &object.meta.sop_instance_uid;
        let stored = self.0.readers.with(|index| Ok(index::placement(index, uid)?))?;
        let Some(stored) = stored else { return Ok(false) };
        if stored.transfer_syntax_uid != object.meta.transfer_syntax_uid {
            return Ok(false);
        }
        let stored_path = self.0.layout.file(stored.folder, uid);
        let stored = data_set(&stored_path, stored.data_set_offset)?;
        let data = data_set(path, object.meta.data_set_offset)?;
        are_equal(stored, data).map_err(ArchiveError::io("read", path))
    }
}

/// Sends each regular file, and reports what can't be read; ends when nobody listens.
fn walk(paths: &[PathBuf], found: &SyncSender<PathBuf>, report: &SyncSender<Report>) {
    let mut waiting: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    // What the caller names may be a link; what is found in a folder is looked at as it is.
    let mut named = paths.len();
    while let Some(path) = waiting.pop() {
        let is_named = waiting.len() < named;
        named = named.min(waiting.len());
        let kind = if is_named {
            fs::metadata(&path)
        } else {
            fs::symlink_metadata(&path)
        };
        let kind = match kind {
            Ok(kind) if kind.is_symlink() => fs::metadata(&path).ok().filter(fs::Metadata::is_file),
            Ok(kind) => Some(kind),
            Err(error) => {
                let error = ArchiveError::io("read", &path)(error);
                if report.send((path, Ok(Imported::Unreachable(error)))).is_err() {
                    return;
                }
                continue;
            }
        };
        let sent = match kind {
            Some(kind) if kind.is_file() => found.send(path).is_ok(),
            Some(kind) if kind.is_dir() => match entries(&path) {
                Ok(entries) => {
                    waiting.extend(entries);
                    true
                }
                Err(error) => report.send((path, Ok(Imported::Unreachable(error)))).is_ok(),
            },
            _ => true,
        };
        if !sent {
            return;
        }
    }
}

/// What is in a folder, in reverse order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let failed = ArchiveError::io;
    let entries = fs::read_dir(folder).map_err(failed("read", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(failed("read", folder))?;
    paths.sort_unstable_by(|one, other| other.cmp(one));
    Ok(paths)
}
