//! `station set`: changes a station's fields and link flags.

use std::num::NonZeroU16;

use clap_complete::ArgValueCompleter;

use super::fields::Fields;
use super::find_mut;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::{AeTitle, Configuration, Host, Station, parse_port};

/// Change a station: its address, its options, its link flags.
///
/// Changes only what is named. Without NAME it is $IMPAXLINK_STATION, else the only linked station, else the only
/// station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station set SITEB --cluster-linking --link-internal-queries\n  \
    impaxlink station set SITEB SITEC --no-link-prefetch --reason CHG1182\n  \
    impaxlink station set --link-prefetch\n  \
    impaxlink station set SITEB --tls --tls-fingerprint 8C:3F:…:A1   # self-signed there\n  \
    impaxlink station set SITEB --description '' --dry-run")]
pub struct SetArgs {
    /// The stations to change
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    /// Its AE title: 1 to 16 characters
    #[arg(long, value_name = "AET", value_parser = value::parsed::<AeTitle>)]
    ae_title: Option<AeTitle>,
    /// Its host: a name, an IPv4 or an IPv6 address
    #[arg(long, value_parser = value::parsed::<Host>)]
    host: Option<Host>,
    /// Its TCP port
    #[arg(long, value_parser = parse_port)]
    port: Option<NonZeroU16>,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: SetArgs) -> anyhow::Result<ExitStatus> {
    let names = if args.names.is_empty() {
        vec![unnamed_station(&change::current(ui)?)?]
    } else {
        args.names.clone()
    };
    let subjects: Vec<String> = names.iter().map(|name| format!("station {name}")).collect();
    let (mut idle, mut without_tls) = (Vec::new(), Vec::new());
    let status = change::save(ui, &args.change, &subjects, |configuration| {
        for name in &names {
            let station = find_mut(configuration, name)?;
            apply(&args, station)?;
            idle.extend(station.links.has_idle_options().then(|| station.name.clone()));
            let has_idle_fingerprints = !station.tls && !station.tls_fingerprints.is_empty();
            without_tls.extend(has_idle_fingerprints.then(|| station.name.clone()));
        }
        Ok(())
    })?;
    for name in idle {
        // An option that is on without the master switch has no effect: the administrator is told.
        ui.notice(&format!(
            "note: cluster linking is off for {name}, so its link options have no effect yet (station set {name} --cluster-linking)"
        ));
    }
    for name in without_tls {
        ui.notice(&format!(
            "note: TLS is off for {name}, so its certificate fingerprints have no effect yet (station set {name} --tls)"
        ));
    }
    Ok(status)
}

fn apply(args: &SetArgs, station: &mut Station) -> Result<(), Problem> {
    if let Some(title) = &args.ae_title {
        station.ae_title = title.clone();
    }
    match &mut station.endpoint {
        Some(endpoint) => {
            endpoint.host = args.host.clone().unwrap_or_else(|| endpoint.host.clone());
            endpoint.port = args.port.unwrap_or(endpoint.port);
        }
        None if args.host.is_some() || args.port.is_some() => {
            let message = format!(
                "{} is the embedded archive: it has no host and port",
                station.name
            );
            return Err(Problem::new(ExitStatus::Usage, message));
        }
        None => {}
    }
    args.fields.apply(station);
    Ok(())
}

/// The station meant where none is named.
fn unnamed_station(configuration: &Configuration) -> Result<String, Problem> {
    if let Some(name) = std::env::var("IMPAXLINK_STATION")
        .ok()
        .filter(|name| !name.is_empty())
    {
        return Ok(name);
    }
    let linked: Vec<&Station> = configuration.linked_stations().collect();
    let all: Vec<&Station> = configuration.stations.iter().collect();
    match (linked.as_slice(), all.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.name.to_string()),
        ([], []) => Err(Problem::new(ExitStatus::NotFound, "there is no station yet")
            .hint("'impaxlink station add' registers one")),
        _ => {
            let names: Vec<&str> = all.iter().map(|station| station.name.as_str()).collect();
            let message = format!("name the station: there are {}", names.join(", "));
            Err(Problem::new(ExitStatus::Usage, message).hint("or set IMPAXLINK_STATION"))
        }
    }
}
