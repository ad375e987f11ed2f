//! A configuration as documents, to which recorded changes apply field by field: how history goes back.
//!
//! Invariant: taking back the changes of a generation gives the documents of the one before, to the letter.

use std::collections::BTreeMap;

use serde_json::Value;

use super::configuration::unreadable;
use crate::model::{Change, Configuration, Generation, MappingTable, Subject};

/// A configuration as JSON.
pub(super) struct Documents {
    settings: BTreeMap<String, String>,
    stations: BTreeMap<String, Value>,
    /// The cluster's own mapping rules, by their keys.
    mapping: Option<BTreeMap<String, Value>>,
}

impl Documents {
    pub(super) fn of(configuration: Configuration) -> rusqlite::Result<Self> {
        let stations = configuration.stations.iter().map(|station| {
            let document = serde_json::to_value(station).map_err(|error| unreadable(0, error))?;
            Ok((station.name.to_string(), document))
        });
        Ok(Documents {
            stations: stations.collect::<rusqlite::Result<_>>()?,
            mapping: configuration.mapping.as_ref().map(rules_by_key).transpose()?,
            settings: configuration.settings.into(),
        })
    }

    /// Takes the changes of one generation back, the last one first: a new name is known by until the others of its
    /// station are taken back.
    pub(super) fn take_back(&mut self, changes: Vec<Change>) -> rusqlite::Result<()> {
        let tables_changed = changes
            .iter()
            .any(|change| change.subject == Subject::MappingTables);
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
                (Subject::MappingTables, _) => self.mapping = tables(change.before)?,
                // They tell then what differed from the shipped tables of that time.
                (Subject::MappingRule(_), _) if tables_changed => {}
                (Subject::MappingRule(key), field) => self.take_back_rule(key, field, change.before),
            }
        }
        self.take_back_names(renames);
        Ok(())
    }

    fn take_back_rule(&mut self, key: String, field: Option<String>, before: Value) {
        let Some(rules) = &mut self.mapping else {
            return;
        };
        match (field, before) {
            (None, Value::Null) => drop(rules.remove(&key)),
            (None, rule) => drop(rules.insert(key, rule)),
            (Some(field), value) => {
                if let Some(Value::Object(rule)) = rules.get_mut(&key) {
                    rule.insert(field, value);
                }
            }
        }
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

    pub(super) fn into_configuration(self, generation: Generation) -> rusqlite::Result<Configuration> {
        let stations = self
            .stations
            .into_values()
            .map(|document| serde_json::from_value(document).map_err(|error| unreadable(0, error)));
        Ok(Configuration {
            generation,
            stations: stations.collect::<rusqlite::Result<_>>()?,
            settings: self.settings.try_into().map_err(|error| unreadable(0, error))?,
            mapping: self.mapping.map(table).transpose()?,
        })
    }
}

fn rules_by_key(table: &MappingTable) -> rusqlite::Result<BTreeMap<String, Value>> {
    let documents = table.rules().iter().map(|rule| {
        let document = serde_json::to_value(rule).map_err(|error| unreadable(0, error))?;
        Ok((rule.key(), document))
    });
    documents.collect()
}

/// The tables as a whole, as they were recorded; null where they were the shipped ones.
fn tables(recorded: Value) -> rusqlite::Result<Option<BTreeMap<String, Value>>> {
    let table: Option<MappingTable> =
        serde_json::from_value(recorded).map_err(|error| unreadable(0, error))?;
    table.as_ref().map(rules_by_key).transpose()
}

fn table(rules: BTreeMap<String, Value>) -> rusqlite::Result<MappingTable> {
    let rules = Value::Array(rules.into_values().collect());
    serde_json::from_value(rules).map_err(|error| unreadable(0, error))
}
