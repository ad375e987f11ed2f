//! The prerequisites of linking, reviewed: of the local cluster, its archive stations and the stations to be linked.
//!
//! - `item`: what is said of one prerequisite
//! - `ask`: asking a station all there is to know, over one association
//! - `reach`, `charset`, `certificate`, `cluster`, `registration`, `between`, `local`: judging what was learned
//! - `move_test`: bringing one image over, to see whether the way back works
//! - `ours`: what we are to others
//! - [`handover`]: what the other side must register
//!
//! Invariant: judging is pure; stations are asked all at once, each for a bounded time. Nothing is changed anywhere, but
//! that a move test leaves its image in the archive.

mod ask;
mod between;
mod certificate;
mod charset;
mod cluster;
pub mod handover;
mod item;
mod local;
mod move_test;
mod ours;
mod reach;
mod registration;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::ask::{Asked, ask};
use self::item::Items;
pub use self::item::{Item, Outcome, Subject};
pub use self::move_test::MoveTest;
use self::move_test::Moved;
use self::ours::Ours;
use crate::archive::{ArchiveError, Stats};
use crate::link::EmbeddedArchive;
use crate::link::cluster_query::ClusterTold;
use crate::link::tls::{LinkTls, own_certificate};
use crate::model::{Configuration, Generation, Kind, Settings, Station, StationName, Uid, in_full};
use crate::store::TakenCharacterSets;

/// The running service, as far as it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs.
    Running {
        /// The generation in force.
        generation: Generation,
        /// Where it listens.
        listen: SocketAddr,
        /// Why the last reload was refused, where it was.
        refused: Option<String>,
    },
    /// None runs.
    NotRunning,
    /// One runs and does not tell us, for this reason.
    Silent(String),
}

/// What a review is of.
#[derive(Debug, Clone)]
pub struct Review {
    /// The saved configuration.
    pub configuration: Arc<Configuration>,
    /// The identity of the local cluster.
    pub cluster_uid: Uid,
    /// TLS towards the stations.
    pub tls: LinkTls,
    /// The archive in this process.
    pub archive: EmbeddedArchive,
    /// What the running service says.
    pub service: ServiceState,
    /// Who else may use the store, its folder or the private key, a sentence each.
    pub exposures: Vec<String>,
    /// What is wrong with the clock of changes, a sentence each.
    pub clock: Vec<String>,
    /// The stations to review; none means the archive stations and all linked stations. One that is suspended is asked
    /// where it is named here.
    pub stations: Vec<StationName>,
    /// A study of which one image is moved here from each station, where that is wanted.
    pub move_test: Option<MoveTest>,
    /// The character sets in which queries have matched at stations.
    pub character_sets: HashMap<StationName, TakenCharacterSets>,
    /// How long one station is asked at most, and a move test waited for. All are asked at once.
    pub limit: Duration,
}

/// What was learned of one station.
enum Learned {
    Peer(Box<Asked>),
    Embedded(Result<Stats, ArchiveError>),
    Suspended,
}

impl Review {
    /// Asks all stations at once and judges what they say: the local cluster's items first, then each station's.
    pub async fn run(&self) -> Vec<Item> {
        let learned = self.learn().await;
        let mut moved = self.move_all(&learned).await;
        let now = Timestamp::now();
        let ours = Ours::new(&self.configuration, &self.cluster_uid, &self.service);
        let mut local = Items::of(Subject::Local);
        let certificate = own_certificate(&self.configuration.settings);
        local::judge(&mut local, self, &ours, certificate, now);
        let mut all = local.all;
        for (place, (station, of_station)) in learned.iter().enumerate() {
            let earlier = learned.iter().take(place);
            let earlier = earlier.filter_map(|(station, learned)| Some((*station, learned.told()?)));
            let mut items = Items::of(Subject::Station(station.name.clone()));
            match of_station {
                Learned::Peer(asked) => {
                    let known = self.character_sets.get(&station.name);
                    judge_peer(&mut items, station, asked, &ours, known, now);
                    if let Some(moved) = moved.remove(&place) {
                        move_test::judge(&mut items, station, moved, &ours);
                    }
                    if let Some(told) = of_station.told() {
                        between::judge_doors(&mut items, station, told, earlier);
                    }
                }
                Learned::Embedded(stats) => judge_embedded(&mut items, stats),
                Learned::Suspended => items.unknown(
                    "suspended",
                    "it is suspended, and so not asked",
                    format!("impaxlink check {} asks it all the same", station.name),
                ),
            }
            all.extend(items.all);
        }
        all
    }

