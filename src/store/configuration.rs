//! The newest configuration, read from its rows and written back where it differs.
//!
//! Invariant: what is read passes every rule of `model`, or is an error that names the row's column.

use std::collections::HashSet;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::{mapping_table, prefetch_rule_table, station_table};
use crate::model::{Configuration, Generation, Invalid, Settings};

/// Reads the whole configuration; within a transaction, so that it is of one generation.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Configuration> {
    Ok(Configuration {
        generation: read_generation(connection)?,
        settings: read_settings(connection)?,
        stations: station_table::read(connection)?,
        mapping: mapping_table::read(connection)?,
        prefetch_rules: prefetch_rule_table::read(connection)?,
    })
}

/// Reads the newest generation.
pub(super) fn read_generation(connection: &Connection) -> rusqlite::Result<Generation> {
    connection.query_row("SELECT generation FROM cluster", [], |row| row.get(0))
}

/// Writes the rows that differ between the configuration that is there and the next one, and its generation.
pub(super) fn write(
    connection: &Connection,
    before: &Configuration,
    after: &Configuration,
) -> rusqlite::Result<()> {
    write_settings(connection, &before.settings, &after.settings)?;
    station_table::write(connection, &before.stations, &after.stations)?;
    mapping_table::write(connection, before.mapping.as_ref(), after.mapping.as_ref())?;
    prefetch_rule_table::write(
        connection,
        before.prefetch_rules.as_ref(),
        after.prefetch_rules.as_ref(),
    )?;
    connection.execute("UPDATE cluster SET generation = ?1", [after.generation])?;
    Ok(())
}

/// The settings that were set.
pub(super) fn read_settings(connection: &Connection) -> rusqlite::Result<Settings> {
    let mut settings = Settings::default();
    let mut statement = connection.prepare_cached("SELECT key, value FROM setting")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        let value: String = row.get(1)?;
        settings.set(&key, &value).map_err(|error| unreadable(1, error))?;
    }
    Ok(settings)
}

fn write_settings(connection: &Connection, before: &Settings, after: &Settings) -> rusqlite::Result<()> {
    let kept: HashSet<_> = before.iter().collect();
    let wanted: HashSet<_> = after.iter().collect();
    for (key, _) in kept.difference(&wanted) {
        connection.execute("DELETE FROM setting WHERE key = ?1", [key])?;
    }
    for (key, value) in wanted.difference(&kept) {
        connection.execute("INSERT INTO setting (key, value) VALUES (?1, ?2)", [key, value])?;
    }
    Ok(())
}

/// A column of text as the type it is of.
pub(super) fn parsed<T: FromStr<Err = Invalid>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: Invalid| unreadable(column, error))
}

/// The same for a column that may be NULL.
pub(super) fn optional<T: FromStr<Err = Invalid>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => parsed(row, column).map(Some),
        None => Ok(None),
    }
}

/// A column whose text is a word as `model` writes it in JSON.
pub(super) fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: StrDeserializer<'_, serde::de::value::Error> =
        row.get_ref(column)?.as_str()?.into_deserializer();
    T::deserialize(text).map_err(|error| unreadable(column, error))
}

/// A moment, kept in microseconds; NULL is none.
pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(Timestamp::from_microsecond)
        .transpose()
        .map_err(|error| unreadable(column, error))
}

/// A list, kept as a JSON array.
pub(super) fn list<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>> {
    match row.get_ref(column)?.as_str()? {
        "[]" => Ok(Vec::new()),
        text => serde_json::from_str(text).map_err(|error| unreadable(column, error)),
    }
}

/// What [`list`] reads back.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// The error for a column whose text is not of its type.
pub(super) fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
