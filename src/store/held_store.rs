//! The store that a service holds: all its connections, whether it is still the store at the path, and how another one
//! is taken up.
//!
//! Invariant: once the store was found deleted, replaced or overwritten, no connection of the service reads or writes
//! until another is taken up. No other process opens the store meanwhile, as the lock file says so: it would read the
//! new file through the old one's log.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;

use super::held_files::{FileId, LOG_FILES, Replacement};
use super::lock::beside;
use super::{Access, ServiceLock, SharedStore, Store, StoreError};
use crate::model::Uid;

/// A connection, or its place while none is open.
type Slot = Mutex<Option<Store>>;

/// The store of a running service.
#[derive(Debug)]
pub struct HeldStore {
    path: PathBuf,
    cluster_uid: Uid,
    lock: ServiceLock,
    /// The connection by which the files are looked at.
    own: Slot,
    shared: Mutex<Vec<Weak<Slot>>>,
    lost: Mutex<Option<Replacement>>,
}

impl HeldStore {
    /// Opens the store at `path` for the service that has its lock.
    pub fn open(path: &Path, lock: ServiceLock) -> Result<Arc<Self>, StoreError> {
        let store = Store::open(path, Access::ReadWrite)?;
        note(&lock, &store, None)?;
        Ok(Arc::new(HeldStore {
            path: store.path().to_owned(),
            cluster_uid: store.cluster_uid().clone(),
            lock,
            own: Mutex::new(Some(store)),
            shared: Mutex::default(),
            lost: Mutex::default(),
        }))
    }

    /// Its path, symbolic links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The UID of the cluster whose store it is. A store of another cluster is never taken up.
    pub fn cluster_uid(&self) -> &Uid {
        &self.cluster_uid
    }

    /// The service's lock.
    pub fn lock(&self) -> &ServiceLock {
        &self.lock
    }

    /// Another connection to it.
    pub fn connection(self: &Arc<Self>) -> Result<SharedStore, StoreError> {
        let store = self.open_another()?;
        let slot = Arc::new(Mutex::new(Some(store)));
        let mut shared = locked(&self.shared);
        shared.retain(|slot| slot.strong_count() > 0);
        shared.push(Arc::downgrade(&slot));
        Ok(SharedStore::held(slot, Arc::clone(self)))
    }

    /// Opens a further connection to it.
    pub(super) fn open_another(&self) -> Result<Store, StoreError> {
        let mut store = Store::open(&self.path, Access::ReadWrite)?;
        let own = locked(&self.own);
        let files = own.as_ref().and_then(|own| own.held.as_ref());
        if let (Some(held), Some(files)) = (&mut store.held, files) {
            held.share_with(files);
        }
        Ok(store)
    }

    /// How the store was lost; `None` while it is the one at the path, as far as was seen.
    pub fn lost(&self) -> Option<Replacement> {
        *locked(&self.lost)
    }

    /// The error of whoever uses a lost store.
    pub fn refuse_lost(&self) -> Result<(), StoreError> {
        match self.lost() {
            None => Ok(()),
            Some(how) => Err(self.error(how)),
        }
    }

    fn error(&self, how: Replacement) -> StoreError {
        StoreError::Replaced {
            path: self.path.clone(),
            how,
        }
    }

    /// Looks at the files; logs, and tells other processes, where they were lost. Blocks.
    pub fn look(&self) -> Option<Replacement> {
        let own = locked(&self.own);
        let mut lost = locked(&self.lost);
        if lost.is_some() {
            return *lost;
        }
        let store = own.as_ref()?;
        let how = store.replacement()?;
        *lost = Some(how);
        tracing::error!(
            "the store {} {how}: nothing is recorded or acknowledged until 'impaxlink reload' takes up the store there",
            self.path.display()
        );
        if let Err(error) = note(&self.lock, store, Some(how)) {
            tracing::error!("other processes are not told of it: {error}");
        }
        Some(how)
    }

    /// Takes up the store that is at the path now, where the one that is held was lost; returns how. Waits for what
    /// uses connections at this moment. Blocks.
    ///
    /// # Errors
    /// Whatever the error, the store stays lost.
    pub fn take_up(&self) -> Result<Option<Replacement>, StoreError> {
        let Some(how) = self.look() else {
            return Ok(None);
        };
        if !self.path.exists() {
            return Err(StoreError::Missing {
                path: self.path.clone(),
            });
        }
        let slots: Vec<Arc<Slot>> = locked(&self.shared).iter().filter_map(Weak::upgrade).collect();
        let mut shared: Vec<_> = slots.iter().map(|slot| locked(slot)).collect();
        let mut own = locked(&self.own);
        shared.iter_mut().for_each(|slot| **slot = None);
        if let Some(old) = own.take() {
            self.part_with(old, how)?;
        }
        let opened = self.open_new();
        match opened {
            Ok(store) => {
                *locked(&self.lost) = None;
                *own = Some(store);
                tracing::info!(
                    "the store at {} is taken up: the one before {how}",
                    self.path.display()
                );
                Ok(Some(how))
            }
            Err(error) => {
                let held = FileId::of(&self.path).ok();
                if let Err(error) = self.lock.note_store(held, Some(how)) {
                    tracing::error!("other processes are not told that the store is not in use: {error}");
                }
                Err(error)
            }
        }
    }

    fn open_new(&self) -> Result<Store, StoreError> {
        let io_error = |error| StoreError::from_io("lock", &self.path, error);
        self.lock.renew(&self.path)?;
        let database = FileId::of(&self.path).map_err(io_error)?;
        self.lock.note_store(Some(database), None).map_err(io_error)?;
        let store = Store::open(&self.path, Access::ReadWrite)?;
        if *store.cluster_uid() != self.cluster_uid {
            return Err(StoreError::OtherCluster {
                path: self.path.clone(),
            });
        }
        Ok(store)
    }

    /// Closes the last connection to the lost store. What is in its log is written back into it first, wherever it is
    /// now; a log that it leaves beside another store is put aside, or SQLite would take it for that store's.
    fn part_with(&self, old: Store, how: Replacement) -> Result<(), StoreError> {
        if how != Replacement::Overwritten {
            // It may be on no path any more.
            let _ = old
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        let (held, log) = match &old.held {
            Some(held) => (Some(held.database()), held.log()),
            None => (None, [None, None]),
        };
        drop(old);
        if how != Replacement::Overwritten && FileId::of(&self.path).ok() == held {
            return Ok(());
        }
        let aside = format!(".replaced-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
        for (suffix, its) in LOG_FILES.into_iter().zip(log) {
            let path = beside(&self.path, suffix);
            if its.is_some() && FileId::of(&path).ok() == its {
                let to = beside(&self.path, &format!("{aside}{suffix}"));
                std::fs::rename(&path, &to).map_err(|error| StoreError::from_io("rename", &path, error))?;
                tracing::warn!("the log of the lost store is kept as {}", to.display());
            }
        }
        Ok(())
    }
}

fn note(lock: &ServiceLock, store: &Store, lost: Option<Replacement>) -> Result<(), StoreError> {
    let database = store.held.as_ref().map(|held| held.database());
    lock.note_store(database, lost)
        .map_err(|error| StoreError::from_io("lock", store.path(), error))
}

/// Each write to a store is whole or not at all, so that a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
