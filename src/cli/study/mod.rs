//! `study`: what is known of one study. One file a subcommand.

mod copies;

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

/// See what is known of a study, and who holds copies of it.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  impaxlink study copies 1.2.840.1")]
pub enum StudyCommand {
    Copies(copies::CopiesArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: StudyCommand) -> anyhow::Result<ExitStatus> {
    match command {
        StudyCommand::Copies(args) => copies::run(ui, args),
    }
}
