//! Saving: one transaction from the configuration that is there to the next one.
//!
//! Invariants: the change is made to the newest configuration, which nobody else can change meanwhile. What breaks a
//! rule, and what changes nothing, leaves no trace.

use rusqlite::Connection;

use super::{
    SavedGeneration, Store, StoreError, audit_log, configuration, connection, history, outbox, relay_peers,
};
use crate::audit::{Attribution, Event};
use crate::model::{Change, Configuration, Generation, Invalid, changes};

/// What a save did, or a preview would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The generation before.
    pub previous: Generation,
    /// The one after; `previous` where nothing differs.
    pub generation: Generation,
    /// What differs.
    pub changes: Vec<Change>,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError<E> {
    /// The change itself was refused by who makes it.
    #[error("the change was refused")]
    Refused(#[source] E),
    /// It breaks a rule between stations.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Someone saved since the generation that was expected.
    #[error("generation {expected} was expected, {current} is the newest")]
    Overtaken {
        /// What the caller had seen.
        expected: Generation,
        /// What is there.
        current: Generation,
        /// Who saved that, when and why; `None` where none was saved yet.
        by: Option<Box<SavedGeneration>>,
    },
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Draft {
    before: Configuration,
    after: Configuration,
    changes: Vec<Change>,
}

impl Draft {
    fn saved(self) -> Saved {
        Saved {
            previous: self.before.generation,
            generation: self.after.generation,
            changes: self.changes,
        }
    }
}

impl Store {
    /// Makes `edit` to the newest configuration and saves the result as the next generation, with its audit record.
    /// Where nothing differs, nothing is saved.
    ///
    /// # Errors
    /// `Overtaken` where `expected` is given and is not the newest generation. Whatever the error, nothing was written.
    pub fn save<E>(
        &self,
        attribution: &Attribution,
        expected: Option<Generation>,
        edit: impl FnOnce(&mut Configuration) -> Result<(), E>,
    ) -> Result<Saved, SaveError<E>> {
        let transaction = self.begin_write()?;
        let draft = self.draft(&transaction, expected, edit)?;
        if draft.changes.is_empty() {
            return Ok(draft.saved());
        }
        let event = Event::Configuration {
            generation: draft.after.generation,
            changes: draft.changes.clone(),
        };
        let written = configuration::write(&transaction, &draft.before, &draft.after)
            .and_then(|()| outbox::follow(&transaction, &draft.changes))
            .and_then(|()| relay_peers::follow(&transaction, &draft.changes))
            .and_then(|()| audit_log::append(&transaction, &self.cluster_uid, attribution, &event))
            .and_then(|()| transaction.commit())
            .and_then(|()| connection::checkpoint_on_close(&self.connection, true));
        self.sqlite(written)?;
        Ok(draft.saved())
    }

    /// What `save` would do, for `--dry-run`: nothing is written, and a store opened for reading will do.
    pub fn preview<E>(
        &self,
        expected: Option<Generation>,
        edit: impl FnOnce(&mut Configuration) -> Result<(), E>,
    ) -> Result<Saved, SaveError<E>> {
        let snapshot = self.begin_read()?;
        Ok(self.draft(&snapshot, expected, edit)?.saved())
    }

    fn draft<E>(
        &self,
        connection: &Connection,
        expected: Option<Generation>,
        edit: impl FnOnce(&mut Configuration) -> Result<(), E>,
    ) -> Result<Draft, SaveError<E>> {
        let before = self.sqlite(configuration::read(connection))?;
        let current = before.generation;
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            let by = self.sqlite(history::saved_generation(connection, current))?;
            return Err(SaveError::Overtaken {
                expected,
                current,
                by: by.map(Box::new),
            });
        }
        let mut after = before.clone();
        edit(&mut after).map_err(SaveError::Refused)?;
        after.stations.sort_by(|one, other| one.name.cmp(&other.name));
        after.check()?;
        let changes = changes(&before, &after);
        after.generation = current + u64::from(!changes.is_empty());
        Ok(Draft {
            before,
            after,
            changes,
        })
    }
}
