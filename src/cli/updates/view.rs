//! The JSON shapes of the relay, and their cells.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::time::local_time;
use crate::model::{Revision, StateField, StationName, Uid, Update};
use crate::store::{LoggedUpdate, OutboxRow, OutboxState};

/// A row of the outbox.
#[derive(Debug, Serialize)]
pub struct RelayView<'a> {
    station: &'a StationName,
    state: &'static str,
    update: &'a Uid,
    study_instance_uid: &'a Uid,
    changed: Vec<StateField>,
    attempts: u32,
    next_try: Option<Timestamp>,
    changed_at: Timestamp,
    reason: Option<&'a str>,
}

impl<'a> From<&'a OutboxRow> for RelayView<'a> {
    fn from(row: &'a OutboxRow) -> Self {
        RelayView {
            station: &row.station,
            state: row.state.as_str(),
            update: &row.update.id,
            study_instance_uid: &row.update.study,
            changed: changed(&row.update),
            attempts: row.attempts,
            next_try: (row.state == OutboxState::Queued).then_some(row.next_try),
            changed_at: row.changed_at,
            reason: row.reason.as_deref(),
        }
    }
}

impl RelayView<'_> {
    /// Station, state, what is changed, tries and what went wrong.
    pub fn cells(&self) -> [String; 5] {
        let detail = match self.reason {
            Some(reason) => reason.to_owned(),
            None => local_time(self.changed_at),
        };
        [
            self.station.to_string(),
            self.state.to_owned(),
            named(&self.changed),
            self.attempts.to_string(),
            detail,
        ]
    }

    /// The update's identity before the other cells.
    pub fn cells_with_update(&self) -> [String; 6] {
        let [station, state, changed, attempts, detail] = self.cells();
        [self.update.to_string(), station, state, changed, attempts, detail]
    }
}

/// An update in the log.
#[derive(Debug, Serialize)]
pub struct UpdateView<'a> {
    update: &'a Uid,
    study_instance_uid: &'a Uid,
    origin: &'a Uid,
    revision: Revision,
    at: Timestamp,
    /// The station that sent it; null where it was made here.
    from: Option<&'a StationName>,
    changed: Vec<StateField>,
    new_objects: usize,
    review: Option<&'a str>,
    /// Why it is parked; null where it is applied.
    parked: Option<&'a str>,
}

impl<'a> From<&'a LoggedUpdate> for UpdateView<'a> {
    fn from(logged: &'a LoggedUpdate) -> Self {
        let update = &logged.update;
        let series = update.new_objects.iter().flat_map(|new| &new.series);
        UpdateView {
            update: &update.id,
            study_instance_uid: &update.study,
            origin: &update.origin,
            revision: update.revision,
            at: logged.at,
            from: logged.from.as_ref(),
            changed: changed(update),
            new_objects: series.map(|series| series.objects.len()).sum(),
            review: update.review.as_ref().map(|reason| reason.as_str()),
            parked: logged.parked.as_deref(),
        }
    }
}

impl UpdateView<'_> {
    /// Field by field, for people.
    pub fn rows(&self) -> Vec<[String; 2]> {
        let from = self.from.map_or("here".to_owned(), |from| from.to_string());
        let mut rows = vec![
            ("update", self.update.to_string()),
            ("study", self.study_instance_uid.to_string()),
            ("from", format!("{from}, {}", local_time(self.at))),
            ("origin", self.origin.to_string()),
            ("changes", named(&self.changed)),
        ];
        if self.new_objects > 0 {
            rows.push(("new objects", self.new_objects.to_string()));
        }
        rows.extend(self.review.map(|reason| ("review", reason.to_owned())));
        rows.extend(self.parked.map(|reason| ("PARKED", reason.to_owned())));
        rows.into_iter()
            .map(|(name, value)| [name.to_owned(), value])
            .collect()
    }
}

fn changed(update: &Update) -> Vec<StateField> {
    update.changes.iter().map(|change| change.field).collect()
}

fn named(fields: &[StateField]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
}
