//! What archives that are not ours were last seen to hold.
//!
//! Invariant: of a poll all is kept or nothing. It is no configuration and makes no generation; the last of it may be lost
//! in a power cut, and then the poll before it is the last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, params};

use super::configuration::{json, parsed, unreadable};
use super::{Store, StoreError};
use crate::model::{StationName, Uid};

/// When an archive was last asked to the end, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolledArchive {
    /// When.
    pub at: Timestamp,
    /// The first study date that it was asked for.
    pub first_day: Date,
}

/// A study as it was last seen in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledStudy {
    /// Which study.
    pub study: Uid,
    /// How many instances it had.
    pub instances: u32,
    /// How many of them are no news.
    pub known: u32,
    /// How many those are in each series; `None` where that is not known.
    pub series: Option<BTreeMap<Uid, u32>>,
}

impl PolledStudy {
    /// Whether it has more than is known.
    pub fn has_news(&self) -> bool {
        self.instances > self.known
    }
}

impl Store {
    /// When that archive was last asked to the end, and what it held then.
    pub fn polled(
        &self,
        station: &StationName,
    ) -> Result<Option<(PolledArchive, Vec<PolledStudy>)>, StoreError> {
        let snapshot = self.begin_read()?;
        self.sqlite(read(&snapshot, station))
    }

    /// Keeps what a poll to the end has found: the studies of which something is to be noted, and those that are forgotten.
    pub fn note_poll(
        &self,
        station: &StationName,
        poll: &PolledArchive,
        noted: &[PolledStudy],
        forgotten: &[Uid],
    ) -> Result<(), StoreError> {
        self.write_without_sync(|connection| {
            connection.execute(
                "INSERT INTO polled_archive (station, at, first_day) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET at = excluded.at, first_day = excluded.first_day",
                params![
                    station.as_str(),
                    poll.at.as_microsecond(),
                    poll.first_day.to_string()
                ],
            )?;
            noted
                .iter()
                .try_for_each(|study| note(connection, station, study))?;
            let mut forget =
                connection.prepare_cached("DELETE FROM polled_study WHERE station = ?1 AND study = ?2")?;
            forgotten
                .iter()
                .try_for_each(|study| forget.execute([station.as_str(), study.as_str()]).map(drop))
        })
    }

    /// Notes of a study what is no news any more.
    pub fn note_polled_study(&self, station: &StationName, study: &PolledStudy) -> Result<(), StoreError> {
        self.write_without_sync(|connection| note(connection, station, study))
    }

    /// Forgets what was seen in all archives but these.
    pub fn forget_polls(&self, except: &[&StationName]) -> Result<(), StoreError> {
        let names: Vec<&str> = except.iter().map(|station| station.as_str()).collect();
        self.write_without_sync(|connection| {
            connection
                .execute(
                    "DELETE FROM polled_archive WHERE station NOT IN (SELECT value FROM json_each(?1))",
                    [json(&names)?],
                )
                .map(drop)
        })
    }
}

fn read(
    connection: &Connection,
    station: &StationName,
) -> rusqlite::Result<Option<(PolledArchive, Vec<PolledStudy>)>> {
    let archive = connection
        .prepare_cached("SELECT at, first_day FROM polled_archive WHERE station = ?1")?
        .query_row([station.as_str()], |row| {
            let first_day: String = row.get(1)?;
            Ok(PolledArchive {
                at: Timestamp::from_microsecond(row.get(0)?).map_err(|error| unreadable(0, error))?,
                first_day: first_day
                    .parse()
                    .map_err(|error: jiff::Error| unreadable(1, error))?,
            })
        })
        .optional()?;
    let Some(archive) = archive else { return Ok(None) };
    let mut statement = connection
        .prepare_cached("SELECT study, instances, known, series FROM polled_study WHERE station = ?1")?;
    let studies = statement.query_map([station.as_str()], |row| {
        let series: Option<String> = row.get(3)?;
        let series = series.map(|text| serde_json::from_str(&text)).transpose();
        Ok(PolledStudy {
            study: parsed(row, 0)?,
            instances: row.get(1)?,
            known: row.get(2)?,
            series: series.map_err(|error| unreadable(3, error))?,
        })
    })?;
    Ok(Some((archive, studies.collect::<rusqlite::Result<_>>()?)))
}

fn note(connection: &Connection, station: &StationName, study: &PolledStudy) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO polled_study (station, study, instances, known, series) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET instances = excluded.instances, known = excluded.known, series = excluded.series",
        )?
        .execute(params![
            station.as_str(),
            study.study.as_str(),
            study.instances,
            study.known.min(study.instances),
            study.series.as_ref().map(json).transpose()?,
        ])
        .map(drop)
}
