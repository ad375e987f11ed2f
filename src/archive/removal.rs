//! Studies that go: out of the index first, then their files.
//!
//! Invariants:
//! - What leaves the index is listed for removal by the same commit, which is synced. A crash after it neither brings the
//!   study back nor leaves rows without files: whoever opens, rebuilds or writes the archive next removes what is listed.
//! - A file is removed, and its folder synced, under the right to write, before a synced commit takes it off the list;
//!   and nothing is put where a listed file is. So what is removed is never a file that came later.
//! - Whoever has a file open reads it to its end.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::holding::{Holding, kept_aside};
use super::index::{self, describe_patient, set_durable};
use super::layout::{Layout, remove_file, sync_folder};
use super::object::ObjectFile;
use super::{Archive, ArchiveError};

/// How many files are removed under one right to write.
const BATCH: usize = 500;

impl Archive {
    /// Takes a study out of the index, where what is stored of it is still what was looked at; `false` where it is not,
    /// and then nothing is changed. Nothing of it is found any more; [`Archive::finish_removals`] removes the files.
    ///
    /// Instances of it that are kept aside stay where they are: a study that has such is not removed.
    pub fn remove(&self, holding: &Holding) -> Result<bool, ArchiveError> {
        let mut connection = index::open_for_writing(&self.0.layout.index())?;
        set_durable(&connection, true)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let study = holding.study_instance_uid.as_str();
        let is_as_seen = stored(&transaction, study)? == holding.sop_instance_uids
            && kept_aside(&transaction, &holding.study_instance_uid)? == 0;
        if !is_as_seen {
            return Ok(false);
        }
        take_out(&self.0.layout, &transaction, study)?;
        transaction.commit()?;
        Ok(true)
    }

    /// Removes the files of studies that have left the index, those of a process that did not come to it too.
    pub fn finish_removals(&self) -> Result<(), ArchiveError> {
        finish(
            &self.0.layout,
            &mut index::open_for_writing(&self.0.layout.index())?,
        )
    }
}

fn stored(transaction: &Connection, study: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = transaction.prepare(
        "SELECT i.uid FROM study JOIN series ON series.study = study.key JOIN instance i ON i.series = series.key
         WHERE study.uid = ?1 ORDER BY i.key",
    )?;
    statement.query_map([study], |row| row.get(0))?.collect()
}

