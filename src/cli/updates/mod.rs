//! `updates`: what is still to be sent to linked clusters, what was refused, what of theirs is parked here, and which
//! objects they told of are still to be fetched.

mod act;
pub mod clock;
mod list;
mod pulling;
pub mod sending;
pub mod view;

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

/// See and mend the relay of updates to linked clusters, and the fetching of new objects that they tell of.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink updates list --state parked\n  \
    impaxlink updates send SITEB\n  \
    impaxlink updates pull\n  \
    impaxlink updates drop 2.25.77 --station SITEB")]
pub enum UpdatesCommand {
    List(list::ListArgs),
    Show(list::ShowArgs),
    Retry(act::RetryArgs),
    Drop(act::DropArgs),
    Send(sending::SendArgs),
    Pull(pulling::PullArgs),
    Resync(sending::ResyncArgs),
    RebaseClock(clock::RebaseClockArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: UpdatesCommand) -> anyhow::Result<ExitStatus> {
    match command {
        UpdatesCommand::List(args) => list::run(ui, args),
        UpdatesCommand::Show(args) => list::show(ui, args),
        UpdatesCommand::Retry(args) => act::retry(ui, args),
        UpdatesCommand::Drop(args) => act::drop_rows(ui, args),
        UpdatesCommand::Send(args) => sending::send(ui, args),
        UpdatesCommand::Pull(args) => pulling::run(ui, args),
        UpdatesCommand::Resync(args) => sending::resync(ui, args),
        UpdatesCommand::RebaseClock(args) => clock::run(ui, args),
    }
}
