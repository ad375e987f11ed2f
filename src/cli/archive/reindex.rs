//! `archive reindex`: the index made again from the files.

use serde::Serialize;

use super::existing_path;
use crate::archive::{Recovered, reindex};
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::view::Document;

/// Make the index again from the files.
///
/// The old index stays in force until the new one is whole. Nobody else may use the archive meanwhile: stop the service
/// first. Files that are no whole objects stay where they are; the exit status is 1 where there were any.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink archive reindex")]
pub struct ReindexArgs {}

#[derive(Debug, Serialize)]
struct ReindexView {
    indexed: u64,
    unfinished_removed: u64,
    unreadable: u64,
}

/// Runs the command.
pub fn run(ui: &mut Ui, _args: ReindexArgs) -> anyhow::Result<ExitStatus> {
    let path = existing_path(ui)?;
    let progress = ui.progress_line();
    let Recovered {
        adopted,
        unfinished,
        unreadable,
    } = reindex(&path, |so_far| {
        if !progress.is_hidden() {
            progress.set_message(format!("{} objects", so_far.adopted));
        }
    })?;
    progress.finish_and_clear();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ReindexView {
            indexed: adopted,
            unfinished_removed: unfinished,
            unreadable,
        }))?,
        Format::Csv => {
            let values = [adopted, unfinished, unreadable].map(|count| count.to_string());
            ui.csv(&["indexed", "unfinished_removed", "unreadable"], [values])?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => ui.line(&format!("{adopted} objects indexed"))?,
    }
    if unfinished > 0 {
        ui.notice(&format!(
            "{unfinished} files that had not been received whole were removed"
        ));
    }
    if unreadable > 0 {
        ui.warning(&format!(
            "{unreadable} files are no whole objects, and stay where they are"
        ));
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Done)
}
