//! A station's answers together with what is on record of their studies: whose a delivered copy is, and the states that
//! are laid over.
//!
//! Invariant: answers that are there are looked up together, and none waits for those that are yet to come.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use dicom_dictionary_std::tags;

use crate::dimse::DataSet;
use crate::model::{Level, StudyAnswer, Uid};

use super::super::answer::{self, PatientAnswer};
use super::super::conversation::Interrupt;
use super::super::respondent::Found;
use super::super::stated::{QueryStates, StatedValue, StudyRecords};
use super::Search;

/// The most answers that are looked up at once.
const MOST_AT_ONCE: usize = 64;

impl<'s> Search<'s> {
    /// Takes the matches of a find. What stopped it is told to the station.
    pub(super) async fn take_stated(
        &mut self,
        states: &'s QueryStates,
        matches: &mut Found<'_>,
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        let mut waiting = Vec::new();
        let taken = self
            .take_until_stopped(states, matches, patient, &mut waiting)
            .await;
        match taken {
            Err(Interrupt::Stopped(stop)) => Err(matches.stopped(stop).await),
            taken => taken,
        }
    }

    async fn take_until_stopped(
        &mut self,
        states: &'s QueryStates,
        matches: &mut Found<'_>,
        patient: Option<&PatientAnswer>,
        waiting: &mut Vec<DataSet>,
    ) -> Result<(), Interrupt> {
        loop {
            let came = {
                let mut next = pin!(matches.next());
                match if_ready(next.as_mut()).await {
                    Some(came) => came,
                    None => {
                        self.show(states, waiting, patient).await?;
                        next.await
                    }
                }
            };
            match came {
                Ok(Some(data_set)) => waiting.push(data_set),
                ended => {
                    self.show(states, waiting, patient).await?;
                    return ended.map(drop);
                }
            }
            if waiting.len() >= MOST_AT_ONCE {
                self.show(states, waiting, patient).await?;
            }
        }
    }

    /// Takes the answers that wait.
    async fn show(
        &mut self,
        states: &QueryStates,
        waiting: &mut Vec<DataSet>,
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        if waiting.is_empty() {
            return Ok(());
        }
        let studies: Vec<Uid> = waiting.iter().filter_map(study_uid).collect();
        let records = states.of_studies(studies).await.map_err(Interrupt::States)?;
        for data_set in waiting.drain(..) {
            let Some((study, shown)) = self.read_study(&data_set, patient, Some((states, &records))) else {
                continue;
            };
            if self.question.query.level != Level::Study {
                self.studies.push((study, data_set, shown));
            } else {
                self.emit(study, data_set, Vec::new(), shown)
                    .await
                    .map_err(Interrupt::Stopped)?;
            }
        }
        Ok(())
    }

    /// Lays over the study what was said of it; `None` where that is not what the query asks for.
    pub(super) fn lay_over(
        &self,
        study: &mut StudyAnswer,
        said: Option<(&QueryStates, &StudyRecords)>,
    ) -> Option<Vec<StatedValue>> {
        let Some((states, said)) = said else {
            return Some(Vec::new());
        };
        let stated = match states.lay_over(study, said) {
            // Another patient's study of the same UID was not asked for.
            None if self.is_by_state => return None,
            stated => stated.unwrap_or_default(),
        };
        states
            .meets_keys(study, &stated, self.is_by_state)
            .then_some(stated)
    }
}

fn study_uid(data_set: &DataSet) -> Option<Uid> {
    answer::uid(data_set.element(tags::STUDY_INSTANCE_UID)?)
}

/// What the future gives at once, where it does.
async fn if_ready<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
