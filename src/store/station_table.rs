//! The table of stations: one row each, in columns.
//!
//! Invariant: a row read back is the station that was written. The table's CHECKs hold what `model` holds already,
//! for those who write to it by hand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::configuration::{json, list, optional, parsed, unreadable, word};
use crate::model::{AeTitle, Endpoint, LinkFlags, Station, StationName, Suspension};

const SELECT: &str = "SELECT name, ae_title, host, port, kind, description, cluster, cluster_linking, \
    link_internal_queries, link_external_queries, link_cluster_updates, link_prefetching, updates_direction, constrained, \
    priority, issuers, charset, syntax, timeout_ms, calling_ae, also_calls_as, from_addresses, move_destination, \
    on_partial, suspended_until, tls, tls_fingerprints, success_comment FROM station ORDER BY name";

const INSERT: &str = "INSERT INTO station (name, ae_title, host, port, kind, description, cluster, cluster_linking, \
    link_internal_queries, link_external_queries, link_cluster_updates, link_prefetching, updates_direction, constrained, \
    priority, issuers, charset, syntax, timeout_ms, calling_ae, also_calls_as, from_addresses, move_destination, \
    on_partial, suspended_until, tls, tls_fingerprints, success_comment) VALUES (:name, :ae_title, :host, :port, :kind, :description, :cluster, \
    :cluster_linking, :link_internal_queries, :link_external_queries, :link_cluster_updates, :link_prefetching, \
    :updates_direction, :constrained, :priority, :issuers, :charset, :syntax, :timeout_ms, :calling_ae, :also_calls_as, \
    :from_addresses, :move_destination, :on_partial, :suspended_until, :tls, :tls_fingerprints, :success_comment)";

/// Reads all stations, in order of name.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Station>> {
    let mut statement = connection.prepare_cached(SELECT)?;
    statement.query_map([], station)?.collect()
}

/// Writes the rows that differ. Changed rows go before any comes, so that two stations may trade addresses.
pub(super) fn write(connection: &Connection, before: &[Station], after: &[Station]) -> rusqlite::Result<()> {
    let old: HashMap<&StationName, &Station> =
        before.iter().map(|station| (&station.name, station)).collect();
    let new: HashMap<&StationName, &Station> = after.iter().map(|station| (&station.name, station)).collect();
    let mut remove = connection.prepare_cached("DELETE FROM station WHERE name = ?1")?;
    let mut remove_health = connection.prepare_cached("DELETE FROM link_health WHERE station = ?1")?;
    for station in before {
        let next = new.get(&station.name);
        if next != Some(&station) {
            remove.execute([station.name.as_str()])?;
        }
        if next.is_none() {
            remove_health.execute([station.name.as_str()])?;
        }
    }
    after
        .iter()
        .filter(|station| old.get(&station.name) != Some(station))
        .try_for_each(|station| insert(connection, station))
}

fn station(row: &Row<'_>) -> rusqlite::Result<Station> {
    let endpoint = match (optional(row, 2)?, row.get::<_, Option<NonZeroU16>>(3)?) {
        (Some(host), Some(port)) => Some(Endpoint { host, port }),
        _ => None,
    };
    let station = Station {
        name: parsed(row, 0)?,
        ae_title: parsed(row, 1)?,
        endpoint,
        kind: word(row, 4)?,
        description: optional(row, 5)?,
        cluster: optional(row, 6)?,
        links: LinkFlags {
            cluster_linking: row.get(7)?,
            internal_queries: row.get(8)?,
            external_queries: row.get(9)?,
            cluster_updates: row.get(10)?,
            prefetching: row.get(11)?,
        },
        updates_direction: word(row, 12)?,
        constrained: row.get(13)?,
        priority: row.get(14)?,
        issuers: list(row, 15)?,
        charset: optional(row, 16)?,
        syntax: word(row, 17)?,
        timeout: Duration::from_millis(row.get(18)?),
        calling_ae: optional(row, 19)?,
        also_calls_as: list(row, 20)?,
        from_addresses: list(row, 21)?,
        move_destination: optional(row, 22)?,
        on_partial: optional_word(row, 23)?,
        suspended: optional_word(row, 24)?,
        tls: row.get(25)?,
        tls_fingerprints: list(row, 26)?,
        success_comment: word(row, 27)?,
    };
    station.check().map_err(|error| unreadable(0, error))?;
    Ok(station)
}

fn insert(connection: &Connection, station: &Station) -> rusqlite::Result<()> {
    let ae_title = |title: &Option<AeTitle>| title.as_ref().map(|title| title.as_str().to_owned());
    let suspended = station.suspended.map(<Suspension as Into<String>>::into);
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":name": station.name.as_str(),
        ":ae_title": station.ae_title.as_str(),
        ":host": station.endpoint.as_ref().map(|endpoint| endpoint.host.as_str()),
        ":port": station.endpoint.as_ref().map(|endpoint| endpoint.port),
        ":kind": word_of(&station.kind)?,
        ":description": station.description.as_ref().map(|text| text.as_str()),
        ":cluster": station.cluster.as_ref().map(|name| name.as_str()),
        ":cluster_linking": station.links.cluster_linking,
        ":link_internal_queries": station.links.internal_queries,
        ":link_external_queries": station.links.external_queries,
        ":link_cluster_updates": station.links.cluster_updates,
        ":link_prefetching": station.links.prefetching,
        ":updates_direction": word_of(&station.updates_direction)?,
        ":constrained": station.constrained,
        ":priority": station.priority,
        ":issuers": json(&station.issuers)?,
        ":charset": station.charset.as_ref().map(|charset| charset.as_str()),
        ":syntax": word_of(&station.syntax)?,
        ":timeout_ms": i64::try_from(station.timeout.as_millis()).unwrap_or(i64::MAX),
        ":calling_ae": ae_title(&station.calling_ae),
        ":also_calls_as": json(&station.also_calls_as)?,
        ":from_addresses": json::<[IpAddr]>(&station.from_addresses)?,
        ":move_destination": ae_title(&station.move_destination),
        ":on_partial": station.on_partial.as_ref().map(word_of).transpose()?,
        ":suspended_until": suspended,
        ":tls": station.tls,
        ":tls_fingerprints": json(&station.tls_fingerprints)?,
        ":success_comment": word_of(&station.success_comment)?,
    })?;
    Ok(())
}

fn optional_word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(_) => word(row, column).map(Some),
        None => Ok(None),
    }
}

/// The word that `model` writes in JSON.
fn word_of<T: Serialize>(value: &T) -> rusqlite::Result<Option<String>> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(Some(word)),
        Ok(_) => Ok(None),
        Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
    }
}
