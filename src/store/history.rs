//! Who saved which generation, and what the configuration was then.
//!
//! Invariant: no configuration is kept twice. An older one is the newest with the recorded changes taken back, one
//! generation after another.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::audit_log::{self, RECORD_COLUMNS};
use super::configuration::unreadable;
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
                    documents.take_back(saved.changes);
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
        Event::Disclosure(_) => Err(rusqlite::Error::QueryReturnedNoRows),
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

/// A configuration as JSON, to which changes apply field by field.
struct Documents {
    settings: BTreeMap<String, String>,
    stations: BTreeMap<String, Value>,
}

impl Documents {
    fn of(configuration: Configuration) -> rusqlite::Result<Self> {
        let stations = configuration.stations.iter().map(|station| {
            let document = serde_json::to_value(station).map_err(|error| unreadable(0, error))?;
            Ok((station.name.to_string(), document))
        });
        Ok(Documents {
            stations: stations.collect::<rusqlite::Result<_>>()?,
            settings: configuration.settings.into(),
        })
    }

    /// Takes the changes of one generation back, the last one first: a new name is known by until the others of its
    /// station are taken back.
    fn take_back(&mut self, changes: Vec<Change>) {
        let (renames, others): (Vec<Change>, Vec<Change>) = changes
            .into_iter()
            .partition(|change| change.field.as_deref() == Some("name"));
        for change in others {
            match (change.subject, change.field) {
                (Subject::Setting(key), _) => match change.before {
                    Value::String(value) => drop(self.settings.insert(key, value)),
                    _ => drop(self.settings.remove(&key)),
                },
                (Subject::Station(name), None) if change.before.is_null() => {
                    self.stations.remove(&name);
                }
                (Subject::Station(name), None) => drop(self.stations.insert(name, change.before)),
                (Subject::Station(name), Some(field)) => {
                    if let Some(Value::Object(document)) = self.stations.get_mut(&name) {
                        document.insert(field, change.before);
                    }
                }
            }
        }
        self.take_back_names(renames);
    }

    /// All at once, since two stations may have exchanged their names.
    fn take_back_names(&mut self, renames: Vec<Change>) {
        let mut renamed = Vec::new();
        for change in renames {
            if let (Subject::Station(name), Value::String(former)) = (change.subject, change.before)
                && let Some(mut document) = self.stations.remove(&name)
            {
                document["name"] = Value::from(former.as_str());
                renamed.push((former, document));
            }
        }
        self.stations.extend(renamed);
    }

    fn into_configuration(self, generation: Generation) -> rusqlite::Result<Configuration> {
        let stations = self
            .stations
            .into_values()
            .map(|document| serde_json::from_value(document).map_err(|error| unreadable(0, error)));
        Ok(Configuration {
            generation,
            stations: stations.collect::<rusqlite::Result<_>>()?,
            settings: self.settings.try_into().map_err(|error| unreadable(0, error))?,
        })
    }
}
