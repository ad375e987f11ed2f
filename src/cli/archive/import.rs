//! `archive import`: files and folders taken into the embedded archive.
//!
//! Invariant: each file that is not taken is named, unless quiet; the status says whether a DICOM file is among them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{show, visible};
use crate::archive::{Archive, ImportCounts, Imported, Outcome};
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Document;
use crate::cli::{Format, change};
use crate::model::{in_full, relay_targets};

/// Take DICOM files and all that are in folders.
///
/// What is stored already is left as it is; other data under a UID that is stored are kept aside. It can be broken off at
/// any time and begun again: what was stored until then stays. The exit status is 1 where a DICOM file could not be
/// taken. Works beside the running service. What is stored is new to linked clusters that take our updates: the service
/// tells them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive import /media/cdrom\n  \
    impaxlink archive import study1 study2/*.dcm --json")]
pub struct ImportArgs {
    /// Files and folders; links to folders within them are not followed
    #[arg(value_name = "PATH", required = true, value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct ImportView {
    stored: u64,
    already_stored: u64,
    kept_aside: u64,
    not_dicom: u64,
    dicomdirs: u64,
    damaged: u64,
    unreachable: u64,
}

impl From<ImportCounts> for ImportView {
    fn from(counts: ImportCounts) -> Self {
        ImportView {
            stored: counts.stored,
            already_stored: counts.already_stored,
            kept_aside: counts.kept_aside,
            not_dicom: counts.not_dicom,
            dicomdirs: counts.directories,
            damaged: counts.damaged,
            unreachable: counts.unreachable,
        }
    }
}

impl ImportView {
    fn cells(&self) -> [(&'static str, u64); 7] {
        [
            ("stored", self.stored),
            ("already_stored", self.already_stored),
            ("kept_aside", self.kept_aside),
            ("not_dicom", self.not_dicom),
            ("dicomdirs", self.dicomdirs),
            ("damaged", self.damaged),
            ("unreachable", self.unreachable),
        ]
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let archive = Archive::open(&configuration.settings.archive_path(ui.store_path()))?;
    let progress = ui.progress_line();
    let is_news = relay_targets(&configuration, None).next().is_some();
    let counts = archive.import(&args.paths, is_news, |path, imported, counts| {
        if let Some(notice) = notice(path, imported) {
            progress.suspend(|| ui.notice(&notice));
        }
        if !progress.is_hidden() {
            progress.set_message(so_far(counts));
        }
        ControlFlow::Continue(())
    })?;
    progress.finish_and_clear();
    write_counts(ui, &counts.into())?;
    if !configuration.stations.iter().any(|station| station.is_embedded()) {
        ui.notice(
            "note: no query finds these studies yet ('impaxlink station add OWN --kind archive --embedded')",
        );
    }
    if counts.damaged + counts.unreachable == 0 {
        return Ok(ExitStatus::Done);
    }
    if ui.is_quiet() {
        ui.warning(&format!(
            "archive import: {} damaged DICOM files and {} unreadable files were not taken, {} stored",
            counts.damaged, counts.unreachable, counts.stored
        ));
    }
    Ok(ExitStatus::Failed)
}

/// What people should know of one file.
fn notice(path: &Path, imported: &Imported) -> Option<String> {
    let path = show(path);
    match imported {
        Imported::Taken(Outcome::KeptAside(reason)) => Some(format!("{path}: kept aside: {reason}")),
        Imported::Damaged(error) => Some(format!("{path}: not taken: {}", visible(&in_full(error)))),
        Imported::Unreachable(error) => Some(visible(&in_full(error))),
        Imported::NotDicom => Some(format!("{path}: not a DICOM file")),
        Imported::Taken(_) | Imported::Directory => None,
    }
}

fn so_far(counts: &ImportCounts) -> String {
    let others = counts.already_stored + counts.kept_aside + counts.not_dicom + counts.directories;
    let bad = counts.damaged + counts.unreachable;
    format!("{} stored, {others} others, {bad} not taken", counts.stored)
}

fn write_counts(ui: &mut Ui, view: &ImportView) -> anyhow::Result<()> {
    let cells = view.cells();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view))?,
        Format::Csv => {
            let values = cells.map(|(_, count)| count.to_string());
            ui.csv(&cells.map(|(name, _)| name), [values])?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {}
        Format::Table => {
            let mut table = Columns::new(&[]);
            for (name, count) in cells
                .iter()
                .filter(|(name, count)| *name == "stored" || *count > 0)
            {
                table.row([name.replace('_', " "), count.to_string()]);
            }
            ui.table(table)?;
        }
    }
    Ok(())
}
