//! `updates send` and `updates resync`, and what commands that make updates do to have them sent.
//!
//! Invariant: where a service runs, it alone sends; without one the command does, by the same code. The exit status tells
//! whether all was delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap_complete::ArgValueCompleter;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Format;
use crate::cli::complete;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::station::not_found;
use crate::cli::value;
use crate::cli::view::Items;
use crate::link::tls::LinkTls;
use crate::model::{Configuration, Station, StationName, parse_duration, relay_targets};
use crate::service::control;
use crate::store::{Access, OutboxFilter, OutboxState, SharedStore, Store};
use crate::updates::relay::Relay;

/// How long a service may take to say that it looks.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the service has delivered.
const POLL: Duration = Duration::from_millis(20);
/// How often the command itself sends what a busy station is to be sent again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long is waited where nothing is said.
pub const PATIENCE: &str = "60s";

/// Send now what is queued for linked clusters, also what rests after a failure; wait until it is delivered.
///
/// Exit status: 0 all delivered, 3 some station could not take all, 5 not done in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates send\n  \
    impaxlink updates send SITEB --timeout 2m")]
pub struct SendArgs {
    /// Only to this station
    #[arg(value_name = "STATION", value_parser = value::parsed::<StationName>, add = ArgValueCompleter::new(complete::station_names))]
    station: Option<StationName>,
    /// How long it may take
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = PATIENCE)]
    timeout: Duration,
}

/// Have a station told the current state of all studies, and take it for the cluster that it shows to be now.
///
/// Needed after the other side was restored or replaced: updates to a cluster of another identity are held until then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink updates resync SITEB")]
pub struct ResyncArgs {
    /// The station
    #[arg(value_name = "STATION", value_parser = value::parsed::<StationName>, add = ArgValueCompleter::new(complete::station_names))]
    station: StationName,
}

/// How it went with one station.
#[derive(Debug, Serialize)]
struct SentView {
    station: StationName,
    queued: u64,
    parked: u64,
    detail: Option<String>,
}

/// Runs `updates send`.
pub fn send(ui: &mut Ui, args: SendArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let stations = targets(&store.configuration()?, args.station.as_ref())?;
    let names: Vec<StationName> = stations.iter().map(|station| station.name.clone()).collect();
    let status = deliver(ui, &store, &names, None, args.timeout)?;
    let items = sent(&store, &names, None)?;
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Items::new(items))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => items.iter().for_each(|item| item.tell(ui)),
    }
    Ok(status)
}

/// Has what is meant sent to these stations and waits for it, as [`deliver`] does; tells who could not take it.
pub fn deliver_or_tell(
    ui: &Ui,
    store: &Store,
    stations: &[StationName],
    meant: &OutboxFilter,
    timeout: Duration,
) -> anyhow::Result<ExitStatus> {
    let status = deliver(ui, store, stations, Some(meant), timeout)?;
    if status != ExitStatus::Done {
        let sent = sent(store, stations, Some(meant))?;
        sent.iter()
            .filter(|item| !item.is_done())
            .for_each(|item| item.tell(ui));
    }
    Ok(status)
}

/// How it stands with each of the stations.
fn sent(
    store: &Store,
    stations: &[StationName],
    meant: Option<&OutboxFilter>,
) -> anyhow::Result<Vec<SentView>> {
    let (mut left, peers) = (left(store, stations, meant)?, store.relay_peers()?);
    let suspended = suspended(&store.configuration()?);
    let sent = stations.iter().map(|station| {
        let left = left.remove(station).unwrap_or_default();
        let trouble = peers.get(station).and_then(|peer| peer.trouble.as_ref());
        SentView {
            station: station.clone(),
            queued: left.queued,
            parked: left.parked,
            detail: match left.queued > 0 && suspended.contains(station) {
                true => Some(format!("suspended: impaxlink station resume {station}")),
                false => trouble.map(|trouble| trouble.reason.clone()),
            },
        }
    });
    Ok(sent.collect())
}

impl SentView {
    fn is_done(&self) -> bool {
        self.queued == 0 && self.parked == 0 && self.detail.is_none()
    }

    fn tell(&self, ui: &Ui) {
        if self.is_done() {
            return ui.notice(&format!("{}: all delivered", self.station));
        }
        let (station, queued, parked) = (&self.station, self.queued, self.parked);
        let why = match &self.detail {
            Some(why) => format!(": {why}"),
            None if parked > 0 => ": 'impaxlink updates list' says why".to_owned(),
            None => String::new(),
        };
        ui.warning(&format!("{station}: {queued} queued, {parked} refused{why}"));
    }
}

/// Runs `updates resync`.
pub fn resync(ui: &mut Ui, args: ResyncArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    targets(&store.configuration()?, Some(&args.station))?;
    store.relay_resync(&args.station)?;
    wake(ui);
    ui.notice(&format!(
        "{}: the current state of all studies is to be sent",
        args.station
    ));
    Ok(ExitStatus::Done)
}

