//! The answers of all stations as one list of studies: identity, duplicates, best location (rules 1, 2, 5 and 7).
//!
//! Invariants: a pure function of the set of answers, whatever the order in which they arrived. Answers meet by study
//! UID, never by position. No row holds two patients. Counts are never added: the largest is shown, each location keeps its own.
//!
//! Needs all answers at once; `first_sight` tells what can be told as they arrive.

mod presence;

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{
    AeTitle, Availability, Configuration, ConflictParty, ConflictPath, CrossReference, PatientId,
    StationName, StudyAnswer, StudyConflict,
};

use super::fill::{add_missing, fill};
use super::identity::{HashKey, Identity};
use super::policy::{Role, Target};
pub use presence::Presence;

/// What merging has to know of a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub station: StationName,
    /// Whether its rows are local.
    pub role: Role,
    /// Its rank among sources; higher first.
    pub priority: i32,
}

impl Source {
    /// The sources of a query, one a target and in their order.
    pub fn of(configuration: &Configuration, targets: &[Target]) -> Vec<Source> {
        let stations = targets.iter().filter_map(|target| {
            let station = configuration.stations.get(target.station)?;
            Some(Source {
                station: station.name.clone(),
                role: target.role,
                priority: station.priority,
            })
        });
        stations.collect()
    }

    /// Whose rows win: local ones, then by priority, then by name.
    fn rank(&self) -> (Role, Reverse<i32>, &StationName) {
        (self.role, Reverse(self.priority), &self.station)
    }
}

/// One study with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedStudy {
    /// Its attributes: each from the first station, by rank, that has it.
    pub study: StudyAnswer,
    /// Where it is, best first.
    pub locations: Vec<Location>,
    /// Where its UID stands for another patient.
    pub conflicts: Vec<Conflict>,
}

impl MergedStudy {
    /// Where it is best taken from; `None` where no copy is to be had.
    pub fn best_location(&self) -> Option<&Location> {
        self.locations.first().filter(|location| location.is_source())
    }

    /// The copies of which nobody knows how many instances they have, where there are others: each may be larger.
    pub fn uncounted_locations(&self) -> impl Iterator<Item = &Location> {
        let copies = self.locations.iter().filter(|location| location.is_source());
        let has_several = copies.clone().nth(1).is_some();
        copies.filter(move |location| has_several && location.instances.is_none())
    }

    /// Whether no copy is larger than that; `None` where nobody knows how large one is.
    pub fn is_whole(&self, location: &Location) -> Option<bool> {
        match location.instances {
            Some(_) if location.is_partial(self.study.instances) => Some(false),
            _ if self.uncounted_locations().next().is_some() => None,
            _ => Some(true),
        }
    }

    /// The conflict that the study is in, with all who list it; `None` where its UID stands for one patient.
    pub fn conflict(&self, sources: &[Source], path: ConflictPath) -> Option<StudyConflict> {
        if self.conflicts.is_empty() {
            return None;
        }
        let holders = self.locations.iter().map(|it| (it.source, &it.patient_id));
        let others = self.conflicts.iter().map(|it| (it.source, &it.patient_id));
        let parties = holders.chain(others).filter_map(|(source, patient_id)| {
            Some(ConflictParty {
                station: sources.get(source)?.station.clone(),
                patient_id: patient_id.clone(),
            })
        });
        let mut parties: Vec<ConflictParty> = parties.collect();
        parties.sort();
        Some(StudyConflict {
            study: self.study.study_instance_uid.clone(),
            parties,
            path,
        })
    }
}

/// A copy of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The place of its station among the sources.
    pub source: usize,
    /// Whose study it is there.
    pub patient_id: PatientId,
    /// Number of instances there.
    pub instances: Option<u32>,
    /// Where it is kept there.
    pub availability: Option<Availability>,
    /// From where the station says it can be retrieved.
    pub retrieve_ae_titles: Vec<AeTitle>,
}

impl Location {
    /// The copy that an answer tells of.
    pub fn of(source: usize, answer: &StudyAnswer) -> Self {
        Location {
            source,
            patient_id: answer.patient_id.clone(),
            instances: answer.instances,
            availability: answer.availability,
            retrieve_ae_titles: answer.retrieve_ae_titles.clone(),
        }
    }

    fn is_source(&self) -> bool {
        self.availability != Some(Availability::Unavailable)
    }

    /// Whether another copy is known to be larger. One whose count is not known is not.
    fn is_partial(&self, largest: Option<u32>) -> bool {
        self.instances.is_some() && self.instances < largest
    }
}

