//! `query`: an ad-hoc linked query, run by the command itself.
//!
//! Invariant: no value of a key reaches the audit, and patient data go to standard output alone. What the query is, is
//! in `filters`; how it goes, in `asking`; how it looks, in `view`, `table`, `raw` and `closing`.

mod asking;
pub mod closing;
pub mod filters;
mod raw;
pub mod records;
pub mod rows;
pub mod table;
pub mod view;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::station::not_found;
use super::{Format, complete};
use crate::link::completeness::Completeness;
use crate::link::policy::{Caller, Narrowing, Skip, Target, plan};
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, LinkedQuery, Request, keywords};
use crate::model::{Configuration, Issuer, Kind, StationName, parse_duration};
use asking::{Asking, Cut};
use closing::Closing;
use filters::Filters;
pub use records::{Records, begin_ledger};
pub use view::EntryView;

/// Search the local cluster and the linked clusters, and show their studies as one list.
///
/// All stations that the link flags allow are asked at once. The last lines say who did not answer, or not fully; the
/// exit status is 3 then, and 1 where no archive station answered. Needs no service.
///
/// The values of filters may stand in a file: --patient-id @FILE, or @- for standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    echo 4711 | impaxlink query --patient-id @- --modality CT,MR\n  \
    impaxlink query --patient-name 'DOE^J*' --study-date -1y..\n  \
    impaxlink query --study-uid 1.2.840.1 --level series\n  \
    impaxlink query --accession A1234 --format ndjson | jq -r 'select(.type == \"study\").study_instance_uid'\n  \
    impaxlink query -k StudyID=77 --from SITEB --format dicom-json")]
