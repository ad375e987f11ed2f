//! `archive aside`: objects that the embedded archive keeps aside, and what a person decides about them.
//!
//! Invariant: nothing is released or deleted that was not named, each decision with its audit record.

mod decide;
mod list;

use clap::Subcommand;

use crate::archive::{Archive, KeptAside};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;

/// So much of an ID is shown in tables and notices.
const SHOWN_ID: usize = 12;

/// List, release and delete objects that were kept aside.
///
/// An object is kept aside where it is not what was requested, or where other data are stored under its UID. No query finds
/// it and nobody gets it, until a person decides.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink archive aside list\n  \
    impaxlink archive aside release 3fa91c --reason 'CHG1270: SITEB confirms the patient'\n  \
    impaxlink archive aside drop 3fa91c --reason CHG1271 --yes")]
pub enum AsideCommand {
    List(list::ListArgs),
    Release(decide::ReleaseArgs),
    Drop(decide::DropArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: AsideCommand) -> anyhow::Result<ExitStatus> {
    match command {
        AsideCommand::List(args) => list::run(ui, args),
        AsideCommand::Release(args) => decide::release(ui, args),
        AsideCommand::Drop(args) => decide::drop_objects(ui, args),
    }
}

/// The beginning of an ID, which is as good as the whole where no other begins so.
fn short(id: &str) -> &str {
    id.get(..SHOWN_ID).unwrap_or(id)
}

/// The objects that these unique prefixes of IDs mean.
fn select(archive: &Archive, prefixes: &[String]) -> anyhow::Result<Vec<KeptAside>> {
    let all = archive.kept_aside()?;
    let mut selected: Vec<KeptAside> = Vec::new();
    for prefix in prefixes {
        let wanted = prefix.to_ascii_lowercase();
        let mut matching = all
            .iter()
            .filter(|kept| kept.id.starts_with(&wanted) && !wanted.is_empty());
        match (matching.next(), matching.next()) {
            (Some(kept), None) => selected.push(kept.clone()),
            (Some(_), Some(_)) => {
                let message = format!("several objects kept aside have an ID that begins with {prefix}");
                return Err(Problem::new(ExitStatus::Usage, message).into());
            }
            (None, _) => {
                let message = format!("no object kept aside has the ID {prefix}");
                let hint = "'impaxlink archive aside list' shows those that are";
                return Err(Problem::new(ExitStatus::NotFound, message).hint(hint).into());
            }
        }
    }
    selected.dedup_by(|one, other| one.id == other.id);
    Ok(selected)
}
