//! `mapping list` and `mapping export`: the tables in force, for people and for spreadsheets.

use serde::Serialize;

use crate::cli::Format;
use crate::cli::change;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{MAPPING_COLUMNS, MappingRule, MappingTable, MappingTarget, mapping_columns};

/// List the rules in the order in which they are tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping list --target specialty\n  \
    impaxlink mapping list --json | jq -r '.items[].value' | sort -u")]
pub struct ListArgs {
    /// Only the rules for specialty, or for body-part
    #[arg(long, value_parser = value::parsed::<MappingTarget>)]
    target: Option<MappingTarget>,
}

/// Write the tables as CSV, for a spreadsheet and for import.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping export > mapping.csv\n  \
    impaxlink mapping export | ssh siteb impaxlink mapping import - --dry-run")]
pub struct ExportArgs {}

/// `mapping list --json`.
#[derive(Debug, Serialize)]
struct MappingView<'a> {
    /// Whether they are the cluster's own; else the shipped ones are in force.
    own: bool,
    /// VocabularyDigest of the linked syntax: equal where two clusters give the same values.
    vocabulary_digest: String,
    items: Vec<&'a MappingRule>,
}

/// Runs `mapping list`.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let tables = configuration.mapping_in_force();
    let is_listed = |rule: &&MappingRule| args.target.is_none_or(|target| rule.target() == target);
    let rules: Vec<&MappingRule> = tables.rules().iter().filter(is_listed).collect();
    match ui.format() {
        Format::Json => ui.json(&Document::new(MappingView {
            own: configuration.mapping.is_some(),
            vocabulary_digest: tables.vocabulary_digest(),
            items: rules,
        }))?,
        Format::Ndjson => {
            for rule in rules {
                ui.ndjson(rule)?;
            }
        }
        Format::Csv => ui.csv(&MAPPING_COLUMNS, rules.into_iter().map(mapping_columns))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            if configuration.mapping.is_none() {
                ui.notice(
                    "these are the shipped tables; the first change makes a copy of them the cluster's own",
                );
            }
            table(ui, &rules)?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Runs `mapping export`.
pub fn export(ui: &mut Ui, _args: ExportArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let tables: &MappingTable = configuration.mapping_in_force();
    match ui.format() {
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Json | Format::Ndjson => return run(ui, ListArgs { target: None }),
        Format::Table | Format::Csv => {
            ui.csv(&MAPPING_COLUMNS, tables.rules().iter().map(mapping_columns))?
        }
    }
    Ok(ExitStatus::Done)
}

fn table(ui: &mut Ui, rules: &[&MappingRule]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["TARGET", "ORDER>", "VALUE", "WHERE"]);
    for rule in rules {
        table.row([
            rule.target().as_str().to_owned(),
            rule.order().to_string(),
            rule.value().to_string(),
            rule.conditions().to_string(),
        ]);
    }
    Ok(ui.table(table)?)
}
