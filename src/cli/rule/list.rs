//! `rule list` and `rule export`: the rules in force, for people and for spreadsheets.

use serde::Serialize;

use crate::cli::Format;
use crate::cli::change;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Document;
use crate::model::{Availability, PREFETCH_COLUMNS, PrefetchRule, Selection};

/// List the rules in their order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule list\n  \
    impaxlink rule list --json | jq -r .prefetch_rule_digest")]
pub struct ListArgs {}

/// Write the rules as CSV, for a spreadsheet and for import.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule export > rules.csv\n  \
    impaxlink rule export | ssh siteb impaxlink rule import - --dry-run")]
pub struct ExportArgs {}

/// `rule list --json`.
#[derive(Debug, Serialize)]
struct RulesView<'a> {
    /// Whether they are the cluster's own; else the shipped ones are in force.
    own: bool,
    /// PrefetchRuleDigest of the linked syntax: equal where two clusters have the same rules.
    prefetch_rule_digest: String,
    items: &'a [PrefetchRule],
}

/// Runs `rule list`.
pub fn run(ui: &mut Ui, _args: ListArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let rules = configuration.prefetch_rules_in_force();
    match ui.format() {
        Format::Json => ui.json(&Document::new(RulesView {
            own: configuration.prefetch_rules.is_some(),
            prefetch_rule_digest: rules.digest(),
            items: rules.rules(),
        }))?,
        Format::Ndjson => {
            for rule in rules.rules() {
                ui.ndjson(rule)?;
            }
        }
        Format::Csv => csv(ui, rules.rules())?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            if configuration.prefetch_rules.is_none() {
                ui.notice(
                    "these are the shipped rules; the first change makes a copy of them the cluster's own",
                );
            }
            table(ui, rules.rules())?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Runs `rule export`.
pub fn export(ui: &mut Ui, _args: ExportArgs) -> anyhow::Result<ExitStatus> {
    if ui.format() != Format::Table {
        return run(ui, ListArgs {});
    }
    let configuration = change::current(ui)?;
    csv(ui, configuration.prefetch_rules_in_force().rules())?;
    Ok(ExitStatus::Done)
}

fn csv(ui: &mut Ui, rules: &[PrefetchRule]) -> anyhow::Result<()> {
    ui.csv(&PREFETCH_COLUMNS, rules.iter().map(PrefetchRule::cells))
}

fn table(ui: &mut Ui, rules: &[PrefetchRule]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["ORDER>", "NAME", "FOR", "PRIORS", "AGE>", "NEWEST>"]);
    for rule in rules {
        table.row([
            rule.order.to_string(),
            rule.name.to_string(),
            studies(rule),
            priors(rule),
            rule.max_age.map_or("any".to_owned(), |age| age.to_string()),
            rule.max_number.map_or("all".to_owned(), |most| most.to_string()),
        ]);
    }
    Ok(ui.table(table)?)
}

/// `CR|DX of CHEST`.
fn studies(rule: &PrefetchRule) -> String {
    let named = [&rule.for_modality, &rule.for_body_part, &rule.for_specialty];
    let named = named.into_iter().filter(|patterns| !patterns.is_any());
    let named: Vec<String> = named.map(ToString::to_string).collect();
    match named.is_empty() {
        true => "any".to_owned(),
        false => named.join(" of "),
    }
}

/// `same modality, body part CHEST`.
fn priors(rule: &PrefetchRule) -> String {
    let selected = |what: &str, selection: &Selection| match selection.to_string().as_str() {
        "" => None,
        "same" => Some(format!("same {what}")),
        values => Some(format!("{what} {values}")),
    };
    let slowest = rule.availability.map(|slowest| match slowest {
        Availability::Cache => "in cache".to_owned(),
        slowest => format!("{} or faster", slowest.as_str()),
    });
    let parts = [
        selected("modality", &rule.modality),
        selected("body part", &rule.body_part),
        selected("specialty", &rule.specialty),
        rule.status.map(|least| format!("report at least {least}")),
        rule.verified.then(|| "verified".to_owned()),
        slowest,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "any".to_owned(),
        false => parts.join(", "),
    }
}
