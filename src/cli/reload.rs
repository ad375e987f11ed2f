//! `reload`: the service takes the newest generation.
//!
//! Invariant: it succeeds only when the newest generation is in force, and tells all that came with it: what changed,
//! and whose saves.

use std::time::Duration;

use serde::Serialize;

use super::Format;
use super::change::{sentence, shown};
use super::error::ExitStatus;
use super::output::Ui;
use super::view::{ChangeView, Document, GenerationView, change_views};
use crate::model::{Generation, Settings, parse_duration};
use crate::service::control::{self, ReloadReport};
use crate::store::{Access, SavedGeneration};

/// Have the running service take the newest configuration.
///
/// Returns when it is in force, and tells what changed and whose saves it brings. Nothing is dropped: associations go
/// on, operations end under the configuration they began with. A configuration that can't be used is refused, and the
/// one in force stays.
///
/// Where the store was replaced, overwritten or put back after it was deleted, the service uses neither the old nor the
/// new one until a reload takes up the one that is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  impaxlink reload\n  impaxlink reload --timeout 5s --json")]
pub struct ReloadArgs {
    /// How long it may take; by default the setting 'reload.timeout'
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// The most saves that are named.
const MOST_SAVES: usize = 100;

/// Reloads, and tells what came of it.
pub fn run(ui: &mut Ui, args: ReloadArgs) -> anyhow::Result<ExitStatus> {
    let limit = args
        .timeout
        .unwrap_or_else(|| saved_settings(ui).duration("reload.timeout"));
    let report = control::reload(ui.store_path(), limit)?;
    let saves = saves_between(ui, report.previous, report.generation)?;
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ReloadView {
            previous: report.previous,
            generation: report.generation,
            elapsed_ms: report.elapsed_ms,
            store_taken_up: report.store_taken_up.is_some(),
            changes: change_views(&report.changes),
            saves: saves.iter().map(GenerationView::from).collect(),
        }))?,
        Format::Csv => {
            let rows = report.changes.iter().map(|change| {
                let field = change.field.clone().unwrap_or_default();
                [
                    change.subject.to_string(),
                    field,
                    shown(&change.before),
                    shown(&change.after),
                ]
            });
            ui.csv(&["subject", "field", "before", "after"], rows)?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {}
        Format::Table => tell(ui, &report, &saves)?,
    }
    Ok(ExitStatus::Done)
}

/// `reload --json`.
#[derive(Debug, Serialize)]
struct ReloadView<'a> {
    previous: Generation,
    generation: Generation,
    elapsed_ms: u64,
    /// Whether the service has taken up another store than the one it had.
    store_taken_up: bool,
    changes: Vec<ChangeView<'a>>,
    saves: Vec<GenerationView<'a>>,
}

/// Those of the newest generation; the defaults where the store can't be read, which the service then tells better.
fn saved_settings(ui: &Ui) -> Settings {
    let configuration = ui
        .store(Access::ReadOnly)
        .and_then(|store| Ok(store.configuration()?));
    configuration
        .map(|configuration| configuration.settings)
        .unwrap_or_default()
}

/// The saves that led from one generation to the other, oldest first.
fn saves_between(
    ui: &Ui,
    previous: Generation,
    generation: Generation,
) -> anyhow::Result<Vec<SavedGeneration>> {
    if previous >= generation {
        return Ok(Vec::new());
    }
    let mut saves = ui.store(Access::ReadOnly)?.generations(MOST_SAVES)?;
    saves.retain(|save| (previous + 1..=generation).contains(&save.generation));
    saves.reverse();
    Ok(saves)
}

fn tell(ui: &mut Ui, report: &ReloadReport, saves: &[SavedGeneration]) -> anyhow::Result<()> {
    let ReloadReport {
        previous,
        generation,
        elapsed_ms,
        changes,
        store_taken_up,
    } = report;
    if let Some(how) = store_taken_up {
        ui.line(&format!("another store was taken up: the one before {how}"))?;
    }
    if previous == generation && changes.is_empty() {
        ui.line(&format!("generation {generation} in force: unchanged"))?;
        return Ok(());
    }
    ui.line(&format!(
        "generation {generation} in force after {previous}, {elapsed_ms} ms"
    ))?;
    for change in changes {
        ui.line(&sentence(change))?;
    }
    for save in saves {
        ui.line(&saved_by(save))?;
    }
    let named = saves.first().map_or(*generation, |save| save.generation - 1);
    if named > *previous {
        ui.line(&format!("and the saves {} to {named}", previous + 1))?;
    }
    Ok(())
}

/// `413 saved by jdoe at 14:02 (CHG1182)`.
pub fn saved_by(save: &SavedGeneration) -> String {
    let by = &save.attribution;
    let reason = by
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let at = super::time::moment(save.at, jiff::Timestamp::now());
    format!("{} saved by {} at {at}{reason}", save.generation, by.person())
}