pub struct QueryArgs {
    #[command(flatten)]
    filters: Filters,
    /// Only these stations; one that the link flags don't allow is skipped, with the flag named
    #[arg(long, value_name = "STATION", num_args = 1.., value_delimiter = ',', help_heading = "Whom to ask",
          add = ArgValueCompleter::new(complete::station_names))]
    from: Vec<String>,
    /// Ask the stations of --from also where the link flags don't allow it
    #[arg(long, requires = "from", help_heading = "Whom to ask")]
    regardless: bool,
    /// Only the archive stations of the local cluster
    #[arg(long, conflicts_with = "from", help_heading = "Whom to ask")]
    local: bool,
    /// Ask as an internal or external station would, or as one by name
    #[arg(long = "as", value_name = "internal|external|STATION", default_value = "internal",
          help_heading = "Whom to ask", add = ArgValueCompleter::new(complete::station_names))]
    caller: String,
    /// Stop after so many studies
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "How long")]
    limit: Option<u64>,
    /// Stop after so long, like 30s or 2m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "How long")]
    timeout: Option<Duration>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: QueryArgs) -> anyhow::Result<ExitStatus> {
    let mut query = args.filters.to_query()?;
    let records = Records::open(ui, records::COMMAND)?;
    let configuration = Arc::new(records.configuration()?);
    query.meant_issuers = meant_issuers(&configuration, &args.caller);
    let cross_reference = records.cross_reference(&query)?;
    let caller = caller(&configuration, &args.caller)?;
    let narrowing = Narrowing {
        from: named_stations(&configuration, &args.from)?,
        local_only: args.local,
        regardless: args.regardless,
        ..Narrowing::default()
    };
    let targets = plan(&configuration, &caller, &query, &narrowing, Timestamp::now());
    refuse_nobody(&configuration, &targets)?;
    warn_of_no_archive(ui, &configuration, &narrowing);
    records.disclose(ui, &configuration, &targets, keywords(&query));
    let ledger = records::begin_ledger(&configuration, caller, query.level, keywords(&query));
    let request = Request {
        configuration: Arc::clone(&configuration),
        query: Arc::new(query),
        cross_reference: Arc::new(cross_reference),
        targets: targets.clone(),
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        states: records.states(ui)?,
        health: records.health()?,
        timeout: args.timeout,
        resting: BTreeMap::new(),
        turns: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asking = Asking::new(ui, &request, args.limit);
    let (mut asked, ended) = runtime.block_on(async { asking.run(LinkedQuery::start(request)).await });
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    records.keep(ui, &asked.reports);
    records.note_conflicts(ui, &asked.conflicts);
    records.explain_suspensions(&targets, &mut asked.ledger);
    let completeness = asked.completeness(&targets);
    let status = status(asked.cut, completeness);
    let complete = ended.is_ok() && completeness == Completeness::Complete && asked.unwritable == 0;
    let ledger = records.end_ledger(ui, ledger, &asked.ledger, complete, (status, asked.studies));
    ended?;
    rows::write(ui, &mut asked, &ledger)?;
    // The rows come first where both outputs are one terminal.
    ui.out().flush()?;
    let unexpected = unexpected_skips(&configuration, &targets, narrowing.from);
    Closing::of(&asked, completeness, &unexpected).tell(ui);
    Ok(status)
}

/// Stations that the caller may think were asked: those of `--from`, and those that this very query was too open for.
fn unexpected_skips(
    configuration: &Configuration,
    targets: &[Target],
    mut named: Vec<StationName>,
) -> Vec<StationName> {
    let constrained = targets
        .iter()
        .filter(|target| target.skip == Some(Skip::Constrained));
    let stations = constrained.filter_map(|target| configuration.stations.get(target.station));
    named.extend(stations.map(|station| station.name.clone()));
    named
}

fn status(cut: Option<Cut>, completeness: Completeness) -> ExitStatus {
    match cut {
        Some(Cut::Interrupted) => ExitStatus::Interrupted,
        _ => completeness.into(),
    }
}

fn caller(configuration: &Configuration, name: &str) -> anyhow::Result<Caller> {
    match name {
        "internal" => Ok(Caller::Internal),
        "external" => Ok(Caller::External),
        name => {
            let [name] = &named_stations(configuration, &[name.to_owned()])?[..] else {
                return Ok(Caller::External);
            };
            Ok(configuration.station(name).map_or(Caller::External, Caller::of))
        }
    }
}

/// Whose ID a bare one is: the caller's issuers, else the local cluster's.
fn meant_issuers(configuration: &Configuration, caller: &str) -> Vec<Issuer> {
    let station = configuration
        .stations
        .iter()
        .find(|station| station.name.as_str() == caller);
    match station {
        Some(station) if !station.issuers.is_empty() => station.issuers.clone(),
        _ => configuration.settings.issuer().into_iter().collect(),
    }
}

/// The stations of these names.
pub fn named_stations(configuration: &Configuration, names: &[String]) -> anyhow::Result<Vec<StationName>> {
    let named = names.iter().map(|name| {
        let station = configuration
            .stations
            .iter()
            .find(|station| station.name.as_str() == name);
        station
            .map(|station| station.name.clone())
            .ok_or_else(|| not_found(configuration, name).into())
    });
    named.collect()
}

/// Refuses to search where nobody is there to be asked.
pub fn refuse_nobody(configuration: &Configuration, targets: &[Target]) -> anyhow::Result<()> {
    if targets.is_empty() {
        let problem = Problem::new(ExitStatus::Failed, "there is no station to ask");
        let hint = match configuration.stations.is_empty() {
            true => "'impaxlink station add' registers one",
            false => "an archive station has --kind archive, a linked one --cluster-linking",
        };
        return Err(problem.hint(hint).into());
    }
    Ok(())
}

/// Says that the local cluster is not searched, where it has no archive.
pub fn warn_of_no_archive(ui: &Ui, configuration: &Configuration, narrowing: &Narrowing) {
    let has_archive = configuration
        .stations
        .iter()
        .any(|station| station.kind == Kind::Archive);
    if !has_archive && narrowing.from.is_empty() {
        ui.notice("there is no archive station: the local cluster is not searched");
    }
}

/// Whether studies are written as they arrive.
fn streams(format: Format) -> bool {
    matches!(format, Format::Ndjson | Format::DicomJson)
}