    /// The stations to review, archive stations first.
    fn stations(&self) -> impl Iterator<Item = &Station> {
        let named = |station: &&Station| self.stations.contains(&station.name);
        let all = self.configuration.stations.iter();
        let of_kind = move |is_archive: bool| {
            let all = all.clone();
            all.filter(move |station| (station.kind == Kind::Archive) == is_archive)
        };
        let is_due = move |station: &&Station| match self.stations.is_empty() {
            true => station.kind == Kind::Archive || station.is_linked(),
            false => named(station),
        };
        of_kind(true).chain(of_kind(false)).filter(is_due)
    }

    async fn learn(&self) -> Vec<(&Station, Learned)> {
        let asking: Vec<_> = self
            .stations()
            .map(|station| (station, self.begin(station)))
            .collect();
        let mut learned = Vec::new();
        for (station, task) in asking {
            // A task that died has asked nothing.
            let of_station = task.await.unwrap_or_else(|_| Learned::Peer(Box::default()));
            learned.push((station, of_station));
        }
        learned
    }

    /// Moves an image from each station that accepted an association.
    async fn move_all(&self, learned: &[(&Station, Learned)]) -> HashMap<usize, Moved> {
        let mut moving = HashMap::new();
        let Some(test) = &self.move_test else {
            return HashMap::new();
        };
        for (place, (station, of_station)) in learned.iter().enumerate() {
            let is_open = matches!(of_station, Learned::Peer(asked) if matches!(asked.opened, Some(Ok(_))));
            if is_open && station.kind != Kind::Archive {
                let (review, test, name) = (self.clone(), test.clone(), station.name.clone());
                moving.insert(place, tokio::spawn(async move { test.run(&review, &name).await }));
            }
        }
        let mut moved = HashMap::new();
        for (place, task) in moving {
            // A task that died has moved nothing.
            moved.insert(place, task.await.unwrap_or(Moved::Overdue));
        }
        moved
    }

    fn begin(&self, station: &Station) -> tokio::task::JoinHandle<Learned> {
        let (station, settings, tls, limit) = (
            station.clone(),
            self.settings().clone(),
            self.tls.clone(),
            self.limit,
        );
        if self.stations.is_empty() && station.is_suspended(Timestamp::now()) {
            return tokio::spawn(async { Learned::Suspended });
        }
        if station.is_embedded() {
            let archive = self.archive.clone();
            return tokio::task::spawn_blocking(move || {
                Learned::Embedded(archive.open(&settings).and_then(|archive| archive.stats()))
            });
        }
        tokio::spawn(async move { Learned::Peer(Box::new(ask(&station, &settings, &tls, limit).await)) })
    }

    fn settings(&self) -> &Settings {
        &self.configuration.settings
    }
}

impl Learned {
    fn told(&self) -> Option<&ClusterTold> {
        match self {
            Learned::Peer(asked) => asked.cluster.as_ref()?.as_ref().ok(),
            _ => None,
        }
    }
}

fn judge_peer(
    items: &mut Items,
    station: &Station,
    asked: &Asked,
    ours: &Ours<'_>,
    known: Option<&TakenCharacterSets>,
    now: Timestamp,
) {
    let settings = &ours.configuration.settings;
    let opened = reach::judge(items, station, settings, asked, now);
    if let Some(opened) = opened {
        let known = known.map_or(&[][..], |known| known.of(station));
        charset::judge(items, station, opened, asked, known);
    }
    if station.kind == Kind::Archive {
        return;
    }
    if let Some(opened) = opened {
        reach::judge_syntax(items, station, opened, asked);
        cluster::judge(items, station, asked, ours);
    }
    between::judge_issuers(items, station, ours);
    between::judge_caller(items, station, ours);
}

fn judge_embedded(items: &mut Items, stats: &Result<Stats, ArchiveError>) {
    match stats {
        Ok(stats) => items.pass(
            "archive",
            format!("the embedded archive holds {} studies", stats.studies),
        ),
        Err(error) => items.fail(
            "archive",
            format!("the embedded archive can't be read: {}", in_full(error)),
            "run as its owner, or look where 'impaxlink config get archive.path' says",
        ),
    }
}
