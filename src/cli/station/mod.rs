//! `station`: the stations this cluster knows, and their link flags. One file a subcommand.

use clap::Subcommand;
pub use list::suspended;

use super::error::{ExitStatus, Problem};
use super::nearest::nearest;
use super::output::Ui;
use crate::model::{Configuration, Station};

mod add;
mod fields;
pub mod list;
mod remove;
mod rename;
mod set;
mod show;
mod suspend;
mod switches;

/// Register stations and switch their link flags.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink station add SITEB --ae-title SITEB_QR --host 10.2.0.5 --port 104 --cluster North\n  \
    impaxlink station set SITEB --cluster-linking --link-internal-queries --link-prefetch\n  \
    impaxlink station list --linked")]
pub enum StationCommand {
    /// Register a station
    Add(add::AddArgs),
    /// Change a station: its address, its options, its link flags
    Set(set::SetArgs),
    /// List the stations with their link flags and how they were when last asked
    List(list::ListArgs),
    /// Show all there is to know of a station
    Show(show::ShowArgs),
    /// Give a station another name
    Rename(rename::RenameArgs),
    /// Take a station off the store
    Remove(remove::RemoveArgs),
    /// Ask a station nothing for a while
    Suspend(suspend::SuspendArgs),
    /// End the suspension of a station
    Resume(suspend::ResumeArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: StationCommand) -> anyhow::Result<ExitStatus> {
    match command {
        StationCommand::Add(args) => add::run(ui, args),
        StationCommand::Set(args) => set::run(ui, args),
        StationCommand::List(args) => list::run(ui, args),
        StationCommand::Show(args) => show::run(ui, args),
        StationCommand::Rename(args) => rename::run(ui, args),
        StationCommand::Remove(args) => remove::run(ui, args),
        StationCommand::Suspend(args) => suspend::run(ui, args),
        StationCommand::Resume(args) => suspend::resume(ui, args),
    }
}

/// The station of that name, for change; an error that suggests the nearest name where there is none.
pub fn find_mut<'a>(configuration: &'a mut Configuration, name: &str) -> Result<&'a mut Station, Problem> {
    match configuration
        .stations
        .iter()
        .position(|station| station.name.as_str() == name)
    {
        Some(index) => Ok(&mut configuration.stations[index]),
        None => Err(not_found(configuration, name)),
    }
}

/// The error for a name that no station has, with the nearest name as hint.
pub fn not_found(configuration: &Configuration, name: &str) -> Problem {
    let problem = Problem::new(ExitStatus::NotFound, format!("no station {name}"));
    let names = configuration.stations.iter().map(|station| station.name.as_str());
    match nearest(name, names) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None if configuration.stations.is_empty() => {
            problem.hint("there is no station yet: 'impaxlink station add' registers one")
        }
        None => problem.hint("'impaxlink station list' names them all"),
    }
}
