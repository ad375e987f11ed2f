//! An instance put into the index, with its series, study and patient where they are new, and all counts.
//!
//! Invariant: counts always are those of the rows. Attributes of patient, study and series are those of the instance
//! that came first; which one that was the files tell too, by their folder and time.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use rusqlite::{Connection, OptionalExtension, params};

use super::Placement;
use crate::archive::attributes::Attributes;
use crate::archive::description::Description;
use crate::archive::fold::fold_name;
use crate::archive::matching::values;
use crate::archive::temporal::parse_date;

/// The keys of an instance and of its study.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Inserted {
    pub(in crate::archive) instance: i64,
    pub(in crate::archive) study: i64,
}

/// Inserts an instance that is not there; within the caller's transaction.
pub(in crate::archive) fn insert(
    transaction: &Connection,
    description: &Description,
    placement: &Placement,
) -> rusqlite::Result<Inserted> {
    let patient = patient_key(transaction, description)?;
    let study = study_key(transaction, description, patient)?;
    let series = series_key(transaction, description, patient, study)?;
    let sop_class_uid = description.sop_class_uid.as_str();
    let mut statement = transaction.prepare_cached(
        "INSERT INTO instance (series, uid, sop_class_uid, transfer_syntax_uid, folder, data_set_offset, bytes, attributes,
                               digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let instance = statement.insert(params![
        series,
        description.sop_instance_uid.as_str(),
        sop_class_uid,
        placement.transfer_syntax_uid,
        placement.folder,
        placement.data_set_offset,
        placement.bytes,
        description.image.encode(),
        placement.digest,
    ])?;
    let mut count =
        transaction.prepare_cached("UPDATE series SET instances = instances + 1 WHERE key = ?1")?;
    count.execute([series])?;
    let mut count =
        transaction.prepare_cached("UPDATE patient SET instances = instances + 1 WHERE key = ?1")?;
    count.execute([patient])?;
    count_in_study(transaction, description, study, placement.bytes)?;
    Ok(Inserted { instance, study })
}

/// Gives an instance another file with the data that arrived. The old file is listed for removal, unless the new one has
/// its name; within the caller's transaction.
pub(in crate::archive) fn replace_file(
    transaction: &Connection,
    uid: &str,
    old: &Placement,
    new: &Placement,
) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE instance SET folder = ?2, data_set_offset = ?3, bytes = ?4, digest = ?5, damage = NULL WHERE uid = ?1",
    )?;
    update.execute(params![
        uid,
        new.folder,
        new.data_set_offset,
        new.bytes,
        new.digest
    ])?;
    let mut count = transaction.prepare_cached(
        "UPDATE study SET bytes = bytes - ?2 + ?3 WHERE key =
         (SELECT series.study FROM instance i JOIN series ON series.key = i.series WHERE i.uid = ?1)",
    )?;
    count.execute(params![uid, old.bytes, new.bytes])?;
    if old.folder != new.folder {
        let mut list = transaction.prepare_cached("INSERT INTO removal (folder, uid) VALUES (?1, ?2)")?;
        list.execute(params![old.folder, uid])?;
    }
    Ok(())
}

fn patient_key(transaction: &Connection, description: &Description) -> rusqlite::Result<i64> {
    let attributes = &description.patient;
    let identity = [tags::PATIENT_ID, tags::ISSUER_OF_PATIENT_ID].map(|tag| attributes.text(tag));
    let mut find =
        transaction.prepare_cached("SELECT key FROM patient WHERE patient_id = ?1 AND issuer = ?2")?;
    if let Some(key) = find.query_row(identity, |row| row.get(0)).optional()? {
        return Ok(key);
    }
    let mut insert = transaction
        .prepare_cached("INSERT INTO patient (patient_id, issuer, attributes) VALUES (?1, ?2, x'')")?;
    let key = insert.insert(identity)?;
    describe_patient(transaction, key, attributes)?;
    Ok(key)
}