/// All rows of the study, of each patient that it is of, and the counts that they are in.
fn take_out(layout: &Layout, transaction: &Connection, study: &str) -> Result<(), ArchiveError> {
    let patients: Vec<(i64, Option<i64>)> = transaction
        .prepare("SELECT patient, (SELECT min(i.key) FROM study s JOIN series ON series.study = s.key
                  JOIN instance i ON i.series = series.key WHERE s.patient = study.patient) FROM study WHERE uid = ?1")?
        .query_map([study], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for sql in [
        "INSERT INTO removal (folder, uid) SELECT i.folder, i.uid FROM study
         JOIN series ON series.study = study.key JOIN instance i ON i.series = series.key WHERE study.uid = ?1",
        "DELETE FROM instance WHERE series IN
         (SELECT series.key FROM study JOIN series ON series.study = study.key WHERE study.uid = ?1)",
        "DELETE FROM series WHERE study IN (SELECT key FROM study WHERE uid = ?1)",
        "UPDATE patient SET studies = studies - 1, series = patient.series - gone.series,
         instances = patient.instances - gone.instances FROM study gone WHERE gone.patient = patient.key AND gone.uid = ?1",
        "DELETE FROM study WHERE uid = ?1",
    ] {
        transaction.execute(sql, [study])?;
    }
    for (patient, first_instance) in patients {
        let gone = transaction.execute(
            "DELETE FROM patient_name WHERE patient = (SELECT key FROM patient WHERE key = ?1 AND studies = 0)",
            [patient],
        )?;
        if transaction.execute("DELETE FROM patient WHERE key = ?1 AND studies = 0", [patient])? == 0
            && gone == 0
        {
            follow_first_instance(layout, transaction, patient, first_instance)?;
        }
    }
    Ok(())
}

/// One instance's row, and what of its series, study and patient has none left. The attributes of what stays are those of
/// the instance that came first, as ever; a study may name a modality too many until the index is made again.
pub(super) fn take_out_instance(
    layout: &Layout,
    transaction: &Connection,
    uid: &str,
) -> Result<(), ArchiveError> {
    let (instance, series, study, patient, bytes): (i64, i64, i64, i64, i64) = transaction.query_row(
        "SELECT i.key, series.key, study.key, study.patient, i.bytes FROM instance i
         JOIN series ON series.key = i.series JOIN study ON study.key = series.study WHERE i.uid = ?1",
        [uid],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
    )?;
    let first: Option<i64> = transaction.query_row(
        "SELECT min(i.key) FROM study JOIN series ON series.study = study.key
         JOIN instance i ON i.series = series.key WHERE study.patient = ?1",
        [patient],
        |row| row.get(0),
    )?;
    let sql = "INSERT INTO removal (folder, uid) SELECT folder, uid FROM instance WHERE key = ?1";
    transaction.execute(sql, [instance])?;
    transaction.execute("DELETE FROM instance WHERE key = ?1", [instance])?;
    let execute = |sql, key: i64| transaction.execute(sql, [key]);
    execute(
        "UPDATE series SET instances = instances - 1 WHERE key = ?1",
        series,
    )?;
    execute(
        "UPDATE patient SET instances = instances - 1 WHERE key = ?1",
        patient,
    )?;
    transaction.execute(
        "UPDATE study SET instances = instances - 1, bytes = bytes - ?2 WHERE key = ?1",
        [study, bytes],
    )?;
    if execute("DELETE FROM series WHERE key = ?1 AND instances = 0", series)? > 0 {
        execute("UPDATE study SET series = series - 1 WHERE key = ?1", study)?;
        execute("UPDATE patient SET series = series - 1 WHERE key = ?1", patient)?;
    }
    if execute("DELETE FROM study WHERE key = ?1 AND instances = 0", study)? > 0 {
        execute("UPDATE patient SET studies = studies - 1 WHERE key = ?1", patient)?;
    }
    execute(
        "DELETE FROM patient_name WHERE patient = (SELECT key FROM patient WHERE key = ?1 AND studies = 0)",
        patient,
    )?;
    if execute("DELETE FROM patient WHERE key = ?1 AND studies = 0", patient)? == 0 {
        follow_first_instance(layout, transaction, patient, first)?;
    }
    Ok(())
}

/// The patient is described by the instance that came first: by another where that one has gone.
fn follow_first_instance(
    layout: &Layout,
    transaction: &Connection,
    patient: i64,
    first_before: Option<i64>,
) -> Result<(), ArchiveError> {
    let mut first = transaction.prepare(
        "SELECT i.key, i.folder, i.uid FROM study JOIN series ON series.study = study.key
         JOIN instance i ON i.series = series.key WHERE study.patient = ?1 ORDER BY i.key LIMIT 1",
    )?;
    let (key, folder, uid): (i64, i64, String) =
        first.query_row([patient], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if first_before == Some(key) {
        return Ok(());
    }
    let path = layout.file(folder, &uid);
    if let Some(mut object) = ObjectFile::open(&path)? {
        transaction.execute("DELETE FROM patient_name WHERE patient = ?1", [patient])?;
        describe_patient(transaction, patient, &object.describe(&path)?.patient)?;
    }
    Ok(())
}

/// Whether a file under this name is still to be removed.
pub(super) fn is_listed(transaction: &Connection, folder: i64, uid: &str) -> rusqlite::Result<bool> {
    let mut statement = transaction.prepare_cached("SELECT 1 FROM removal WHERE folder = ?1 AND uid = ?2")?;
    Ok(statement
        .query_row(params![folder, uid], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Removes the files that are listed for it. One that can't be removed stays listed and does not keep the others.
pub(super) fn finish(layout: &Layout, connection: &mut Connection) -> Result<(), ArchiveError> {
    let is_any = |connection: &Connection| {
        let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM removal)")?;
        statement.query_row([], |row| row.get::<_, bool>(0))
    };
    while is_any(connection)? {
        set_durable(connection, true)?;
        let removed = remove_some(layout, connection);
        set_durable(connection, false)?;
        removed?;
    }
    Ok(())
}

fn remove_some(layout: &Layout, connection: &mut Connection) -> Result<(), ArchiveError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let listed: Vec<(i64, String)> = transaction
        .prepare_cached("SELECT folder, uid FROM removal LIMIT ?1")?
        .query_map([BATCH], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut failed = Ok(());
    let mut removed = Vec::with_capacity(listed.len());
    for (folder, uid) in listed {
        match remove_file(&layout.file(folder, &uid)) {
            Ok(()) => removed.push((folder, uid)),
            Err(error) => failed = Err(error),
        }
    }
    let folders: BTreeSet<i64> = removed.iter().map(|(folder, _)| *folder).collect();
    folders
        .into_iter()
        .map(|folder| layout.folder(folder))
        .filter(|folder| Path::exists(folder))
        .try_for_each(|folder| sync_folder(&folder))?;
    {
        let mut done = transaction.prepare_cached("DELETE FROM removal WHERE folder = ?1 AND uid = ?2")?;
        for (folder, uid) in removed {
            done.execute(params![folder, uid])?;
        }
    }
    transaction.commit()?;
    failed
}
