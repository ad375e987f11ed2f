//! What the shells offer while a command is typed: names of stations and prefetch rules, keys of settings.
//!
//! Invariant: silent and harmless. A store that can't be read offers nothing, and none is made.

use std::ffi::OsStr;

use clap_complete::CompletionCandidate;

use crate::model::{Configuration, SETTING_KEYS};
use crate::store::{Access, Store};

/// The names of all stations that begin with what is typed.
pub fn station_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let configuration = configuration();
    let stations = configuration.stations.iter();
    stations
        .filter(|station| station.name.as_str().to_lowercase().starts_with(&typed))
        .map(|station| {
            let help = station
                .endpoint
                .as_ref()
                .map(|endpoint| format!("{}@{endpoint}", station.ae_title));
            CompletionCandidate::new(station.name.to_string()).help(help.map(Into::into))
        })
        .collect()
}

/// The names of all prefetch rules that begin with what is typed.
pub fn rule_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let configuration = configuration();
    let rules = configuration.prefetch_rules_in_force().rules().iter();
    rules
        .filter(|rule| rule.name.as_str().to_lowercase().starts_with(&typed))
        .map(|rule| CompletionCandidate::new(rule.name.to_string()))
        .collect()
}

fn configuration() -> Configuration {
    let path = super::output::store_path_of_environment();
    let store = path.and_then(|path| Store::open(&path, Access::ReadOnly).ok());
    store
        .and_then(|store| store.configuration().ok())
        .unwrap_or_default()
}

/// The keys of settings that begin with what is typed.
pub fn setting_keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    SETTING_KEYS
        .iter()
        .filter(|key| key.name.starts_with(typed.as_ref()))
        .map(|key| CompletionCandidate::new(key.name).help(Some(key.description.into())))
        .collect()
}
