//! What differs between two configurations, field by field: for `--dry-run`, the audit, `reload` and `generation diff`.
//!
//! Invariant: the differences of equal configurations are none, and a `Change` never has equal sides.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Configuration, MappingTable, PrefetchRules, Settings, Station, StationName};

/// What a change is made to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A station, by the name it has after the change (before it, where it was removed).
    Station(String),
    /// A setting, by its key.
    Setting(String),
    /// The mapping tables as a whole: the cluster's own came, or went in favour of the shipped ones.
    MappingTables,
    /// A mapping rule, by its target and conditions.
    MappingRule(String),
    /// The prefetch rules as a whole: the cluster's own came, or went in favour of the shipped ones.
    PrefetchRules,
    /// A prefetch rule, by its name.
    PrefetchRule(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Station(name) => write!(f, "station {name}"),
            Subject::Setting(key) => write!(f, "setting {key}"),
            Subject::MappingTables => f.write_str("mapping tables"),
            Subject::MappingRule(key) => write!(f, "mapping rule {key}"),
            Subject::PrefetchRules => f.write_str("prefetch rules"),
            Subject::PrefetchRule(name) => write!(f, "rule {name}"),
        }
    }
}

/// One field that differs. A whole station that came or went is a change of each of its fields' document at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is made to.
    pub subject: Subject,
    /// Which field; `None` where the subject itself came or went.
    pub field: Option<String>,
    /// The value before; null where there was none.
    pub before: Value,
    /// The value after; null where there is none.
    pub after: Value,
}

/// The changes that lead from `before` to `after`: settings first, then stations in order of name, then mapping rules,
/// then prefetch rules.
pub fn changes(before: &Configuration, after: &Configuration) -> Vec<Change> {
    let mut found = setting_changes(&before.settings, &after.settings);
    found.extend(changes_of_stations(before, after));
    found.extend(mapping_changes(before, after));
    found.extend(prefetch_changes(before, after));
    found
}

/// A station that is missing after, and one that is new at the same address, are one station with a new name.
fn changes_of_stations(before: &Configuration, after: &Configuration) -> Vec<Change> {
    let mut found = Vec::new();
    let (names_before, names_after) = (by_name(before), by_name(after));
    let mut new_ones: Vec<&Station> = after
        .stations
        .iter()
        .filter(|station| !names_before.contains_key(&station.name))
        .collect();
    for old in &before.stations {
        if let Some(new) = names_after.get(&old.name) {
            found.extend(station_changes(old, new));
            continue;
        }
        let has_same_address = |new: &&Station| new.ae_title == old.ae_title && new.endpoint == old.endpoint;
        match new_ones.iter().position(has_same_address) {
            Some(index) => found.extend(station_changes(old, new_ones.remove(index))),
            None => found.push(whole_station(old, document(old), Value::Null)),
        }
    }
    found.extend(
        new_ones
            .into_iter()
            .map(|new| whole_station(new, Value::Null, document(new))),
    );
    found
}

fn by_name(configuration: &Configuration) -> HashMap<&StationName, &Station> {
    let stations = configuration.stations.iter();
    stations.map(|station| (&station.name, station)).collect()
}

/// The fields of one station that differ between two states of it. A new name is a change of the field `name`.
pub fn station_changes(before: &Station, after: &Station) -> Vec<Change> {
    if before == after {
        return Vec::new();
    }
    field_changes(
        &Subject::Station(after.name.to_string()),
        document(before),
        document(after),
    )
}

fn field_changes(subject: &Subject, before: Value, after: Value) -> Vec<Change> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Vec::new();
    };
    old.into_iter()
        .filter(|(field, value)| new.get(field) != Some(value))
        .map(|(field, value)| Change {
            subject: subject.clone(),
            after: new.get(&field).cloned().unwrap_or(Value::Null),
            field: Some(field),
            before: value,
        })
        .collect()
}

