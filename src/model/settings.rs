//! The local cluster's own settings (`impaxlink config`), each with its default, its rule and its description.
//!
//! Invariant: a `Settings` holds only known keys with values that pass their rule, so the typed getters can't fail.
//! Defaults that come from the machine (the host's name) are not here: this room is pure.

mod keys;
mod rules;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::keys::SETTING_KEYS;

use super::hl7::Hl7Settings;
use super::{
    AeTitle, ClusterName, DailyWindow, Invalid, Issuer, OnPartial, StationName, parse_duration, parse_keeping,
};

/// Whether callers over TLS show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsCallers {
    /// They are not asked for one.
    None,
    /// One that they show must be trusted, and stations that are set to TLS must show one.
    Optional,
    /// They must show a trusted one.
    Required,
}

/// One key of `config`.
#[derive(Debug)]
pub struct SettingKey {
    /// The name it is set by.
    pub name: &'static str,
    /// Its value where none is set; empty where it has none.
    pub default: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    check: fn(&str) -> Result<(), Invalid>,
}

/// The command run after each save, for systems that are not ours. It runs as a program, so it has rules of its own.
pub const RELOAD_COMMAND: &str = "reload.command";

/// The folder of the embedded archive.
pub const ARCHIVE_PATH: &str = "archive.path";

/// How many days the ledgers of past queries are kept.
pub const LEDGER_KEEP_DAYS: &str = "ledger.keep_days";

/// Whether the service brings the priors of a study that arrives.
pub const PREFETCH_ON_ARRIVAL: &str = "prefetch.on_arrival";

/// How long an HL7 message waits for its study.
pub const HL7_WAIT: &str = "hl7.wait";

/// How many days HL7 messages are kept that are done.
pub const HL7_KEEP_DAYS: &str = "hl7.keep_days";

/// How many days updates are kept that were applied and delivered.
pub const UPDATES_KEEP_DAYS: &str = "updates.keep_days";

/// How far in the future the origin of an update may say it is.
pub const UPDATES_MAX_CLOCK_AHEAD: &str = "updates.max_clock_ahead";

/// How long nothing more of a study must arrive before linked clusters are told of its new objects.
pub const UPDATES_QUIET: &str = "updates.quiet";

/// Of how many studies new objects are pulled at once.
pub const UPDATES_CONCURRENCY: &str = "updates.concurrency";

/// Of how many days, today among them, archives that are not ours are asked for new objects.
pub const UPDATES_POLL_DAYS: &str = "updates.poll_days";

/// Whether a station must call from an address by which it is known, or show its certificate.
pub const REQUIRE_ADDRESS: &str = "access.require_address";

/// How many associations to each station are open at once.
pub const ASSOCIATIONS_TO_STATION: &str = "limits.associations_to_station";

/// The key of that name.
pub fn setting_key(name: &str) -> Option<&'static SettingKey> {
    SETTING_KEYS.iter().find(|key| key.name == name)
}

