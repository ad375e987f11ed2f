//! `station remove`: takes stations off the store. A rollback brings them back.

use clap_complete::ArgValueCompleter;

use super::not_found;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;

/// Take a station off the store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station remove SITEB --reason 'site closed'\n  \
    impaxlink station remove SITEB --if-exists\n\n\
    'impaxlink generation rollback' brings it back.")]
pub struct RemoveArgs {
    /// The stations to remove
    #[arg(value_name = "NAME", required = true, add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    /// Succeed and change nothing where there is no such station
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RemoveArgs) -> anyhow::Result<ExitStatus> {
    let subjects: Vec<String> = args.names.iter().map(|name| format!("station {name}")).collect();
    change::save(ui, &args.change, &subjects, |configuration| {
        for name in &args.names {
            let position = configuration
                .stations
                .iter()
                .position(|station| station.name.as_str() == name);
            match position {
                Some(index) => drop(configuration.stations.remove(index)),
                None if args.if_exists => {}
                None => return Err(not_found(configuration, name).into()),
            }
        }
        Ok(())
    })
}
