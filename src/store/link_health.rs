//! How each link fared lately, as the CLI's queries and the service's saw it.
//!
//! Invariant: only stations that are in the newest configuration have a health. It is not configuration: it makes no
//! generation and no audit record, and the last of it may be lost in a power cut. When to try again is `link`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use serde::{Deserialize, Serialize};

use super::configuration::{json, moment, parsed, unreadable};
use super::{Store, StoreError};
use crate::model::{CharacterSet, Station, StationName};

/// The greatest length of `detail`, in characters.
const MAX_DETAIL: usize = 200;

/// How a link fared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkHealth {
    /// When it last answered.
    pub last_success: Option<Timestamp>,
    /// When it last did not.
    pub last_failure: Option<Timestamp>,
    /// When it first failed since it last answered.
    pub down_since: Option<Timestamp>,
    /// How often it has failed since it last answered.
    pub failures_in_a_row: u32,
    /// How long the last answer took to begin.
    pub latency: Option<Duration>,
    /// What the last failure was; of a success it is empty.
    pub detail: Option<String>,
    /// When a failed link is tried again.
    pub next_try: Option<Timestamp>,
    /// Whether it takes the linked syntax; `None` while that is not known.
    pub speaks_linked: Option<bool>,
    /// In which character sets it has matched keys beyond ASCII; `None` while that is not known.
    pub character_sets: Option<TakenCharacterSets>,
}

/// The character sets in which a peer has matched keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenCharacterSets {
    /// Which peer it was, as AET@HOST:PORT: the station may have become another one since.
    pub peer: String,
    /// The sets.
    pub sets: Vec<CharacterSet>,
}

impl TakenCharacterSets {
    /// Who a station is; `None` where it has no address.
    pub fn peer(station: &Station) -> Option<String> {
        let endpoint = station.endpoint.as_ref()?;
        Some(format!("{}@{endpoint}", station.ae_title))
    }

    /// The sets, where it is this station's peer that takes them.
    pub fn of(&self, station: &Station) -> &[CharacterSet] {
        match TakenCharacterSets::peer(station) {
            Some(peer) if peer == self.peer => &self.sets,
            _ => &[],
        }
    }
}

/// What was seen of a link once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    /// Which link.
    pub station: StationName,
    /// When.
    pub at: Timestamp,
    /// What.
    pub outcome: LinkOutcome,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It answered.
    Answered {
        /// How long the answer took to begin.
        latency: Duration,
        /// Whether it takes the linked syntax; `None` keeps what is known.
        speaks_linked: Option<bool>,
        /// In which character sets it matches keys; `None` keeps what is known.
        character_sets: Option<TakenCharacterSets>,
    },
    /// It did not.
    Failed {
        /// Why, in words that hold no patient data.
        detail: String,
        /// When to try again.
        next_try: Option<Timestamp>,
    },
}

const ANSWERED: &str = "INSERT INTO link_health \
    (station, last_success, failures_in_a_row, latency_us, speaks_linked, character_sets) \
    SELECT name, :at, 0, :latency, :speaks_linked, :character_sets FROM station WHERE name = :station \
    ON CONFLICT (station) DO UPDATE SET last_success = excluded.last_success, failures_in_a_row = 0, \
    latency_us = excluded.latency_us, down_since = NULL, detail = NULL, next_try = NULL, \
    speaks_linked = coalesce(excluded.speaks_linked, speaks_linked), \
    character_sets = coalesce(excluded.character_sets, character_sets)";

const FAILED: &str = "INSERT INTO link_health \
    (station, last_failure, down_since, failures_in_a_row, detail, next_try) \
    SELECT name, :at, :at, 1, :detail, :next_try FROM station WHERE name = :station \
    ON CONFLICT (station) DO UPDATE SET last_failure = excluded.last_failure, \
    down_since = coalesce(down_since, excluded.down_since), failures_in_a_row = failures_in_a_row + 1, detail = excluded.detail, next_try = excluded.next_try";

impl Store {
    /// The health of each link that was asked since its station was added.
    pub fn link_health(&self) -> Result<BTreeMap<StationName, LinkHealth>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT station, last_success, last_failure, failures_in_a_row, latency_us, detail, next_try, \
                 speaks_linked, down_since, character_sets FROM link_health",
            )?;
            statement.query_map([], health)?.collect()
        };
        self.sqlite(read())
    }

    /// Adds what was seen to what is known, without waiting for the disk. A station that is gone is passed over.
    pub fn record_link_health(&self, reports: &[LinkReport]) -> Result<(), StoreError> {
        if reports.is_empty() {
            return Ok(());
        }
        self.write_without_sync(|connection| reports.iter().try_for_each(|report| write(connection, report)))
    }
}

fn write(connection: &Connection, report: &LinkReport) -> rusqlite::Result<()> {
    let at = report.at.as_microsecond();
    let station = report.station.as_str();
    match &report.outcome {
        LinkOutcome::Answered {
            latency,
            speaks_linked,
            character_sets,
        } => connection.prepare_cached(ANSWERED)?.execute(named_params! {
            ":station": station,
            ":at": at,
            ":latency": i64::try_from(latency.as_micros()).unwrap_or(i64::MAX),
            ":speaks_linked": speaks_linked,
            ":character_sets": character_sets.as_ref().map(json).transpose()?,
        }),
        LinkOutcome::Failed { detail, next_try } => {
            connection.prepare_cached(FAILED)?.execute(named_params! {
                ":station": station,
                ":at": at,
                ":detail": one_line(detail),
                ":next_try": next_try.map(Timestamp::as_microsecond),
            })
        }
    }
    .map(drop)
}

/// A peer's words may be in it.
pub(super) fn one_line(detail: &str) -> String {
    let is_plain = |c: &char| !c.is_control();
    detail.chars().filter(is_plain).take(MAX_DETAIL).collect()
}

fn character_sets(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<TakenCharacterSets>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let read = text.map(|text| serde_json::from_str(text).map_err(|error| unreadable(column, error)));
    read.transpose()
}

fn health(row: &Row<'_>) -> rusqlite::Result<(StationName, LinkHealth)> {
    let health = LinkHealth {
        last_success: moment(row, 1)?,
        last_failure: moment(row, 2)?,
        failures_in_a_row: row.get(3)?,
        latency: row.get::<_, Option<u64>>(4)?.map(Duration::from_micros),
        detail: row.get(5)?,
        next_try: moment(row, 6)?,
        speaks_linked: row.get(7)?,
        down_since: moment(row, 8)?,
        character_sets: character_sets(row, 9)?,
    };
    Ok((parsed(row, 0)?, health))
}
