//! `check --handover`: what the other side must register, as plain text for a ticket.
//!
//! Invariant: every line can be followed by somebody who has never heard of impaxlink.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Runtime;

use crate::check::ServiceState;
use crate::check::handover::{Destination, Handover, handover};
use crate::cli::Format;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::view::Items;
use crate::dimse::uids;
use crate::link::linked_syntax::own_cluster_name;
use crate::model::{Configuration, Kind, Station, StationName};

/// One station's part, for scripts.
#[derive(Debug, Serialize)]
struct HandoverView {
    station: String,
    ae_title: String,
    host: Option<String>,
    port: u16,
    move_destination: Option<String>,
    text: String,
}

/// Prints it for the stations named, else for the only linked one.
pub fn run(
    ui: &mut Ui,
    runtime: &Runtime,
    configuration: &Configuration,
    service: &ServiceState,
    stations: &[StationName],
    within: Duration,
) -> anyhow::Result<ExitStatus> {
    let stations: Vec<&Station> = match stations {
        [] => configuration.linked_stations().collect(),
        named => named
            .iter()
            .filter_map(|name| configuration.station(name))
            .collect(),
    };
    let stations: Vec<&Station> = stations
        .into_iter()
        .filter(|station| !station.is_embedded())
        .collect();
    if stations.is_empty() {
        let problem = Problem::new(ExitStatus::Usage, "no station to hand over to: none is linked");
        return Err(problem
            .hint("name one: impaxlink check STATION --handover")
            .into());
    }
    let mut views = Vec::new();
    for station in stations {
        let facts = runtime.block_on(handover(configuration, service, station, within));
        views.push(HandoverView {
            station: station.name.to_string(),
            ae_title: facts.ae_title.to_string(),
            host: facts.address.map(|address| address.to_string()),
            port: facts.port,
            move_destination: facts.destination.as_ref().map(|it| it.title.to_string()),
            text: text(configuration, &facts),
        });
    }
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => {
            let rows = views.iter().map(|view| [&view.station, &view.text]);
            ui.csv(&["station", "text"], rows.collect::<Vec<_>>())?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let texts: Vec<&str> = views.iter().map(|view| view.text.as_str()).collect();
            ui.line(texts.join("\n--\n\n").trim_end())?;
        }
    }
    Ok(ExitStatus::Done)
}

fn text(configuration: &Configuration, facts: &Handover) -> String {
    let mut text = String::new();
    let all = [
        opening(configuration, facts),
        register(facts),
        moves(facts),
        services(facts),
        ports(facts),
        of_impaxlink(configuration, facts),
        wanted(facts),
    ];
    for part in all {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{part}");
    }
    text
}

fn opening(configuration: &Configuration, facts: &Handover) -> String {
    let station = &facts.station;
    let cluster = own_cluster_name(&configuration.settings);
    let ours = cluster.map_or(String::new(), |name| format!(" of {name}"));
    let theirs = station
        .cluster
        .as_ref()
        .map_or(String::new(), |name| format!(" ({name})"));
    format!(
        "Linking the archive{ours} with {}{theirs}: what to register there\n",
        station.name
    )
}

fn host(facts: &Handover) -> String {
    facts
        .address
        .map_or("HOST".to_owned(), |address| address.to_string())
}

fn their_host(station: &Station) -> (String, u16) {
    let endpoint = station.endpoint.as_ref();
    endpoint.map_or((String::new(), 0), |it| (it.host.to_string(), it.port.get()))
}

fn register(facts: &Handover) -> String {
    let (their_host, _) = their_host(&facts.station);
    let tls = match (facts.station.tls, &facts.fingerprint) {
        (false, _) => "no".to_owned(),
        (true, None) => "yes".to_owned(),
        (true, Some(shown)) => format!("yes; the SHA-256 of our certificate is {shown}"),
    };
    let seen = match facts.address {
        Some(_) => format!(
            "our address on the way to {their_host}; where addresses are translated in between, the translated one"
        ),
        None => format!("to be filled in: {their_host} has no address that is known here"),
    };
    format!(
        "Please register us\n  AE title  {}\n  host      {} ({seen})\n  port      {}\n  TLS       {tls}\n  \
         as        client for query and retrieve (SCU), destination of moves (storage SCP)\n",
        facts.ae_title,
        host(facts),
        facts.port,
    )
}

