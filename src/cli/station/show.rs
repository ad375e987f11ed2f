//! `station show`: all there is to know of one station.

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;
use serde_json::Value;

use super::list::{csv_value, state};
use super::not_found;
use crate::cli::Format;
use crate::cli::change::{self, shown};
use crate::cli::complete;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::{Document, StationView};
use crate::model::Station;
use crate::store::Access;

/// Show all there is to know of a station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station show SITEB\n  \
    impaxlink station show SITEB --json | jq .station.issuers")]
pub struct ShowArgs {
    /// The station
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::station_names))]
    name: String,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ShowArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let found = configuration
        .stations
        .iter()
        .find(|station| station.name.as_str() == args.name);
    let station = found.ok_or_else(|| not_found(&configuration, &args.name))?;
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(StationView { station }))?,
        Format::Csv => {
            let fields = fields(station)?;
            ui.csv(
                &["field", "value"],
                fields.into_iter().map(|(name, value)| [name, csv_value(&value)]),
            )?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => table(ui, station)?,
    }
    Ok(ExitStatus::Done)
}

fn table(ui: &mut Ui, station: &Station) -> anyhow::Result<()> {
    let store = ui.store(Access::ReadOnly)?;
    let health = store.link_health()?;
    let mut table = Columns::new(&[]);
    for (name, value) in fields(station)? {
        table.row([name, shown(&value)]);
    }
    table.row(["state".to_owned(), state(station, &health, Timestamp::now())]);
    if let Some(detail) = health.get(&station.name).and_then(|health| health.detail.clone()) {
        table.row(["last failure".to_owned(), detail]);
    }
    ui.table(table)?;
    Ok(())
}

/// The station's documented fields in their documented order.
fn fields(station: &Station) -> anyhow::Result<Vec<(String, Value)>> {
    match serde_json::to_value(station)? {
        Value::Object(fields) => Ok(fields.into_iter().collect()),
        other => Ok(vec![("station".to_owned(), other)]),
    }
}
