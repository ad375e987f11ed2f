//! `status`: the service, the generations saved and in force, and each link's health.
//!
//! Invariant: what is known without the service is shown without it; only the exit status says then that it is not
//! running.

mod view;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::view::{LinkView, QueuesView, StatusView, UpdatesView};
use super::error::ExitStatus;
use super::output::{Color, Ui};
use super::reload::saved_by;
use super::station::list::{address, state};
use super::table::Columns;
use super::time::{age, moment};
use super::updates::clock::sentences;
use super::view::Document;
use super::{Format, change};
use crate::archive::count_kept_aside;
use crate::link::tls::exposed_key;
use crate::model::{Configuration, Kind, Settings, Station, StationName, relay_targets};
use crate::service::control::{self, ControlError, ServiceStatus};
use crate::store::{
    Access, ClockTrouble, Hl7Counts, JobCounts, LinkHealth, PullCounts, QueueLength, RelayPeer,
    SavedGeneration, Store, exposures,
};

/// Show the service, the generations saved and in force, and each link's health.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  impaxlink status\n  impaxlink status --json\n  impaxlink status -q   # in cron: a line only when something is not well"
)]
pub struct StatusArgs {}

/// How long a service may take to tell how it is.
const LIMIT: Duration = Duration::from_secs(5);

/// How long it may take until new objects are here.
const PULLED_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// Shows it; the exit status is 7 where no service runs.
pub fn run(ui: &mut Ui, _args: StatusArgs) -> anyhow::Result<ExitStatus> {
    let service = match control::status(ui.store_path(), LIMIT) {
        Ok(service) => Some(service),
        Err(ControlError::NotRunning) => None,
        Err(error) => return Err(error.into()),
    };
    let is_lost = service
        .as_ref()
        .is_some_and(|service| service.store_lost.is_some());
    let saved = match read_saved(ui) {
        // The service says what is wrong with it.
        Err(_) if is_lost => Known::default(),
        saved => saved?,
    };
    let picture = Picture {
        service,
        saved,
        now: Timestamp::now(),
    };
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(picture.view()))?,
        Format::Csv => picture.csv(ui)?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => picture.tell_troubles(),
        Format::Table => picture.tell(ui)?,
    }
    Ok(match picture.service {
        Some(_) if is_lost => ExitStatus::Failed,
        Some(_) => ExitStatus::Done,
        None => ExitStatus::NotRunning,
    })
}

/// What the store knows.
#[derive(Default)]
struct Known {
    configuration: Configuration,
    last_save: Option<SavedGeneration>,
    health: BTreeMap<StationName, LinkHealth>,
    missing: BTreeMap<StationName, u64>,
    prefetch: JobCounts,
    updates: BTreeMap<StationName, QueueLength>,
    relay: BTreeMap<StationName, RelayPeer>,
    pulls: PullCounts,
    hl7: Hl7Counts,
    clock: ClockTrouble,
    /// Who else may use the store or the private key, a sentence each.
    exposures: Vec<String>,
    conflicts: u64,
    kept_aside: Option<u64>,
}

fn read_saved(ui: &Ui) -> anyhow::Result<Known> {
    let configuration = change::current(ui)?;
    if configuration.generation == 0 {
        return Ok(Known::default());
    }
    let store: Store = ui.store(Access::ReadOnly)?;
    Ok(Known {
        last_save: store.saved_generation(configuration.generation)?,
        health: store.link_health()?,
        prefetch: store.prefetch_counts()?,
        updates: store.queue_lengths()?,
        relay: store.relay_peers()?,
        pulls: store.pull_counts()?,
        hl7: store.hl7_counts()?,
        clock: store.clock_trouble()?,
        exposures: all_exposures(store.path(), &configuration.settings),
        conflicts: store.conflict_count()?,
        kept_aside: count_kept_aside(&configuration.settings.archive_path(ui.store_path())).ok(),
        missing: store.missing_answers(Timestamp::now() - SignedDuration::from_hours(24))?,
        configuration,
    })
}

/// Everything that `status` shows.
struct Picture {
    service: Option<ServiceStatus>,
    saved: Known,
    now: Timestamp,
}

