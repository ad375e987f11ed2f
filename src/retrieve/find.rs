//! Who has the study of a retrieve, and whether its UID stands for one patient alone.
//!
//! Invariant: conflicts are looked for at every station that may be asked, by study UID alone, whichever of them may be
//! sources. A study in conflict is not moved, unless a person has named the source and the destination holds no other
//! patient's study under the UID.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::copies::{Answers, Copy, Search, StudyCopies};
use super::{RetrieveRequest, Unanswered};
use crate::link::completeness::{has_answered, has_ended_well};
use crate::link::policy::{Caller, Narrowing, Purpose, Role, Target, plan};
use crate::link::{Request, StudyStates};
use crate::model::{
    ConflictPath, LedgerEntry, Level, Outcome, Query, StationName, StudyAnswer, StudyConflict,
};
use crate::store::{self, LinkReport};

/// What was found of a study.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The copies that it may be taken from, best first; none at the destination.
    pub(super) copies: Vec<Copy>,
    /// What the destination lists.
    pub(super) here: Option<Copy>,
    /// Why the destination did not say what it has.
    pub(super) destination_failed: Option<String>,
    /// Stations that did not say what they have, or not in full.
    pub(super) unanswered: Vec<Unanswered>,
    /// Those of them whose own listing broke off: beyond what they count, they hold nothing more.
    pub(super) listing_broke_off: BTreeSet<StationName>,
    /// Stations where the UID stands for another patient.
    pub(super) conflicts: Vec<StationName>,
    /// The conflict, for the store.
    pub(super) conflict: Option<StudyConflict>,
    /// Why nothing is moved yet, though it could be.
    pub(super) deferred: Option<String>,
    pub(super) link_reports: Vec<LinkReport>,
}

/// The stations that a retrieve asks, each to be asked or skipped with the reason: those that may be sources, and those
/// that may know the study UID as another patient's.
pub fn stations_to_ask(request: &RetrieveRequest) -> Vec<Target> {
    let mut targets = sources(request);
    let of_purpose = Narrowing {
        purpose: purpose(request),
        ..Narrowing::default()
    };
    let mut others = planned(request, &of_purpose);
    others.extend(planned(request, &Narrowing::default()));
    for target in others {
        match targets.iter_mut().find(|it| it.station == target.station) {
            Some(known) => known.skip = known.skip.and(target.skip),
            None => targets.push(target),
        }
    }
    targets
}

/// The stations that it may be taken from.
fn sources(request: &RetrieveRequest) -> Vec<Target> {
    let narrowing = Narrowing {
        from: request.from.clone(),
        local_only: false,
        regardless: request.regardless,
        purpose: purpose(request),
    };
    planned(request, &narrowing)
}

fn purpose(request: &RetrieveRequest) -> Purpose {
    match request.purpose {
        store::Purpose::Prefetch => Purpose::Prefetch,
        store::Purpose::Update => Purpose::Updates,
        _ => Purpose::Query,
    }
}

fn planned(request: &RetrieveRequest, narrowing: &Narrowing) -> Vec<Target> {
    let (configuration, query) = (&request.configuration, query(request));
    plan(
        configuration,
        &Caller::Internal,
        &query,
        narrowing,
        Timestamp::now(),
    )
}

/// Asks all stations that may be sources or know of a conflict, and the destination.
pub(super) async fn find(request: &RetrieveRequest, destination: usize, cancel: &CancellationToken) -> Found {
    let mut targets = stations_to_ask(request);
    if !targets.iter().any(|target| target.station == destination) {
        targets.push(archive(destination));
    }
    let answers = ask(request, targets, cancel).await;
    sort_out(request, answers, destination)
}

/// The copy that an archive station lists, if it has one, or why it doesn't say.
pub(super) async fn copy_at(request: &RetrieveRequest, station: usize) -> Result<Option<Copy>, String> {
    let [(copy, entry)] = list(request, [station]).await;
    match entry {
        Some(entry) if has_ended_well(&entry) => Ok(copy),
        entry => Err(entry.and_then(|entry| entry.detail).unwrap_or_default()),
    }
}

/// The copy of the study that each of these stations lists, whatever its link flags, and how it ended.
pub async fn list<const N: usize>(
    request: &RetrieveRequest,
    stations: [usize; N],
) -> [(Option<Copy>, Option<LedgerEntry>); N] {
    let targets = stations.map(archive).to_vec();
    let mut answers = ask(request, targets, &CancellationToken::new()).await;
    let mut entries = std::mem::take(&mut answers.entries);
    answers.entries.clone_from(&entries);
    let mut copies = of_study(request, answers).map_or_else(Vec::new, |study| study.copies);
    std::array::from_fn(|target| {
        let place = copies.iter().position(|copy| copy.target == target);
        let entry = entries.get_mut(target).and_then(Option::take);
        (place.map(|place| copies.swap_remove(place)), entry)
    })
}