fn moves(facts: &Handover) -> String {
    match &facts.destination {
        None => {
            "Move destination, where studies that we retrieve go\n  none: we have no archive station yet\n"
                .to_owned()
        }
        Some(destination) => format!(
            "Move destination, where studies that we retrieve go\n  C-MOVE to {} must arrive at {} port {}\n",
            destination.title,
            arrives_at(facts, destination),
            destination.port(),
        ),
    }
}

fn arrives_at(facts: &Handover, destination: &Destination) -> String {
    destination.host.clone().unwrap_or_else(|| host(facts))
}

/// The SOP classes of each direction.
fn services(facts: &Handover) -> String {
    const VERIFICATION: (&str, &str) = ("Verification", uids::VERIFICATION);
    const QUERY_RETRIEVE: [(&str, &str); 3] = [
        ("Study Root FIND", uids::STUDY_ROOT_FIND),
        ("Study Root MOVE", uids::STUDY_ROOT_MOVE),
        ("Study Root GET", uids::STUDY_ROOT_GET),
    ];
    const STORAGE: (&str, &str) = ("Storage, of all classes", "1.2.840.10008.5.1.4.1.1.*");
    const LINKED: [(&str, &str); 2] = [
        ("Linked Cluster Query", uids::LINKED_CLUSTER_QUERY),
        ("Cluster Update", uids::CLUSTER_UPDATE),
    ];
    let lines = |services: &[(&str, &str)]| -> String {
        let line = |(name, uid): &(&str, &str)| format!("  {name:<24}  {uid}\n");
        services.iter().map(line).collect()
    };
    let ours = lines(&[&[VERIFICATION], &QUERY_RETRIEVE[..]].concat());
    let theirs = lines(&[VERIFICATION, STORAGE]);
    let text = format!("Services (SOP classes)\n we call you for\n{ours} you call us for\n{theirs}");
    match facts.station.kind {
        Kind::Archive => text,
        _ => format!(
            "{text} and where you query us\n{} both ways, where you run impaxlink\n{}",
            lines(&QUERY_RETRIEVE),
            lines(&LINKED)
        ),
    }
}

fn ports(facts: &Handover) -> String {
    let (their_host, their_port) = their_host(&facts.station);
    let mut lines = format!("  from {:<20}  to {their_host} port {their_port}\n", host(facts));
    let mut ways = vec![(host(facts), facts.port)];
    let destination = facts.destination.as_ref();
    let destination = destination.map(|destination| (arrives_at(facts, destination), destination.port()));
    ways.extend(destination.filter(|way| !ways.contains(way)));
    for (at, port) in ways {
        let _ = writeln!(lines, "  from {their_host:<20}  to {at} port {port}");
    }
    format!("Firewalls, TCP, on both sides\n{lines}")
}

fn of_impaxlink(configuration: &Configuration, facts: &Handover) -> String {
    if facts.station.kind == Kind::Archive {
        return String::new();
    }
    let settings = &configuration.settings;
    let cluster = own_cluster_name(settings).map_or(String::new(), |name| format!(" --cluster '{name}'"));
    let issuer = settings
        .issuer()
        .map_or(String::new(), |issuer| format!(" --issuer '{issuer}'"));
    let tls = if facts.station.tls { " --tls" } else { "" };
    let from = facts
        .address
        .map_or(String::new(), |address| format!(" --from-address {address}"));
    format!(
        "Where you run impaxlink, this registers us (the link flags are yours to choose)\n  \
         impaxlink station add {ae_title} --ae-title {ae_title} --host {} --port {}{from}{cluster}{issuer}{tls} \
         --cluster-linking\n",
        host(facts),
        facts.port,
        ae_title = facts.ae_title,
    )
}

fn wanted(facts: &Handover) -> String {
    let station = &facts.station;
    let (their_host, their_port) = their_host(station);
    let or_blank = |values: Vec<String>| match values.is_empty() {
        true => "________".to_owned(),
        false => values.join(", "),
    };
    let issuers = or_blank(station.issuers.iter().map(ToString::to_string).collect());
    let from = or_blank(station.from_addresses.iter().map(ToString::to_string).collect());
    let further = or_blank(station.also_calls_as.iter().map(ToString::to_string).collect());
    format!(
        "Please tell or confirm\n  AE title, host, port              {}, {their_host}, {their_port}\n  \
         further AE titles you call as     {further}\n  addresses your calls come from    {from}\n  \
         issuer of your patient IDs        {issuers}\n  clock follows a time server       ________",
        station.ae_title,
    )
}