impl Picture {
    /// Linked stations, then archive stations.
    fn links(&self) -> impl Iterator<Item = &Station> {
        let stations = &self.saved.configuration.stations;
        let archives = stations.iter().filter(|station| station.kind == Kind::Archive);
        self.saved.configuration.linked_stations().chain(archives)
    }

    fn health_word(&self, station: &Station) -> &'static str {
        if station.is_suspended(self.now) {
            return "suspended";
        }
        match self.saved.health.get(&station.name) {
            None => "unknown",
            Some(health) if health.failures_in_a_row == 0 => "up",
            Some(_) => "down",
        }
    }

    /// By the service where one runs, else as it was planned when the link failed.
    fn next_try(&self, station: &Station) -> Option<Timestamp> {
        match &self.service {
            Some(service) => {
                let planned = service
                    .links
                    .iter()
                    .find(|link| link.station == station.name.as_str());
                planned.and_then(|link| link.next_try)
            }
            None => self
                .saved
                .health
                .get(&station.name)
                .and_then(|health| health.next_try),
        }
    }

    fn view(&self) -> StatusView {
        let service = self.service.as_ref();
        StatusView {
            running: service.is_some(),
            pid: service.map(|service| service.pid),
            generation_saved: self
                .lost_store()
                .is_none()
                .then_some(self.saved.configuration.generation),
            generation_in_force: service.map(|service| service.generation),
            started: service.map(|service| service.started),
            listen: service.map(|service| service.listen.to_string()),
            associations: service.map(|service| service.associations),
            ending: service.is_some_and(|service| service.ending),
            newest_revision_ahead_ms: self.saved.clock.newest_ahead.map(milliseconds),
            clock_jumped_ahead_ms: self.saved.clock.jumped_ahead.map(milliseconds),
            store_lost: service.and_then(|service| service.store_lost.clone()),
            reload_refused: service.and_then(|service| Some(service.refused.as_ref()?.reason.clone())),
            links: self.links().map(|station| self.link_view(station)).collect(),
            queues: QueuesView {
                prefetch: self.saved.prefetch.into(),
                updates: self.updates(),
                pulls: self.saved.pulls.into(),
                hl7: self.saved.hl7.into(),
            },
            conflicts: self.saved.conflicts,
            kept_aside: self.saved.kept_aside,
        }
    }

    fn link_view(&self, station: &Station) -> LinkView {
        let health = self.saved.health.get(&station.name);
        let updates = self.saved.updates.get(&station.name).copied().unwrap_or_default();
        LinkView {
            station: station.name.to_string(),
            health: self.health_word(station),
            last_success: health.and_then(|health| health.last_success),
            latency_ms: health
                .and_then(|health| health.latency)
                .map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            partial_24h: self.saved.missing.get(&station.name).copied().unwrap_or(0),
            next_try: self.next_try(station),
            queued: updates.queued,
            parked: updates.parked,
            oldest: updates.oldest,
            updates_detail: self.updates_detail(station).map(str::to_owned),
            poll_detail: self
                .service
                .as_ref()
                .and_then(|service| service.poll_troubles.get(station.name.as_str()).cloned()),
            detail: health.and_then(|health| health.detail.clone()),
        }
    }

    fn csv(&self, ui: &mut Ui) -> anyhow::Result<()> {
        let heading = [
            "station",
            "health",
            "last_success",
            "latency_ms",
            "next_try",
            "detail",
        ];
        let rows = self.links().map(|station| {
            let link = self.link_view(station);
            let text = |moment: Option<Timestamp>| moment.map(|at| at.to_string()).unwrap_or_default();
            [
                link.station,
                link.health.to_owned(),
                text(link.last_success),
                link.latency_ms.map(|ms| ms.to_string()).unwrap_or_default(),
                text(link.next_try),
                link.detail.unwrap_or_default(),
            ]
        });
        ui.csv(&heading, rows.collect::<Vec<_>>())
    }

    fn tell(&self, ui: &mut Ui) -> anyhow::Result<()> {
        for line in self
            .facts()
            .into_iter()
            .chain(self.conflicts())
            .chain(self.kept_aside())
            .chain(self.prefetch_queue())
            .chain(self.update_queues())
            .chain(self.pulls())
            .chain(self.hl7_messages())
            .chain(sentences(&self.saved.clock))
            .chain(
                self.saved
                    .exposures
                    .iter()
                    .filter(|it| it.contains("tls.key"))
                    .cloned(),
            )
        {
            let is_lost = self.lost_store().as_ref() == Some(&line);
            let shown = if is_lost {
                ui.paint(Color::Red, &line)
            } else {
                line
            };
            ui.line(&shown)?;
        }
        if self.links().next().is_none() {
            return Ok(());
        }
        ui.line("")?;
        let mut table = Columns::new(&["STATION", "AE TITLE @ HOST:PORT", "STATE", "NEXT TRY", "WHY"]);
        for station in self.links() {
            let health = self.saved.health.get(&station.name);
            let next = self.next_try(station).map(|at| moment(at, self.now));
            let why = health.and_then(|health| health.detail.clone());
            table.row([
                station.name.to_string(),
                address(station),
                state(station, &self.saved.health, self.now),
                next.unwrap_or_else(|| "-".to_owned()),
                why.unwrap_or_default(),
            ]);
        }
        Ok(ui.table(table)?)
    }

    /// What happened to the store of the running service, and how it is mended.
    fn lost_store(&self) -> Option<String> {
        let lost = self.service.as_ref()?.store_lost.as_ref()?;
        Some(format!(
            "{lost}: nothing is recorded or acknowledged. Put the right store there, then 'impaxlink reload'"
        ))
    }

    /// The service and the generations, a line each.
    fn facts(&self) -> Vec<String> {
        let saved = self.saved.last_save.as_ref().map(saved_by);
        let saved = saved.unwrap_or_else(|| "nothing saved yet".to_owned());
        let Some(service) = &self.service else {
            return vec![format!("service not running; {saved}")];
        };
        let up = uptime(service.started, self.now);
        let ending = if service.ending { ", ending" } else { "" };
        let mut lines = vec![format!(
            "service up {up}, generation {} in force{ending}",
            service.generation
        )];
        if let Some(lost) = self.lost_store() {
            lines.push(lost);
        } else if service.generation != self.saved.configuration.generation {
            lines.push(format!("{saved}, NOT in force: impaxlink reload"));
        }
        if let Some(refused) = &service.refused {
            let at = moment(refused.at, self.now);
            lines.push(format!("reload refused at {at}: {}", refused.reason));
        }
        lines.extend(service.poll_troubles.iter().map(|(station, why)| {
            format!("{station} was not looked through for new objects (updates.poll): {why}")
        }));
        lines
    }

    /// The study UIDs found with two patients, where there are any that nobody has acknowledged.
    fn conflicts(&self) -> Option<String> {
        let found = match self.saved.conflicts {
            0 => return None,
            1 => "1 study UID".to_owned(),
            count => format!("{count} study UIDs"),
        };
        Some(format!(
            "{found} found with two different patients: impaxlink study conflicts list"
        ))
    }

    /// The objects that the embedded archive keeps aside, where there are any.
    fn kept_aside(&self) -> Option<String> {
        let objects = match self.saved.kept_aside? {
            0 => return None,
            1 => "1 object".to_owned(),
            count => format!("{count} objects"),
        };
        Some(format!("{objects} kept aside: impaxlink archive aside list"))
    }

    /// The queue of priors, where there is anything in it.
    fn prefetch_queue(&self) -> Option<String> {
        let JobCounts {
            queued,
            running,
            failed,
        } = self.saved.prefetch;
        let counts = [(queued, "queued"), (running, "running"), (failed, "failed")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        (!counts.is_empty()).then(|| format!("prefetch: {}: impaxlink prefetch list", counts.join(", ")))
    }

    /// The HL7 messages that are not done, where there are any.
    fn hl7_messages(&self) -> Option<String> {
        let Hl7Counts { waiting, failed } = self.saved.hl7;
        let are_all_done = self.saved.hl7 == Hl7Counts::default();
        (!are_all_done)
            .then(|| format!("HL7 messages: {waiting} waiting, {failed} failed: impaxlink hl7 list"))
    }

    /// What keeps updates from a station that they are relayed to.
    fn updates_detail(&self, station: &Station) -> Option<&str> {
        let is_target =
            relay_targets(&self.saved.configuration, None).any(|target| target.name == station.name);
        let queued = self
            .saved
            .updates
            .get(&station.name)
            .map_or(0, |length| length.queued);
        if is_target && queued > 0 && station.is_suspended(self.now) {
            return Some("the station is suspended");
        }
        let trouble = self.saved.relay.get(&station.name)?.trouble.as_ref()?;
        is_target.then_some(trouble.reason.as_str())
    }

    fn updates(&self) -> UpdatesView {
        let lengths = self.saved.updates.values();
        UpdatesView {
            queued: lengths.clone().map(|length| length.queued).sum(),
            parked: lengths.clone().map(|length| length.parked).sum(),
            oldest: lengths.filter_map(|length| length.oldest).min(),
        }
    }

    /// The updates that wait, and why, a line a station.
    fn update_queues(&self) -> Vec<String> {
        let lines = self.saved.configuration.linked_stations().filter_map(|station| {
            let length = self.saved.updates.get(&station.name).copied().unwrap_or_default();
            let detail = self.updates_detail(station);
            if length == QueueLength::default() && detail.is_none() {
                return None;
            }
            let since = length
                .oldest
                .map(|oldest| format!(" for {}", age(oldest, self.now)));
            let refused = match length.parked {
                0 => String::new(),
                parked => format!(", {parked} refused"),
            };
            let why = detail.map(|detail| format!(": {detail}"));
            Some(format!(
                "updates to {}: {} queued{}{refused}{}",
                station.name,
                length.queued,
                since.unwrap_or_default(),
                why.unwrap_or_default()
            ))
        });
        lines.collect()
    }

    /// The updates with new objects that are to be fetched, where there are any.
    fn pulls(&self) -> Option<String> {
        let PullCounts {
            due,
            failing,
            under_review,
            oldest,
        } = self.saved.pulls;
        let since = oldest.map(|oldest| format!(" for {}", age(oldest, self.now)));
        let counts = [(failing, "tried in vain"), (under_review, "under review")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: String = counts.map(|(count, what)| format!(", {count} {what}")).collect();
        let since = since.unwrap_or_default();
        (due > 0).then(|| {
            format!("new objects to be fetched, of updates: {due}{since}{counts}: impaxlink updates list")
        })
    }

    /// One line to standard error with what is not well, if anything is not.
    fn tell_troubles(&self) {
        let mut troubles: Vec<String> = match &self.service {
            None => self.facts(),
            Some(_) => self.facts().into_iter().skip(1).collect(),
        };
        troubles.extend(self.conflicts());
        troubles.extend(self.prefetch_queue().filter(|_| self.saved.prefetch.failed > 0));
        troubles.extend(self.hl7_messages().filter(|_| self.saved.hl7.failed > 0));
        troubles.extend(sentences(&self.saved.clock));
        troubles.extend(self.saved.exposures.iter().cloned());
        let relay = self.updates();
        let is_stuck = |station: &Station| self.updates_detail(station).is_some();
        if relay.parked > 0 || self.saved.configuration.linked_stations().any(is_stuck) {
            troubles.extend(self.update_queues());
        }
        let pulls = self.saved.pulls;
        // At first the sender may not have the objects itself yet.
        let is_old = pulls
            .oldest
            .is_some_and(|oldest| oldest + PULLED_WITHIN < self.now);
        let is_troubled = pulls.under_review > 0 || pulls.failing > 0 && is_old;
        troubles.extend(self.pulls().filter(|_| is_troubled));
        let down = self.links().filter(|station| self.health_word(station) == "down");
        troubles.extend(down.map(|station| {
            let state = state(station, &self.saved.health, self.now);
            format!("{} {state}", station.name)
        }));
        if !troubles.is_empty() {
            // Nothing is left to be told where standard error itself is closed.
            let _ = writeln!(io::stderr().lock(), "{}", troubles.join("; "));
        }
    }
}

/// Those of the store, and of the private key.
pub fn all_exposures(store: &Path, settings: &Settings) -> Vec<String> {
    let mut found = exposures(store);
    found.extend(exposed_key(settings).map(|(path, mode)| {
        format!(
            "the private key {} (tls.key) is open to every user of this machine (mode {mode:04o}): chmod o= it",
            path.display()
        )
    }));
    found
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn uptime(since: Timestamp, now: Timestamp) -> String {
    match now.duration_since(since).as_hours() / 24 {
        days if days >= 2 => format!("{days} days"),
        _ => age(since, now),
    }
}
