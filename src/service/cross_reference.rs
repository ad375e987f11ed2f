//! The cross-reference of patients in memory, and how it follows the store.
//!
//! Invariant: a query keeps the one it began with. It is read on a blocking thread, and only where it has changed; where
//! it can't be read, the one before stays.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::chain;
use crate::model::CrossReference;
use crate::store::{SharedStore, StoreError};

/// The cross-reference in force.
pub(super) struct KnownPatients {
    store: SharedStore,
    in_force: ArcSwap<(Arc<CrossReference>, u64)>,
}

impl KnownPatients {
    /// Reads what is in `store`, and keeps that to read it again. Blocks.
    pub(super) fn load(store: SharedStore) -> Result<Arc<Self>, StoreError> {
        let (known, change) = store.with_blocking(|store| store.cross_reference())?;
        Ok(Arc::new(KnownPatients {
            store,
            in_force: ArcSwap::from_pointee((Arc::new(known), change)),
        }))
    }

    /// The one in force now.
    pub(super) fn pin(&self) -> Arc<CrossReference> {
        let in_force = self.in_force.load();
        Arc::clone(&in_force.0)
    }

    /// Takes what is in the store now; returns the number of the change that is in force then, or why the one before
    /// stays.
    pub(super) async fn take_newest(self: &Arc<Self>) -> Result<u64, String> {
        self.take(false).await
    }

    /// The same for another store than the one it was read from.
    pub(super) async fn take_from_other_store(self: &Arc<Self>) -> Result<u64, String> {
        self.take(true).await
    }

    async fn take(self: &Arc<Self>, is_other: bool) -> Result<u64, String> {
        let known = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || known.read(is_other)).await;
        let taken = match reading {
            Ok(Ok(change)) => Ok(change),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err("it was not read to its end".to_owned()),
        };
        if let Err(reason) = &taken {
            tracing::error!("the cross-reference of patients stays as it was: {reason}");
        }
        taken
    }

    fn read(&self, is_other: bool) -> Result<u64, StoreError> {
        // Within, so that no older one is put in force after a newer one.
        self.store.with_blocking(|store| {
            let newest = store.cross_reference_change()?;
            if newest == self.in_force.load().1 && !is_other {
                return Ok(newest);
            }
            let (known, change) = store.cross_reference()?;
            tracing::info!(
                "cross-reference of patients in force: change {change}, {} IDs",
                known.len()
            );
            self.in_force.store(Arc::new((Arc::new(known), change)));
            Ok(change)
        })
    }
}