/// A station where the UID of the study stands for another patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The place of the station among the sources.
    pub source: usize,
    /// Whose study it is there.
    pub patient_id: PatientId,
    /// The patient's name there.
    pub patient_name: Option<String>,
}

/// The answers of a query, to be merged when all have arrived.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    cross_reference: Arc<CrossReference>,
    answers: Vec<(usize, Box<StudyAnswer>)>,
}

impl Merge {
    /// Begins with no answers from these sources; the cross-reference says which patients are one.
    pub fn new(sources: Vec<Source>, cross_reference: Arc<CrossReference>) -> Self {
        Merge {
            sources,
            cross_reference,
            answers: Vec::new(),
        }
    }

    /// Adds the answer of a source.
    pub fn add(&mut self, source: usize, answer: Box<StudyAnswer>) {
        self.answers.push((source, answer));
    }

    /// The studies, newest first.
    pub fn finish(self) -> Vec<MergedStudy> {
        let Merge {
            sources,
            cross_reference,
            mut answers,
        } = self;
        let key = HashKey::random();
        let identity = |answer: &StudyAnswer| Identity::of(answer, key, &cross_reference);
        answers.sort_unstable_by(|(left, one), (right, other)| {
            let uids = one.study_instance_uid.cmp(&other.study_instance_uid);
            uids.then_with(|| rank(&sources, *left).cmp(&rank(&sources, *right)))
                .then_with(|| one.cmp(other))
        });
        let mut studies: Vec<Rows> = Vec::new();
        for (source, answer) in answers {
            match studies.last_mut() {
                Some(rows) if rows.merged.study.study_instance_uid == answer.study_instance_uid => {
                    rows.add(source, identity(&answer), *answer);
                }
                _ => studies.push(Rows::new(source, identity(&answer), *answer)),
            }
        }
        let mut merged: Vec<MergedStudy> = studies.into_iter().map(|rows| rows.finish(&sources)).collect();
        merged.sort_by(newest_first);
        merged
    }
}

fn rank(sources: &[Source], source: usize) -> Option<(Role, Reverse<i32>, &StationName)> {
    sources.get(source).map(Source::rank)
}

fn newest_first(one: &MergedStudy, other: &MergedStudy) -> Ordering {
    other.study.began().cmp(&one.study.began())
}

/// A row in the making. Its answers come in order of rank.
struct Rows {
    merged: MergedStudy,
    patient: Identity,
    known_conflicts: BTreeSet<Conflict>,
}

impl Rows {
    fn new(source: usize, patient: Identity, study: StudyAnswer) -> Self {
        Rows {
            patient,
            known_conflicts: BTreeSet::new(),
            merged: MergedStudy {
                locations: vec![Location::of(source, &study)],
                study,
                conflicts: Vec::new(),
            },
        }
    }

    fn add(&mut self, source: usize, patient: Identity, answer: StudyAnswer) {
        if self.patient.take(patient) {
            add_location(&mut self.merged.locations, Location::of(source, &answer));
            fill(&mut self.merged.study, answer);
            return;
        }
        let conflict = Conflict {
            source,
            patient_id: answer.patient_id,
            patient_name: answer.patient_name,
        };
        if self.known_conflicts.insert(conflict.clone()) {
            self.merged.conflicts.push(conflict);
        }
    }

    fn finish(mut self, sources: &[Source]) -> MergedStudy {
        let largest = self.merged.study.instances;
        self.merged.locations.sort_by(|one, other| {
            let key = |location: &Location| {
                let source = sources.get(location.source);
                (
                    !location.is_source(),
                    location.is_partial(largest),
                    source.map(|source| source.role),
                    location.availability.unwrap_or(Availability::Cache),
                )
            };
            let by_rank = rank(sources, one.source).cmp(&rank(sources, other.source));
            key(one).cmp(&key(other)).then(by_rank)
        });
        self.merged
    }
}

/// Adds a copy; a station that answers twice has one copy, with the larger count.
fn add_location(locations: &mut Vec<Location>, location: Location) {
    match locations.iter_mut().find(|known| known.source == location.source) {
        None => locations.push(location),
        Some(known) => {
            known.instances = known.instances.max(location.instances);
            known.availability = known.availability.or(location.availability);
            add_missing(&mut known.retrieve_ae_titles, location.retrieve_ae_titles);
        }
    }
}

#[cfg(test)]
mod tests;
