//! `archive`: the embedded archive. One file a subcommand.
//!
//! Invariant: only an import makes an archive; the others find one or say that there is none.

mod aside;
mod expire;
mod import;
mod reindex;
mod stats;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::change;
use super::error::{ExitStatus, Problem};
use super::output::Ui;

/// Fill and look after the archive that impaxlink itself keeps.
///
/// Its files and index are in the folder archive beside the store, or where the setting archive.path says. Objects are
/// kept as they came, as DICOM files; the index can be made again from them. A station of kind archive that is
/// 'embedded' has the studies of it found by queries.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink station add OWN --kind archive --embedded\n  \
    impaxlink archive import /media/cdrom\n  \
    impaxlink archive aside list\n  \
    impaxlink archive stats")]
pub enum ArchiveCommand {
    Import(import::ImportArgs),
    #[command(subcommand)]
    Aside(aside::AsideCommand),
    Reindex(reindex::ReindexArgs),
    Stats(stats::StatsArgs),
    Expire(expire::ExpireArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: ArchiveCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ArchiveCommand::Aside(command) => aside::run(ui, command),
        ArchiveCommand::Import(args) => import::run(ui, args),
        ArchiveCommand::Reindex(args) => reindex::run(ui, args),
        ArchiveCommand::Stats(args) => stats::run(ui, args),
        ArchiveCommand::Expire(args) => expire::run(ui, args),
    }
}

/// The folder of an archive that is there.
fn existing_path(ui: &Ui) -> anyhow::Result<PathBuf> {
    let path = change::current(ui)?.settings.archive_path(ui.store_path());
    if path.is_dir() {
        return Ok(path);
    }
    let message = format!("there is no archive at {}", show(&path));
    let hint =
        "'impaxlink archive import' makes one; 'impaxlink config set archive.path' names another place";
    Err(Problem::new(ExitStatus::NotFound, message).hint(hint).into())
}

/// A path that can be shown on a terminal.
fn show(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// A text in which control characters are seen and do nothing.
fn visible(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
