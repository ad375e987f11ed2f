//! `mapping import` and `mapping reset`: the whole tables at once.
//!
//! Invariant: a file with one bad line changes nothing.

use std::fs::File;
use std::io::Read;

use anyhow::Context as _;

use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::model::{BadLine, MappingTable, read_mapping_csv};

/// The longest file, in bytes.
const LONGEST: u64 = 8 * 1024 * 1024;

/// How many bad lines are named before the error.
const MOST_NAMED: usize = 20;

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
    let name = match args.file.as_str() {
        "-" => "standard input",
        file => file,
    };
    let text = read(&args.file).with_context(|| format!("can't read {name}"))?;
    let tables = read_mapping_csv(&text).map_err(|bad| refuse(ui, name, &bad))?;
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

fn read(file: &str) -> anyhow::Result<String> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(File::open(path)?),
    };
    let mut content = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut content)?;
    anyhow::ensure!(
        content.len() as u64 <= LONGEST,
        "it is longer than {LONGEST} bytes"
    );
    String::from_utf8(content).context("it is not UTF-8: save it as 'CSV UTF-8'")
}

fn refuse(ui: &Ui, name: &str, bad: &[BadLine]) -> Problem {
    let (first, rest) = match bad {
        [first, rest @ ..] => (first.to_string(), rest),
        [] => ("it can't be read".to_owned(), bad),
    };
    let more = match rest.len() {
        0 => String::new(),
        count => format!(" (and {count} more, above)"),
    };
    for line in rest.iter().take(MOST_NAMED) {
        ui.notice(&format!("{name}: {line}"));
    }
    Problem::new(ExitStatus::Failed, format!("{name}: {first}{more}")).hint("nothing was changed")
}
