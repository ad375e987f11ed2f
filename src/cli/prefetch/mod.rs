//! `prefetch`: relevant priors brought to the local cluster before anyone asks.
//!
//! Invariant: what was found is in the queue, on the disk, before the first study is fetched. Whom it is for, is in
//! `occasions`; how it goes, in `running`; what it came to, in `outcome` and `view`.

mod amend;
mod list;
mod occasions;
mod outcome;
mod running;
mod view;

pub use self::running::cancelled_by_signals;

use clap::Subcommand;
use clap_complete::ArgValueCompleter;

use super::complete;
use super::error::ExitStatus;
use super::output::Ui;
use super::query::filters::patient_id;
use crate::model::{AeTitle, DateRange, PatientIdKey, StationName, Uid};

/// Bring relevant priors to the local cluster, before anyone asks.
///
/// For studies, for a patient, or for all who are scheduled, as a modality worklist says. The prefetch rules choose
/// (see 'impaxlink rule'); what is complete here already is not fetched. What was found is put into a queue that outlives
/// this command, and then fetched: whatever else runs, no study is fetched twice, and what a killed command left is
/// taken up by the next. The exit status is 3 where something could not be looked at or fetched.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
    impaxlink prefetch 1.2.840.113619.2.1\n  \
    impaxlink prefetch --worklist tomorrow --dry-run\n  \
    impaxlink -q prefetch --worklist tomorrow     # in cron: a line only when something is not well\n  \
    impaxlink prefetch --worklist today --modality CT,MR --json | jq '.summary'\n  \
    impaxlink prefetch list --state failed"
)]
pub struct PrefetchArgs {
    #[command(subcommand)]
    command: Option<PrefetchCommand>,
    #[command(flatten)]
    whom: Whom,
    /// Only scheduled studies of these modalities
    #[arg(long, value_name = "MODALITY", value_delimiter = ',', requires = "worklist")]
    modality: Vec<String>,
    /// Only studies scheduled at this modality, by its AE title
    #[arg(long, value_name = "AET", requires = "worklist")]
    scheduled_station: Option<AeTitle>,
    /// The station whose worklist is asked; by default the setting prefetch.worklist.station
    #[arg(long, value_name = "STATION", requires = "worklist", add = ArgValueCompleter::new(complete::station_names))]
    worklist_station: Option<StationName>,
    /// Bring them to this archive station; by default the one of the highest priority
    #[arg(long, value_name = "STATION", add = ArgValueCompleter::new(complete::station_names))]
    to: Option<StationName>,
    /// Fetch at most so many priors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Say what would be fetched from where, and why, and fetch nothing
    #[arg(long, conflicts_with_all = ["enqueue_only", "now"])]
    dry_run: bool,
    /// Put them into the queue, and leave them to the service or to 'prefetch run'
    #[arg(long, conflicts_with = "now")]
    enqueue_only: bool,
    /// Fetch also outside of the hours of prefetch.hours
    #[arg(long)]
    now: bool,
}

/// For whom priors are brought.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The studies whose priors are brought
    #[arg(value_name = "UID")]
    studies: Vec<Uid>,
    /// The patient whose priors are brought: ID, ID^^^ISSUER, or @FILE
    #[arg(long, value_name = "ID", value_parser = patient_id)]
    patient_id: Option<PatientIdKey>,
    /// All who are scheduled on this day: today, tomorrow, a date or a range
    #[arg(long, value_name = "DATE", value_parser = occasions::days)]
    worklist: Option<DateRange>,
}

#[derive(Debug, Subcommand)]
enum PrefetchCommand {
    /// List the queue
    List(list::ListArgs),
    /// Fetch what is in the queue
    Run(running::RunArgs),
    /// Try again what was given up
    Retry(amend::RetryArgs),
    /// Take priors out of the queue
    Drop(amend::DropArgs),
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: PrefetchArgs) -> anyhow::Result<ExitStatus> {
    match &args.command {
        None => occasions::run(ui, &args),
        Some(PrefetchCommand::List(list)) => list::run(ui, list),
        Some(PrefetchCommand::Run(run)) => running::run(ui, run),
        Some(PrefetchCommand::Retry(retry)) => amend::retry(ui, retry),
        Some(PrefetchCommand::Drop(drop)) => amend::drop_jobs(ui, drop),
    }
}