fn setting_changes(before: &Settings, after: &Settings) -> Vec<Change> {
    let value_in = |settings: &Settings, name: &str| {
        let found = settings.iter().find(|(key, _)| *key == name);
        found.map_or(Value::Null, |(_, value)| Value::from(value))
    };
    let mut names: Vec<&str> = before.iter().chain(after.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| (name, value_in(before, name), value_in(after, name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| Change {
            subject: Subject::Setting(name.to_owned()),
            field: Some("value".to_owned()),
            before: old,
            after: new,
        })
        .collect()
}

/// Rule by rule, between the tables in force. Where own tables come or go they stand before that as a whole: what the
/// shipped ones are depends on the program's version, so that no history could be told from differences to them.
fn mapping_changes(before: &Configuration, after: &Configuration) -> Vec<Change> {
    let by_key = |table: &MappingTable| {
        table
            .rules()
            .iter()
            .map(|rule| (rule.key(), document(rule)))
            .collect()
    };
    let mut found = coming_and_going(Subject::MappingTables, &before.mapping, &after.mapping);
    found.extend(rule_changes(
        Subject::MappingRule,
        by_key(before.mapping_in_force()),
        by_key(after.mapping_in_force()),
    ));
    found
}

/// As of the mapping tables.
fn prefetch_changes(before: &Configuration, after: &Configuration) -> Vec<Change> {
    let by_name = |rules: &PrefetchRules| {
        let rules = rules.rules().iter();
        rules
            .map(|rule| (rule.name.to_string(), document(rule)))
            .collect()
    };
    let mut found = coming_and_going(
        Subject::PrefetchRules,
        &before.prefetch_rules,
        &after.prefetch_rules,
    );
    found.extend(rule_changes(
        Subject::PrefetchRule,
        by_name(before.prefetch_rules_in_force()),
        by_name(after.prefetch_rules_in_force()),
    ));
    found
}

fn coming_and_going<T: Serialize>(subject: Subject, before: &Option<T>, after: &Option<T>) -> Vec<Change> {
    if before.is_some() == after.is_some() {
        return Vec::new();
    }
    vec![Change {
        subject,
        field: None,
        before: document(before),
        after: document(after),
    }]
}

/// The changes of rules, each known by its key.
fn rule_changes(
    subject: fn(String) -> Subject,
    old: BTreeMap<String, Value>,
    new: BTreeMap<String, Value>,
) -> Vec<Change> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let changes_of = |key: &String| {
        let subject = subject(key.clone());
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) if old == new => Vec::new(),
            (Some(old), Some(new)) => field_changes(&subject, old.clone(), new.clone()),
            (old, new) => vec![Change {
                subject,
                field: None,
                before: old.cloned().unwrap_or(Value::Null),
                after: new.cloned().unwrap_or(Value::Null),
            }],
        }
    };
    keys.into_iter().flat_map(changes_of).collect()
}

fn whole_station(station: &Station, before: Value, after: Value) -> Change {
    Change {
        subject: Subject::Station(station.name.to_string()),
        field: None,
        before,
        after,
    }
}

/// The JSON document of a station, a rule or tables; null for none. Serialising it can't fail: its keys are strings and
/// its numbers finite.
fn document<T: Serialize>(subject: &T) -> Value {
    serde_json::to_value(subject).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, parse_port};

    fn station(name: &str) -> Station {
        let endpoint = Endpoint {
            host: "10.0.0.1".parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        Station::new(name.parse().unwrap(), name.parse().unwrap(), Some(endpoint))
    }

    #[test]
    fn a_new_name_at_the_same_address_is_a_rename() {
        let before = Configuration {
            stations: vec![station("A")],
            ..Default::default()
        };
        let mut after = before.clone();
        after.stations[0].name = "NORTH".parse().unwrap();
        let found = changes(&before, &after);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].subject, Subject::Station("NORTH".to_owned()));
        assert_eq!(
            (&found[0].before, &found[0].after),
            (&Value::from("A"), &Value::from("NORTH"))
        );
    }

    #[test]
    fn names_each_field_that_differs() {
        let before = Configuration {
            stations: vec![station("A"), station("B")],
            ..Default::default()
        };
        let mut after = before.clone();
        after.stations[0].links.prefetching = true;
        after.stations[1] = station("C");
        after.settings.set("issuer", "NORTH").unwrap();
        let found = changes(&before, &after);
        let told: Vec<String> = found
            .iter()
            .map(|change| {
                format!(
                    "{} {}",
                    change.subject,
                    change.field.as_deref().unwrap_or("whole")
                )
            })
            .collect();
        let expected = [
            "setting issuer value",
            "station A link_prefetching",
            "station B whole",
            "station C whole",
        ];
        assert_eq!(told, expected);
        assert!(changes(&after, &after).is_empty());
    }
}
