//! What is stored of a study, and from whom it came: what has to be looked at before any of it may be removed.
//!
//! Invariant: a [`Holding`] is made by looking alone, and [`Archive::remove`](super::Archive::remove) removes what was
//! looked at, or nothing.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::object::ObjectFile;
use super::{Archive, ArchiveError, StoredInstance};
use crate::model::{AeTitle, Uid};

/// What was stored of a study at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub(super) study_instance_uid: Uid,
    /// The instances, in the order of arrival.
    pub(super) sop_instance_uids: Vec<String>,
    senders: BTreeSet<AeTitle>,
    was_imported: bool,
    pub(super) kept_aside: u64,
    bytes: u64,
}

impl Holding {
    /// How many instances.
    pub fn instances(&self) -> u64 {
        self.sop_instance_uids.len() as u64
    }

    /// The size of their files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Who sent instances to this archive, as noted in their files (Source Application Entity Title, 0002,0016).
    pub fn senders(&self) -> &BTreeSet<AeTitle> {
        &self.senders
    }

    /// Whether any came in another way than over the network, or from a sender that is not noted.
    pub fn was_imported(&self) -> bool {
        self.was_imported
    }

    /// How many instances of the study are kept aside, for somebody to look at.
    pub fn kept_aside(&self) -> u64 {
        self.kept_aside
    }
}

impl Archive {
    /// Looks at what is stored of a study: at the first bytes of each file.
    pub fn holding(&self, study_instance_uid: &Uid) -> Result<Holding, ArchiveError> {
        loop {
            let instances = self.instances(study_instance_uid.as_str(), None)?;
            match self.look_at(study_instance_uid, &instances) {
                // Another process is removing it.
                Err(_) if self.instances(study_instance_uid.as_str(), None)? != instances => {}
                looked => return looked,
            }
        }
    }

    fn look_at(
        &self,
        study_instance_uid: &Uid,
        instances: &[StoredInstance],
    ) -> Result<Holding, ArchiveError> {
        let kept_aside = |index: &Connection| Ok(kept_aside(index, study_instance_uid)?);
        let mut holding = Holding {
            study_instance_uid: study_instance_uid.clone(),
            sop_instance_uids: Vec::with_capacity(instances.len()),
            senders: BTreeSet::new(),
            was_imported: false,
            kept_aside: self.0.readers.with(kept_aside)?,
            bytes: instances.iter().map(|instance| instance.bytes).sum(),
        };
        for instance in instances {
            let object = ObjectFile::open(&instance.path)?;
            match object.and_then(|object| object.sender()) {
                Some(sender) => drop(holding.senders.insert(sender)),
                None => holding.was_imported = true,
            }
            holding.sop_instance_uids.push(instance.sop_instance_uid.clone());
        }
        Ok(holding)
    }
}

/// How many instances are kept aside that are of the study, by their own data or by those stored under their UIDs.
pub(super) fn kept_aside(index: &Connection, study_instance_uid: &Uid) -> rusqlite::Result<u64> {
    let mut statement = index.prepare_cached(
        "SELECT count(*) FROM kept_aside WHERE study_instance_uid = ?1 OR sop_instance_uid IN
         (SELECT i.uid FROM study JOIN series ON series.study = study.key JOIN instance i ON i.series = series.key
          WHERE study.uid = ?1)",
    )?;
    statement.query_row([study_instance_uid.as_str()], |row| row.get(0))
}
