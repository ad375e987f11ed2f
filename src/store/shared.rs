//! A store that several tasks use.
//!
//! Invariant: it is used on blocking threads alone, by one task at a time.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Store, StoreError};

/// A connection to the store of which tasks have clones.
#[derive(Debug, Clone)]
pub struct SharedStore(Arc<Mutex<Store>>);

impl SharedStore {
    /// Shares a connection.
    pub fn of(store: Store) -> Self {
        SharedStore(Arc::new(Mutex::new(store)))
    }

    /// Does something with the store on a blocking thread. Must be called within a tokio runtime.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.0);
        let working = tokio::task::spawn_blocking(move || {
            // Each of its writes is whole or not at all, so that a panic elsewhere does not spoil it.
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            work(&store)
        });
        match working.await {
            Ok(done) => done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}
