//! The questions that are put to an archive: what it has of which days, and of which studies.
//!
//! Invariant: what it does not answer to the end is no answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use jiff::civil::Date;

use super::growth::Sight;
use super::{MOST_STUDIES, Poll, PollError};
use crate::link::completeness::has_ended_well;
use crate::link::policy::{Role, Target};
use crate::link::{Event, LinkedQuery, Request};
use crate::model::{DateRange, Level, Query, Returned, StudyAnswer, Uid};

/// What says how many instances a study has, and a series.
const COUNTS: [Tag; 2] = [
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
];
/// How many studies are asked for by their UIDs at once.
const UIDS_AT_ONCE: usize = 100;
/// How long an archive may take to answer one question.
const QUESTION: Duration = Duration::from_secs(600);

impl Poll {
    /// The studies since that day, and how many instances each has. With `by_series` also how many each series has.
    pub(super) async fn look(
        &self,
        station: usize,
        by_series: bool,
        first_day: Date,
        today: Date,
    ) -> Result<BTreeMap<Uid, Sight>, PollError> {
        let days = DateRange::parse(&format!("{first_day}.."), today).map_err(|_| PollError::Days)?;
        let (level, counts) = match by_series {
            true => (Level::Series, &COUNTS[..]),
            false => (Level::Study, &COUNTS[..1]),
        };
        let query = Query {
            level,
            study_date: Some(days),
            // An archive may have to open a file of each study for what it does not keep in its index.
            returned: Returned::Patient,
            further_keys: counts.iter().map(|tag| (*tag, String::new())).collect(),
            ..Query::default()
        };
        let mut seen = BTreeMap::new();
        self.ask(station, query, |study| see(&mut seen, study)).await?;
        Ok(seen)
    }

    pub(super) async fn look_at(
        &self,
        station: usize,
        level: Level,
        studies: &[Uid],
        seen: &mut BTreeMap<Uid, Sight>,
    ) -> Result<(), PollError> {
        for studies in studies.chunks(UIDS_AT_ONCE) {
            let query = Query {
                level,
                study_uids: studies.to_vec(),
                ..Query::default()
            };
            self.ask(station, query, |study| see(seen, study)).await?;
        }
        Ok(())
    }

    /// Counts the instances of studies of which the archive does not say how many there are.
    pub(super) async fn count(
        &self,
        station: usize,
        seen: &mut BTreeMap<Uid, Sight>,
    ) -> Result<(), PollError> {
        let uncounted = seen.iter().filter(|(_, sight)| sight.instances.is_none());
        let uncounted: Vec<Uid> = uncounted.map(|(study, _)| study.clone()).collect();
        for study in &uncounted {
            seen.remove(study);
        }
        self.look_at(station, Level::Image, &uncounted, seen).await
    }

    /// Puts a question to the archive, to the end.
    pub(super) async fn ask(
        &self,
        station: usize,
        query: Query,
        mut take: impl FnMut(StudyAnswer) -> Result<(), PollError>,
    ) -> Result<(), PollError> {
        let mut asking = LinkedQuery::start(Request {
            configuration: Arc::clone(&self.configuration),
            query: Arc::new(query),
            cross_reference: Arc::clone(&self.cross_reference),
            targets: vec![Target {
                station,
                role: Role::Archive,
                may_speak_linked: false,
                skip: None,
            }],
            health: BTreeMap::new(),
            tls: self.tls.clone(),
            archive: self.archive.clone(),
            states: None,
            timeout: Some(QUESTION),
            resting: BTreeMap::new(),
            turns: self.turns.clone(),
        });
        let unanswered = |detail: Option<String>| {
            PollError::Unanswered(detail.unwrap_or_else(|| "it did not answer to the end".to_owned()))
        };
        while let Some(event) = asking.next().await {
            match event {
                Event::Answer(answer) => take(*answer.study)?,
                Event::Ended(ended) if has_ended_well(&ended.entry) => return Ok(()),
                Event::Ended(ended) => return Err(unanswered(ended.entry.detail)),
            }
        }
        Err(unanswered(None))
    }
}

/// Adds an answer to what was seen.
fn see(seen: &mut BTreeMap<Uid, Sight>, answer: StudyAnswer) -> Result<(), PollError> {
    let study = answer.study_instance_uid.clone();
    let sight = Sight::of(answer);
    if let Some(known) = seen.get_mut(&study) {
        known.join(sight);
    } else if seen.len() < MOST_STUDIES {
        seen.insert(study, sight);
    } else {
        return Err(PollError::TooMany);
    }
    Ok(())
}
