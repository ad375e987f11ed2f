//! Who brings priors: a process, known by a lock that ends with it.
//!
//! Invariant: a runner is alive exactly while its lock file is locked, in whatever namespace its process runs and
//! however it ends. Its name is made once and never again, so its file may go with it.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use uuid::Uuid;

use super::lock::{beside, open_regular};
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
    /// Makes this process a runner of the queue. What is left of runners that were killed is removed.
    pub fn prefetch_runner(&self) -> Result<PrefetchRunner, StoreError> {
        self.remove_ended_runners();
        loop {
            let name = Uuid::new_v4().simple().to_string();
            let path = lock_path(&self.path, &name);
            let io_error = |source| StoreError::from_io("lock", &path, source);
            let file = ownership::create(&path).map_err(io_error)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| io_error(error.into()))?;
            // Another may have taken it for an ended runner's before it was locked.
            if path.exists() {
                return Ok(PrefetchRunner {
                    name,
                    path,
                    _lock: file,
                });
            }
        }
    }

    /// Removes the lock files of runners that were killed. Those of which jobs are left are found by their jobs as well:
    /// without a file a runner has ended.
    fn remove_ended_runners(&self) {
        let prefix = lock_path(&self.path, "");
        let prefix = prefix.with_extension("");
        let Some(prefix) = prefix.file_name().and_then(|name| name.to_str()) else {
            return;
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // What can't be looked at is left.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let runner = name
                .to_str()
                .and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".lock"));
            if let Some(runner) = runner {
                has_ended(&self.path, runner);
            }
        }
    }
}

/// Whether the runner of that name has ended; its file is removed then. One whose file can't be looked at has not.
pub(super) fn has_ended(store: &Path, name: &str) -> bool {
    let path = lock_path(store, name);
    let is_free = match open_regular(OpenOptions::new().read(true), &path) {
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
