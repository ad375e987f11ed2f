//! The JSON shapes that scripts depend on.
//!
//! Invariant: every document has `"schema": 1`, a list is `items`, and a field once documented keeps its name and
//! meaning. The station's own document is the model's, since the store's history shares it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::audit::{AuditRecord, EventKind, Hash};
use crate::model::{
    Change, Configuration, Generation, MappingTable, PrefetchRules, Settings, Station, Subject,
};
use crate::store::SavedGeneration;

/// The version of all documents here.
const SCHEMA: u32 = 1;

/// A list: `{"schema":1,"items":[…]}`.
#[derive(Debug, Serialize)]
pub struct Items<T> {
    schema: u32,
    items: Vec<T>,
}

impl<T> Items<T> {
    /// A list document of `items`.
    pub fn new(items: Vec<T>) -> Self {
        Items {
            schema: SCHEMA,
            items,
        }
    }
}

/// A document of other fields, with the schema's version before them.
#[derive(Debug, Serialize)]
pub struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    content: T,
}

impl<T> Document<T> {
    /// A document of `content`.
    pub fn new(content: T) -> Self {
        Document {
            schema: SCHEMA,
            content,
        }
    }
}

/// `station show`: `{"schema":1,"station":{…}}`.
#[derive(Debug, Serialize)]
pub struct StationView<'a> {
    /// The station.
    pub station: &'a Station,
}

/// One changed field.
#[derive(Debug, Serialize)]
pub struct ChangeView<'a> {
    /// `station`, `setting`, `mapping_tables`, `mapping_rule`, `prefetch_rules` or `prefetch_rule`.
    pub subject: &'static str,
    /// Its name or key; null of the mapping tables or the prefetch rules as a whole.
    pub name: Option<&'a str>,
    /// The field; null where the whole subject came or went.
    pub field: Option<&'a str>,
    /// The value before.
    pub before: &'a Value,
    /// The value after.
    pub after: &'a Value,
}

impl<'a> From<&'a Change> for ChangeView<'a> {
    fn from(change: &'a Change) -> Self {
        let (subject, name) = match &change.subject {
            Subject::Station(name) => ("station", Some(name)),
            Subject::Setting(key) => ("setting", Some(key)),
            Subject::MappingTables => ("mapping_tables", None),
            Subject::MappingRule(key) => ("mapping_rule", Some(key)),
            Subject::PrefetchRules => ("prefetch_rules", None),
            Subject::PrefetchRule(name) => ("prefetch_rule", Some(name)),
        };
        ChangeView {
            subject,
            name: name.map(String::as_str),
            field: change.field.as_deref(),
            before: &change.before,
            after: &change.after,
        }
    }
}

/// The JSON of a list of changes.
pub fn change_views(changes: &[Change]) -> Vec<ChangeView<'_>> {
    changes.iter().map(ChangeView::from).collect()
}

/// What a command that changes configuration answers.
#[derive(Debug, Serialize)]
pub struct SavedView<'a> {
    /// The generation before.
    pub previous: Generation,
    /// The generation now; equal to `previous` where nothing changed.
    pub generation: Generation,
    /// Whether all was so already.
    pub unchanged: bool,
    /// Whether nothing was saved because `--dry-run` was given.
    pub dry_run: bool,
    /// What changed.
    pub changes: Vec<ChangeView<'a>>,
    /// Whether a service took the new generation.
    pub in_force: InForceView,
}

/// What became of a save in the running service and in the reload command.
#[derive(Debug, Serialize)]
pub struct InForceView {
    /// `in_force`, `not_running`, `refused` or `not_asked`.
    pub service: &'static str,
    /// The generation that is in force, where a service runs.
    pub generation: Option<Generation>,
    /// Why not, for a person.
    pub detail: Option<String>,
    /// The exit status of `reload.command`, where one ran to its end.
    pub reload_command_status: Option<i32>,
}

/// One saved generation.
#[derive(Debug, Serialize)]
pub struct GenerationView<'a> {
    generation: Generation,
    at: Timestamp,
    user: &'a str,
    real_user: Option<&'a str>,
    reason: Option<&'a str>,
    command: &'a str,
    changes: Vec<ChangeView<'a>>,
}

impl<'a> From<&'a SavedGeneration> for GenerationView<'a> {
    fn from(save: &'a SavedGeneration) -> Self {
        GenerationView {
            generation: save.generation,
            at: save.at,
            user: &save.attribution.user,
            real_user: save.attribution.real_user.as_deref(),
            reason: save.attribution.reason.as_deref(),
            command: &save.attribution.command,
            changes: change_views(&save.changes),
        }
    }
}

/// The whole configuration of a generation.
#[derive(Debug, Serialize)]
pub struct ConfigurationView<'a> {
    generation: Generation,
    /// Null where nothing has been saved yet.
    saved: Option<GenerationView<'a>>,
    settings: &'a Settings,
    stations: &'a [Station],
    /// The cluster's own mapping tables; null where the shipped ones are in force.
    mapping: Option<&'a MappingTable>,
    /// The cluster's own prefetch rules; null where the shipped ones are in force.
    prefetch_rules: Option<&'a PrefetchRules>,
}

impl<'a> ConfigurationView<'a> {
    /// Of a configuration and the save that made it.
    pub fn of(configuration: &'a Configuration, saved: Option<&'a SavedGeneration>) -> Self {
        ConfigurationView {
            generation: configuration.generation,
            saved: saved.map(GenerationView::from),
            settings: &configuration.settings,
            stations: &configuration.stations,
            mapping: configuration.mapping.as_ref(),
            prefetch_rules: configuration.prefetch_rules.as_ref(),
        }
    }
}

/// One record of the audit.
#[derive(Debug, Serialize)]
pub struct AuditView<'a> {
    sequence: u64,
    at: Timestamp,
    user: &'a str,
    real_user: Option<&'a str>,
    reason: Option<&'a str>,
    command: &'a str,
    kind: EventKind,
    generation: Option<Generation>,
    detail: Value,
    previous_hash: Hash,
    hash: Hash,
}

impl<'a> From<&'a AuditRecord> for AuditView<'a> {
    fn from(record: &'a AuditRecord) -> Self {
        AuditView {
            sequence: record.sequence,
            at: record.at,
            user: &record.attribution.user,
            real_user: record.attribution.real_user.as_deref(),
            reason: record.attribution.reason.as_deref(),
            command: &record.attribution.command,
            kind: record.kind,
            generation: record.generation,
            // An edited record may no longer be JSON; it is shown as the text it is.
            detail: serde_json::from_str(&record.detail)
                .unwrap_or_else(|_| Value::from(record.detail.as_str())),
            previous_hash: record.previous_hash,
            hash: record.hash,
        }
    }
}