/// The settings that were set; all others are at their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// Sets `name` to `value`, or refuses it with the rule it breaks.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let key = known_key(name)?;
        let value = value.trim();
        (key.check)(value).map_err(|error| Invalid {
            field: key.name,
            ..error
        })?;
        self.0.insert(key.name, value.to_owned());
        Ok(())
    }

    /// Puts `name` back to its default.
    pub fn unset(&mut self, name: &str) -> Result<(), Invalid> {
        self.0.remove(known_key(name)?.name);
        Ok(())
    }

    /// The value in force for `key`: as set, else its default; `None` where it has neither.
    pub fn get(&self, key: &SettingKey) -> Option<&str> {
        let value = self.0.get(key.name).map_or(key.default, String::as_str);
        (!value.is_empty()).then_some(value)
    }

    /// Those that were set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The local cluster's AE title.
    pub fn ae_title(&self) -> AeTitle {
        self.parsed("ae_title")
    }

    /// The local cluster's name, where one is set.
    pub fn cluster_name(&self) -> Option<ClusterName> {
        self.optional("cluster_name")
    }

    /// Where the service listens.
    pub fn listen(&self) -> SocketAddr {
        self.parsed("listen")
    }

    /// The issuer of the local cluster's patient IDs.
    pub fn issuer(&self) -> Option<Issuer> {
        self.optional("issuer")
    }

    /// The command that runs after each save.
    pub fn reload_command(&self) -> Option<&str> {
        self.text(RELOAD_COMMAND)
    }

    /// What our SCP ends a partial query with.
    pub fn on_partial(&self) -> OnPartial {
        match self.text("query.on_partial") {
            Some("failure") => OnPartial::Failure,
            _ => OnPartial::Success,
        }
    }

    /// The folder of the embedded archive, of the cluster whose store is at `store`.
    pub fn archive_path(&self, store: &Path) -> PathBuf {
        self.path(ARCHIVE_PATH)
            .unwrap_or_else(|| store.with_file_name("archive"))
    }

    /// The file that a `tls.…` key names, where one is set.
    pub fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Whether a setting of `on` or `off` is on.
    pub fn is_on(&self, name: &'static str) -> bool {
        self.text(name) == Some("on")
    }

    /// The station whose worklist says who is scheduled, where one is named.
    pub fn worklist_station(&self) -> Option<StationName> {
        self.optional("prefetch.worklist.station")
    }

    /// How often the service asks the worklist, where it does.
    pub fn worklist_poll(&self) -> Option<Duration> {
        self.text("prefetch.worklist.poll")
            .and_then(|text| parse_duration(text).ok())
    }

    /// How often the service asks archives that are not ours for new objects, where it does.
    pub fn updates_poll(&self) -> Option<Duration> {
        self.text("updates.poll")
            .and_then(|text| parse_duration(text).ok())
    }

    /// How long visitors are kept.
    pub fn prefetch_keep(&self) -> Duration {
        self.keeping("prefetch.keep")
    }

    /// The hours in which priors are brought; `None` for all.
    pub fn prefetch_hours(&self) -> Option<DailyWindow> {
        self.optional("prefetch.hours")
    }

    /// Where the service listens for TLS, where that is set.
    pub fn tls_listen(&self) -> Option<SocketAddr> {
        self.optional("tls.listen")
    }

    /// Whether callers over TLS show a certificate.
    pub fn tls_callers(&self) -> TlsCallers {
        match self.text("tls.callers") {
            Some("none") => TlsCallers::None,
            Some("required") => TlsCallers::Required,
            _ => TlsCallers::Optional,
        }
    }

    /// The duration of that key: `timeout.…`, `query.local_first`, `query.deadline`, `reload.timeout`.
    pub fn duration(&self, name: &'static str) -> Duration {
        let text = self.text(name).unwrap_or_default();
        parse_duration(text).unwrap_or(super::DEFAULT_TIMEOUT)
    }

    /// The number of that key: `limits.…`, `ledger.keep_days`, `prefetch.concurrency`, `prefetch.retries`,
    /// `updates.concurrency`.
    pub fn count(&self, name: &'static str) -> usize {
        self.parsed(name)
    }

    /// How HL7 messages are taken and understood.
    pub fn hl7(&self) -> Hl7Settings {
        Hl7Settings {
            listen: self.optional("hl7.listen"),
            from: self.parsed("hl7.from"),
            ignored: self.parsed("hl7.ignore"),
            codes: self.parsed("hl7.status"),
            authorities: self.optional("hl7.issuers").unwrap_or_default(),
            local_issuer: self.issuer(),
            status_fields: self.parsed("hl7.status_fields"),
            study_fields: self.parsed("hl7.study_fields"),
            accession_fields: self.parsed("hl7.accession_fields"),
            wait: self.keeping(HL7_WAIT),
            keep_days: self.count(HL7_KEEP_DAYS),
        }
    }

    fn keeping(&self, name: &'static str) -> Duration {
        parse_keeping(self.text(name).unwrap_or_default()).unwrap_or(Duration::MAX)
    }

    fn text(&self, name: &'static str) -> Option<&str> {
        setting_key(name).and_then(|key| self.get(key))
    }

    fn optional<T: std::str::FromStr>(&self, name: &'static str) -> Option<T> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// A value whose key has a default; the test below holds every default to its rule.
    fn parsed<T: std::str::FromStr>(&self, name: &'static str) -> T {
        match self.optional(name) {
            Some(value) => value,
            None => unreachable!("{name} has a valid default"),
        }
    }
}

fn known_key(name: &str) -> Result<&'static SettingKey, Invalid> {
    setting_key(name).ok_or_else(|| {
        Invalid::new(
            "setting",
            name,
            "there is no such key; see 'impaxlink config list'",
        )
    })
}

impl TryFrom<BTreeMap<String, String>> for Settings {
    type Error = Invalid;

    fn try_from(values: BTreeMap<String, String>) -> Result<Self, Invalid> {
        let mut settings = Settings::default();
        for (name, value) in values {
            settings.set(&name, &value)?;
        }
        Ok(settings)
    }
}

impl From<Settings> for BTreeMap<String, String> {
    fn from(settings: Settings) -> Self {
        settings
            .0
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests;
