//! `check`: the prerequisites of linking, reviewed, and what the other side must register.
//!
//! Invariant: nothing is changed, here or at a station. How it looks is in `screen`, what is handed over in `handover`.

mod handover;
mod screen;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap_complete::ArgValueCompleter;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::station::not_found;
use super::status::all_exposures;
use super::updates::clock::sentences;
use super::{change, complete};
use crate::check::{Item, MoveTest, Outcome, Review, ServiceState};
use crate::link::EmbeddedArchive;
use crate::link::tls::LinkTls;
use crate::model::{Configuration, StationName, Uid, in_full, parse_duration};
use crate::service::control::{self, ControlError};
use crate::store::{Store, TakenCharacterSets};

/// Review the prerequisites of linking, and say what the other side must register.
///
/// All stations are asked at once: whether they can be reached and accept our associations, queries and retrieves; a
/// linked impaxlink also tells who it is, where it calls us, its vocabulary and its clock. Each prerequisite ends as
/// pass, warn, fail, or unknown where a strict DICOM peer can't tell, with a hint what to do. Nothing is changed, but that
/// --move-test leaves an image here.
///
/// The exit status is 0, or 1 where one fails; with --strict also where one warns. Unknown is neither.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink check                       # the local cluster, its archives, and all linked stations\n  \
    impaxlink check SITEB                 # a station, linked already or not yet\n  \
    impaxlink check SITEB --handover      # what to paste into a ticket for the other side\n  \
    impaxlink check SITEB --move-test 1.2.840.1   # does what is moved here arrive?\n  \
    impaxlink check -q --strict           # in cron: a line only when something is not well\n  \
    impaxlink check --json | jq -r '.items[] | select(.outcome == \"fail\") | .hint'")]
pub struct CheckArgs {
    /// Only these stations, linked or not, and the local cluster; by default the archive stations and all linked ones
    #[arg(value_name = "STATION", add = ArgValueCompleter::new(complete::station_names))]
    stations: Vec<String>,
    /// Print what the other side must register, which ports must be open and what we must know: ready for a ticket
    #[arg(long)]
    handover: bool,
    /// Move one image of this study here from each linked station, by C-MOVE, to see whether the way back works
    ///
    /// The study must be there, and not here in full. The image stays here: 'impaxlink retrieve' completes its study.
    #[arg(long, value_name = "UID", conflicts_with = "handover")]
    move_test: Option<Uid>,
    /// Exit with 1 also where there are warnings
    #[arg(long, conflicts_with = "handover")]
    strict: bool,
    /// How long each station is asked at most; all are asked at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "20s")]
    timeout: Duration,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: CheckArgs) -> anyhow::Result<ExitStatus> {
    let store = change::store_if_any(ui)?.ok_or_else(nothing_to_check)?;
    let configuration = Arc::new(store.configuration()?);
    let stations = named(&configuration, &args.stations)?;
    let service = service_state(ui.store_path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if args.handover {
        let handed = handover::run(ui, &runtime, &configuration, &service, &stations, args.timeout);
        runtime.shutdown_background();
        return handed;
    }
    let review = Review {
        cluster_uid: store.cluster_uid().clone(),
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        service,
        clock: sentences(&store.clock_trouble()?),
        exposures: all_exposures(store.path(), &configuration.settings),
        stations,
        move_test: args.move_test.map(|study_instance_uid| MoveTest {
            study_instance_uid,
            store: ui.store_path().to_owned(),
        }),
        character_sets: character_sets(&store)?,
        limit: args.timeout,
        configuration: Arc::clone(&configuration),
    };
    let progress = ui.progress_line();
    progress.set_message("asking the stations");
    let items = runtime.block_on(review.run());
    progress.finish_and_clear();
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    screen::show(ui, &configuration, &items, args.strict)?;
    Ok(match items.iter().any(|item| is_trouble(item, args.strict)) {
        true => ExitStatus::Failed,
        false => ExitStatus::Done,
    })
}

fn character_sets(store: &Store) -> anyhow::Result<HashMap<StationName, TakenCharacterSets>> {
    let health = store.link_health()?.into_iter();
    let known = health.filter_map(|(station, health)| Some((station, health.character_sets?)));
    Ok(known.collect())
}

/// Whether it makes the exit status 1.
fn is_trouble(item: &Item, strict: bool) -> bool {
    item.outcome == Outcome::Fail || (strict && item.outcome == Outcome::Warn)
}

fn nothing_to_check() -> Problem {
    Problem::new(ExitStatus::Failed, "there is nothing to check: no store yet")
        .hint("'impaxlink station add' registers a station and makes the store")
}

fn named(configuration: &Configuration, names: &[String]) -> Result<Vec<StationName>, Problem> {
    let found = |name: &String| {
        let mut stations = configuration.stations.iter();
        let station = stations.find(|station| station.name.as_str() == name);
        station
            .map(|station| station.name.clone())
            .ok_or_else(|| not_found(configuration, name))
    };
    names.iter().map(found).collect()
}

/// What the service says of itself.
fn service_state(store: &Path) -> ServiceState {
    /// How long a service may take to tell how it is.
    const LIMIT: Duration = Duration::from_secs(5);
    match control::status(store, LIMIT) {
        Ok(status) => ServiceState::Running {
            generation: status.generation,
            listen: status.listen,
            refused: status.refused.map(|refused| refused.reason),
        },
        Err(ControlError::NotRunning) => ServiceState::NotRunning,
        Err(error) => ServiceState::Silent(in_full(&error)),
    }
}
