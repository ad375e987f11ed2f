//! The cross-reference of patients in memory, and how it follows the store.
//!
//! Invariant: a query keeps the one it began with. It is read on a blocking thread, and only where it has changed; where
//! it can't be read, the one before stays.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::{chain, locked};
use crate::model::CrossReference;
use crate::store::{Store, StoreError};

/// The cross-reference in force.
pub(super) struct KnownPatients {
    store: Mutex<Store>,
    in_force: ArcSwap<(Arc<CrossReference>, u64)>,
}

impl KnownPatients {
    /// Reads what is in `store`, and keeps that to read it again. Blocks.
    pub(super) fn load(store: Store) -> Result<Arc<Self>, StoreError> {
        let (known, change) = store.cross_reference()?;
        Ok(Arc::new(KnownPatients {
            store: Mutex::new(store),
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
        let known = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || known.read()).await;
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

    fn read(&self) -> Result<u64, StoreError> {
        // Held to the end, so that no older one is put in force after a newer one.
        let store = locked(&self.store);
        let newest = store.cross_reference_change()?;
        if newest != self.in_force.load().1 {
            let (known, change) = store.cross_reference()?;
            tracing::info!(
                "cross-reference of patients in force: change {change}, {} IDs",
                known.len()
            );
            self.in_force.store(Arc::new((Arc::new(known), change)));
            return Ok(change);
        }
        Ok(newest)
    }
}
