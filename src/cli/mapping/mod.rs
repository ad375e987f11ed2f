//! `mapping`: the tables that give a study's specialty and body part. One file a subcommand or a pair of them.

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

mod conditions;
mod import;
mod list;
mod set;
mod test;

/// See and change the tables that give a study's specialty and body part.
///
/// A study's body part and specialty are each given by the first rule whose conditions all hold, in the order of
/// 'mapping list': lower order first. The body part is computed first, and the rules for the specialty may ask for it
/// with --body-part. Without tables of its own a cluster has the shipped ones; the first change makes a copy of them
/// the cluster's own.
///
/// A description pattern matches the whole study description: '*' stands for any text, '?' for one character. Case and
/// accents don't matter, and punctuation is a space: '*thorax*' is found anywhere, '* hip *' only as a word.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping test --description 'MR Knie links' --modality MR\n  \
    impaxlink mapping set body-part CHEST --description '*cage thoracique*'\n  \
    impaxlink mapping export > mapping.csv\n  \
    impaxlink mapping import mapping.csv --dry-run")]
pub enum MappingCommand {
    /// List the rules in the order in which they are tried
    List(list::ListArgs),
    /// Add a rule, or change the one with the same conditions
    Set(set::SetArgs),
    /// Remove a rule
    Remove(set::RemoveArgs),
    /// Replace the whole tables by those of a CSV file
    Import(import::ImportArgs),
    /// Write the tables as CSV, for a spreadsheet and for import
    Export(list::ExportArgs),
    /// Go back to the tables that come with the program
    Reset(import::ResetArgs),
    /// Show what the tables in force give for a study, and by which rules
    Test(test::TestArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: MappingCommand) -> anyhow::Result<ExitStatus> {
    match command {
        MappingCommand::List(args) => list::run(ui, args),
        MappingCommand::Set(args) => set::run(ui, args),
        MappingCommand::Remove(args) => set::remove(ui, args),
        MappingCommand::Import(args) => import::run(ui, args),
        MappingCommand::Export(args) => list::export(ui, args),
        MappingCommand::Reset(args) => import::reset(ui, args),
        MappingCommand::Test(args) => test::run(ui, args),
    }
}
