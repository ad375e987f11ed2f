//! `ledger`: past linked queries, the command line's and the service's: why did the reader see no priors at 16:25?

mod list;
mod show;
mod view;

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;
use crate::model::{Asker, LedgerEntry, Outcome, QueryLedger};

/// See past linked queries: who asked, what each station did, what the caller was told.
///
/// Every linked query leaves its ledger in the store, without the values it asked by, for as many days as the setting
/// ledger.keep_days says.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink ledger list --since 16:20\n  \
    impaxlink ledger list --failed --since -7d\n  \
    impaxlink ledger show 019ab3f0c2d1-5e6f7a")]
pub enum LedgerCommand {
    /// List past queries, newest first
    List(list::ListArgs),
    /// Show one past query, station by station
    Show(show::ShowArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: LedgerCommand) -> anyhow::Result<ExitStatus> {
    match command {
        LedgerCommand::List(args) => list::run(ui, args),
        LedgerCommand::Show(args) => show::run(ui, args),
    }
}

/// What the caller was told: `0000, 2 matches` to a station, `exit status 3, 2 matches` to a user.
fn told(ledger: &QueryLedger) -> String {
    let status = match ledger.asker {
        Asker::User(_) => format!("exit status {}", ledger.told.status),
        Asker::Station { .. } => format!("{:04X}", ledger.told.status),
    };
    let noun = if ledger.told.matches == 1 {
        "match"
    } else {
        "matches"
    };
    format!("{status}, {} {noun}", ledger.told.matches)
}

/// How it went: `complete, 3 of 3 stations`, or who is missing and why; and who was not to be asked.
fn gist(ledger: &QueryLedger) -> String {
    let due = ledger.entries.iter().filter(|entry| entry.was_due);
    let (answered, missing): (Vec<&LedgerEntry>, Vec<&LedgerEntry>) =
        due.partition(|entry| entry.is_complete());
    let failed: Vec<&LedgerEntry> = missing
        .iter()
        .copied()
        .filter(|entry| entry.outcome != Outcome::Cancelled)
        .collect();
    let all = answered.len() + missing.len();
    let word = match (ledger.complete, failed.is_empty()) {
        (true, _) => "complete",
        // Also where all stations had ended before the cancel reached them.
        (false, true) => "cut by the caller",
        (false, false) => "INCOMPLETE",
    };
    let mut text = format!("{word}, {} of {all} stations", answered.len());
    let not_asked = ledger.entries.iter().filter(|entry| !entry.was_due);
    let told = failed.into_iter().map(|entry| (entry, entry.outcome.as_str()));
    for (entry, what) in told.chain(not_asked.map(|entry| (entry, "not asked"))) {
        text.push_str(&format!("; {} {what}", entry.station));
        if let Some(detail) = &entry.detail {
            text.push_str(&format!(": {detail}"));
        }
    }
    text
}

/// The keys that were asked by.
fn keys(ledger: &QueryLedger) -> String {
    match ledger.keywords.as_slice() {
        [] => "no key".to_owned(),
        keys => keys.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Caller, LedgerId, Level, Told};

    #[test]
    fn the_gist_names_who_is_missing_and_why() {
        let entry = |name: &str, outcome| LedgerEntry::new(name.parse().unwrap(), outcome);
        let refused = LedgerEntry {
            detail: Some("connection refused".to_owned()),
            ..entry("SITEC", Outcome::Failed)
        };
        let of = |entries: Vec<LedgerEntry>| {
            gist(&QueryLedger {
                id: LedgerId::new(jiff::Timestamp::UNIX_EPOCH, 0),
                at: jiff::Timestamp::UNIX_EPOCH,
                asker: Asker::User("jdoe".to_owned()),
                asked_as: Caller::Internal,
                generation: 1,
                level: Level::Study,
                keywords: Vec::new(),
                complete: entries.iter().all(LedgerEntry::is_complete),
                entries,
                told: Told {
                    status: 3,
                    matches: 0,
                },
                elapsed: Duration::ZERO,
            })
        };
        let pacs = || entry("PACS", Outcome::Searched);
        assert_eq!(of(vec![pacs()]), "complete, 1 of 1 stations");
        assert_eq!(
            of(vec![pacs(), refused]),
            "INCOMPLETE, 1 of 2 stations; SITEC failed: connection refused"
        );
        let by_flag = LedgerEntry {
            was_due: false,
            detail: Some("--link-internal-queries is off".to_owned()),
            ..entry("SITEB", Outcome::Skipped)
        };
        assert_eq!(
            of(vec![pacs(), by_flag]),
            "complete, 1 of 1 stations; SITEB not asked: --link-internal-queries is off"
        );
        assert_eq!(
            of(vec![pacs(), entry("SITEB", Outcome::Cancelled)]),
            "cut by the caller, 1 of 2 stations"
        );
    }
}
