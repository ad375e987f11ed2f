//! `ledger show`: one past query, station by station.

use serde::Serialize;

use super::view::LedgerView;
use super::{gist, keys, told};
use crate::cli::Format;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{LEDGER_KEEP_DAYS, LedgerEntry, LedgerId, QueryLedger};
use crate::store::{Access, LedgerFilter, Store};

/// Show one past query, station by station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink ledger show\n  \
    impaxlink ledger show 019ab3f0c2d1-5e6f7a\n  \
    impaxlink ledger show 019ab3f0c2d1-5e6f7a --json | jq '.query.ledger[] | select(.outcome == \"failed\")'")]
pub struct ShowArgs {
    /// Its ID, as 'ledger list' and the JSON of 'query' give it; the last query where none is given
    #[arg(value_parser = value::parsed::<LedgerId>)]
    id: Option<LedgerId>,
}

/// `ledger show --json`: `{"schema":1,"query":{…}}`.
#[derive(Debug, Serialize)]
struct ShowView<'a> {
    query: LedgerView<'a>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ShowArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let ledger = match &args.id {
        Some(id) => store.ledger(id)?.ok_or_else(|| {
            let problem = Problem::new(ExitStatus::NotFound, format!("no query {id}"));
            problem.hint(format!(
                "'impaxlink ledger list' shows them; they are kept for {LEDGER_KEEP_DAYS}"
            ))
        })?,
        None => last(&store)?,
    };
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ShowView {
            query: LedgerView::from(&ledger),
        }))?,
        Format::Csv => {
            let heading = HEADING.map(|name| name.trim_end_matches('>').to_lowercase());
            ui.csv(
                &heading.each_ref().map(String::as_str),
                ledger.entries.iter().map(cells),
            )?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => table(ui, &ledger)?,
    }
    Ok(ExitStatus::Done)
}

fn last(store: &Store) -> anyhow::Result<QueryLedger> {
    let filter = LedgerFilter {
        limit: Some(1),
        ..LedgerFilter::default()
    };
    let newest = store.ledgers(&filter)?.pop();
    newest.ok_or_else(|| Problem::new(ExitStatus::NotFound, "no query has been asked yet").into())
}

fn table(ui: &mut Ui, ledger: &QueryLedger) -> anyhow::Result<()> {
    let mut facts = Columns::new(&[]);
    for (name, value) in [
        ("query", ledger.id.to_string()),
        ("when", local_time(ledger.at)),
        (
            "who",
            format!("{}, as {}", ledger.asker, ledger.asked_as.as_str()),
        ),
        (
            "asked by",
            format!("{} ({} level)", keys(ledger), ledger.level.as_str()),
        ),
        ("generation", ledger.generation.to_string()),
        (
            "told",
            format!("{}, after {} ms", told(ledger), ledger.elapsed.as_millis()),
        ),
        ("how it went", gist(ledger)),
    ] {
        facts.row([name.to_owned(), value]);
    }
    ui.table(facts)?;
    if ledger.entries.is_empty() {
        return Ok(());
    }
    ui.line("")?;
    let mut stations = Columns::new(&HEADING);
    for entry in &ledger.entries {
        let empty_as_dash = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        stations.row(cells(entry).map(empty_as_dash));
    }
    Ok(ui.table(stations)?)
}

const HEADING: [&str; 9] = [
    "STATION",
    "OUTCOME",
    "MATCHES>",
    "FILTERED>",
    "DROPPED>",
    "ELAPSED_MS>",
    "SYNTAX",
    "STATUS",
    "DETAIL",
];

fn cells(entry: &LedgerEntry) -> [String; 9] {
    let mut detail: Vec<String> = entry.detail.iter().cloned().collect();
    if !entry.unverified_keys.is_empty() {
        detail.push(format!("did not come back: {}", entry.unverified_keys.join(", ")));
    }
    if let Some(retry_at) = entry.retry_at {
        detail.push(format!("next try {}", local_time(retry_at)));
    }
    [
        entry.station.to_string(),
        entry.outcome.as_str().to_owned(),
        entry.matches.to_string(),
        entry.filtered.to_string(),
        entry.dropped.to_string(),
        entry.elapsed.as_millis().to_string(),
        entry.syntax.unwrap_or_default().to_owned(),
        entry
            .dicom_status
            .map(|status| format!("{status:04X}"))
            .unwrap_or_default(),
        detail.join("; "),
    ]
}
