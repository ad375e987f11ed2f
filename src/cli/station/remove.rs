//! `station remove`: removes stations from the configuration. A rollback brings them back, but not the updates that
//! waited for them: a station with undelivered updates is removed with `--yes` alone.

use clap_complete::ArgValueCompleter;

use super::not_found;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;

/// Remove a station.
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
    /// Remove it even if updates for it are not delivered yet; they are lost
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RemoveArgs) -> anyhow::Result<ExitStatus> {
    if !args.yes {
        refuse_undelivered(ui, &args.names)?;
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

/// Refuses to remove a station for which updates are queued, or parked because it refused them.
fn refuse_undelivered(ui: &Ui, names: &[String]) -> anyhow::Result<()> {
    let Some(store) = change::store_if_any(ui)? else {
        return Ok(());
    };
    let lengths = store.queue_lengths()?;
    let undelivered = |name: &String| {
        let of_station = lengths.iter().find(|(station, _)| station.as_str() == name);
        of_station.filter(|(_, length)| length.queued + length.parked > 0)
    };
    let Some((station, length)) = names.iter().find_map(undelivered) else {
        return Ok(());
    };
    let (queued, parked) = (length.queued, length.parked);
    let message = format!("updates for {station} are not delivered: {queued} queued, {parked} parked");
    let problem = Problem::new(ExitStatus::Failed, message);
    let hint = "'impaxlink updates list' shows them, 'impaxlink updates send' sends them; --yes removes the station and drops them";
    Err(problem.hint(hint).into())
}
