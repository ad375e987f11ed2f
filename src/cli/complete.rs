//! What the shells offer while a command is typed: names of stations, keys of settings.
//!
//! Invariant: silent and harmless. A store that can't be read offers nothing, and none is made.

use std::ffi::OsStr;

use clap_complete::CompletionCandidate;

use crate::model::SETTING_KEYS;
use crate::store::{Access, Store};

/// The names of all stations that begin with what is typed.
pub fn station_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let Some(path) = super::output::store_path_of_environment() else {
        return Vec::new();
    };
    let configuration = Store::open(&path, Access::ReadOnly).and_then(|store| store.configuration());
    let stations = configuration
        .map(|configuration| configuration.stations)
        .unwrap_or_default();
    stations
        .iter()
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

/// The keys of settings that begin with what is typed.
pub fn setting_keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    SETTING_KEYS
        .iter()
        .filter(|key| key.name.starts_with(typed.as_ref()))
        .map(|key| CompletionCandidate::new(key.name).help(Some(key.description.into())))
        .collect()
}
