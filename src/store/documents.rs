//! A configuration as documents, to which recorded changes apply field by field: how history goes back and is replayed.
//!
//! Invariant: taking back the changes of a generation gives the documents of the one before, to the letter; making them
//! gives those of the next one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::configuration::unreadable;
use crate::model::{Change, Configuration, Generation, MappingTable, PrefetchRules, Subject};

/// A configuration as JSON.
pub(super) struct Documents {
    settings: BTreeMap<String, String>,
    stations: BTreeMap<String, Value>,
    /// The cluster's own mapping rules, by their keys.
    mapping: Option<Rules>,
    /// The cluster's own prefetch rules, by their names.
    prefetch_rules: Option<Rules>,
}

/// Documents of rules, by what a change calls them.
type Rules = BTreeMap<String, Value>;

impl Documents {
    pub(super) fn of(configuration: Configuration) -> rusqlite::Result<Self> {
        let stations = configuration.stations.iter().map(|station| {
            let document = serde_json::to_value(station).map_err(|error| unreadable(0, error))?;
            Ok((station.name.to_string(), document))
        });
        Ok(Documents {
            stations: stations.collect::<rusqlite::Result<_>>()?,
            mapping: configuration.mapping.as_ref().map(mapping_rules).transpose()?,
            prefetch_rules: configuration
                .prefetch_rules
                .as_ref()
                .map(prefetch_rules)
                .transpose()?,
            settings: configuration.settings.into(),
        })
    }

    /// Makes the changes of one generation: names first, since the others tell of a station under its new one.
    pub(super) fn apply(&mut self, changes: Vec<Change>) -> rusqlite::Result<()> {
        let (renames, others): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(is_rename);
        let new_names = renames
            .into_iter()
            .filter_map(|change| match (change.subject, change.before) {
                (Subject::Station(name), Value::String(former)) => Some((former, name)),
                _ => None,
            });
        self.rename(new_names.collect());
        let values = others
            .into_iter()
            .map(|change| (change.subject, change.field, change.after));
        self.set(values.collect())
    }

    /// Takes the changes of one generation back, the last one first: a new name is known by until the others of its
    /// station are taken back.
    pub(super) fn take_back(&mut self, changes: Vec<Change>) -> rusqlite::Result<()> {
        let (renames, others): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(is_rename);
        let values = others
            .into_iter()
            .map(|change| (change.subject, change.field, change.before));
        self.set(values.collect())?;
        let former_names = renames
            .into_iter()
            .filter_map(|change| match (change.subject, change.before) {
                (Subject::Station(name), Value::String(former)) => Some((name, former)),
                _ => None,
            });
        self.rename(former_names.collect());
        Ok(())
    }

    /// Gives fields, or whole subjects, these values; null is none.
    fn set(&mut self, values: Vec<(Subject, Option<String>, Value)>) -> rusqlite::Result<()> {
        let has_changed = |whole: Subject| values.iter().any(|(subject, _, _)| *subject == whole);
        let tables_changed = has_changed(Subject::MappingTables);
        let set_changed = has_changed(Subject::PrefetchRules);
        for value in values {
            match value {
                (Subject::Setting(key), _, Value::String(value)) => drop(self.settings.insert(key, value)),
                (Subject::Setting(key), _, _) => drop(self.settings.remove(&key)),
                (Subject::Station(name), None, Value::Null) => drop(self.stations.remove(&name)),
                (Subject::Station(name), None, station) => drop(self.stations.insert(name, station)),
                (Subject::Station(name), Some(field), value) => {
                    if let Some(Value::Object(document)) = self.stations.get_mut(&name) {
                        document.insert(field, value);
                    }
                }
                (Subject::MappingTables, _, tables) => self.mapping = recorded(tables, mapping_rules)?,
                (Subject::PrefetchRules, _, rules) => self.prefetch_rules = recorded(rules, prefetch_rules)?,
                // They tell then what differed from the shipped tables of that time.
                (Subject::MappingRule(_), _, _) if tables_changed => {}
                (Subject::PrefetchRule(_), _, _) if set_changed => {}
                (Subject::MappingRule(key), field, value) => set_rule(&mut self.mapping, key, field, value),
                (Subject::PrefetchRule(name), field, value) => {
                    set_rule(&mut self.prefetch_rules, name, field, value);
                }
            }
        }
        Ok(())
    }

    /// From one name to the other; all at once, since two stations may have exchanged their names.
    fn rename(&mut self, names: Vec<(String, String)>) {
        let mut renamed = Vec::new();
        for (from, to) in names {
            if let Some(mut document) = self.stations.remove(&from) {
                document["name"] = Value::from(to.as_str());
                renamed.push((to, document));
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
            mapping: self.mapping.map(of_rules).transpose()?,
            prefetch_rules: self.prefetch_rules.map(of_rules).transpose()?,
        })
    }
}

fn is_rename(change: &Change) -> bool {
    change.field.as_deref() == Some("name") && matches!(change.subject, Subject::Station(_))
}

fn set_rule(rules: &mut Option<Rules>, key: String, field: Option<String>, value: Value) {
    let Some(rules) = rules else {
        return;
    };
    match (field, value) {
        (None, Value::Null) => drop(rules.remove(&key)),
        (None, rule) => drop(rules.insert(key, rule)),
        (Some(field), value) => {
            if let Some(Value::Object(rule)) = rules.get_mut(&key) {
                rule.insert(field, value);
            }
        }
    }
}

fn mapping_rules(table: &MappingTable) -> rusqlite::Result<Rules> {
    let rules = table.rules().iter();
    rules.map(|rule| Ok((rule.key(), document(rule)?))).collect()
}

fn prefetch_rules(set: &PrefetchRules) -> rusqlite::Result<Rules> {
    let rules = set.rules().iter();
    rules
        .map(|rule| Ok((rule.name.to_string(), document(rule)?)))
        .collect()
}

fn document(rule: &impl Serialize) -> rusqlite::Result<Value> {
    serde_json::to_value(rule).map_err(|error| unreadable(0, error))
}

/// Rules as a whole, as they were recorded; null where they were the shipped ones.
fn recorded<T: DeserializeOwned>(
    recorded: Value,
    rules: fn(&T) -> rusqlite::Result<Rules>,
) -> rusqlite::Result<Option<Rules>> {
    let own: Option<T> = serde_json::from_value(recorded).map_err(|error| unreadable(0, error))?;
    own.as_ref().map(rules).transpose()
}

fn of_rules<T: DeserializeOwned>(rules: Rules) -> rusqlite::Result<T> {
    let rules = Value::Array(rules.into_values().collect());
    serde_json::from_value(rules).map_err(|error| unreadable(0, error))
}
