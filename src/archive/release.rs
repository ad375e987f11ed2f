//! What a person decides about an object that is kept aside: it is stored as what it is, or deleted.
//!
//! Invariants: nothing is overwritten. An object that gives way is kept aside itself, listed by a synced commit, before it
//! leaves the index; and the one that is released stays aside until it is stored. A crash in between leaves both aside.

use std::fs;
use std::io;

use jiff::Timestamp;
use rusqlite::TransactionBehavior;

use super::aside::{self, KeptAside};
use super::index::{self, Placement, placement, set_durable};
use super::layout::{aside_name, remove_file, sync_folder};
use super::object::{ObjectFile, are_equal, data_set, digest};
use super::removal;
use super::{Archive, ArchiveError, Incoming, Outcome, StoredInstance};
use crate::model::AsideReason;

/// What is stored under the UID of an object that is kept aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredInstead {
    /// Nothing.
    Nothing,
    /// The very same data.
    Same,
    /// Other data.
    Other(StoredInstance),
}

/// What became of an object that was to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is stored.
    Stored,
    /// The same data were stored already, and it is aside no more.
    AlreadyStored,
    /// It is stored, and what was stored under its UID is kept aside.
    Replaced,
    /// Other data are stored under its UID, so it stays aside.
    StaysAside,
}

impl Archive {
    /// Looks at what is stored under the UID of an object that is kept aside.
    pub fn stored_instead_of(&self, kept: &KeptAside) -> Result<StoredInstead, ArchiveError> {
        let Some(stored) = self.instance(kept.identity.sop_instance_uid.as_str())? else {
            return Ok(StoredInstead::Nothing);
        };
        let is_same = stored.transfer_syntax_uid == kept.transfer_syntax_uid && {
            let one = data_set(&stored.path, stored.data_set_offset)?;
            let other = data_set(&kept.path, kept.data_set_offset)?;
            are_equal(one, other).map_err(ArchiveError::io("read", &kept.path))?
        };
        Ok(match is_same {
            true => StoredInstead::Same,
            false => StoredInstead::Other(stored),
        })
    }

    /// Stores an object that is kept aside, as what it is. Where other data are stored under its UID it stays aside, unless
    /// it shall `replace` them. With `is_acquired` it is among the [arrivals](Archive::arrivals).
    pub fn release(
        &self,
        kept: &KeptAside,
        replace: bool,
        is_acquired: bool,
    ) -> Result<Release, ArchiveError> {
        let stored = self.stored_instead_of(kept)?;
        match &stored {
            StoredInstead::Other(_) if !replace => return Ok(Release::StaysAside),
            StoredInstead::Other(stored) => self.give_way(stored)?,
            StoredInstead::Nothing | StoredInstead::Same => {}
        }
        let object =
            ObjectFile::open(&kept.path)?.ok_or(ArchiveError::Unreadable(super::Unreadable::Truncated))?;
        let released = match (Incoming::copy(self, object, is_acquired)?, stored) {
            (Outcome::KeptAside(_), _) => return Ok(Release::StaysAside),
            (Outcome::AlreadyStored, _) => Release::AlreadyStored,
            (Outcome::Stored, StoredInstead::Other(_)) => Release::Replaced,
            (Outcome::Stored, _) => Release::Stored,
        };
        self.drop_aside(kept)?;
        Ok(released)
    }

    /// Deletes an object that is kept aside; `false` where it is not there any more.
    pub fn drop_aside(&self, kept: &KeptAside) -> Result<bool, ArchiveError> {
        let connection = index::open_for_writing(&self.0.layout.index())?;
        set_durable(&connection, true)?;
        let name = kept.path.file_name().unwrap_or_default().to_string_lossy();
        // The file first: one that a crash leaves behind would be listed again.
        remove_file(&kept.path)?;
        sync_folder(&self.0.layout.aside())?;
        let gone = connection.execute("DELETE FROM kept_aside WHERE name = ?1", [name])?;
        Ok(gone > 0)
    }

    /// Keeps aside what is stored, so that another object can take its place.
    fn give_way(&self, stored: &StoredInstance) -> Result<(), ArchiveError> {
        let layout = &self.0.layout;
        let path = &stored.path;
        let object = ObjectFile::open(path)?;
        let mut object = object.ok_or(ArchiveError::Unreadable(super::Unreadable::Truncated))?;
        let description = object.describe(path)?;
        let source = object.sender();
        let digest = digest(data_set(path, stored.data_set_offset)?);
        let digest = digest.map_err(ArchiveError::io("read", path))?;
        let name = aside_name(&stored.sop_instance_uid, &digest);
        let target = layout.aside().join(&name);
        match fs::hard_link(path, &target) {
            // Under the same name aside there are the same data.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(ArchiveError::io("link to", &target))?,
        }
        sync_folder(&layout.aside())?;
        let mut connection = index::open_for_writing(&layout.index())?;
        set_durable(&connection, true)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let uid = &stored.sop_instance_uid;
        if let Some(here) = placement(&transaction, uid)?
            && layout.file(here.folder, uid) == *path
        {
            let found = (&description, &Placement { ..here });
            let now = Timestamp::now().as_millisecond();
            aside::list(
                &transaction,
                &name,
                found,
                &AsideReason::Replaced,
                (source.as_ref(), now),
            )?;
            removal::take_out_instance(layout, &transaction, uid)?;
        }
        transaction.commit()?;
        drop(connection);
        self.finish_removals()
    }
}
