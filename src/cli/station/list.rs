//! `station list`: every station with its link flags and how it was when last asked.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::Format;
use crate::cli::change;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::{age, moment};
use crate::cli::view::Items;
use crate::model::{Kind, LinkFlags, Station, StationName, Suspension};
use crate::store::LinkHealth;

/// List the stations with their link flags and how they were when last asked.
///
/// INT, EXT, UPD and PRE are the four link options; an option in brackets has no effect because cluster linking is
/// off for the station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station list --linked\n  \
    impaxlink station list --json | jq -r '.items[] | select(.link_prefetching) | .name'")]
pub struct ListArgs {
    /// Only the doors to linked clusters
    #[arg(long)]
    linked: bool,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let store = change::store_if_any(ui)?;
    let mut stations = match &store {
        Some(store) => store.configuration()?.stations,
        None => Vec::new(),
    };
    stations.retain(|station| station.is_linked() || !args.linked);
    match ui.format() {
        Format::Json => ui.json(&Items::new(stations))?,
        Format::Ndjson => {
            for station in &stations {
                ui.ndjson(station)?;
            }
        }
        Format::Csv => csv(ui, &stations)?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if stations.is_empty() => {
            ui.notice(if args.linked {
                "no station is linked"
            } else {
                "no stations yet: 'impaxlink station add'"
            });
        }
        Format::Table => {
            let health = store.map_or(Ok(BTreeMap::new()), |store| store.link_health())?;
            table(ui, &stations, &health, args.linked)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn csv(ui: &mut Ui, stations: &[Station]) -> anyhow::Result<()> {
    const FIELDS: [&str; 29] = [
        "name",
        "ae_title",
        "host",
        "port",
        "kind",
        "embedded",
        "description",
        "cluster",
        "cluster_linking",
        "link_internal_queries",
        "link_external_queries",
        "link_cluster_updates",
        "link_prefetching",
        "updates_direction",
        "constrained",
        "priority",
        "issuers",
        "charset",
        "syntax",
        "timeout_ms",
        "calling_ae",
        "also_calls_as",
        "from_addresses",
        "move_destination",
        "on_partial",
        "suspended_until",
        "tls",
        "tls_fingerprints",
        "success_comment",
    ];
    let documents = stations
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    ui.csv(
        &FIELDS,
        documents
            .iter()
            .map(|document| FIELDS.map(|field| csv_value(&document[field]))),
    )
}

/// A field of a document in one cell; the values of a list are joined by `;`.
pub fn csv_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) => values.iter().map(csv_value).collect::<Vec<_>>().join(";"),
        other => other.to_string(),
    }
}

fn table(
    ui: &mut Ui,
    stations: &[Station],
    health: &BTreeMap<StationName, LinkHealth>,
    linked_only: bool,
) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut heading = vec![
        "NAME",
        "KIND",
        "CLUSTER",
        "AE TITLE @ HOST:PORT",
        "LINK",
        "INT",
        "EXT",
        "UPD",
        "PRE",
        "STATE",
    ];
    if linked_only {
        heading.retain(|name| !["KIND", "LINK"].contains(name));
    }
    let mut table = Columns::new(&heading);
    let mut any_without_updates = false;
    for station in stations {
        let without_updates = lacks_linked_syntax(station, health);
        any_without_updates |= without_updates;
        let mut cells = vec![station.name.to_string()];
        if !linked_only {
            cells.push(kind(station).to_owned());
        }
        cells.push(
            station
                .cluster
                .as_ref()
                .map_or("-".to_owned(), ToString::to_string),
        );
        cells.push(address(station));
        if !linked_only {
            cells.push(if station.is_linked() { "on" } else { "-" }.to_owned());
        }
        cells.extend(options(station.links, without_updates));
        cells.push(state(station, health, now));
        table.row(cells);
    }
    ui.table(table)?;
    if any_without_updates {
        ui.line("* no linked syntax there: updates can't be relayed")?;
    }
    Ok(())
}

/// Whether updates are wanted for a station that is known to speak strict DICOM alone.
fn lacks_linked_syntax(station: &Station, health: &BTreeMap<StationName, LinkHealth>) -> bool {
    let speaks_linked = health.get(&station.name).and_then(|health| health.speaks_linked);
    station.links.cluster_linking && station.links.cluster_updates && speaks_linked == Some(false)
}

/// The word for a station's kind.
pub fn kind(station: &Station) -> &'static str {
    match station.kind {
        Kind::Internal => "internal",
        Kind::External => "external",
        Kind::Archive if station.is_embedded() => "embedded",
        Kind::Archive => "archive",
    }
}

/// `AE@HOST:PORT`, or the AE title alone.
pub fn address(station: &Station) -> String {
    match &station.endpoint {
        Some(endpoint) => format!("{}@{endpoint}", station.ae_title),
        None => station.ae_title.to_string(),
    }
}

fn options(links: LinkFlags, without_updates: bool) -> [String; 4] {
    let shown = |value: bool| match (value, links.cluster_linking) {
        (false, _) => "-",
        (true, true) => "on",
        (true, false) => "(on)",
    };
    let updates = if without_updates {
        "on*"
    } else {
        shown(links.cluster_updates)
    };
    [
        shown(links.internal_queries),
        shown(links.external_queries),
        updates,
        shown(links.prefetching),
    ]
    .map(str::to_owned)
}

/// How the station is, as far as is known: suspended, up, down, or not asked yet.
pub fn state(station: &Station, health: &BTreeMap<StationName, LinkHealth>, now: Timestamp) -> String {
    match station.suspended {
        Some(suspension) if suspension.is_in_force(now) => return suspended(suspension, now),
        _ => {}
    }
    let Some(health) = health.get(&station.name) else {
        return "-".to_owned();
    };
    if health.failures_in_a_row == 0 {
        let latency = health
            .latency
            .map(|latency| format!(", {} ms", latency.as_millis()))
            .unwrap_or_default();
        let syntax = if health.speaks_linked == Some(true) {
            ", linked"
        } else {
            ""
        };
        return format!("up{latency}{syntax}");
    }
    match health.down_since {
        Some(since) => format!("down {}", age(since, now)),
        None => "down".to_owned(),
    }
}

/// `suspended to 18:00`, with the date where that is not today.
pub fn suspended(suspension: Suspension, now: Timestamp) -> String {
    match suspension {
        Suspension::Indefinite => "suspended".to_owned(),
        Suspension::Until(until) => format!("suspended to {}", moment(until, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_without_the_master_switch_stands_in_brackets() {
        let links = LinkFlags {
            prefetching: true,
            ..LinkFlags::default()
        };
        assert_eq!(options(links, false), ["-", "-", "-", "(on)"]);
        assert_eq!(
            options(
                LinkFlags {
                    cluster_linking: true,
                    ..links
                },
                false
            ),
            ["-", "-", "-", "on"]
        );
    }
}
