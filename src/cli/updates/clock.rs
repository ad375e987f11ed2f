//! `updates rebase-clock`: the way back after the machine's clock has jumped.

use serde::Serialize;

use super::sending::wake;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::change::reason;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::view::Document;
use crate::store::{Access, ClockTrouble};

/// Take the machine's clock for right after it has jumped
///
/// A jump ahead by more than updates.max_clock_ahead is not followed while the machine runs: changes keep the time that
/// has passed since the last one. Where the new time is the right one, this command has changes follow it.
///
/// After a clock that was ahead is set back, changes follow the right time by themselves. Only those of studies that were
/// changed while it was ahead must sort after those changes: linked clusters park them until the time has come, or until
/// updates.max_clock_ahead is raised there and 'impaxlink updates retry' is run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  impaxlink updates rebase-clock --reason 'CHG1250: the BIOS battery was replaced'"
)]
pub struct RebaseClockArgs {
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
}

/// What the clock was found to be.
#[derive(Debug, Serialize)]
struct RebasedView {
    newest_ahead_ms: Option<u64>,
    jumped_ahead_ms: Option<u64>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RebaseClockArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let before = store.rebase_clock(&attribution::of_this_process(Some(args.reason)))?;
    wake(ui);
    let milliseconds = |ahead: std::time::Duration| u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(RebasedView {
            newest_ahead_ms: before.newest_ahead.map(milliseconds),
            jumped_ahead_ms: before.jumped_ahead.map(milliseconds),
        }))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            for line in sentences(&before) {
                ui.notice(&line);
            }
            ui.notice("changes follow the machine's clock");
        }
    }
    Ok(ExitStatus::Done)
}

/// What is wrong with the clock, a sentence each.
pub fn sentences(trouble: &ClockTrouble) -> Vec<String> {
    let newest = trouble.newest_ahead.map(|ahead| {
        format!(
            "the newest revision is {} ahead of the clock: linked clusters park changes of its study until then",
            shown(ahead)
        )
    });
    let jumped = trouble.jumped_ahead.map(|ahead| {
        format!(
            "the clock has jumped {} ahead, which changes do not follow: set it right, or 'impaxlink updates rebase-clock'",
            shown(ahead)
        )
    });
    newest.into_iter().chain(jumped).collect()
}

/// In whole units, as an administrator reads it: `23 h`, `7 min`.
fn shown(ahead: std::time::Duration) -> String {
    match ahead.as_secs() / 60 {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}
