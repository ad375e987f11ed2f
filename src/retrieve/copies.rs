//! Where studies are: a linked query down to their instances, asked by UID of all stations at once.
//!
//! This is also where conflicts come to light: asked by UID alone, a station answers whosever study it is.
//!
//! Invariants: copies come in the order of rule 2 of a linked query. A list of instances that may lack something says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::link::merge::{Merge, MergedStudy, Source};
use crate::link::policy::{Role, Target};
use crate::link::{Answer, Event, LinkedQuery, Request};
use crate::model::{
    Availability, ConflictPath, LedgerEntry, Outcome, PatientId, SeriesAnswer, StationName, StudyAnswer,
    StudyConflict, Uid,
};
use crate::store::LinkReport;

/// A copy of a study at a station.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The place of the station among the targets of the search.
    pub target: usize,
    /// The place of the station in the configuration.
    pub station: usize,
    /// What the station lists of it.
    pub instances: Arc<BTreeMap<Uid, Instance>>,
    /// Whether that is all it has.
    pub listing: Listing,
    /// How many instances the station says it has.
    pub count: Option<u32>,
    /// Its patient there; the ID is empty where the answer named none.
    pub patient_id: PatientId,
}

/// What is known of the list of a copy's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// It came to its end and names as many as the station counts.
    Whole,
    /// It names none.
    Empty,
    /// It names fewer than the station counts.
    Short,
    /// It did not come to its end; why.
    Failed(String),
}

/// An instance, as a source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its series.
    pub series: Uid,
    /// Its SOP class, where the source names it.
    pub sop_class_uid: Option<Uid>,
}

/// A study and its copies.
#[derive(Debug)]
pub struct StudyCopies {
    /// Its attributes, merged.
    pub study: StudyAnswer,
    /// The copies that it can be taken from, best first.
    pub copies: Vec<Copy>,
    /// Those under the same UID that are another patient's.
    pub conflicting: Vec<Copy>,
    /// The stations that name another patient for it; one that was named with the search may be among them.
    pub in_conflict_at: Vec<StationName>,
    /// The conflict that it is in, for the store.
    pub conflict: Option<StudyConflict>,
}

impl Copy {
    /// Whether it lists all its instances.
    pub fn is_whole(&self) -> bool {
        self.listing == Listing::Whole
    }

    /// What is wrong with the list of its instances, in words.
    pub fn listing_failure(&self) -> Option<String> {
        match &self.listing {
            Listing::Whole => None,
            Listing::Empty => Some("its image list is empty".to_owned()),
            Listing::Short => {
                let (listed, count) = (self.instances.len(), self.count.unwrap_or_default());
                Some(format!("its image list names {listed} of {count} images"))
            }
            Listing::Failed(detail) if detail.is_empty() => Some("its image list failed".to_owned()),
            Listing::Failed(detail) => Some(format!("its image list failed: {detail}")),
        }
    }
}

/// A search for copies.
pub struct Search {
    /// The linked query, by study UIDs or by patient.
    pub request: Request,
    /// The patient that somebody has named for a study already, and the station that said so.
    pub named: Option<(StudyAnswer, StationName)>,
    /// How much longer others are waited for once the archive stations have answered and hold the study.
    pub grace: Option<Duration>,
    /// Ends the search; what was answered by then counts.
    pub cancel: CancellationToken,
}

/// What stations answered to a search.
pub struct Answers {
    /// The stations that the search was for.
    pub targets: Vec<Target>,
    /// What each of them did; `None` for one that was not waited for.
    pub entries: Vec<Option<LedgerEntry>>,
    /// How the links fared, by target.
    pub reports: Vec<(usize, LinkReport)>,
    sources: Vec<Source>,
    merge: Merge,
    listed: HashMap<(usize, Uid), Listed>,
}

#[derive(Debug)]
struct Listed {
    instances: BTreeMap<Uid, Instance>,
    count: Option<u32>,
    patient_id: PatientId,
}

impl Search {
    /// Asks all stations of the search, and waits for them within their deadlines.
    pub async fn run(self) -> Answers {
        let Search {
            request,
            named,
            grace,
            cancel,
        } = self;
        let mut sources = Source::of(&request.configuration, &request.targets);
        let place = sources.len();
        sources.extend(named.as_ref().map(|(_, station)| Source {
            station: station.clone(),
            role: Role::Linked,
            priority: 0,
        }));
        let targets = request.targets.clone();
        let mut answers = Answers {
            entries: vec![None; targets.len()],
            merge: Merge::new(sources.clone(), Arc::clone(&request.cross_reference)),
            targets,
            reports: Vec::new(),
            sources,
            listed: HashMap::new(),
        };
        if let Some((study, _)) = named {
            answers.merge.add(place, Box::new(study));
        }
        let mut linked = LinkedQuery::start(request);
        let mut is_cancelled = false;
        let mut until: Option<Instant> = None;
        loop {
            let event = tokio::select! {
                event = next_before(&mut linked, until) => event,
                () = cancel.cancelled(), if !is_cancelled => {
                    is_cancelled = true;
                    linked.cancel();
                    continue;
                }
            };
            match event {
                Some(Event::Answer(answer)) => answers.add(answer),
                Some(Event::Ended(ended)) => {
                    answers
                        .reports
                        .extend(ended.report.map(|report| (ended.target, report)));
                    if let Some(entry) = answers.entries.get_mut(ended.target) {
                        *entry = Some(ended.entry);
                    }
                }
                None => return answers,
            }
            if let (Some(grace), None) = (grace, until)
                && answers.are_archives_done()
            {
                until = Some(Instant::now() + grace);
            }
        }
    }
}