/// Asks these stations for the study, image by image.
pub(super) async fn ask(
    request: &RetrieveRequest,
    targets: Vec<Target>,
    cancel: &CancellationToken,
) -> Answers {
    // The listing of a large study takes its time: no station is held to the deadline of one that holds up others.
    let patient = targets.into_iter().map(|target| Target {
        role: Role::Archive,
        ..target
    });
    let named = request.patient.as_ref().map(|(patient, station)| {
        let study = StudyAnswer::new(request.study_instance_uid.clone(), patient.clone());
        (study, station.clone())
    });
    let search = Search {
        request: Request {
            configuration: Arc::clone(&request.configuration),
            cross_reference: Arc::clone(&request.cross_reference),
            query: Arc::new(query(request)),
            targets: patient.collect(),
            health: BTreeMap::new(),
            tls: request.tls.clone(),
            archive: request.archive.clone(),
            states: Some(StudyStates::of_store(&request.store)),
            timeout: None,
            resting: request.resting.clone(),
            turns: request.turns.clone(),
        },
        named,
        grace: None,
        cancel: cancel.clone(),
    };
    search.run().await
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

/// The study with its copies.
pub(super) fn of_study(request: &RetrieveRequest, answers: Answers) -> Option<StudyCopies> {
    let path = match request.purpose {
        store::Purpose::Retrieve | store::Purpose::Service => ConflictPath::Retrieve,
        store::Purpose::Prefetch => ConflictPath::Prefetch,
        store::Purpose::Update => ConflictPath::Pull,
    };
    let mut studies = answers.into_studies(path).into_iter();
    studies.find(|it| it.study.study_instance_uid == request.study_instance_uid)
}

fn sort_out(request: &RetrieveRequest, mut answers: Answers, destination: usize) -> Found {
    let name = |station: usize| request.configuration.stations.get(station).map(|it| &it.name);
    let mut found = Found {
        link_reports: answers.reports.drain(..).map(|(_, report)| report).collect(),
        ..Found::default()
    };
    let mut unchecked: Vec<&StationName> = Vec::new();
    for (place, entry) in answers.entries.iter().enumerate() {
        let (Some(target), Some(entry)) = (answers.targets.get(place), entry) else {
            continue;
        };
        let detail = || entry.detail.clone().unwrap_or_default();
        match name(target.station) {
            _ if entry.is_complete() => {}
            _ if target.station == destination && has_ended_well(entry) => {}
            _ if target.station == destination => found.destination_failed = Some(detail()),
            Some(station) => {
                if target.skip.is_none() && !answers.has(place, &request.study_instance_uid) {
                    unchecked.push(station);
                }
                if entry.outcome == Outcome::Failed {
                    found.listing_broke_off.insert(station.clone());
                }
                found.unanswered.push(Unanswered {
                    station: station.clone(),
                    answered_in_part: has_answered(entry),
                    detail: detail(),
                });
            }
            None => {}
        }
    }
    if request.purpose == store::Purpose::Prefetch && !unchecked.is_empty() {
        let names: Vec<&str> = unchecked.iter().map(|name| name.as_str()).collect();
        found.deferred = Some(format!("conflict not checked at {}", names.join(", ")));
    }
    let (mut copies, conflicting) = match of_study(request, answers) {
        Some(study) => {
            found.conflict = study.conflict;
            found.conflicts = study.in_conflict_at;
            (study.copies, study.conflicting)
        }
        None => Default::default(),
    };
    let at_destination = |copy: &Copy| copy.station == destination;
    let here = copies
        .iter()
        .chain(&conflicting)
        .find(|copy| at_destination(copy));
    found.here = here.cloned();
    let is_held = found.here.is_some();
    if !found.conflicts.is_empty() {
        let is_overruled = request.purpose == store::Purpose::Retrieve && !request.from.is_empty();
        match is_overruled {
            // Two patients' objects must not meet under one UID at the destination.
            true if conflicting.iter().any(at_destination) => copies.clear(),
            true if is_held => {}
            true => copies.extend(conflicting.iter().cloned()),
            false => copies.clear(),
        }
    }
    let may_be_sources: BTreeSet<usize> = sources(request)
        .into_iter()
        .filter(|target| target.skip.is_none())
        .map(|target| target.station)
        .collect();
    copies.retain(|copy| !at_destination(copy) && may_be_sources.contains(&copy.station));
    if is_held && !found.conflicts.is_empty() && copies.is_empty() && !request.from.is_empty() {
        let name = name(destination);
        found.deferred = name.map(|name| format!("{name} has another patient's study under this UID"));
    }
    if request.purpose == store::Purpose::Prefetch {
        // A study that is listed without a patient ID is nobody's prior.
        copies.retain(|copy| !copy.patient_id.id.is_empty());
    }
    if found.deferred.is_some() {
        copies.clear();
    }
    if let Some(first) = &request.first {
        copies.sort_by_key(|copy| name(copy.station) != Some(first));
    }
    found.copies = copies;
    found
}
