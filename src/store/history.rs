//! Who saved which generation, and what the configuration was then.
//!
//! Invariant: no configuration is kept twice. An older one is the newest with the recorded changes taken back, one
//! generation after another.

use rusqlite::{Connection, OptionalExtension};

use super::audit_log::{self, RECORD_COLUMNS};
use super::configuration::unreadable;
use super::documents::Documents;
use super::{Store, StoreError, configuration};
use crate::audit::{Attribution, AuditRecord, Event};
use crate::model::{Change, Configuration, Generation, StationName, Subject};

/// A generation that was saved: who, when, why and what.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedGeneration {
    /// Its number.
    pub generation: Generation,
    /// When it was saved (UTC).
    pub at: jiff::Timestamp,
    /// Who saved it, by which command, and why.
    pub attribution: Attribution,
    /// What differs from the generation before.
    pub changes: Vec<Change>,
}

impl Store {
    /// The newest `limit` generations, newest first. Generation 0, the empty one, was saved by nobody and is not among
    /// them.
    pub fn generations(&self, limit: usize) -> Result<Vec<SavedGeneration>, StoreError> {
        let mut found = Vec::new();
        self.sqlite(back_from_newest(&self.connection, |saved| {
            if found.len() < limit {
                found.push(saved);
            }
            Ok(found.len() < limit)
        }))?;
        Ok(found)
    }

    /// Who saved that generation; `None` where it was never saved.
    pub fn saved_generation(&self, generation: Generation) -> Result<Option<SavedGeneration>, StoreError> {
        self.sqlite(saved_generation(&self.connection, generation))
    }

    /// The configuration as it was saved with that number.
    pub fn configuration_at(&self, generation: Generation) -> Result<Configuration, StoreError> {
        let snapshot = self.begin_read()?;
        let newest = self.sqlite(configuration::read(&snapshot))?;
        if generation > newest.generation {
            return Err(StoreError::NoSuchGeneration {
                generation,
                newest: newest.generation,
            });
        }
        if generation == newest.generation {
            return Ok(newest);
        }
        self.sqlite(Documents::of(newest).and_then(|mut documents| {
            back_from_newest(&snapshot, |saved| {
                if saved.generation > generation {
                    documents.take_back(saved.changes)?;
                }
                Ok(saved.generation > generation + 1)
            })?;
            documents.into_configuration(generation)
        }))
    }

    /// Who last changed that field of the station, under whatever name it had then: the generation whose changes gave
    /// the field the value it has. `field` is a name of the station's document, like `suspended_until`.
    pub fn last_change_of(
        &self,
        station: &StationName,
        field: &str,
    ) -> Result<Option<SavedGeneration>, StoreError> {
        let mut name = station.to_string();
        let mut found = None;
        self.sqlite(back_from_newest(&self.connection, |saved| {
            match origin(&saved.changes, &name, field) {
                Origin::Elsewhere => {}
                Origin::Here => found = Some(saved),
                Origin::UnderName(before) => name = before,
            }
            Ok(found.is_none())
        }))?;
        Ok(found)
    }
}

/// The record of that generation.
pub(super) fn saved_generation(
    connection: &Connection,
    generation: Generation,
) -> rusqlite::Result<Option<SavedGeneration>> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM audit WHERE generation = ?1");
    let record = connection
        .query_row(&sql, [generation], audit_log::record)
        .optional()?;
    record.map(from_record).transpose()
}

/// Gives `visit` each generation, newest first, until it says `false`.
fn back_from_newest(
    connection: &Connection,
    mut visit: impl FnMut(SavedGeneration) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let sql =
        format!("SELECT {RECORD_COLUMNS} FROM audit WHERE generation IS NOT NULL ORDER BY generation DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    for record in statement.query_map([], audit_log::record)? {
        if !visit(from_record(record?)?)? {
            break;
        }
    }
    Ok(())
}

fn from_record(record: AuditRecord) -> rusqlite::Result<SavedGeneration> {
    match record.event().map_err(|error| unreadable(0, error))? {
        Event::Configuration { generation, changes } => Ok(SavedGeneration {
            generation,
            at: record.at,
            attribution: record.attribution,
            changes,
        }),
        _ => Err(rusqlite::Error::QueryReturnedNoRows),
    }
}

enum Origin {
    Elsewhere,
    Here,
    UnderName(String),
}

/// Where a field got its value, seen from the changes of one generation.
fn origin(changes: &[Change], name: &str, field: &str) -> Origin {
    let of_station = |change: &&Change| matches!(&change.subject, Subject::Station(of) if of == name);
    let is_field = |change: &Change, field: &str| change.field.as_deref() == Some(field);
    let mut former_name = None;
    for change in changes.iter().filter(of_station) {
        if is_field(change, field) || (change.field.is_none() && change.before.is_null()) {
            return Origin::Here;
        }
        if is_field(change, "name") {
            former_name = change.before.as_str().map(str::to_owned);
        }
    }
    former_name.map_or(Origin::Elsewhere, Origin::UnderName)
}
