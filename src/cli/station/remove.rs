//! `station remove`: takes stations off the store. A rollback brings them back.

use clap_complete::ArgValueCompleter;

use super::not_found;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::{ExitStatus, Problem};
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
    /// Remove it also where updates still wait to be sent to it; they are lost
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RemoveArgs) -> anyhow::Result<ExitStatus> {
    if !args.yes && !args.change.dry_run {
        refuse_queued(ui, &args.names)?;
    }
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

/// Refuses to remove a station for which updates wait.
fn refuse_queued(ui: &Ui, names: &[String]) -> anyhow::Result<()> {
    let Some(store) = change::store_if_any(ui)? else {
        return Ok(());
    };
    let lengths = store.queue_lengths()?;
    let queued = |name: &String| {
        lengths
            .iter()
            .find(|(station, length)| station.as_str() == name && length.queued > 0)
    };
    match names.iter().find_map(queued) {
        None => Ok(()),
        Some((station, length)) => {
            let message = format!("{} updates wait to be sent to {station}", length.queued);
            let problem = Problem::new(ExitStatus::Failed, message);
            Err(problem
                .hint("'impaxlink updates send' sends them; --yes removes it all the same")
                .into())
        }
    }
}
