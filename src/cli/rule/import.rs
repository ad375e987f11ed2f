//! `rule import` and `rule reset`: all rules at once.
//!
//! Invariant: a file with one bad line changes nothing.

use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::rules_file::read_rules;
use crate::model::{PrefetchRules, read_prefetch_csv};

/// Replace all rules by those of a CSV file.
///
/// Tells rule by rule what changes. The columns are name, order; for_modality, for_body_part, for_specialty, the study
/// that the rule is for; modality, body_part, specialty, max_age, max_number, status, verified, availability, what it
/// asks of priors. Columns that ask for nothing may be missing; an empty cell asks for nothing. Several values of a
/// cell have | between them; 'same' is the study's own. Commas or semicolons, UTF-8.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule import rules.csv --dry-run\n  \
    impaxlink rule import rules.csv --reason CHG1201\n  \
    ssh siteb impaxlink rule export | impaxlink rule import -")]
pub struct ImportArgs {
    /// The file; '-' is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Go back to the rules that come with the program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink rule reset --reason CHG1202")]
pub struct ResetArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `rule import`.
pub fn run(ui: &mut Ui, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let rules = read_rules(ui, &args.file, read_prefetch_csv)?;
    replace(ui, &args.change, Some(rules))
}

/// Runs `rule reset`.
pub fn reset(ui: &mut Ui, args: ResetArgs) -> anyhow::Result<ExitStatus> {
    replace(ui, &args.change, None)
}

/// Saves `rules` as the cluster's own. Shipped rules that were exported and not edited stay the shipped ones, which a
/// later version may better.
fn replace(ui: &mut Ui, args: &ChangeArgs, rules: Option<PrefetchRules>) -> anyhow::Result<ExitStatus> {
    change::save(ui, args, &["prefetch rules".to_owned()], |configuration| {
        if rules.as_ref() != Some(configuration.prefetch_rules_in_force()) {
            configuration.prefetch_rules = rules;
        }
        Ok(())
    })
}
