//! Who uses the archive: a lock that is held shared for use, exclusively for recovery and rebuilding.
//!
//! Invariant: the kernel drops the lock with the process, so that a crash leaves none behind. Waiting is bounded.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::ArchiveError;
use super::layout::Layout;

/// How long an open waits for another process that recovers or rebuilds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds the archive.
#[derive(Debug)]
pub(super) struct ArchiveLock {
    file: File,
    root: PathBuf,
}

impl ArchiveLock {
    /// Takes the archive for oneself; `None` where another process has it.
    pub(super) fn exclusive(layout: &Layout) -> Result<Option<Self>, ArchiveError> {
        let lock = Self::open(layout)?;
        match lock.file.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(ArchiveError::io("lock", &layout.lock())(error)),
        }
    }

    /// Takes the archive beside others, once none has it for itself.
    pub(super) fn shared(layout: &Layout) -> Result<Self, ArchiveError> {
        Self::open(layout)?.into_shared()
    }

    /// Lets others in.
    pub(super) fn into_shared(self) -> Result<Self, ArchiveError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.file.try_lock_shared() {
                Ok(()) => return Ok(self),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Err(ArchiveError::InUse(self.root)),
                Err(TryLockError::Error(error)) => return Err(ArchiveError::io("lock", &self.root)(error)),
            }
        }
    }

    fn open(layout: &Layout) -> Result<Self, ArchiveError> {
        let path = layout.lock();
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        Ok(ArchiveLock {
            file: file.map_err(ArchiveError::io("open", &path))?,
            root: layout.root.clone(),
        })
    }
}
