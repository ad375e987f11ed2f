//! Locks on files beside the store: who may create or migrate it, which service runs on it, and
//! who pulls objects.
//!
//! Invariant: a lock is a `flock`, so it ends with its process, however that ends. The files themselves stay: removing
//! one that another process has open would make two locks of one. Locks within the database are SQLite's own.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use super::held_files::{FileId, Replacement};
use super::patience::{PATIENCE, pause};
use super::{StoreError, ownership};

/// How long a service waits for those that only look whether one runs, which takes them microseconds.
const GLANCE: Duration = Duration::from_millis(300);

/// The service that runs on a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Its version of impaxlink.
    pub version: String,
    /// The schema it works with.
    pub schema: i64,
    /// The database file that it holds; `None` until it has opened one.
    #[serde(default)]
    pub store: Option<FileId>,
    /// How that file was lost, where it was.
    #[serde(default)]
    pub lost: Option<Replacement>,
}

impl Holder {
    /// What happened to the file that the service holds; `None` where it is the one at `path`, or none is known.
    pub(super) fn replacement(&self, path: &Path) -> Option<Replacement> {
        if self.lost.is_some() {
            return self.lost;
        }
        match FileId::of(path) {
            Ok(found) => self
                .store
                .filter(|held| *held != found)
                .map(|_| Replacement::Replaced),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.store.map(|_| Replacement::Deleted),
            // Opening it says why.
            Err(_) => None,
        }
    }
}

/// Why the service's lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ServiceLockError {
    /// Another service runs on the store.
    #[error("a service of version {} is running on this store (pid {})", .0.version, .0.pid)]
    Held(Holder),
    /// The lock file could not be made or read.
    #[error("can't lock the store for the service")]
    Store(#[source] StoreError),
}

/// The right to be the one service on a store. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct ServiceLock {
    file: Mutex<File>,
}

impl ServiceLock {
    /// Takes the lock of the store at `path`. Take it before opening the store: then no other process migrates it.
    pub fn acquire(path: &Path) -> Result<ServiceLock, ServiceLockError> {
        let path = super::resolve(path);
        let _no_migration_meanwhile = CreationLock::acquire(&path).map_err(ServiceLockError::Store)?;
        let file = Mutex::new(lock_for_service(&path)?);
        let lock = ServiceLock { file };
        let io_error = |source| ServiceLockError::Store(StoreError::from_io("lock", &path, source));
        lock.note_store(None, None).map_err(io_error)?;
        Ok(lock)
    }

    /// Tells other processes which database file the service holds, and how it was lost.
    pub(super) fn note_store(&self, store: Option<FileId>, lost: Option<Replacement>) -> io::Result<()> {
        let holder = Holder {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: super::schema::newest(),
            store,
            lost,
        };
        write_holder(&mut self.file(), &holder)
    }

    /// Takes the lock file that is at its path now, where that is not the one that is locked: it was deleted with the
    /// store, or replaced.
    pub(super) fn renew(&self, path: &Path) -> Result<(), StoreError> {
        let lock_path = beside(path, ".service.lock");
        let mut file = self.file();
        let held = file.metadata().ok().map(|held| (held.dev(), held.ino()));
        let found = lock_path.metadata().ok().map(|found| (found.dev(), found.ino()));
        if held != found {
            *file = lock_for_service(path).map_err(|error| match error {
                ServiceLockError::Held(holder) => StoreError::InUse {
                    path: path.to_owned(),
                    holder,
                },
                ServiceLockError::Store(error) => error,
            })?;
        }
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service that runs on the store at `path`, if one does.
    pub fn holder(path: &Path) -> Result<Option<Holder>, StoreError> {
        let lock_path = beside(&super::resolve(path), ".service.lock");
        let io_error = |source| StoreError::from_io("read", &lock_path, source);
        let mut file = match open_regular(OpenOptions::new().read(true), &lock_path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => read_holder(&mut file).map(Some).map_err(io_error),
            Err(error) => Err(io_error(error.into())),
        }
    }
}

/// The right to be the one process that pulls objects which updates name. It ends when this is dropped, or with the
/// process.
#[derive(Debug)]
pub struct PullLock {
    _file: File,
}

impl PullLock {
    /// Takes the lock of the store at `path`; `None` where another process has it.
    pub fn acquire(path: &Path) -> Result<Option<PullLock>, StoreError> {
        let lock_path = beside(&super::resolve(path), ".pulls.lock");
        let io_error = |source| StoreError::from_io("lock", &lock_path, source);
        let file = open_lock_file(&lock_path).map_err(io_error)?;
        let is_ours = lock_within(&file, Duration::ZERO).map_err(io_error)?;
        Ok(is_ours.then_some(PullLock { _file: file }))
    }
}

/// The right to create or migrate the store.
pub(super) struct CreationLock {
    _file: File,
}

impl CreationLock {
    /// Waits for it as long as for any lock of the store, whose folders are made (0700) where they aren't there.
    pub(super) fn acquire(path: &Path) -> Result<CreationLock, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StoreError::from_io("create", folder, error))?;
        let lock_path = beside(path, ".lock");
        let io_error = |source| StoreError::from_io("lock", &lock_path, source);
        let file = open_lock_file(&lock_path).map_err(io_error)?;
        if lock_within(&file, PATIENCE).map_err(io_error)? {
            Ok(CreationLock { _file: file })
        } else {
            Err(StoreError::Busy {
                path: path.to_owned(),
                writer: None,
            })
        }
    }
}

