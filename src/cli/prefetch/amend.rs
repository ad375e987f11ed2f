//! `prefetch retry` and `prefetch drop`: the queue put right by hand.

use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::model::JobId;
use crate::store::{Access, Store, StoreError};

/// Try priors again that were given up, or that wait for a retry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  impaxlink prefetch retry --all\n  impaxlink prefetch retry 17 18")]
pub struct RetryArgs {
    #[command(flatten)]
    which: Which,
}

/// Take priors out of the queue, so that they are not brought.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  impaxlink prefetch drop 17\n  impaxlink prefetch drop --all")]
pub struct DropArgs {
    #[command(flatten)]
    which: Which,
}

/// Which jobs are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The numbers of the jobs, as 'prefetch list' shows them
    #[arg(value_name = "JOB")]
    jobs: Vec<JobId>,
    /// All that wait or were given up
    #[arg(long)]
    all: bool,
}

/// Runs `prefetch retry`.
pub fn retry(ui: &Ui, args: &RetryArgs) -> anyhow::Result<ExitStatus> {
    amend(ui, &args.which, "to be tried again", Store::retry_prefetch)
}

/// Runs `prefetch drop`.
pub fn drop_jobs(ui: &Ui, args: &DropArgs) -> anyhow::Result<ExitStatus> {
    amend(ui, &args.which, "taken out of the queue", Store::drop_prefetch)
}

fn amend(
    ui: &Ui,
    which: &Which,
    done: &str,
    change: impl FnOnce(&Store, Option<&[JobId]>) -> Result<usize, StoreError>,
) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let ids = (!which.all).then_some(which.jobs.as_slice());
    let changed = change(&store, ids)?;
    if changed == 0 && !which.all {
        let message = "none of these jobs is in the queue, waiting or given up";
        let hint = "'impaxlink prefetch list' shows them";
        return Err(Problem::new(ExitStatus::NotFound, message).hint(hint).into());
    }
    let noun = if changed == 1 { "prior" } else { "priors" };
    ui.notice(&format!("{changed} {noun} {done}"));
    Ok(ExitStatus::Done)
}
