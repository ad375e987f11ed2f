//! `station add`: registers a station.

use std::num::NonZeroU16;

use super::fields::Fields;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::{AeTitle, Endpoint, Host, Station, StationName, parse_port};

/// Register a station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station add PACS --kind archive --ae-title PACS --host 10.1.0.5 --port 104 --issuer NORTH\n  \
    impaxlink station add SITEB --ae-title SITEB_QR --host siteb.example --port 104 --cluster Harbour \\\n    \
    --cluster-linking --link-internal-queries\n  \
    impaxlink station add READER1 --kind internal --ae-title READER1 --host 10.1.0.20 --port 4242 --if-not-exists")]
pub struct AddArgs {
    /// Its name: what every command calls it by
    #[arg(value_parser = value::parsed::<StationName>)]
    name: StationName,
    /// Its AE title: 1 to 16 characters
    #[arg(long, value_name = "AET", value_parser = value::parsed::<AeTitle>)]
    ae_title: AeTitle,
    /// Its host: a name, an IPv4 or an IPv6 address
    #[arg(long, value_parser = value::parsed::<Host>)]
    host: Host,
    /// Its TCP port
    #[arg(long, value_parser = parse_port)]
    port: NonZeroU16,
    /// Succeed and change nothing where a station of this name is registered already
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: AddArgs) -> anyhow::Result<ExitStatus> {
    let subject = format!("station {}", args.name);
    change::save(ui, &args.change, &[subject], |configuration| {
        if configuration.station(&args.name).is_some() {
            if args.if_not_exists {
                return Ok(());
            }
            let message = format!("station {} is registered already", args.name);
            let hint = format!(
                "'impaxlink station set {}' changes it; --if-not-exists makes this no error",
                args.name
            );
            return Err(Problem::new(ExitStatus::Failed, message).hint(hint).into());
        }
        let endpoint = Endpoint {
            host: args.host,
            port: args.port,
        };
        let mut station = Station::new(args.name, args.ae_title, Some(endpoint));
        args.fields.apply(&mut station);
        configuration.stations.push(station);
        Ok(())
    })
}
