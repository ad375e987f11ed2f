//! `ledger list`: past queries, one a line, the failed ones at a glance.

use jiff::Timestamp;

use super::view::LedgerView;
use super::{gist, keys, told};
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::moment::parse_past;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::view::Items;
use crate::model::QueryLedger;
use crate::store::{Access, LedgerFilter};

/// List past queries, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink ledger list --since 16:20 --until 16:30\n  \
    impaxlink ledger list --failed --since -7d --format csv\n  \
    impaxlink ledger list --json --limit 0 | jq -r '.items[] | select(.ae_title == \"READER1\").at'")]
pub struct ListArgs {
    /// Only queries that began since then: 16:20, a date, -7d, -2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_past)]
    since: Option<Timestamp>,
    /// Only queries that began before then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_past)]
    until: Option<Timestamp>,
    /// Only those with a station that should have answered and did not, or not fully
    #[arg(long)]
    failed: bool,
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let filter = LedgerFilter {
        since: args.since,
        until: args.until,
        failed_only: args.failed,
        limit: (args.limit != 0).then_some(args.limit),
    };
    let ledgers = ui.store(Access::ReadOnly)?.ledgers(&filter)?;
    match ui.format() {
        Format::Json => ui.json(&Items::new(ledgers.iter().map(LedgerView::from).collect()))?,
        Format::Ndjson => {
            for ledger in &ledgers {
                ui.ndjson(&LedgerView::from(ledger))?;
            }
        }
        Format::Csv => ui.csv(&HEADING, ledgers.iter().map(cells))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ledgers.is_empty() => ui.notice("no linked query matches"),
        Format::Table => table(ui, &ledgers)?,
    }
    if ledgers.len() == args.limit as usize && args.limit != 0 {
        ui.notice(&format!(
            "the newest {}; --until and --limit show others",
            args.limit
        ));
    }
    Ok(ExitStatus::Done)
}

const HEADING: [&str; 13] = [
    "id",
    "at",
    "asker",
    "asked_as",
    "generation",
    "level",
    "keywords",
    "complete",
    "status",
    "matches",
    "elapsed_ms",
    "stations",
    "summary",
];

fn cells(ledger: &QueryLedger) -> [String; 13] {
    let stations: Vec<String> = ledger
        .entries
        .iter()
        .map(|entry| format!("{}={}", entry.station, entry.outcome.as_str()))
        .collect();
    [
        ledger.id.to_string(),
        ledger.at.to_string(),
        ledger.asker.to_string(),
        ledger.asked_as.as_str().to_owned(),
        ledger.generation.to_string(),
        ledger.level.as_str().to_owned(),
        ledger.keywords.join(";"),
        ledger.complete.to_string(),
        ledger.told.status.to_string(),
        ledger.told.matches.to_string(),
        ledger.elapsed.as_millis().to_string(),
        stations.join(";"),
        gist(ledger),
    ]
}

fn table(ui: &mut Ui, ledgers: &[QueryLedger]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["WHEN", "WHO", "AS", "ASKED BY", "TOLD", "HOW IT WENT", "ID"]);
    for ledger in ledgers {
        table.row([
            local_time(ledger.at),
            ledger.asker.to_string(),
            ledger.asked_as.as_str().to_owned(),
            keys(ledger),
            told(ledger),
            gist(ledger),
            ledger.id.to_string(),
        ]);
    }
    Ok(ui.table(table)?)
}
