//! A store that several tasks use.
//!
//! Invariant: it is used on blocking threads alone, by one task at a time. One that a service holds is opened anew after
//! another was taken up, and refused while it is lost.

use std::sync::{Arc, Mutex, PoisonError};

use super::{HeldStore, Store, StoreError};

/// A connection to the store of which tasks have clones.
#[derive(Debug, Clone)]
pub struct SharedStore {
    connection: Arc<Mutex<Option<Store>>>,
    held: Option<Arc<HeldStore>>,
}

impl SharedStore {
    /// Shares a connection.
    pub fn of(store: Store) -> Self {
        SharedStore {
            connection: Arc::new(Mutex::new(Some(store))),
            held: None,
        }
    }

    /// Shares a connection to a store that a service holds.
    pub(super) fn held(connection: Arc<Mutex<Option<Store>>>, held: Arc<HeldStore>) -> Self {
        SharedStore {
            connection,
            held: Some(held),
        }
    }

    /// Does something with the store on a blocking thread. Must be called within a tokio runtime.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.with_blocking(work)).await {
            Ok(done) => done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Does something with the store on this thread.
    pub fn with_blocking<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E>,
    ) -> Result<T, E> {
        // Each of its writes is whole or not at all, so that a panic elsewhere does not spoil it.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = &self.held else {
            return match &*connection {
                Some(store) => work(store),
                None => unreachable!("only a service closes connections"),
            };
        };
        held.refuse_lost()?;
        let store = match connection.take() {
            Some(store) => store,
            None => held.open_another()?,
        };
        let done = work(connection.insert(store));
        drop(connection);
        if done.is_err() {
            held.look();
        }
        done
    }
}
