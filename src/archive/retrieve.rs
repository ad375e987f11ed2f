//! What is stored, to be sent or counted.
//!
//! Invariant: paths are made of numbers and hashes, never of what a peer wrote.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

use rusqlite::{OptionalExtension, Row, params};

use super::{Archive, ArchiveError};

/// A stored instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInstance {
    /// SOP Class UID.
    pub sop_class_uid: String,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// The transfer syntax that its data set is stored in.
    pub transfer_syntax_uid: String,
    /// Its DICOM file.
    pub path: PathBuf,
    /// Where the data set begins, in bytes from the start of the file; it goes on to the end.
    pub data_set_offset: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// The SHA-256 of the data set as it arrived, where that is known.
    pub digest: Option<[u8; 32]>,
    /// Whether the file is known not to be what arrived.
    pub is_damaged: bool,
}

impl StoredInstance {
    /// Opens the file at the beginning of the data set.
    pub fn open(&self) -> Result<File, ArchiveError> {
        let mut file = File::open(&self.path).map_err(ArchiveError::io("open", &self.path))?;
        file.seek(SeekFrom::Start(self.data_set_offset))
            .map_err(ArchiveError::io("read", &self.path))?;
        Ok(file)
    }
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Patients, by ID and issuer.
    pub patients: u64,
    /// Studies; one UID with two patients is two.
    pub studies: u64,
    /// Series.
    pub series: u64,
    /// Instances.
    pub instances: u64,
    /// The size of their files, in bytes.
    pub bytes: u64,
    /// Instances that were kept aside.
    pub kept_aside: u64,
}

impl Archive {
    /// The instances of a study, or of one of its series, in the order of arrival.
    pub fn instances(
        &self,
        study_instance_uid: &str,
        series_instance_uid: Option<&str>,
    ) -> Result<Vec<StoredInstance>, ArchiveError> {
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(
                "SELECT i.sop_class_uid, i.uid, i.transfer_syntax_uid, i.folder, i.data_set_offset, i.bytes, i.digest,
                        i.damage IS NOT NULL
                 FROM study JOIN series ON series.study = study.key JOIN instance i ON i.series = series.key
                 WHERE study.uid = ?1 AND (?2 IS NULL OR series.uid = ?2) ORDER BY i.key",
            )?;
            let rows = statement.query_map(params![study_instance_uid, series_instance_uid], |row| {
                self.stored_instance(row)
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// One instance, if it is stored.
    pub fn instance(&self, sop_instance_uid: &str) -> Result<Option<StoredInstance>, ArchiveError> {
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(
                "SELECT sop_class_uid, uid, transfer_syntax_uid, folder, data_set_offset, bytes, digest, damage IS NOT NULL
                 FROM instance WHERE uid = ?1",
            )?;
            let instance = statement.query_row([sop_instance_uid], |row| self.stored_instance(row));
            Ok(instance.optional()?)
        })
    }

    fn stored_instance(&self, row: &Row<'_>) -> rusqlite::Result<StoredInstance> {
        let sop_instance_uid: String = row.get(1)?;
        Ok(StoredInstance {
            sop_class_uid: row.get(0)?,
            transfer_syntax_uid: row.get(2)?,
            path: self.0.layout.file(row.get(3)?, &sop_instance_uid),
            data_set_offset: row.get(4)?,
            bytes: row.get(5)?,
            digest: row.get(6)?,
            is_damaged: row.get(7)?,
            sop_instance_uid,
        })
    }

    /// Of the SOP classes of late, the transfer syntaxes in which their objects are stored, the most usual first.
    pub fn usual_syntaxes(&self) -> Result<Vec<(String, String)>, ArchiveError> {
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(
                "SELECT sop_class_uid, transfer_syntax_uid FROM
                 (SELECT sop_class_uid, transfer_syntax_uid FROM instance ORDER BY key DESC LIMIT 2000)
                 GROUP BY 1, 2 ORDER BY count(*) DESC",
            )?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How much is stored, by the index.
    pub fn stats(&self) -> Result<Stats, ArchiveError> {
        let sql = "SELECT (SELECT count(*) FROM patient), (SELECT count(*) FROM kept_aside),
                   count(*), total(series), total(instances), total(bytes) FROM study";
        self.0.readers.with(|index| {
            let stats = index.query_row(sql, [], |row| {
                // SQLite's total() is a float, exact up to 2^53.
                let total = |column: usize| row.get::<_, f64>(column).map(|total| total as u64);
                Ok(Stats {
                    patients: row.get(0)?,
                    kept_aside: row.get(1)?,
                    studies: row.get(2)?,
                    series: total(3)?,
                    instances: total(4)?,
                    bytes: total(5)?,
                })
            });
            Ok(stats?)
        })
    }
}
