//! `mapping import` and `mapping reset`: the whole tables at once.
//!
//! Invariant: a file with one bad line changes nothing.

use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::rules_file::read_rules;
use crate::model::{MappingTable, read_mapping_csv};

/// Replace the whole tables by those of a CSV file.
///
/// Tells rule by rule what changes. The columns are target (specialty or body_part), order, value, and the conditions:
/// procedure_code, description, modality, body_part_examined, body_part. Commas or semicolons, UTF-8.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping import mapping.csv --dry-run\n  \
    impaxlink mapping import mapping.csv --reason CHG1201\n  \
    ssh siteb impaxlink mapping export | impaxlink mapping import -")]
pub struct ImportArgs {
    /// The file; '-' is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: String,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Go back to the tables that come with the program.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink mapping reset --reason CHG1202")]
pub struct ResetArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `mapping import`.
pub fn run(ui: &mut Ui, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let tables = read_rules(ui, &args.file, read_mapping_csv)?;
    replace(ui, &args.change, Some(tables))
}

/// Runs `mapping reset`.
pub fn reset(ui: &mut Ui, args: ResetArgs) -> anyhow::Result<ExitStatus> {
    replace(ui, &args.change, None)
}

/// Saves `tables` as the cluster's own. Shipped tables that were exported and not edited stay the shipped ones, which a
/// later version may better.
fn replace(ui: &mut Ui, args: &ChangeArgs, tables: Option<MappingTable>) -> anyhow::Result<ExitStatus> {
    change::save(ui, args, &["mapping tables".to_owned()], |configuration| {
        let is_in_force = tables.as_ref() == Some(configuration.mapping_in_force());
        if !is_in_force {
            configuration.mapping = tables;
        }
        Ok(())
    })
}
