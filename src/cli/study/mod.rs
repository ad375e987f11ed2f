//! `study`: what clusters have said of a study, saying more, who holds copies of it, and UIDs found with two patients. One file a subcommand.

mod conflicts;
mod copies;
mod draft;
mod feed;
mod patients;
mod review;
mod show;
mod update;

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

/// See and change what all clusters know of a study, and see who holds copies of it.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink study show 1.2.840.1\n  \
    impaxlink study update 1.2.840.1 --status APPROVED --verified\n  \
    impaxlink study update --from status.csv\n  \
    impaxlink study copies 1.2.840.1\n  \
    impaxlink study conflicts list\n  \
    impaxlink study review")]
pub enum StudyCommand {
    Show(show::ShowArgs),
    Update(Box<update::UpdateArgs>),
    Copies(copies::CopiesArgs),
    #[command(subcommand)]
    Conflicts(conflicts::ConflictsCommand),
    Review(review::ReviewArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: StudyCommand) -> anyhow::Result<ExitStatus> {
    match command {
        StudyCommand::Show(args) => show::run(ui, args),
        StudyCommand::Update(args) => update::run(ui, *args),
        StudyCommand::Copies(args) => copies::run(ui, args),
        StudyCommand::Conflicts(command) => conflicts::run(ui, command),
        StudyCommand::Review(args) => review::run(ui, args),
    }
}
