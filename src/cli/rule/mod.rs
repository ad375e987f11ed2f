//! `rule`: the rules that say which priors are relevant. One file a subcommand or a pair of them.

use clap::Subcommand;

use super::error::ExitStatus;
use super::output::Ui;

mod edit;
mod fields;
mod import;
mod list;

/// See and change the rules that say which priors are relevant.
///
/// A rule is for the studies that its --for-… options name, or for all; of their priors it takes those that have all it
/// asks for, newest first, up to --max-number. Whatever any rule takes is relevant; earlier rules rank higher. Body part
/// and specialty are those of the mapping tables ('impaxlink mapping'). A prior whose verification failed, that is in
/// conflict or under review is never relevant. Without rules of its own a cluster has the shipped ones; the first change
/// makes a copy of them the cluster's own.
///
/// 'impaxlink priors UID --explain' shows what the rules do with a study's priors.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink rule list\n  \
    impaxlink rule add spine --for-body-part SPINE --body-part same --modality CT,MR --max-age 5y --max-number 2\n  \
    impaxlink rule set same-body-part --max-age 3y --reason CHG1201\n  \
    impaxlink rule export > rules.csv\n  \
    impaxlink rule import rules.csv --dry-run")]
pub enum RuleCommand {
    /// List the rules in their order
    List(list::ListArgs),
    /// Add a rule
    Add(edit::AddArgs),
    /// Change a rule
    Set(edit::SetArgs),
    /// Remove a rule
    Remove(edit::RemoveArgs),
    /// Replace all rules by those of a CSV file
    Import(import::ImportArgs),
    /// Write the rules as CSV, for a spreadsheet and for import
    Export(list::ExportArgs),
    /// Go back to the rules that come with the program
    Reset(import::ResetArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: RuleCommand) -> anyhow::Result<ExitStatus> {
    match command {
        RuleCommand::List(args) => list::run(ui, args),
        RuleCommand::Add(args) => edit::add(ui, args),
        RuleCommand::Set(args) => edit::set(ui, args),
        RuleCommand::Remove(args) => edit::remove(ui, args),
        RuleCommand::Import(args) => import::run(ui, args),
        RuleCommand::Export(args) => list::export(ui, args),
        RuleCommand::Reset(args) => import::reset(ui, args),
    }
}
