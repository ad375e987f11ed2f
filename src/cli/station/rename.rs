//! `station rename`: gives a station another name. Its history goes on under the new one.

use clap_complete::ArgValueCompleter;

use super::find_mut;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::StationName;

/// Give a station another name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink station rename SITEB NORTH_PACS --reason CHG1190")]
pub struct RenameArgs {
    /// Its name now
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::station_names))]
    name: String,
    /// Its new name
    #[arg(value_parser = value::parsed::<StationName>)]
    new_name: StationName,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RenameArgs) -> anyhow::Result<ExitStatus> {
    let subject = format!("station {}", args.new_name);
    change::save(ui, &args.change, &[subject], |configuration| {
        find_mut(configuration, &args.name)?.name = args.new_name;
        Ok(())
    })
}
