//! `updates`: what is still to be sent to linked clusters, what was refused, and what of theirs is parked here.

mod act;
mod list;
pub mod sending;
pub mod view;

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

/// See and mend the relay of updates to linked clusters.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink updates list --state parked\n  \
    impaxlink updates send SITEB\n  \
    impaxlink updates drop 2.25.77 --station SITEB")]
pub enum UpdatesCommand {
    List(list::ListArgs),
    Show(list::ShowArgs),
    Retry(act::RetryArgs),
    Drop(act::DropArgs),
    Send(sending::SendArgs),
    Resync(sending::ResyncArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: UpdatesCommand) -> anyhow::Result<ExitStatus> {
    match command {
        UpdatesCommand::List(args) => list::run(ui, args),
        UpdatesCommand::Show(args) => list::show(ui, args),
        UpdatesCommand::Retry(args) => act::retry(ui, args),
        UpdatesCommand::Drop(args) => act::drop_rows(ui, args),
        UpdatesCommand::Send(args) => sending::send(ui, args),
        UpdatesCommand::Resync(args) => sending::resync(ui, args),
    }
}
