//! Who brings priors: a process, known by a lock that ends with it.
//!
//! Invariant: a runner is alive exactly while its lock file is locked, in whatever namespace its process runs and
//! however it ends. Its name is made once and never again, so its file may go with it.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use uuid::Uuid;

use super::lock::beside;
use super::{Store, StoreError, ownership};

/// The right to take jobs of the queue. Dropped, or with the end of its process, its jobs are free for others.
#[derive(Debug)]
pub struct PrefetchRunner {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl PrefetchRunner {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for PrefetchRunner {
    fn drop(&mut self) {
        // What is left of it is taken for what it is, an ended runner's, and removed by the next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Store {
    /// Makes this process a runner of the queue.
    pub fn prefetch_runner(&self) -> Result<PrefetchRunner, StoreError> {
        let name = Uuid::new_v4().simple().to_string();
        let path = lock_path(&self.path, &name);
        let io_error = |source| StoreError::from_io("lock", &path, source);
        let file = ownership::create(&path).map_err(io_error)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io_error(error.into()))?;
        Ok(PrefetchRunner {
            name,
            path,
            _lock: file,
        })
    }
}

/// Whether the runner of that name has ended; its file is removed then. One whose file can't be looked at has not.
pub(super) fn has_ended(store: &Path, name: &str) -> bool {
    let path = lock_path(store, name);
    let is_free = match File::open(&path) {
        Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok(),
        Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_free {
        // The next that looks finds it free as well.
        let _ = std::fs::remove_file(&path);
    }
    is_free
}

fn lock_path(store: &Path, name: &str) -> PathBuf {
    beside(store, &format!(".runner-{name}.lock"))
}