fn targets(configuration: &Configuration, station: Option<&StationName>) -> anyhow::Result<Vec<Station>> {
    let Some(name) = station else {
        return Ok(relay_targets(configuration, None).cloned().collect());
    };
    if configuration.station(name).is_none() {
        return Err(not_found(configuration, name.as_str()).into());
    }
    match relay_targets(configuration, None).find(|station| station.name == *name) {
        Some(station) => Ok(vec![station.clone()]),
        None => {
            let message = format!("no updates are relayed to {name}");
            let problem = Problem::new(ExitStatus::Failed, message);
            let hint = format!("impaxlink station set {name} --cluster-linking --link-cluster-updates");
            Err(problem.hint(hint).into())
        }
    }
}

/// Tells a running service that there may be something to send. Where it can't be told, it sees so by itself soon.
pub fn wake(ui: &Ui) {
    let _ = control::send_updates(ui.store_path(), LIMIT);
}

/// Has what is queued for these stations sent, and waits for it, or for what is meant alone; the exit status tells whether
/// all of that was delivered.
fn deliver(
    ui: &Ui,
    store: &Store,
    stations: &[StationName],
    meant: Option<&OutboxFilter>,
    timeout: Duration,
) -> anyhow::Result<ExitStatus> {
    for station in stations {
        store.relay_retry(Some(station))?;
    }
    let suspended = suspended(&store.configuration()?);
    let deadline = Instant::now() + timeout;
    let does_service_send = control::send_updates(ui.store_path(), LIMIT)?;
    loop {
        if !does_service_send {
            send_here(ui, stations, deadline.saturating_duration_since(Instant::now()))?;
        }
        let left = left(store, stations, meant)?;
        let peers = store.relay_peers()?;
        let is_stuck = |station: &StationName| peers.get(station).is_some_and(|peer| peer.trouble.is_some());
        let has_refused = left.values().any(|left| left.parked > 0);
        // The current state is queued by whoever sends, and not yet.
        let is_resync_due = |station: &StationName| {
            meant.is_none() && peers.get(station).is_some_and(|peer| peer.is_resync_due)
        };
        let is_queued = |station: &StationName| left.get(station).is_some_and(|left| left.queued > 0);
        let is_waiting = |station: &&StationName| is_queued(station) || is_resync_due(station);
        let waiting: Vec<&StationName> = stations.iter().filter(is_waiting).collect();
        match waiting.len() {
            0 if has_refused => return Ok(ExitStatus::Partial),
            0 if stations.iter().any(is_stuck) => return Ok(ExitStatus::Partial),
            0 => return Ok(ExitStatus::Done),
            _ if waiting
                .into_iter()
                .all(|station| is_stuck(station) || suspended.contains(station)) =>
            {
                return Ok(ExitStatus::Partial);
            }
            _ if Instant::now() >= deadline => return Ok(ExitStatus::Busy),
            _ if does_service_send => std::thread::sleep(POLL),
            // A station was busy: its turn comes again.
            _ => std::thread::sleep(AGAIN),
        }
    }
}

/// The stations that are sent nothing now, as a person wants it.
fn suspended(configuration: &Configuration) -> BTreeSet<StationName> {
    let now = Timestamp::now();
    let suspended = configuration
        .linked_stations()
        .filter(|station| station.is_suspended(now));
    suspended.map(|station| station.name.clone()).collect()
}

/// What is not delivered.
#[derive(Debug, Default)]
struct Left {
    queued: u64,
    parked: u64,
}

fn left(
    store: &Store,
    stations: &[StationName],
    meant: Option<&OutboxFilter>,
) -> anyhow::Result<BTreeMap<StationName, Left>> {
    let mut left: BTreeMap<StationName, Left> = BTreeMap::new();
    if let Some(filter) = meant {
        for row in store.outbox(filter, None)? {
            let left = left.entry(row.station).or_default();
            match row.state {
                OutboxState::Queued => left.queued += 1,
                OutboxState::Parked => left.parked += 1,
                OutboxState::Delivered => {}
            }
        }
    } else {
        for (station, length) in store.queue_lengths()? {
            let (queued, parked) = (length.queued, length.parked);
            left.insert(station, Left { queued, parked });
        }
    }
    left.retain(|station, _| stations.contains(station));
    Ok(left)
}

/// Sends in this process, to all stations at the same time.
fn send_here(ui: &Ui, stations: &[StationName], timeout: Duration) -> anyhow::Result<()> {
    let store = ui.store(Access::ReadWrite)?;
    let (configuration, own) = (Arc::new(store.configuration()?), store.cluster_uid().clone());
    let relay = Relay {
        tls: LinkTls::of(&configuration),
        own,
        store: SharedStore::of(store),
        linger: Duration::ZERO,
        configuration: Arc::clone(&configuration),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let sent = runtime.block_on(async {
        let (stop, waker) = (CancellationToken::new(), watch::Sender::new(0));
        let mut sending = JoinSet::new();
        let suspended = suspended(&configuration);
        let is_meant =
            |station: &&Station| stations.contains(&station.name) && !suspended.contains(&station.name);
        for station in relay_targets(&configuration, None).filter(is_meant) {
            let (relay, station) = (relay.clone(), station.clone());
            let (wake, stop) = (waker.subscribe(), stop.clone());
            sending.spawn(async move { relay.send(&station, wake, &stop).await });
        }
        let all = async {
            while let Some(sent) = sending.join_next().await {
                sent.map_err(anyhow::Error::from)??;
            }
            Ok(())
        };
        // What was not done in time shows in the queue.
        tokio::time::timeout(timeout, all).await.unwrap_or(Ok(()))
    });
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    sent
}
