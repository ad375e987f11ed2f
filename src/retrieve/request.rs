//! What is to be retrieved, from where, to where, and how far that is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::Resources;
use super::arrivals::Arrivals;
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{Configuration, CrossReference, PatientId, StationName, Uid};
use crate::store::Purpose;

/// What is to be retrieved.
#[derive(Debug, Clone)]
pub struct RetrieveRequest {
    /// The configuration under which the retrieve runs to its end.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards the stations that are called over it.
    pub tls: LinkTls,
    /// The embedded archive, should a station be it.
    pub archive: EmbeddedArchive,
    /// The turns at stations, where they are shared.
    pub turns: Option<Arc<Turns>>,
    /// The store, where the origin of copies is put on record.
    pub store: PathBuf,
    /// What it is retrieved for.
    pub purpose: Purpose,
    /// The study.
    pub study_instance_uid: Uid,
    /// Whose it must be, and the station that says so: under another patient the UID stands for another study.
    pub patient: Option<(PatientId, StationName)>,
    /// What of it.
    pub scope: Scope,
    /// The stations that it may be taken from; empty means all that the link flags allow. One that is named is taken
    /// from also where the study is in conflict.
    pub from: Vec<StationName>,
    /// The station that it is taken from first, if that has it.
    pub first: Option<StationName>,
    /// Linked stations that keep failing, each with the time before which it is not asked.
    pub resting: BTreeMap<StationName, Timestamp>,
    /// Whether those named may be asked also where the link flags don't allow it.
    pub regardless: bool,
    /// The archive station it is brought to; by default the one of the highest priority.
    pub to: Option<StationName>,
    /// How it is brought; by default what works.
    pub method: Option<Method>,
    /// Only look what would be fetched from where.
    pub dry_run: bool,
    /// Where our listener hands over what sources send to it, if this process has one.
    pub arrivals: Option<Arc<Arrivals>>,
}

impl RetrieveRequest {
    /// What it needs besides what it asks.
    pub(super) fn resources(&self) -> Resources {
        Resources {
            configuration: Arc::clone(&self.configuration),
            cross_reference: Arc::clone(&self.cross_reference),
            tls: self.tls.clone(),
            archive: self.archive.clone(),
            turns: self.turns.clone(),
            retrieve_turns: None,
            destination_turns: self.turns.clone(),
            arrivals: self.arrivals.clone(),
        }
    }

    /// What `to` is for that archive station: of the one that is taken by default nothing, as a source may know it by a
    /// title of its own.
    pub fn to_archive(configuration: &Configuration, name: &StationName) -> Option<StationName> {
        let default = configuration.destination(None);
        let is_default = default.is_some_and(|(_, station)| station.name == *name);
        (!is_default).then(|| name.clone())
    }
}

/// What of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Study,
    /// These series.
    Series(BTreeSet<Uid>),
    /// These instances.
    Instances(BTreeSet<Uid>),
}

impl Scope {
    /// Whether an instance is wanted.
    pub fn takes(&self, series: &Uid, instance: &Uid) -> bool {
        match self {
            Scope::Study => true,
            Scope::Series(wanted) => wanted.contains(series),
            Scope::Instances(wanted) => wanted.contains(instance),
        }
    }
}

/// How objects come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// C-MOVE: the source sends them to the destination itself.
    Move,
    /// C-GET: they come over our association, and are stored or passed on.
    Get,
}

impl Method {
    /// As it is shown and given: `move`, `get`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Move => "move",
            Method::Get => "get",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Where it is being fetched from.
    pub station: Option<StationName>,
    /// How.
    pub method: Option<Method>,
    /// How many of the wanted instances were there when that began.
    pub there_before: u64,
    /// How many of the wanted instances are there, as far as is known.
    pub instances: u64,
    /// How many are wanted.
    pub of: u64,
    /// How many bytes have come through this process.
    pub bytes: u64,
}

impl Progress {
    /// Notes that so many instances have `arrived` since the attempt began, and `bytes` more.
    pub(super) fn advance(&mut self, arrived: u64, bytes: u64) {
        let there = self.there_before + arrived;
        self.instances = there.min(self.of.max(arrived));
        self.bytes += bytes;
    }
}
