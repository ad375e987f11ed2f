//! Where a study is: a linked query of it down to its instances, asked of all stations at once.
//!
//! Invariant: the copies come in the order of rule 2 of a linked query. A listing that may lack something says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{RetrieveRequest, Unanswered};
use crate::link::completeness;
use crate::link::merge::{Merge, Source};
use crate::link::policy::{Caller, Narrowing, Purpose, Role, Target, plan};
use crate::link::{Event, LinkedQuery, Request, StudyStates};
use crate::model::{
    Availability, ConflictPath, LedgerEntry, Level, Outcome, PatientId, Query, SeriesAnswer, StationName,
    StudyAnswer, StudyConflict, Uid,
};
use crate::store::{self, LinkReport};

/// A copy of the study at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// The place of its station in the configuration.
    pub(super) station: usize,
    /// What the station lists of it.
    pub(super) instances: BTreeMap<Uid, Instance>,
    /// Whether that is all it has.
    pub(super) is_whole: bool,
    /// How many instances the station says it has.
    pub(super) count: Option<u32>,
    /// Its patient there.
    pub(super) patient_id: PatientId,
}

/// An instance, as a source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its series.
    pub series: Uid,
    /// Its SOP class, where the source tells it.
    pub sop_class_uid: Option<Uid>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The copies that it can be taken from, best first; none at the destination.
    pub(super) copies: Vec<Copy>,
    /// The series of the instances that the destination has.
    pub(super) here: BTreeMap<Uid, Instance>,
    /// Why the destination did not say what it has.
    pub(super) destination_failed: Option<String>,
    pub(super) unanswered: Vec<Unanswered>,
    pub(super) conflicts: Vec<StationName>,
    /// For the store.
    pub(super) conflict: Option<StudyConflict>,
    pub(super) link_reports: Vec<LinkReport>,
}

/// What the stations have told, one a target.
pub(super) struct Asked {
    pub(super) sources: Vec<Source>,
    merge: Merge,
    pub(super) copies: HashMap<usize, Copy>,
    pub(super) entries: HashMap<usize, LedgerEntry>,
    link_reports: Vec<LinkReport>,
}

/// The stations that may be sources, each to be asked or skipped with the reason.
pub fn sources_to_ask(request: &RetrieveRequest) -> Vec<Target> {
    let narrowing = Narrowing {
        from: request.from.clone(),
        local_only: false,
        regardless: request.regardless,
        purpose: match request.purpose {
            store::Purpose::Prefetch => Purpose::Prefetch,
            store::Purpose::Update => Purpose::Updates,
            _ => Purpose::Query,
        },
    };
    let (configuration, query) = (&request.configuration, query(request));
    plan(
        configuration,
        &Caller::Internal,
        &query,
        &narrowing,
        Timestamp::now(),
    )
}

/// Asks all stations that may be sources, and the destination.
pub(super) async fn find(request: &RetrieveRequest, destination: usize, cancel: &CancellationToken) -> Found {
    let mut targets = sources_to_ask(request);
    if !targets.iter().any(|target| target.station == destination) {
        targets.push(archive(destination));
    }
    let asked = ask(request, query(request), &targets, cancel).await;
    sort_out(request, &targets, asked, destination)
}

/// The instances that an archive station lists, or why it doesn't.
pub(super) async fn list_at(request: &RetrieveRequest, station: usize) -> Result<BTreeSet<Uid>, String> {
    let [(listed, entry)] = list(request, [station]).await;
    match entry {
        Some(entry) if entry.outcome == Outcome::Searched => Ok(listed),
        entry => Err(entry.and_then(|entry| entry.detail).unwrap_or_default()),
    }
}

/// The instances of the study that each of these stations lists, whatever its link flags, and how it ended.
pub async fn list<const N: usize>(
    request: &RetrieveRequest,
    stations: [usize; N],
) -> [(BTreeSet<Uid>, Option<LedgerEntry>); N] {
    let never = CancellationToken::new();
    let mut asked = ask(request, query(request), &stations.map(archive), &never).await;
    std::array::from_fn(|target| {
        let listed = asked.copies.remove(&target).map(|copy| copy.instances);
        let listed = listed.unwrap_or_default().into_keys().collect();
        (listed, asked.entries.remove(&target))
    })
}

pub(super) fn query(request: &RetrieveRequest) -> Query {
    Query {
        level: Level::Image,
        study_uids: vec![request.study_instance_uid.clone()],
        ..Query::default()
    }
}

fn archive(station: usize) -> Target {
    Target {
        station,
        role: Role::Archive,
        may_speak_linked: false,
        skip: None,
    }
}

