//! New objects in archives that are not ours, found by asking them again and again.
//!
//! Invariants: the first sight of an archive is no news, nor are studies of days that it was not asked for before. A poll
//! that did not come to its end changes nothing. What has grown is told when it was the same once more; of it, what an
//! update in the log names already is left out, and a study that was brought there from elsewhere as a whole. Every
//! question has its deadline; at most [`MOST_STUDIES`] studies are looked at.
//!
//! `looking` asks, `growth` is what one sight says after another.

mod growth;
mod looking;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use self::growth::{Compared, Sight, compare};
use super::objects::{MOST_OBJECTS, NewObject, drafts, named};
use crate::audit::Attribution;
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{
    Configuration, CrossReference, Level, Query, Station, StudyPatient, UPDATES_POLL_DAYS, Uid,
};
use crate::store::{PolledArchive, PolledStudy, SharedStore, Store, StoreError};

/// The most studies that are looked at in one archive.
pub const MOST_STUDIES: usize = 50_000;
/// The most studies that one poll tells of; the next one goes on.
const MOST_TOLD: usize = 200;
/// After how many studies that could not be told no more are tried.
const MOST_FAILED: usize = 5;
/// How many updates share a transaction.
const UPDATES_AT_ONCE: usize = 10;
/// The most days that are looked back to after polls have failed.
const MOST_DAYS: i64 = 31;

/// Why an archive was not looked through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PollError {
    /// It did not answer, or not to the end.
    #[error("{0}")]
    Unanswered(String),
    /// It has too many studies of these days.
    #[error("it has more than {MOST_STUDIES} studies of these days (updates.poll_days)")]
    TooMany,
    /// No days can be asked for.
    #[error("the days can't be reckoned")]
    Days,
    /// The store failed.
    #[error("what it has can't be compared or kept")]
    Store(#[from] StoreError),
}

/// What a poll has told.
#[derive(Debug, Default)]
pub struct Polled {
    /// Updates made.
    pub updates: usize,
    /// Objects that they name.
    pub objects: usize,
    /// Studies that can't be told, as they name no patient ID or nobody knows its issuer.
    pub of_nobody: usize,
    /// Why studies could not be told: they are still to be.
    pub failed: Vec<PollError>,
}

/// What it takes to ask an archive.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Under which configuration.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards archives that are asked over it.
    pub tls: LinkTls,
    /// Is not asked.
    pub archive: EmbeddedArchive,
    /// The turns at stations.
    pub turns: Option<Arc<Turns>>,
    /// Where it is kept what was seen.
    pub store: SharedStore,
    /// Who makes the updates.
    pub attribution: Attribution,
}

impl Poll {
    /// Looks through the archive `station`, by its place in the configuration, and tells what is new. `today` is the day
    /// at the archive.
    pub async fn run(&self, station: usize, today: Date) -> Result<Polled, PollError> {
        let at = Timestamp::now();
        let place = self.configuration.stations.get(station);
        let archive = place.ok_or_else(|| PollError::Unanswered("there is no such station".to_owned()))?;
        let name = archive.name.clone();
        let before = self.store.with(move |store| store.polled(&name)).await?;
        let (before, studies) = before.map_or((None, Vec::new()), |(at, studies)| (Some(at), studies));
        let first_day = self.first_day(before.as_ref(), today).ok_or(PollError::Days)?;
        let mut seen = self.look(station, before.is_none(), first_day, today).await?;
        let known: BTreeMap<Uid, PolledStudy> = studies
            .into_iter()
            .map(|study| (study.study.clone(), study))
            .collect();
        // What has news stays in sight until it is told, also when its day has passed.
        let passed = known
            .values()
            .filter(|study| study.has_news() && !seen.contains_key(&study.study));
        let passed: Vec<Uid> = passed.map(|study| study.study.clone()).collect();
        self.look_at(station, Level::Study, &passed, &mut seen).await?;
        self.count(station, &mut seen).await?;
        let Compared {
            noted,
            forgotten,
            due,
        } = compare(before.as_ref(), &known, &seen);
        let (name, poll) = (archive.name.clone(), PolledArchive { at, first_day });
        let noting = self
            .store
            .with(move |store| store.note_poll(&name, &poll, &noted, &forgotten));
        noting.await?;
        let mut polled = Polled::default();
        // Not always the same ones come last.
        let begin = usize::try_from(at.as_second()).unwrap_or(0) % due.len().max(1);
        for study in due.iter().cycle().skip(begin).take(due.len().min(MOST_TOLD)) {
            let told = self.tell(station, archive, study, &seen, &mut polled).await;
            polled.failed.extend(told.err());
            if polled.failed.len() >= MOST_FAILED {
                break;
            }
        }
        Ok(polled)
    }