/// `None` where all is answered, or the time is up.
async fn next_before(linked: &mut LinkedQuery, until: Option<Instant>) -> Option<Event> {
    match until {
        Some(until) => timeout_at(until, linked.next()).await.unwrap_or(None),
        None => linked.next().await,
    }
}

impl Answers {
    fn add(&mut self, answer: Answer) {
        let mut study = answer.study;
        let key = (answer.target, study.study_instance_uid.clone());
        let listed = self.listed.entry(key).or_insert_with(|| Listed {
            instances: BTreeMap::new(),
            count: None,
            patient_id: study.patient_id.clone(),
        });
        listed.count = listed.count.max(study.instances);
        listed
            .instances
            .extend(instances(std::mem::take(&mut study.series)));
        self.merge.add(answer.target, study);
    }

    /// Whether all archive stations have answered, and one of them holds something.
    fn are_archives_done(&self) -> bool {
        let is_archive = |target: usize| {
            let target = self.targets.get(target);
            target.is_some_and(|target| target.role == Role::Archive)
        };
        let is_done = |(place, target): (usize, &Target)| {
            let has_ended = self.entries.get(place).is_some_and(Option::is_some);
            target.role != Role::Archive || target.skip.is_some() || has_ended
        };
        self.listed.keys().any(|(target, _)| is_archive(*target))
            && self.targets.iter().enumerate().all(is_done)
    }

    /// Whether the station of a target has answered anything of that study.
    pub(super) fn has(&self, target: usize, study: &Uid) -> bool {
        self.listed.contains_key(&(target, study.clone()))
    }

    /// The studies that were answered, with their copies; `path` is on what way a conflict was met.
    pub fn into_studies(self, path: ConflictPath) -> Vec<StudyCopies> {
        let Answers {
            targets,
            entries,
            sources,
            merge,
            mut listed,
            ..
        } = self;
        let mut copy = |study: &Uid, target: usize| {
            let listed = listed.remove(&(target, study.clone()))?;
            let entry = entries.get(target).and_then(Option::as_ref);
            Some(Copy {
                target,
                station: targets.get(target)?.station,
                listing: listed.listing(entry),
                instances: Arc::new(listed.instances),
                count: listed.count,
                patient_id: listed.patient_id,
            })
        };
        let merged = merge.finish().into_iter();
        let studies = merged.map(|merged| {
            let conflict = merged.conflict(&sources, path);
            let named = merged.conflicts.iter().filter_map(|it| sources.get(it.source));
            let mut in_conflict_at: Vec<StationName> = named.map(|source| source.station.clone()).collect();
            in_conflict_at.dedup();
            let MergedStudy {
                study,
                locations,
                conflicts,
            } = merged;
            let uid = &study.study_instance_uid;
            // One station that has it of both patients does not tell their instances apart.
            let conflicting = conflicts.iter();
            let conflicting = conflicting.filter_map(|conflict| copy(uid, conflict.source));
            let conflicting: Vec<Copy> = conflicting.collect();
            let available = locations.iter();
            let available = available.filter(|it| it.availability != Some(Availability::Unavailable));
            let copies = available.filter_map(|it| copy(uid, it.source)).collect();
            StudyCopies {
                study,
                copies,
                conflicting,
                in_conflict_at,
                conflict,
            }
        });
        studies.collect()
    }
}

impl Listed {
    fn listing(&self, entry: Option<&LedgerEntry>) -> Listing {
        match entry {
            Some(entry) if entry.outcome == Outcome::Searched && entry.dropped == 0 => {}
            entry => {
                let detail = entry.and_then(|entry| entry.detail.clone());
                return Listing::Failed(detail.unwrap_or_default());
            }
        }
        let named = self.instances.len() as u64;
        match self.count {
            _ if named == 0 => Listing::Empty,
            Some(count) if named < count.into() => Listing::Short,
            _ => Listing::Whole,
        }
    }
}

/// The instances that a source lists in these series.
fn instances(series: Vec<SeriesAnswer>) -> impl Iterator<Item = (Uid, Instance)> {
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

#[cfg(test)]
impl Copy {
    /// A whole copy of these instances.
    pub(super) fn example(instances: BTreeMap<Uid, Instance>) -> Self {
        Copy {
            target: 0,
            station: 0,
            instances: Arc::new(instances),
            listing: Listing::Whole,
            count: None,
            patient_id: PatientId {
                id: "4711".to_owned(),
                domain: crate::model::IssuerDomain::Inferred("SITEB".parse().unwrap()),
            },
        }
    }
}