pub(super) async fn ask(
    request: &RetrieveRequest,
    query: Query,
    targets: &[Target],
    cancel: &CancellationToken,
) -> Asked {
    let mut sources = Source::of(&request.configuration, targets);
    let said_by = request.patient.as_ref().map(|(_, station)| Source {
        station: station.clone(),
        role: Role::Linked,
        priority: 0,
    });
    sources.extend(said_by);
    let mut asked = Asked {
        merge: Merge::new(sources.clone(), Arc::clone(&request.cross_reference)),
        sources,
        copies: HashMap::new(),
        entries: HashMap::new(),
        link_reports: Vec::new(),
    };
    if let Some((patient, _)) = &request.patient {
        let said = StudyAnswer::new(request.study_instance_uid.clone(), patient.clone());
        asked.merge.add(targets.len(), Box::new(said));
    }
    // The listing of a large study takes its time: no station is held to the deadline of one that holds up others.
    let patient = targets.iter().map(|target| Target {
        role: Role::Archive,
        ..target.clone()
    });
    let mut asking = LinkedQuery::start(Request {
        configuration: Arc::clone(&request.configuration),
        cross_reference: Arc::clone(&request.cross_reference),
        query: Arc::new(query),
        targets: patient.collect(),
        health: BTreeMap::new(),
        tls: request.tls.clone(),
        archive: request.archive.clone(),
        states: Some(StudyStates::of_store(&request.store)),
        timeout: None,
        resting: request.resting.clone(),
        turns: request.turns.clone(),
    });
    let mut is_cancelled = false;
    loop {
        tokio::select! {
            event = asking.next() => match event {
                Some(event) => asked.take(event, targets),
                None => return asked,
            },
            () = cancel.cancelled(), if !is_cancelled => {
                is_cancelled = true;
                asking.cancel();
            }
        }
    }
}

impl Asked {
    fn take(&mut self, event: Event, targets: &[Target]) {
        match event {
            Event::Answer(answer) => {
                let mut study = answer.study;
                let Some(target) = targets.get(answer.target) else {
                    return;
                };
                let copy = self.copies.entry(answer.target).or_insert_with(|| Copy {
                    station: target.station,
                    instances: BTreeMap::new(),
                    is_whole: false,
                    count: None,
                    patient_id: study.patient_id.clone(),
                });
                copy.count = copy.count.max(study.instances);
                copy.instances
                    .extend(instances(std::mem::take(&mut study.series)));
                self.merge.add(answer.target, study);
            }
            Event::Ended(ended) => {
                self.link_reports.extend(ended.report);
                self.entries.insert(ended.target, ended.entry);
            }
        }
    }
}

/// The instances that a source lists in these series.
pub fn instances(series: Vec<SeriesAnswer>) -> impl Iterator<Item = (Uid, Instance)> {
    series.into_iter().flat_map(|series| {
        let uid = series.series_instance_uid;
        series.images.into_iter().map(move |image| {
            let instance = Instance {
                series: uid.clone(),
                sop_class_uid: image.sop_class_uid,
            };
            (image.sop_instance_uid, instance)
        })
    })
}

fn sort_out(request: &RetrieveRequest, targets: &[Target], mut asked: Asked, destination: usize) -> Found {
    let mut found = Found {
        link_reports: asked.link_reports,
        ..Found::default()
    };
    for (target, copy) in &mut asked.copies {
        let listed_to_the_end = asked
            .entries
            .get(target)
            .is_some_and(|entry| entry.outcome == Outcome::Searched && entry.dropped == 0);
        let is_short = copy
            .count
            .is_some_and(|count| (copy.instances.len() as u64) < count.into());
        copy.is_whole = listed_to_the_end && !is_short && !copy.instances.is_empty();
    }
    let mut merged = asked.merge.finish();
    merged.retain(|study| study.study.study_instance_uid == request.study_instance_uid);
    let merged = merged.into_iter().next();
    let mut order: Vec<usize> = Vec::new();
    if let Some(study) = &merged {
        let sources = study.locations.iter();
        let sources = sources.filter(|copy| copy.availability != Some(Availability::Unavailable));
        order.extend(sources.map(|copy| copy.source));
        found.conflict = study.conflict(&asked.sources, path_of(request.purpose));
        let conflicting = study.conflicts.iter().map(|conflict| conflict.source);
        let names = conflicting.clone().filter_map(|source| asked.sources.get(source));
        found.conflicts = names.map(|source| source.station.clone()).collect();
        // One whose source is named is taken all the same.
        order.extend(conflicting);
        if !found.conflicts.is_empty() && request.from.is_empty() {
            order.clear();
        }
        if let Some(first) = &request.first {
            let is_first = |source: &Source| source.station == *first;
            order.sort_by_key(|target| !asked.sources.get(*target).is_some_and(is_first));
        }
    }
    for (target, source) in asked.sources.iter().enumerate() {
        let is_destination = targets.get(target).is_some_and(|it| it.station == destination);
        let Some(entry) = asked.entries.remove(&target).filter(|entry| !entry.is_complete()) else {
            continue;
        };
        let detail = entry.detail.clone().unwrap_or_default();
        if is_destination {
            found.destination_failed = Some(detail);
        } else {
            found.unanswered.push(Unanswered {
                station: source.station.clone(),
                answered_in_part: completeness::has_answered(&entry),
                detail,
            });
        }
    }
    if let Some(here) = targets.iter().position(|target| target.station == destination) {
        order.retain(|target| *target != here);
        found.here = asked
            .copies
            .remove(&here)
            .map(|copy| copy.instances)
            .unwrap_or_default();
    }
    found.copies = order
        .iter()
        .filter_map(|target| asked.copies.remove(target))
        .collect();
    found
}

fn path_of(purpose: store::Purpose) -> ConflictPath {
    match purpose {
        store::Purpose::Retrieve | store::Purpose::Service => ConflictPath::Retrieve,
        store::Purpose::Prefetch => ConflictPath::Prefetch,
        store::Purpose::Update => ConflictPath::Pull,
    }
}
