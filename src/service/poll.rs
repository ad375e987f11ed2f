//! Archives that are not ours, asked every so often for what is new there (`updates.poll`).
//!
//! Invariant: each archive is asked by one task at a time, and none waits for another. What was seen is forgotten where
//! nobody is told of anything: what came meanwhile is no news. What a person should know is logged when it is news.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ZonedDateTime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use super::{Service, chain, locked};
use crate::audit::Attribution;
use crate::model::{Kind, Station, StationName, relay_targets};
use crate::store::SharedStore;
use crate::updates::poll::{Poll, PollError, Polled};

/// How often it is looked at least whether an archive is to be asked.
const TICK: Duration = Duration::from_secs(1);

type Ended = (StationName, Result<Polled, PollError>);

/// The archives that are being asked, and when each was last.
#[derive(Default)]
struct Asking {
    tasks: JoinSet<Ended>,
    busy: HashMap<tokio::task::Id, StationName>,
    asked: HashMap<StationName, Instant>,
}

/// Polls archives until the service drains.
pub(super) async fn poll_archives(service: Arc<Service>, store: SharedStore, attribution: Attribution) {
    let (mut told, mut asking) = (Told::default(), Asking::default());
    loop {
        let snapshot = service.in_force.pin();
        let configuration = snapshot.configuration();
        let is_told = relay_targets(configuration, None).next().is_some();
        let every = snapshot.settings().updates_poll().filter(|_| is_told);
        let stations = every.map_or(&[][..], |_| &configuration.stations);
        let names: Vec<StationName> = archives(stations)
            .map(|(_, archive)| archive.name.clone())
            .collect();
        // What is being asked may still be kept.
        if asking.busy.values().all(|busy| names.contains(busy)) {
            forget_others(&service, &store, names, &mut told).await;
        }
        for (place, archive) in archives(stations) {
            if every.is_some_and(|every| asking.is_due(archive, every)) {
                let poll = Poll {
                    configuration: Arc::clone(configuration),
                    cross_reference: service.known_patients.pin(),
                    tls: snapshot.tls().clone(),
                    archive: service.archive.clone(),
                    turns: Some(Arc::clone(&service.turns)),
                    store: store.clone(),
                    attribution: attribution.clone(),
                };
                asking.begin(poll, place, archive);
            }
        }
        tokio::select! {
            // What is asked then is asked again by the next service.
            () = service.drain.cancelled() => return,
            Some(ended) = asking.tasks.join_next_with_id() => {
                let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
                asking.busy.remove(&task);
                match ended {
                    Ok((_, (station, polled))) => {
                        if told.tell(&service, &station, polled) {
                            service.updates.wake();
                        }
                    }
                    Err(error) => tracing::error!("asking an archive for what is new broke off: {error}"),
                }
            },
            () = sleep(every.map_or(TICK, |every| every.min(TICK))) => {}
        }
    }
}

impl Asking {
    fn is_due(&self, archive: &Station, every: Duration) -> bool {
        let asked = self.asked.get(&archive.name);
        asked.is_none_or(|asked| asked.elapsed() >= every)
            && !archive.is_suspended(Timestamp::now())
            && !self.busy.values().any(|name| *name == archive.name)
    }

    fn begin(&mut self, poll: Poll, place: usize, archive: &Station) {
        self.asked.insert(archive.name.clone(), Instant::now());
        let name = archive.name.clone();
        let task = self.tasks.spawn(async move {
            let polled = poll.run(place, ZonedDateTime::now().date()).await;
            (name, polled)
        });
        self.busy.insert(task.id(), archive.name.clone());
    }
}

/// The archives that are asked, with their places.
fn archives(stations: &[Station]) -> impl Iterator<Item = (usize, &Station)> {
    let archives = stations.iter().enumerate();
    archives.filter(|(_, station)| station.kind == Kind::Archive && !station.is_embedded())
}

/// What was told already, so that it is told once.
#[derive(Debug, Default)]
struct Told {
    of_nobody: bool,
    /// The archives whose polls are kept.
    kept: Option<Vec<StationName>>,
}

impl Told {
    /// Logs what became of a poll; whether updates were made.
    fn tell(&mut self, service: &Service, station: &StationName, polled: Result<Polled, PollError>) -> bool {
        let mut troubles = locked(&service.poll_troubles);
        let polled = polled.unwrap_or_else(|error| Polled {
            failed: vec![error],
            ..Polled::default()
        });
        match polled.failed.first().map(|error| chain(error)) {
            None if troubles.remove(station).is_some() => {
                tracing::info!("{station} is looked through for new objects again");
            }
            Some(why) if troubles.get(station) != Some(&why) => {
                tracing::warn!("{station} was not looked through for new objects: {why}");
                troubles.insert(station.clone(), why);
            }
            _ => {}
        }
        if polled.of_nobody > 0 && !self.of_nobody {
            self.of_nobody = true;
            tracing::warn!(
                "new objects of {} studies at {station} are not told to linked clusters: they name no patient ID, or \
                 the issuer of it is not known (config set issuer); others like them will not be told either",
                polled.of_nobody
            );
        }
        let Polled { updates, objects, .. } = polled;
        if updates > 0 {
            tracing::info!("{objects} new objects at {station} are told in {updates} updates");
        }
        updates > 0
    }
}

/// Forgets what was seen in all archives but these, where that is not done already.
async fn forget_others(service: &Service, store: &SharedStore, names: Vec<StationName>, told: &mut Told) {
    if told.kept.as_ref() == Some(&names) {
        return;
    }
    locked(&service.poll_troubles).retain(|station, _| names.contains(station));
    let except = names.clone();
    let forgotten = store.with(move |store| store.forget_polls(&except.iter().collect::<Vec<_>>()));
    match forgotten.await {
        Ok(()) => told.kept = Some(names),
        Err(error) => tracing::warn!("what archives had before can't be forgotten: {}", chain(&error)),
    }
}
