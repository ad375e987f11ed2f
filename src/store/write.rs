//! The one way to write to a store: a transaction that fails where the store at the path is not the one it writes to.
//!
//! Invariant: what was committed here is in the store at the path, and was when the commit returned. So nobody
//! acknowledges what went into a deleted or replaced file.

use std::ops::Deref;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::held_files::Replacement;
use super::{Access, Store, StoreError};

/// A transaction that writes. Dropped without a commit, nothing was written.
pub(super) struct WriteTransaction<'s> {
    transaction: Transaction<'s>,
    store: &'s Store,
}

impl Deref for WriteTransaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

impl WriteTransaction<'_> {
    /// Commits. Where the store was replaced meanwhile this fails, though the old file may have taken what was written.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.transaction.commit()?;
        self.store.refuse_replaced()
    }

    /// Takes everything back.
    pub(super) fn rollback(self) -> rusqlite::Result<()> {
        self.transaction.rollback()
    }
}

impl Store {
    /// The right to write, alone.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction<'_>, StoreError> {
        if self.access == Access::ReadOnly {
            return Err(StoreError::ReadOnly {
                path: self.path.clone(),
            });
        }
        let begin = || {
            self.refuse_replaced()?;
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            // By this an older copy of the store is told from it.
            transaction
                .prepare_cached("UPDATE cluster SET writes = writes + 1")?
                .execute([])?;
            Ok(WriteTransaction {
                transaction,
                store: self,
            })
        };
        self.sqlite(begin())
    }

    /// Commits what `write` writes without a sync of its own. It survives the end of the process, and reaches the disk
    /// with the next synced commit or checkpoint; a power cut may take it, and never half of it.
    pub(super) fn write_without_sync(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let synchronous = |mode| self.sqlite(self.connection.pragma_update(None, "synchronous", mode));
        synchronous("NORMAL")?;
        let written = self.begin_write().and_then(|transaction| {
            let written = write(&transaction).and_then(|()| transaction.commit());
            self.sqlite(written)
        });
        synchronous("FULL")?;
        written
    }

    /// What has happened to the files of this store since it was opened for writing.
    pub(super) fn replacement(&self) -> Option<Replacement> {
        self.held.as_ref()?.replacement(&self.path)
    }

    /// `StoreError::from_sqlite` knows this error again.
    fn refuse_replaced(&self) -> rusqlite::Result<()> {
        match self.replacement() {
            None => Ok(()),
            Some(how) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(how))),
        }
    }
}
