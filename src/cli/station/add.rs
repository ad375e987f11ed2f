//! `station add`: registers a station.

use std::num::NonZeroU16;

use super::fields::Fields;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::{AeTitle, Endpoint, Host, Kind, Station, StationName, parse_port};

/// Register a station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station add PACS --kind archive --ae-title PACS --host 10.1.0.5 --port 104 --issuer NORTH\n  \
    impaxlink station add SITEB --ae-title SITEB_QR --host siteb.example --port 104 --cluster Harbour \\\n    \
    --cluster-linking --link-internal-queries\n  \
    impaxlink station add OWN --kind archive --embedded\n  \
    impaxlink station add READER1 --kind internal --ae-title READER1 --host 10.1.0.20 --port 4242 --if-not-exists")]
pub struct AddArgs {
    /// Its name: what every command calls it by
    #[arg(value_parser = value::parsed::<StationName>)]
    name: StationName,
    /// Its AE title: 1 to 16 characters; of the embedded archive, ours unless given
    #[arg(long, value_name = "AET", value_parser = value::parsed::<AeTitle>, required_unless_present = "embedded")]
    ae_title: Option<AeTitle>,
    /// Its host: a name, an IPv4 or an IPv6 address
    #[arg(long, value_parser = value::parsed::<Host>, required_unless_present = "embedded")]
    host: Option<Host>,
    /// Its TCP port
    #[arg(long, value_parser = parse_port, required_unless_present = "embedded")]
    port: Option<NonZeroU16>,
    /// It is the archive that impaxlink itself keeps (setting archive.path), of kind archive and without host and port
    #[arg(long, conflicts_with_all = ["host", "port"])]
    embedded: bool,
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
        let mut stations = configuration.stations.iter();
        if let Some(other) = stations.find(|station| args.embedded && station.is_embedded()) {
            let message = format!("{} is the embedded archive already", other.name);
            let hint = format!(
                "'impaxlink station set {}' changes it; there is one at most",
                other.name
            );
            return Err(Problem::new(ExitStatus::Failed, message).hint(hint).into());
        }
        let endpoint = args
            .host
            .zip(args.port)
            .map(|(host, port)| Endpoint { host, port });
        let ae_title = args.ae_title.unwrap_or_else(|| configuration.settings.ae_title());
        let mut station = Station::new(args.name, ae_title, endpoint);
        if args.embedded {
            station.kind = Kind::Archive;
        }
        args.fields.apply(&mut station);
        configuration.stations.push(station);
        Ok(())
    })
}
