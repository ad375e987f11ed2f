//! `generation`: who saved what, when and why; and the way back to an earlier configuration.

use clap::Subcommand;

use super::Format;
use super::change::{self, ChangeArgs, sentence, shown};
use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::reload::saved_by;
use super::table::Columns;
use super::time::local_time;
use super::view::{ChangeView, ConfigurationView, Document, GenerationView, Items, change_views};
use crate::model::{Change, Configuration, Generation, Station, changes};
use crate::store::{Access, Store};

/// See who saved what, and go back to an earlier configuration.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink generation list\n  \
    impaxlink generation diff 411 413\n  \
    impaxlink generation rollback 411 --reason CHG1183")]
pub enum GenerationCommand {
    /// List the saved generations, newest first
    #[command(after_help = "Example:\n  impaxlink generation list --limit 5")]
    List {
        /// At most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show the whole configuration of a generation
    #[command(after_help = "Examples:\n  impaxlink generation show\n  impaxlink generation show 411 --json")]
    Show {
        /// Which one; the newest where none is given
        #[arg(value_name = "N")]
        generation: Option<Generation>,
    },
    /// Show what differs between two generations
    #[command(after_help = "Examples:\n  impaxlink generation diff 411\n  impaxlink generation diff 411 413")]
    Diff {
        /// The one before
        #[arg(value_name = "A")]
        before: Generation,
        /// The one after; the newest where none is given
        #[arg(value_name = "B")]
        after: Option<Generation>,
    },
    /// Make a new generation that is equal to an earlier one
    #[command(after_help = "Examples:\n  \
        impaxlink generation rollback 411 --dry-run\n  \
        impaxlink generation rollback 411 --reason CHG1183")]
    Rollback {
        /// The one to go back to
        #[arg(value_name = "N")]
        generation: Generation,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: GenerationCommand) -> anyhow::Result<ExitStatus> {
    match command {
        GenerationCommand::List { limit } => list(ui, limit),
        GenerationCommand::Show { generation } => show(ui, generation),
        GenerationCommand::Diff { before, after } => diff(ui, before, after),
        GenerationCommand::Rollback { generation, change } => rollback(ui, generation, &change),
    }
}

fn list(ui: &mut Ui, limit: usize) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let saves = store.generations(if limit == 0 { usize::MAX } else { limit })?;
    match ui.format() {
        Format::Json => ui.json(&Items::new(saves.iter().map(GenerationView::from).collect()))?,
        Format::Ndjson => {
            for save in &saves {
                ui.ndjson(&GenerationView::from(save))?;
            }
        }
        Format::Csv => {
            let rows = saves.iter().map(|save| {
                let by = &save.attribution;
                let reason = by.reason.clone().unwrap_or_default();
                let who = by.person().to_owned();
                [
                    save.generation.to_string(),
                    save.at.to_string(),
                    who,
                    reason,
                    by.command.clone(),
                ]
            });
            ui.csv(&["generation", "at", "user", "reason", "command"], rows)?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&["GENERATION>", "SAVED", "BY", "REASON", "WHAT"]);
            for save in &saves {
                let by = &save.attribution;
                let reason = by.reason.clone().unwrap_or_else(|| "-".to_owned());
                let who = by.person().to_owned();
                let what = summary(&save.changes);
                table.row([
                    save.generation.to_string(),
                    local_time(save.at),
                    who,
                    reason,
                    what,
                ]);
            }
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}

/// The first change, and how many more there are.
fn summary(changes: &[Change]) -> String {
    match changes {
        [] => "-".to_owned(),
        [only] => sentence(only),
        [first, rest @ ..] => format!("{} (and {} more)", sentence(first), rest.len()),
    }
}

fn configuration_at(store: &Store, generation: Generation) -> anyhow::Result<Configuration> {
    let newest = store.generation()?;
    if generation > newest {
        let message = format!("no generation {generation}: the newest is {newest}");
        let problem = Problem::new(ExitStatus::NotFound, message);
        return Err(problem.hint("'impaxlink generation list' shows them").into());
    }
    Ok(store.configuration_at(generation)?)
}

fn show(ui: &mut Ui, generation: Option<Generation>) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let generation = match generation {
        Some(generation) => generation,
        None => store.generation()?,
    };
    let configuration = configuration_at(&store, generation)?;
    let saved = store.saved_generation(generation)?;
    match ui.format() {
        Format::Json | Format::Ndjson => {
            ui.json(&Document::new(ConfigurationView::of(
                &configuration,
                saved.as_ref(),
            )))?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            if let (Some(saved), Format::Table) = (&saved, ui.format()) {
                ui.line(&saved_by(saved))?;
            }
            let everything = everything(&configuration);
            rows(ui, &everything, &format!("generation {generation} is empty"))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// The stations, then all that is not as it is by default.
fn everything(configuration: &Configuration) -> Vec<Change> {
    let bare = |station: &Station| {
        let endpoint = station.endpoint.clone();
        Station::new(station.name.clone(), station.ae_title.clone(), endpoint)
    };
    let bare = Configuration {
        stations: configuration.stations.iter().map(bare).collect(),
        ..Configuration::default()
    };
    let mut everything = changes(&Configuration::default(), &bare);
    everything.extend(changes(&bare, configuration));
    everything
}

fn diff(ui: &mut Ui, before: Generation, after: Option<Generation>) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let after = match after {
        Some(after) => after,
        None => store.generation()?,
    };
    let found = changes(
        &configuration_at(&store, before)?,
        &configuration_at(&store, after)?,
    );
    match ui.format() {
        Format::Json => ui.json(&Items::new(change_views(&found)))?,
        Format::Ndjson => {
            for change in &found {
                ui.ndjson(&ChangeView::from(change))?;
            }
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            rows(ui, &found, &format!("generations {before} and {after} are equal"))?
        }
    }
    Ok(ExitStatus::Done)
}

/// Changes as sentences, or as csv; `nothing` is a notice where there are none.
fn rows(ui: &mut Ui, found: &[Change], nothing: &str) -> anyhow::Result<()> {
    if ui.format() == Format::Csv {
        let rows = found.iter().map(|change| {
            let field = change.field.clone().unwrap_or_default();
            [
                change.subject.to_string(),
                field,
                shown(&change.before),
                shown(&change.after),
            ]
        });
        return ui.csv(&["subject", "field", "before", "after"], rows);
    }
    if found.is_empty() {
        ui.notice(nothing);
    }
    for change in found {
        ui.line(&sentence(change))?;
    }
    Ok(())
}

fn rollback(ui: &mut Ui, generation: Generation, args: &ChangeArgs) -> anyhow::Result<ExitStatus> {
    let earlier = configuration_at(&ui.store(Access::ReadOnly)?, generation)?;
    change::save(
        ui,
        args,
        &[format!("configuration of generation {generation}")],
        |configuration| {
            *configuration = earlier;
            Ok(())
        },
    )
}