/// The process that holds SQLite's write lock, as Linux tells it: a lock on byte 120 of the `-shm` file (WAL_WRITE_LOCK).
pub(super) fn writing_process(path: &Path) -> Option<u32> {
    const WRITE_LOCK_BYTE: u64 = 120;
    let inode = beside(path, "-shm").metadata().ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // 1: POSIX  ADVISORY  WRITE 4711 fe:00:2883586 120 120
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX", _, "WRITE", pid, file, first, last] = words[..] else {
            return None;
        };
        let is_this_file = file.rsplit(':').next()?.parse() == Ok(inode);
        let range = first.parse::<u64>().ok()?..=last.parse::<u64>().ok()?;
        (is_this_file && range.contains(&WRITE_LOCK_BYTE))
            .then(|| pid.parse().ok())
            .flatten()
    })
}

/// `path` with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The locked file of the service on the store at `path`.
fn lock_for_service(path: &Path) -> Result<File, ServiceLockError> {
    let lock_path = beside(path, ".service.lock");
    let io_error = |source| ServiceLockError::Store(StoreError::from_io("lock", &lock_path, source));
    let mut file = open_lock_file(&lock_path).map_err(io_error)?;
    match lock_within(&file, GLANCE).map_err(io_error)? {
        true => Ok(file),
        false => Err(ServiceLockError::Held(read_holder(&mut file).map_err(io_error)?)),
    }
}

/// Opens a lock file. A symbolic link would have us lock and write whatever it leads to, and a pipe would have us wait.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let refused = |what: &str| {
        Err(io::Error::other(format!(
            "it is {what}, and must be a regular file"
        )))
    };
    match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            refused("a symbolic link")
        }
        Ok(file) if !file.metadata()?.is_file() => refused("something else"),
        opened => opened,
    }
}

fn open_lock_file(lock_path: &Path) -> io::Result<File> {
    match ownership::create(lock_path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            open_regular(OpenOptions::new().read(true).write(true), lock_path)
        }
        created => created,
    }
}

/// Whether the exclusive lock could be had within `patience`.
fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let start = Instant::now();
    for attempt in 0.. {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < patience => pause(attempt),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

/// Reads who holds the lock, again for a moment where it has the lock and has not written its name yet.
fn read_holder(file: &mut File) -> io::Result<Holder> {
    let start = Instant::now();
    for attempt in 0.. {
        let mut content = Vec::new();
        file.rewind()?;
        file.take(4096).read_to_end(&mut content)?;
        match serde_json::from_slice(&content) {
            Ok(holder) => return Ok(holder),
            Err(_) if start.elapsed() < GLANCE => pause(attempt),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, Store};

    #[test]
    fn one_service_at_a_time_and_others_learn_which() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there/yet/impaxlink.db");
        assert_eq!(ServiceLock::holder(&path).unwrap(), None);
        let lock = ServiceLock::acquire(&path).unwrap();
        let holder = ServiceLock::holder(&path).unwrap().unwrap();
        assert_eq!(holder.pid, std::process::id());
        match ServiceLock::acquire(&path) {
            Err(ServiceLockError::Held(other)) => assert_eq!(other, holder),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(ServiceLock::holder(&path).unwrap(), None);
        ServiceLock::acquire(&path).unwrap();
    }

    #[test]
    fn the_process_that_writes_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("impaxlink.db");
        let store = Store::open(&path, Access::ReadWrite).unwrap();
        assert_eq!(writing_process(store.path()), None);
        let transaction = store.begin_write().unwrap();
        assert_eq!(writing_process(store.path()), Some(std::process::id()));
        drop(transaction);
    }
}
