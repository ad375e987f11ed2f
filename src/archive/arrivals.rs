//! Instances that were acquired here, until linked clusters have been told of them.
//!
//! Invariants: an arrival is listed by the commit that stores its instance, and goes when who tells of it says so, or with
//! its instance. What recovery finds in the files may have been acquired, and is listed as such a one. Not here: who is
//! told, and what else is no news to them.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::index::{self, Inserted};
use super::object::ObjectFile;
use super::{Archive, ArchiveError};
use crate::model::{AeTitle, IMPLEMENTATION_CLASS_UID, Issuer, Uid};

/// A study, as one patient's, with instances that nobody was told of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedStudy {
    key: i64,
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Patient ID; empty where the objects name none.
    pub patient_id: String,
    /// Its issuer, where the objects name one.
    pub issuer: Option<Issuer>,
}

/// An instance that nobody was told of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    key: i64,
    folder: i64,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// Whether it was found after a crash, so that it may have been brought from elsewhere.
    pub is_adopted: bool,
}

impl Archive {
    /// The studies of which something has arrived, and for `quiet` nothing more.
    pub fn quiet_arrivals(&self, quiet: Duration) -> Result<Vec<ArrivedStudy>, ArchiveError> {
        let now = Timestamp::now();
        let last = now.checked_sub(quiet).unwrap_or(Timestamp::MIN);
        self.0.readers.with(|index| {
            // What has arrived in the future has done so by a clock that was set back since.
            let mut statement = index.prepare_cached(
                "SELECT study.key, study.uid, patient_id, issuer FROM arriving_study
                 JOIN study ON study.key = arriving_study.study JOIN patient ON patient.key = study.patient
                 WHERE last_arrival <= ?1 OR last_arrival > ?2 ORDER BY last_arrival",
            )?;
            let studies = statement.query_map([last.as_millisecond(), now.as_millisecond()], |row| {
                Ok(ArrivedStudy {
                    key: row.get(0)?,
                    study_instance_uid: uid(row, 1)?,
                    patient_id: row.get(2)?,
                    issuer: row.get::<_, String>(3)?.parse().ok(),
                })
            })?;
            Ok(studies.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The instances of a study that nobody was told of, series by series; at most `limit`.
    pub fn arrivals(&self, study: &ArrivedStudy, limit: usize) -> Result<Vec<Arrival>, ArchiveError> {
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(
                "SELECT i.key, i.folder, series.uid, i.sop_class_uid, i.uid, is_adopted
                 FROM series JOIN instance i ON i.series = series.key JOIN arrival ON arrival.instance = i.key
                 WHERE series.study = ?1 ORDER BY series.key, i.key LIMIT ?2",
            )?;
            let arrivals = statement.query_map(params![study.key, limit], |row| {
                Ok(Arrival {
                    key: row.get(0)?,
                    folder: row.get(1)?,
                    series_instance_uid: uid(row, 2)?,
                    sop_class_uid: uid(row, 3)?,
                    sop_instance_uid: uid(row, 4)?,
                    is_adopted: row.get(5)?,
                })
            })?;
            Ok(arrivals.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Who sent an instance to this archive, as noted in its file; `None` where it came in another way.
    pub fn sender(&self, arrival: &Arrival) -> Result<Option<AeTitle>, ArchiveError> {
        let path = self
            .0
            .layout
            .file(arrival.folder, arrival.sop_instance_uid.as_str());
        Ok(ObjectFile::open(&path)?.and_then(|object| object.sender()))
    }

    /// Takes instances off the list, and the study where that was all.
    pub fn forget_arrivals(&self, study: &ArrivedStudy, arrivals: &[Arrival]) -> Result<(), ArchiveError> {
        let mut connection = index::open_for_writing(&self.0.layout.index())?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            // Another instance may have been given the key meanwhile.
            let mut forget = transaction.prepare(
                "DELETE FROM arrival WHERE instance = (SELECT key FROM instance WHERE key = ?1 AND uid = ?2)",
            )?;
            for arrival in arrivals {
                forget.execute(params![arrival.key, arrival.sop_instance_uid.as_str()])?;
            }
        }
        transaction.execute(
            "DELETE FROM arriving_study WHERE study = ?1 AND NOT EXISTS
             (SELECT 1 FROM series JOIN instance i ON i.series = series.key JOIN arrival ON arrival.instance = i.key
              WHERE series.study = ?1)",
            [study.key],
        )?;
        Ok(transaction.commit()?)
    }

    /// Takes all instances off the list, as nobody is to be told. Where none are on it, nothing is written.
    pub fn forget_all_arrivals(&self) -> Result<(), ArchiveError> {
        let is_empty = |index: &Connection| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM arriving_study)";
            Ok(index.query_row(sql, [], |row| row.get(0))?)
        };
        if self.0.readers.with::<bool>(is_empty)? {
            return Ok(());
        }
        let connection = index::open_for_writing(&self.0.layout.index())?;
        let sql = "BEGIN IMMEDIATE; DELETE FROM arrival; DELETE FROM arriving_study; COMMIT";
        Ok(connection.execute_batch(sql)?)
    }
}

/// Lists an instance that has just been put into the index; within the caller's transaction.
pub(super) fn list(transaction: &Connection, inserted: Inserted, is_adopted: bool) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO arrival (instance, is_adopted) VALUES (?1, ?2)")?
        .execute(params![inserted.instance, is_adopted])?;
    transaction
        .prepare_cached(
            "INSERT INTO arriving_study (study, last_arrival) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET last_arrival = excluded.last_arrival",
        )?
        .execute([inserted.study, Timestamp::now().as_millisecond()])?;
    Ok(())
}

/// Lists in a new index what the old one lists, and what of the folders in use that one has lost, as recovery would.
pub(super) fn take_over(old: &Connection, new: &mut Connection) -> rusqlite::Result<()> {
    let transaction = new.transaction()?;
    take_listed_over(old, &transaction)?;
    let in_use = old
        .prepare("SELECT number FROM folder WHERE in_use = 1")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    let mut is_indexed = old.prepare("SELECT 1 FROM instance WHERE uid = ?1")?;
    for folder in in_use {
        let mut found = transaction.prepare_cached(
            "SELECT instance.uid, instance.key, study FROM instance JOIN series ON series.key = instance.series
             WHERE folder = ?1",
        )?;
        let mut rows = found.query([folder])?;
        while let Some(row) = rows.next()? {
            if !is_indexed.exists([row.get::<_, String>(0)?])? {
                let inserted = Inserted {
                    instance: row.get(1)?,
                    study: row.get(2)?,
                };
                list(&transaction, inserted, true)?;
            }
        }
    }
    transaction.commit()
}

fn take_listed_over(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let mut listed =
        old.prepare("SELECT uid, is_adopted FROM arrival JOIN instance ON instance.key = arrival.instance")?;
    let mut find = new.prepare(
        "SELECT instance.key, study FROM instance JOIN series ON series.key = instance.series WHERE instance.uid = ?1",
    )?;
    let mut rows = listed.query([])?;
    while let Some(row) = rows.next()? {
        let found = find.query_map([row.get::<_, String>(0)?], |found| {
            Ok(Inserted {
                instance: found.get(0)?,
                study: found.get(1)?,
            })
        })?;
        for inserted in found {
            list(new, inserted?, row.get(1)?)?;
        }
    }
    Ok(())
}

impl ObjectFile {
    /// Who sent the object to this archive; `None` of a file that was written elsewhere, which tells of its way there.
    pub(super) fn sender(&self) -> Option<AeTitle> {
        let is_ours = self.meta.implementation_class_uid == IMPLEMENTATION_CLASS_UID;
        self.meta.source_ae_title.parse().ok().filter(|_| is_ours)
    }
}

fn uid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uid> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
