//! A stored object on its way out: read, and held against what arrived.
//!
//! Invariant: the last bytes of a data set are given only when the file has the length that was stored, and its data the
//! digest that was kept; where none was, when it names the instance and SOP class that were stored. So whoever sends what comes from
//! here never completes an object that is not what arrived. The digest is computed of the bytes that are given, not before:
//! each object is read once, and no change of the file between a check and the sending goes unseen.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::head::HeadReader;
use super::index;
use super::{Archive, ArchiveError, StoredInstance};
use crate::model::ObjectIdentity;

/// How a file differs from what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Damage {
    /// It is not there.
    #[error("the file is missing")]
    Missing,
    /// It is shorter or longer.
    #[error("the file has another length than what was stored")]
    Length,
    /// It is another object.
    #[error("the file is another object than the one that was stored")]
    Identity,
    /// Its data are others.
    #[error("the data are not those that were stored")]
    Digest,
}

impl Damage {
    /// A short name for scripts and the index.
    pub fn code(self) -> &'static str {
        match self {
            Damage::Missing => "missing",
            Damage::Length => "length",
            Damage::Identity => "identity",
            Damage::Digest => "digest",
        }
    }
}

/// Reads the data set of a stored object.
#[derive(Debug)]
pub struct SoundReader {
    instance: StoredInstance,
    path: PathBuf,
    file: File,
    /// How much of the file is still to be read.
    remaining: u64,
    /// Until the object is identified, where only that can be checked.
    head: Option<HeadReader>,
    digest: Sha256,
}

impl SoundReader {
    /// Opens the file; an error where its length is not the one that was stored.
    pub fn open(instance: &StoredInstance) -> Result<Self, ArchiveError> {
        let damaged = |damage| ArchiveError::Damaged(instance.path.clone(), damage);
        let mut file = match File::open(&instance.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(Damage::Missing));
            }
            opened => opened.map_err(ArchiveError::io("open", &instance.path))?,
        };
        let length = file
            .metadata()
            .map_err(ArchiveError::io("read", &instance.path))?
            .len();
        if length != instance.bytes {
            return Err(damaged(Damage::Length));
        }
        file.seek(SeekFrom::Start(instance.data_set_offset))
            .map_err(ArchiveError::io("read", &instance.path))?;
        Ok(SoundReader {
            instance: instance.clone(),
            path: instance.path.clone(),
            file,
            remaining: length.saturating_sub(instance.data_set_offset),
            head: instance
                .digest
                .is_none()
                .then(|| HeadReader::new(&instance.transfer_syntax_uid)),
            digest: Sha256::new(),
        })
    }

    /// The next bytes of the data set, at most `size`; `None` after the last. The last come when all has been checked.
    pub fn read(&mut self, size: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let wanted = self.remaining.min(size);
        let mut bytes = Vec::with_capacity(wanted as usize);
        let mut part = (&mut self.file).take(wanted);
        part.read_to_end(&mut bytes)
            .map_err(ArchiveError::io("read", &self.path))?;
        if (bytes.len() as u64) < wanted {
            return Err(self.damaged(Damage::Length));
        }
        self.remaining -= wanted;
        self.digest.update(&bytes);
        self.identify(&bytes)?;
        if self.remaining == 0 {
            self.conclude()?;
        }
        Ok(Some(bytes))
    }

    fn identify(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let Some(head) = &mut self.head else {
            return Ok(());
        };
        match head.feed(bytes) {
            Ok(None) => Ok(()),
            Ok(Some(identity)) => {
                self.head = None;
                self.compare(&identity)
            }
            Err(_) => Err(self.damaged(Damage::Identity)),
        }
    }

    fn conclude(&mut self) -> Result<(), ArchiveError> {
        if let Some(head) = self.head.take() {
            match head.finish() {
                Ok(identity) => self.compare(&identity)?,
                Err(_) => return Err(self.damaged(Damage::Identity)),
            }
        }
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        match self.instance.digest {
            Some(stored) if stored != digest => Err(self.damaged(Damage::Digest)),
            _ => Ok(()),
        }
    }

    fn compare(&self, identity: &ObjectIdentity) -> Result<(), ArchiveError> {
        let is_same = identity.sop_instance_uid.as_str() == self.instance.sop_instance_uid
            && identity.sop_class_uid.as_str() == self.instance.sop_class_uid;
        match is_same {
            true => Ok(()),
            false => Err(self.damaged(Damage::Identity)),
        }
    }

    fn damaged(&self, damage: Damage) -> ArchiveError {
        ArchiveError::Damaged(self.path.clone(), damage)
    }
}

/// Takes digests and damage over into a new index, of files that are what the old one says.
pub(super) fn take_over(old: &Connection, new: &mut Connection) -> rusqlite::Result<()> {
    let transaction = new.transaction()?;
    {
        let mut known =
            old.prepare("SELECT uid, folder, bytes, digest, damage FROM instance WHERE digest IS NOT NULL")?;
        let mut update = transaction.prepare(
            "UPDATE instance SET digest = ?4, damage = ?5 WHERE uid = ?1 AND folder = ?2 AND bytes = ?3",
        )?;
        let mut rows = known.query([])?;
        while let Some(row) = rows.next()? {
            update.execute(params![
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Option<Vec<u8>>>(3)?,
                row.get::<_, Option<String>>(4)?,
            ])?;
        }
    }
    transaction.commit()
}

impl Archive {
    /// Notes how the file of an instance differs from what was stored.
    pub fn note_damage(&self, instance: &StoredInstance, damage: Damage) -> Result<(), ArchiveError> {
        let connection = index::open_for_writing(&self.0.layout.index())?;
        connection.execute(
            "UPDATE instance SET damage = ?4 WHERE uid = ?1 AND bytes = ?2 AND digest IS ?3",
            params![
                instance.sop_instance_uid,
                instance.bytes,
                instance.digest,
                damage.code()
            ],
        )?;
        Ok(())
    }
}
