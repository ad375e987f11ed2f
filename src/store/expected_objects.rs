//! Whose objects sources may send to our listener while studies are retrieved from them.
//!
//! Invariant: what is expected is on record before a source is asked, and for as long as the retrieve is open; what a
//! process that was killed has left counts no more after [`LASTS`]. It makes no generation.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, params};

use super::configuration::parsed;
use super::{Store, StoreError};
use crate::model::{IssuerDomain, PatientId, StationName, Uid};

/// How long an expectation counts whose retrieve has not ended it.
const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// Whose the objects of a study are that a source was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedObjects {
    /// The study.
    pub study_instance_uid: Uid,
    /// The station that was asked.
    pub source: StationName,
    /// The patient as it named it; the ID is empty where it named none.
    pub patient_id: PatientId,
    /// When the retrieve began.
    pub since: Timestamp,
}

impl Store {
    /// Puts on record what is expected, and gives the number to end it by.
    pub fn expect_objects(&self, expected: &ExpectedObjects) -> Result<i64, StoreError> {
        let issuer = match &expected.patient_id.domain {
            IssuerDomain::Named(issuer) => Some(issuer.as_str()),
            IssuerDomain::Inferred(_) => None,
        };
        let since = expected.since.as_microsecond();
        self.write_without_sync(|connection| {
            connection.execute(
                "DELETE FROM expected_objects WHERE since < ?1",
                [since - LASTS.as_micros() as i64],
            )?;
            connection.execute(
                "INSERT INTO expected_objects (study, source, patient_id, issuer, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    expected.study_instance_uid.as_str(),
                    expected.source.as_str(),
                    expected.patient_id.id,
                    issuer,
                    since
                ],
            )?;
            Ok(())
        })?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Takes an expectation off the record: its retrieve has ended.
    pub fn end_expectation(&self, number: i64) -> Result<(), StoreError> {
        self.write_without_sync(|connection| {
            connection
                .execute("DELETE FROM expected_objects WHERE number = ?1", [number])
                .map(drop)
        })
    }

    /// Whose the objects of that study from that station must be: the patients of all open retrieves; nothing where
    /// none is open.
    pub fn expected_patients(
        &self,
        study: &Uid,
        source: &StationName,
        now: Timestamp,
    ) -> Result<Vec<PatientId>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT patient_id, issuer FROM expected_objects WHERE study = ?1 AND source = ?2 AND since >= ?3",
            )?;
            let since = now.as_microsecond() - LASTS.as_micros() as i64;
            let rows = statement.query_map(params![study.as_str(), source.as_str(), since], |row| {
                patient(row, source)
            })?;
            rows.collect()
        };
        self.sqlite(read())
    }
}

fn patient(row: &Row<'_>, source: &StationName) -> rusqlite::Result<PatientId> {
    let issuer: Option<String> = row.get(1)?;
    Ok(PatientId {
        id: row.get(0)?,
        domain: match issuer {
            Some(_) => IssuerDomain::Named(parsed(row, 1)?),
            None => IssuerDomain::Inferred(source.clone()),
        },
    })
}
