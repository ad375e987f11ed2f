//! `station suspend` and `station resume`: a station is asked nothing for a while, and everyone can see that.

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;

use super::find_mut;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::ExitStatus;
use crate::cli::moment::parse_future;
use crate::cli::output::Ui;
use crate::model::Suspension;

/// Ask a station nothing for a while.
///
/// Answers are partial meanwhile, and say so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station suspend SITEB --until 18:00 --reason CHG1190\n  \
    impaxlink station suspend SITEB --until 2h\n  \
    impaxlink station suspend SITEB")]
pub struct SuspendArgs {
    /// The stations to suspend
    #[arg(value_name = "NAME", required = true, add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    /// The end: a time of day, a date and time, or a duration; without it, until 'station resume'
    #[arg(long, value_name = "TIME", value_parser = parse_future)]
    until: Option<Timestamp>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// End the suspension of a station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink station resume SITEB")]
pub struct ResumeArgs {
    /// The stations to resume
    #[arg(value_name = "NAME", required = true, add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `station suspend`.
pub fn run(ui: &mut Ui, args: SuspendArgs) -> anyhow::Result<ExitStatus> {
    let suspension = args.until.map_or(Suspension::Indefinite, Suspension::Until);
    set(ui, &args.names, &args.change, Some(suspension))
}

/// Runs `station resume`.
pub fn resume(ui: &mut Ui, args: ResumeArgs) -> anyhow::Result<ExitStatus> {
    set(ui, &args.names, &args.change, None)
}

fn set(
    ui: &mut Ui,
    names: &[String],
    args: &ChangeArgs,
    to: Option<Suspension>,
) -> anyhow::Result<ExitStatus> {
    let subjects: Vec<String> = names.iter().map(|name| format!("station {name}")).collect();
    change::save(ui, args, &subjects, |configuration| {
        for name in names {
            find_mut(configuration, name)?.suspended = to;
        }
        Ok(())
    })
}
