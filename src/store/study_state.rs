//! The states of studies, and by which values studies are found.
//!
//! Invariants: the state of a study is one patient's; under another patient the same study UID has another state, so that
//! whoever speaks for one patient changes nothing of another's. `stated_value` has the values as they are shown, of the
//! fields that queries match by. States are written by `updates` alone, in the transaction of the update.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::configuration::{json, parsed, unreadable};
use super::{Store, StoreError};
use crate::model::{FieldValue, StateField, StudyPatient, StudyState, Uid};

/// How many studies are looked up at once.
const MOST_AT_ONCE: usize = 500;

/// The state of a study of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedStudy {
    /// The study.
    pub study: Uid,
    /// Whose it is.
    pub patient: StudyPatient,
    /// What was said of it.
    pub state: StudyState,
}

impl Store {
    /// Whether there is a state of any study.
    pub fn has_study_states(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM study_state)";
        self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))
    }

    /// The states of these studies, in no order; of one study there are several where several patients were named.
    pub fn study_states(&self, studies: &[Uid]) -> Result<Vec<StatedStudy>, StoreError> {
        let mut found = Vec::new();
        for studies in studies.chunks(MOST_AT_ONCE) {
            let places = vec!["?"; studies.len()].join(",");
            let sql =
                format!("SELECT study, patient_id, issuer, state FROM study_state WHERE study IN ({places})");
            let read = || -> rusqlite::Result<Vec<StatedStudy>> {
                let mut statement = self.connection.prepare_cached(&sql)?;
                let keys = params_from_iter(studies.iter().map(Uid::as_str));
                statement.query_map(keys, stated_study)?.collect()
            };
            found.extend(self.sqlite(read())?);
        }
        Ok(found)
    }

    /// The studies whose state has a conflict, at most `limit`, by UID.
    pub fn studies_in_conflict(&self, limit: usize) -> Result<Vec<StatedStudy>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT study, patient_id, issuer, state FROM study_state WHERE in_conflict = 1 ORDER BY study LIMIT ?1",
            )?;
            statement.query_map([limit], stated_study)?.collect()
        };
        self.sqlite(read())
    }

    /// The studies that a state gives a value of this field which `takes` takes, at most `limit` of them, each with its
    /// patient. Blocks for as long as looking at all values of the field takes.
    pub fn studies_with_stated_value(
        &self,
        field: StateField,
        limit: usize,
        takes: impl Fn(&str) -> bool,
    ) -> Result<Vec<(Uid, StudyPatient)>, StoreError> {
        let read = || {
            let mut found = Vec::new();
            let mut statement = self.connection.prepare_cached(
                "SELECT study, patient_id, issuer, value FROM stated_value WHERE field = ?1",
            )?;
            let mut rows = statement.query([field.as_str()])?;
            while let Some(row) = rows.next()? {
                if found.len() < limit && takes(row.get_ref(3)?.as_str()?) {
                    found.push((parsed(row, 0)?, patient(row)?));
                }
            }
            Ok(found)
        };
        self.sqlite(read())
    }
}

pub(super) fn stated_study(row: &Row<'_>) -> rusqlite::Result<StatedStudy> {
    Ok(StatedStudy {
        study: parsed(row, 0)?,
        patient: patient(row)?,
        state: state(row, 3)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<StudyState> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

/// Of the columns 1 and 2.
pub(super) fn patient(row: &Row<'_>) -> rusqlite::Result<StudyPatient> {
    let has_issuer = !row.get_ref(2)?.as_str()?.is_empty();
    Ok(StudyPatient {
        id: row.get(1)?,
        issuer: has_issuer.then(|| parsed(row, 2)).transpose()?,
    })
}

/// The text of the column `issuer`.
pub(super) fn issuer(patient: &StudyPatient) -> &str {
    patient.issuer.as_ref().map_or("", |issuer| issuer.as_str())
}

/// The state of that study of that patient; an empty one where nothing was said yet.
pub(super) fn read(
    connection: &Connection,
    study: &Uid,
    patient: &StudyPatient,
) -> rusqlite::Result<StudyState> {
    let found = connection
        .prepare_cached("SELECT state FROM study_state WHERE study = ?1 AND patient_id = ?2 AND issuer = ?3")?
        .query_row(params![study.as_str(), patient.id, issuer(patient)], |row| {
            state(row, 0)
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Writes the state that was `before`.
pub(super) fn write(
    connection: &Connection,
    study: &Uid,
    patient: &StudyPatient,
    before: &StudyState,
    after: &StudyState,
) -> rusqlite::Result<()> {
    let key = (study.as_str(), patient.id.as_str(), issuer(patient));
    connection
        .prepare_cached(
            "INSERT INTO study_state (study, patient_id, issuer, state, in_conflict) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET state = excluded.state, in_conflict = excluded.in_conflict",
        )?
        .execute(params![key.0, key.1, key.2, json(after)?, after.conflicts().next().is_some()])?;
    for field in StateField::ALL.into_iter().filter(|field| field.is_matched_by()) {
        let value = |state: &StudyState| state.value(field).and_then(FieldValue::text).map(str::to_owned);
        let (old, new) = (value(before), value(after));
        if old == new {
            continue;
        }
        if let Some(old) = old {
            let sql = "DELETE FROM stated_value WHERE field = ?1 AND value = ?2 AND study = ?3 AND patient_id = ?4 \
                AND issuer = ?5";
            let statement = &mut connection.prepare_cached(sql)?;
            statement.execute(params![field.as_str(), old, key.0, key.1, key.2])?;
        }
        if let Some(new) = new {
            let sql = "INSERT INTO stated_value (field, value, study, patient_id, issuer) VALUES (?1, ?2, ?3, ?4, ?5)";
            let statement = &mut connection.prepare_cached(sql)?;
            statement.execute(params![field.as_str(), new, key.0, key.1, key.2])?;
        }
    }
    Ok(())
}