    fn first_day(&self, before: Option<&PolledArchive>, today: Date) -> Option<Date> {
        let settings = &self.configuration.settings;
        let days = i64::try_from(settings.count(UPDATES_POLL_DAYS)).ok()?;
        let zone = jiff::tz::TimeZone::system();
        let last = before.map(|before| before.at.to_zoned_datetime(zone).date());
        // None of the days since it last answered is left out.
        let from = last.map_or(today, |last| last.min(today));
        let earliest = today.checked_sub(MOST_DAYS.max(days).days()).ok()?;
        Some(from.checked_sub((days - 1).days()).ok()?.max(earliest))
    }

    /// Tells of one study what is new in it.
    async fn tell(
        &self,
        station: usize,
        archive: &Station,
        study: &PolledStudy,
        seen: &BTreeMap<Uid, Sight>,
        polled: &mut Polled,
    ) -> Result<(), PollError> {
        let mut told = PolledStudy {
            known: study.instances,
            series: None,
            ..study.clone()
        };
        let mut objects = Vec::new();
        if !self.is_visitor(archive, &study.study).await? {
            let listed = self.list(station, &study.study).await?;
            let counts = listed.iter().map(|(series, objects)| (series, objects.len()));
            told.series = Some(growth::counts(counts));
            let grown = listed
                .into_iter()
                .filter(|(series, objects)| growth::has_grown(study, series, objects.len()));
            objects.extend(grown.flat_map(|(_, objects)| objects));
        }
        let patient = seen.get(&study.study).and_then(|sight| sight.patient.clone());
        let of_nobody = patient.is_none() && !objects.is_empty();
        polled.of_nobody += usize::from(of_nobody);
        let (poll, name) = (self.clone(), archive.name.clone());
        let keeping = self.store.with(move |store| {
            let made = match patient {
                Some(patient) => poll.make(store, &told.study, &patient, objects)?,
                None => (0, 0),
            };
            store.note_polled_study(&name, &told)?;
            Ok(made)
        });
        let (updates, objects) = keeping.await?;
        polled.updates += updates;
        polled.objects += objects;
        Ok(())
    }

    /// Whether all of the study was brought there from elsewhere.
    async fn is_visitor(&self, archive: &Station, study: &Uid) -> Result<bool, StoreError> {
        let (study, archive) = (study.clone(), archive.name.clone());
        let brought = self.store.with(move |store| {
            let copies = store.copies(&study)?.into_iter();
            let mut here = copies.filter(|copy| copy.station == archive && copy.expired_at.is_none());
            Ok(here.any(|copy| copy.held_before == 0))
        });
        brought.await
    }

    /// The objects of a study by their series.
    async fn list(&self, station: usize, study: &Uid) -> Result<BTreeMap<Uid, Vec<NewObject>>, PollError> {
        let query = Query {
            level: Level::Image,
            study_uids: vec![study.clone()],
            ..Query::default()
        };
        let mut listed: BTreeMap<Uid, Vec<NewObject>> = BTreeMap::new();
        let listing = self.ask(station, query, |answer| {
            for series in answer.series {
                let uid = series.series_instance_uid;
                let objects = series.images.into_iter().map(|image| NewObject {
                    series: uid.clone(),
                    sop_class: image.sop_class_uid,
                    sop_instance: image.sop_instance_uid,
                });
                listed.entry(uid.clone()).or_default().extend(objects);
            }
            Ok(())
        });
        listing.await?;
        Ok(listed)
    }

    /// Makes the updates of what is not named yet; how many, and of how many objects.
    fn make(
        &self,
        store: &Store,
        study: &Uid,
        patient: &StudyPatient,
        mut objects: Vec<NewObject>,
    ) -> Result<(usize, usize), StoreError> {
        let known = named(store, study)?;
        objects.retain(|object| !known.contains(&object.sop_instance));
        let title = self.configuration.settings.ae_title();
        let mut updates = 0;
        for objects in objects.chunks(UPDATES_AT_ONCE * MOST_OBJECTS) {
            let drafts = drafts(study, patient, &title, objects);
            store.make_updates(&self.attribution, &drafts)?;
            updates += drafts.len();
        }
        Ok((updates, objects.len()))
    }
}