/// Gives a patient that has no names yet its attributes and names.
pub(in crate::archive) fn describe_patient(
    transaction: &Connection,
    key: i64,
    attributes: &Attributes,
) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE patient SET attributes = ?2 WHERE key = ?1")?;
    update.execute(params![key, attributes.encode()])?;
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO patient_name (folded, patient) VALUES (?1, ?2)")?;
    for name in values(attributes.text(tags::PATIENT_NAME), VR::PN) {
        let folded = fold_name(name);
        for form in std::iter::once(folded.as_str()).chain(folded.split('=')) {
            insert.execute(params![form, key])?;
        }
    }
    Ok(())
}

fn study_key(transaction: &Connection, description: &Description, patient: i64) -> rusqlite::Result<i64> {
    let uid = description.study_instance_uid.as_str();
    let mut find = transaction.prepare_cached("SELECT key FROM study WHERE uid = ?1 AND patient = ?2")?;
    if let Some(key) = find
        .query_row(params![uid, patient], |row| row.get(0))
        .optional()?
    {
        return Ok(key);
    }
    let attributes = &description.study;
    let date = parse_date(attributes.text(tags::STUDY_DATE));
    let mut insert = transaction.prepare_cached(
        "INSERT INTO study (patient, uid, date, accession_number, modalities, sop_classes, attributes)
         VALUES (?1, ?2, ?3, ?4, '', '', ?5)",
    )?;
    let key = insert.insert(params![
        patient,
        uid,
        date.map_or(String::new(), |date| date.strftime("%Y%m%d").to_string()),
        attributes.text(tags::ACCESSION_NUMBER),
        attributes.encode(),
    ])?;
    let mut count = transaction.prepare_cached("UPDATE patient SET studies = studies + 1 WHERE key = ?1")?;
    count.execute([patient])?;
    Ok(key)
}

fn series_key(
    transaction: &Connection,
    description: &Description,
    patient: i64,
    study: i64,
) -> rusqlite::Result<i64> {
    let uid = description.series_instance_uid.as_str();
    let mut find = transaction.prepare_cached("SELECT key FROM series WHERE study = ?1 AND uid = ?2")?;
    if let Some(key) = find.query_row(params![study, uid], |row| row.get(0)).optional()? {
        return Ok(key);
    }
    let mut insert =
        transaction.prepare_cached("INSERT INTO series (study, uid, attributes) VALUES (?1, ?2, ?3)")?;
    let key = insert.insert(params![study, uid, description.series.encode()])?;
    let mut count = transaction.prepare_cached("UPDATE patient SET series = series + 1 WHERE key = ?1")?;
    count.execute([patient])?;
    let mut count = transaction.prepare_cached("UPDATE study SET series = series + 1 WHERE key = ?1")?;
    count.execute([study])?;
    Ok(key)
}

fn count_in_study(
    transaction: &Connection,
    description: &Description,
    study: i64,
    bytes: u64,
) -> rusqlite::Result<()> {
    let mut read = transaction.prepare_cached("SELECT modalities, sop_classes FROM study WHERE key = ?1")?;
    let (modalities, sop_classes): (String, String) =
        read.query_row([study], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let with = |known: String, new: &str| {
        let is_known = new.is_empty() || values(&known, VR::CS).any(|it| it == new);
        match (is_known, known.is_empty()) {
            (true, _) => known,
            (false, true) => new.to_owned(),
            (false, false) => format!("{known}\\{new}"),
        }
    };
    let modality = description.series.text(tags::MODALITY);
    let modalities = with(modalities, modality);
    let sop_classes = with(sop_classes, description.sop_class_uid.as_str());
    let mut count = transaction.prepare_cached(
        "UPDATE study SET modalities = ?2, sop_classes = ?3, instances = instances + 1, bytes = bytes + ?4 WHERE key = ?1",
    )?;
    count.execute(params![study, modalities, sop_classes, bytes])?;
    Ok(())
}
