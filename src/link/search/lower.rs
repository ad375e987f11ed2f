//! The series of the studies that were found, and their instances.
//!
//! Invariant: a level is asked for only where the query wants it; what came before a failure is given all the same.

use std::collections::HashSet;

use dicom_dictionary_std::tags;

use super::super::conversation::Interrupt;
use super::super::event::LowerRow;
use super::super::keys::{Root, image_keys, series_keys};
use super::super::respondent::Dialogue;
use super::{Search, is_of_another_modality};
use crate::dimse::DataSet;
use crate::model::{Level, StudyAnswer, Uid};

impl<'s> Search<'s> {
    /// The series of the studies found, and their instances, as far as the query asks for them.
    pub(super) async fn find_lower_levels(&mut self, line: &mut Dialogue<'s>) -> Result<(), Interrupt> {
        for (mut study, data_set, stated) in std::mem::take(&mut self.studies) {
            let mut lower = Vec::new();
            let found = self.find_series(line, &mut study, &mut lower).await;
            self.emit(study, data_set, lower, stated)
                .await
                .map_err(Interrupt::Stopped)?;
            found?;
        }
        Ok(())
    }

    async fn find_series(
        &mut self,
        line: &mut Dialogue<'s>,
        study: &mut StudyAnswer,
        lower: &mut Vec<LowerRow>,
    ) -> Result<(), Interrupt> {
        let patient_id = match line.root() {
            Root::Linked | Root::Study => None,
            Root::Patient => Some(study.patient_id.id.clone()),
        };
        let patient_id = patient_id.as_deref();
        let known = study
            .series
            .iter()
            .map(|series| series.series_instance_uid.clone());
        let mut known: HashSet<Uid> = known.collect();
        for keys in series_keys(&self.question.query, &study.study_instance_uid, patient_id)? {
            for data_set in self.collect(line, &keys, tags::SERIES_INSTANCE_UID).await? {
                let Some(series) = self.reader.series(&data_set) else {
                    self.entry.dropped += 1;
                    continue;
                };
                if !is_of_another_modality(&self.question.query, series.modality.as_deref())
                    && known.insert(series.series_instance_uid.clone())
                {
                    study.series.push(series);
                    lower.push(LowerRow {
                        data_set,
                        series: None,
                    });
                }
            }
        }
        if self.question.query.level == Level::Image {
            let all_series = std::mem::take(lower);
            for (index, series) in all_series.iter().enumerate() {
                let mut instances = self.find_images(line, study, index, patient_id).await?;
                lower.extend(instances.drain(..).map(|data_set| LowerRow {
                    data_set,
                    series: Some(series.data_set.clone()),
                }));
            }
        }
        Ok(())
    }

    async fn find_images(
        &mut self,
        line: &mut Dialogue<'s>,
        study: &mut StudyAnswer,
        index: usize,
        patient_id: Option<&str>,
    ) -> Result<Vec<DataSet>, Interrupt> {
        let mut instances = Vec::new();
        let Some(series) = study.series.get_mut(index) else {
            return Ok(instances);
        };
        let uid = &series.series_instance_uid;
        for keys in image_keys(&self.question.query, &study.study_instance_uid, uid, patient_id)? {
            for data_set in self.collect(line, &keys, tags::SOP_INSTANCE_UID).await? {
                match self.reader.image(&data_set) {
                    Some(image) => {
                        series.images.push(image);
                        instances.push(data_set);
                    }
                    None => self.entry.dropped += 1,
                }
            }
        }
        Ok(instances)
    }
}
