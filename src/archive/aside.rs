//! Objects that are kept aside: as what they are, why, from whom and since when.
//!
//! Invariant: what is kept aside has a file in its own folder and a row in the index, and no query finds it. The reason is
//! in the index alone: it is committed before the sender is answered, and taken over when the index is made again.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::description::Description;
use super::index::{self, Placement, placement};
use super::layout::{Layout, hex};
use super::object::ObjectFile;
use super::{Archive, ArchiveError};
use crate::model::{AeTitle, AsideReason, ExpectedPatient, ObjectIdentity, Uid};

/// An object that is kept aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAside {
    /// Names it; hexadecimal.
    pub id: String,
    /// Which object it is, and whose, by its own data set.
    pub identity: ObjectIdentity,
    /// Why it is not stored.
    pub reason: AsideReason,
    /// The AE title of who sent it, where known.
    pub source: Option<AeTitle>,
    /// When it was kept aside.
    pub since: Timestamp,
    /// The transfer syntax of its data set.
    pub transfer_syntax_uid: String,
    /// The file.
    pub path: PathBuf,
    pub(super) data_set_offset: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

impl Archive {
    /// The objects that are kept aside, in the order of their arrival.
    pub fn kept_aside(&self) -> Result<Vec<KeptAside>, ArchiveError> {
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(
                "SELECT name, sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid, patient_id, issuer,
                 reason, expected_uid, expected_patient_id, expected_issuer, source, since, transfer_syntax_uid,
                 data_set_offset, bytes FROM kept_aside ORDER BY since, name",
            )?;
            let rows = statement.query_map([], |row| kept_aside(&self.0.layout, row))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// How many objects the archive in `root` keeps aside; for who only looks: nothing is made, locked or recovered.
pub fn count_kept_aside(root: &Path) -> Result<u64, ArchiveError> {
    let path = root.join("index.db");
    if !path.is_file() {
        return Ok(0);
    }
    let index = index::open_for_reading(&path)?;
    Ok(index.query_row("SELECT count(*) FROM kept_aside", [], |row| row.get(0))?)
}

fn kept_aside(layout: &Layout, row: &Row<'_>) -> rusqlite::Result<KeptAside> {
    let name: String = row.get(0)?;
    let expected_issuer = row.get::<_, Option<String>>(10)?;
    let patient = row.get::<_, Option<String>>(9)?.map(|id| ExpectedPatient {
        id,
        issuer: expected_issuer.and_then(|issuer| issuer.parse().ok()),
    });
    let expected_uid = row
        .get::<_, Option<String>>(8)?
        .and_then(|text| text.parse().ok());
    Ok(KeptAside {
        id: id(&name),
        identity: ObjectIdentity {
            sop_class_uid: uid(row, 1)?,
            sop_instance_uid: uid(row, 2)?,
            series_instance_uid: uid(row, 3)?,
            study_instance_uid: uid(row, 4)?,
            patient_id: row.get(5)?,
            issuer: row.get(6)?,
        },
        reason: AsideReason::read(&row.get::<_, String>(7)?, expected_uid, patient),
        source: row
            .get::<_, Option<String>>(11)?
            .and_then(|title| title.parse().ok()),
        since: Timestamp::from_millisecond(row.get(12)?).unwrap_or(Timestamp::UNIX_EPOCH),
        transfer_syntax_uid: row.get(13)?,
        data_set_offset: row.get(14)?,
        bytes: row.get(15)?,
        path: layout.aside().join(name),
    })
}

fn uid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uid> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// The digest of the data, which the name ends with; of a file that somebody else named, one of the name.
fn id(name: &str) -> String {
    let is_digest = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digest = name.split('.').nth(1).filter(is_digest);
    digest.map_or_else(|| hex(&Sha256::digest(name)), str::to_owned)
}

/// Lists a file that was kept aside, unless it is listed; within the caller's transaction.
pub(super) fn list(
    transaction: &Connection,
    name: &str,
    (description, placement): (&Description, &Placement),
    reason: &AsideReason,
    (source, since): (Option<&AeTitle>, i64),
) -> rusqlite::Result<()> {
    let identity = description.identity();
    let expected = reason.expected_patient();
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO kept_aside
         (name, sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid, patient_id, issuer, reason,
          expected_uid, expected_patient_id, expected_issuer, source, since, transfer_syntax_uid, data_set_offset, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    insert.execute(params![
        name,
        identity.sop_class_uid.as_str(),
        identity.sop_instance_uid.as_str(),
        identity.series_instance_uid.as_str(),
        identity.study_instance_uid.as_str(),
        identity.patient_id,
        identity.issuer,
        reason.code(),
        reason.expected_uid().map(Uid::as_str),
        expected.map(|patient| &patient.id),
        expected
            .and_then(|patient| patient.issuer.as_ref())
            .map(|issuer| issuer.as_str()),
        source.map(AeTitle::as_str),
        since,
        placement.transfer_syntax_uid,
        placement.data_set_offset,
        placement.bytes,
    ])?;
    Ok(())
}

/// Lists a file that was found aside. Without a `reason` it is that other data are stored under its UID, where there are.
pub(super) fn list_found(
    transaction: &Connection,
    path: &Path,
    (description, found): (&Description, &Placement),
    reason: Option<AsideReason>,
) -> Result<(), ArchiveError> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return Ok(());
    };
    let reason = match reason {
        Some(reason) => reason,
        None => match placement(transaction, description.sop_instance_uid.as_str())? {
            Some(_) => AsideReason::Differs,
            None => AsideReason::Unknown,
        },
    };
    let written = path.metadata().and_then(|file| file.modified());
    let written = written.map_err(ArchiveError::io("read", path))?;
    let since = Timestamp::try_from(written).unwrap_or(Timestamp::UNIX_EPOCH);
    let source = ObjectFile::open(path)?.and_then(|object| object.sender());
    let source = (source.as_ref(), since.as_millisecond());
    Ok(list(transaction, name, (description, found), &reason, source)?)
}

/// Lists in a new index what the old one lists and what is still there; how many objects.
pub(super) fn take_over(layout: &Layout, old: &Connection, new: &Connection) -> Result<u64, ArchiveError> {
    const COLUMNS: usize = 16;
    let mut listed = old.prepare(
        "SELECT name, sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid, patient_id, issuer, reason,
         expected_uid, expected_patient_id, expected_issuer, source, since, transfer_syntax_uid, data_set_offset, bytes
         FROM kept_aside",
    )?;
    let mut insert = new.prepare(
        "INSERT OR IGNORE INTO kept_aside
         (name, sop_class_uid, sop_instance_uid, series_instance_uid, study_instance_uid, patient_id, issuer, reason,
          expected_uid, expected_patient_id, expected_issuer, source, since, transfer_syntax_uid, data_set_offset, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    let mut taken = 0;
    let mut rows = listed.query([])?;
    while let Some(row) = rows.next()? {
        if layout.aside().join(row.get::<_, String>(0)?).is_file() {
            let values = (0..COLUMNS).map(|column| row.get::<_, rusqlite::types::Value>(column));
            let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
            taken += insert.execute(rusqlite::params_from_iter(values))? as u64;
        }
    }
    Ok(taken)
}
