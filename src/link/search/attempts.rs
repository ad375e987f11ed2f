//! Putting one query to the station: again where it hung up, and in each character set that it may take.
//!
//! Invariant: what a further attempt brings is added to what came before, each row once. A failure is the query's failure
//! unless another attempt was answered.

use std::collections::HashSet;

use dicom_core::Tag;

use super::super::answer::PatientAnswer;
use super::super::conversation::Interrupt;
use super::super::identifier::Keys;
use super::super::repertoire::{After, Trial, is_hang_up};
use super::super::respondent::Dialogue;
use super::Search;
use crate::dimse::{DataSet, trim_padding};
use crate::model::CharacterSet;

/// The most rows below study level that are kept of one study.
const MAX_LOWER_ROWS: usize = 100_000;

impl<'s> Search<'s> {
    /// Asks for studies by all of these.
    pub(super) async fn find_all(
        &mut self,
        line: &mut Dialogue<'s>,
        all: &[Keys],
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        for keys in all {
            let mut trial = self.respondent.trial(keys, line.root());
            let mut answered = None;
            while let Some(charset) = trial.next() {
                let before = self.new_rows;
                let found = self.find_again(line, keys, charset.as_ref(), patient).await;
                if found.is_ok() {
                    answered = self.entry.dicom_status;
                }
                let new = self.new_rows - before;
                if let Err(failure) = self.note(line, &mut trial, found, new).await {
                    self.learn(trial);
                    return Err(failure);
                }
            }
            self.entry.dicom_status = answered;
            self.learn(trial);
        }
        Ok(())
    }

    async fn find_again(
        &mut self,
        line: &mut Dialogue<'s>,
        keys: &Keys,
        charset: Option<&CharacterSet>,
        patient: Option<&PatientAnswer>,
    ) -> Result<(), Interrupt> {
        let was_used = line.is_used();
        let before = self.entry.matches;
        let found = self.find_studies(line, keys, charset, patient).await;
        if !(was_used && self.entry.matches == before && has_hung_up(&found)) {
            return found;
        }
        *line = self.open().await?;
        self.find_studies(line, keys, charset, patient).await
    }

    /// All matches of a find that are few by nature: the patients of a name, the series of a study.
    pub(super) async fn collect(
        &mut self,
        line: &mut Dialogue<'s>,
        keys: &Keys,
        identified_by: Tag,
    ) -> Result<Vec<DataSet>, Interrupt> {
        let mut trial = self.respondent.trial(keys, line.root());
        let is_single = trial.attempts_left() == 1;
        let (mut all, mut known) = (Vec::new(), HashSet::new());
        while let Some(charset) = trial.next() {
            let mut rows = Vec::new();
            let collected = self.collect_again(line, keys, charset.as_ref(), &mut rows).await;
            let identity = |row: &DataSet| row.element(identified_by).map(trim_padding).map(<[u8]>::to_vec);
            rows.retain(|row| is_single || !identity(row).is_some_and(|identity| known.contains(&identity)));
            let new = rows.len() as u64;
            if let Err(failure) = self.note(line, &mut trial, collected, new).await {
                self.learn(trial);
                return Err(failure);
            }
            known.extend(rows.iter().filter(|_| !is_single).filter_map(identity));
            all.append(&mut rows);
        }
        self.learn(trial);
        Ok(all)
    }

    async fn collect_again(
        &mut self,
        line: &mut Dialogue<'s>,
        keys: &Keys,
        charset: Option<&CharacterSet>,
        rows: &mut Vec<DataSet>,
    ) -> Result<(), Interrupt> {
        let was_used = line.is_used();
        let collected = self.collect_once(line, keys, charset, rows).await;
        if !(was_used && rows.is_empty() && has_hung_up(&collected)) {
            return collected;
        }
        *line = self.open().await?;
        self.collect_once(line, keys, charset, rows).await
    }

    async fn collect_once(
        &mut self,
        line: &mut Dialogue<'s>,
        keys: &Keys,
        charset: Option<&CharacterSet>,
        rows: &mut Vec<DataSet>,
    ) -> Result<(), Interrupt> {
        self.entry.dicom_status = None;
        let mut matches = line.find(keys, charset).await?;
        let collected = loop {
            match matches.next().await {
                Ok(Some(data_set)) if rows.len() < MAX_LOWER_ROWS => rows.push(data_set),
                Ok(Some(_)) => self.entry.dropped += 1,
                Ok(None) => break Ok(()),
                Err(interrupt) => break Err(interrupt),
            }
        };
        self.count(&matches);
        collected
    }

    /// Takes note of an attempt, and opens another association where the station ended this one and may be asked again.
    async fn note(
        &mut self,
        line: &mut Dialogue<'s>,
        trial: &mut Trial,
        ended: Result<(), Interrupt>,
        new: u64,
    ) -> Result<(), Interrupt> {
        if trial.note(ended, new)? == After::Reopen {
            *line = self.open().await?;
        }
        Ok(())
    }

    fn learn(&mut self, trial: Trial) {
        for set in trial.matched {
            if !self.notes.matched_in.contains(&set) {
                self.notes.matched_in.push(set);
            }
        }
        if trial.tried.len() > 1 {
            self.notes.tried_in = trial.tried;
        }
    }
}

/// Whether the station hung up instead of answering: some do after one find, and take a new association.
fn has_hung_up<T>(found: &Result<T, Interrupt>) -> bool {
    matches!(found, Err(Interrupt::Peer(error)) if is_hang_up(error))
}
