//! What a person decided about objects that the embedded archive keeps aside, put on record.
//!
//! Invariant: a decision is on record exactly when it was carried out, as far as the archive says so.

use super::{Store, StoreError, audit_log};
use crate::audit::{AsideDecided, Attribution, Event};

impl Store {
    /// Has `act` carry out a decision and puts on record what it says was done; nothing where it did nothing.
    pub fn decide_aside<T, E: From<StoreError>>(
        &self,
        attribution: &Attribution,
        act: impl FnOnce() -> Result<(T, Option<AsideDecided>), E>,
    ) -> Result<T, E> {
        let transaction = self.begin_write()?;
        let (outcome, decided) = act()?;
        if let Some(decided) = decided {
            let event = Event::AsideDecided(decided);
            let written = audit_log::append(&transaction, &self.cluster_uid, attribution, &event)
                .and_then(|()| transaction.commit());
            self.sqlite(written)?;
        }
        Ok(outcome)
    }
}
