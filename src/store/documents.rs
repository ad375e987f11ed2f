//! A configuration as documents, to which recorded changes apply field by field: how history goes back.
//!
//! Invariant: taking back the changes of a generation gives the documents of the one before, to the letter.

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

    /// Takes the changes of one generation back, the last one first: a new name is known by until the others of its
    /// station are taken back.
    pub(super) fn take_back(&mut self, changes: Vec<Change>) -> rusqlite::Result<()> {
        let has_changed = |whole: Subject| changes.iter().any(|change| change.subject == whole);
        let tables_changed = has_changed(Subject::MappingTables);
        let set_changed = has_changed(Subject::PrefetchRules);
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
                (Subject::MappingTables, _) => self.mapping = recorded(change.before, mapping_rules)?,
                (Subject::PrefetchRules, _) => {
                    self.prefetch_rules = recorded(change.before, prefetch_rules)?;
                }
                // They tell then what differed from the shipped tables of that time.
                (Subject::MappingRule(_), _) if tables_changed => {}
                (Subject::PrefetchRule(_), _) if set_changed => {}
                (Subject::MappingRule(key), field) => {
                    take_back_rule(&mut self.mapping, key, field, change.before);
                }
                (Subject::PrefetchRule(name), field) => {
                    take_back_rule(&mut self.prefetch_rules, name, field, change.before);
                }
            }
        }
        self.take_back_names(renames);
        Ok(())
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
            mapping: self.mapping.map(of_rules).transpose()?,
            prefetch_rules: self.prefetch_rules.map(of_rules).transpose()?,
        })
    }
}

fn take_back_rule(rules: &mut Option<Rules>, key: String, field: Option<String>, before: Value) {
    let Some(rules) = rules else {
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
