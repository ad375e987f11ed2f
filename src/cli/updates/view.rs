//! The JSON shapes of the relay, and their cells.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::time::local_time;
use crate::model::{Revision, StateField, StationName, Uid, Update};
use crate::store::{DuePull, LoggedUpdate, OutboxRow, OutboxState};

/// A row of the outbox.
#[derive(Debug, Serialize)]
pub struct RelayView<'a> {
    station: &'a StationName,
    state: &'static str,
    update: &'a Uid,
    study_instance_uid: &'a Uid,
    changed: Vec<StateField>,
    new_objects: usize,
    review: Option<&'a str>,
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
            new_objects: new_objects(&row.update),
            review: review(&row.update),
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
            self.told(),
            self.attempts.to_string(),
            detail,
        ]
    }

    /// What it tells: fields, new objects, or that a person must look.
    fn told(&self) -> String {
        let fields = self.changed.iter().map(|field| field.as_str().to_owned());
        let objects = match self.new_objects {
            0 => None,
            1 => Some("1 new object".to_owned()),
            several => Some(format!("{several} new objects")),
        };
        let review = self.review.map(|_| "review".to_owned());
        let told: Vec<String> = fields.chain(objects).chain(review).collect();
        told.join(", ")
    }

    /// The update's identity before the other cells.
    pub fn cells_with_update(&self) -> [String; 6] {
        let [station, state, changed, attempts, detail] = self.cells();
        [self.update.to_string(), station, state, changed, attempts, detail]
    }
}

/// Objects of an update that are still to be pulled.
#[derive(Debug, Serialize)]
pub struct PullView<'a> {
    update: &'a Uid,
    study_instance_uid: &'a Uid,
    /// The station that sent the update.
    from: Option<&'a StationName>,
    at: Timestamp,
    new_objects: usize,
    /// How often it was tried in vain.
    failures: u32,
    next_try: Option<Timestamp>,
    under_review: bool,
    /// Why they did not come; null where it was not tried yet.
    reason: Option<&'a str>,
}

impl<'a> From<&'a DuePull> for PullView<'a> {
    fn from(due: &'a DuePull) -> Self {
        let (logged, trouble) = (&due.logged, due.trouble.as_ref());
        PullView {
            update: &logged.update.id,
            study_instance_uid: &logged.update.study,
            from: logged.from.as_ref(),
            at: logged.at,
            new_objects: new_objects(&logged.update),
            failures: trouble.map_or(0, |trouble| trouble.failures),
            next_try: trouble
                .filter(|_| !due.is_under_review)
                .map(|trouble| trouble.next_try),
            under_review: due.is_under_review,
            reason: trouble.map(|trouble| trouble.reason.as_str()),
        }
    }
}

impl PullView<'_> {
    /// Update, the station that sent it, study, number of objects, tries and what keeps them.
    pub fn cells(&self) -> [String; 6] {
        [
            self.update.to_string(),
            self.from.map_or_else(String::new, ToString::to_string),
            self.study_instance_uid.to_string(),
            self.new_objects.to_string(),
            self.failures.to_string(),
            self.why(),
        ]
    }

    /// What keeps the objects.
    pub fn why(&self) -> String {
        match (self.under_review, self.reason) {
            (true, _) => "under review: impaxlink study review".to_owned(),
            (false, Some(reason)) => reason.to_owned(),
            (false, None) => "to be pulled".to_owned(),
        }
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
        UpdateView {
            update: &update.id,
            study_instance_uid: &update.study,
            origin: &update.origin,
            revision: update.revision,
            at: logged.at,
            from: logged.from.as_ref(),
            changed: changed(update),
            new_objects: new_objects(update),
            review: review(update),
            parked: logged.parked.as_deref(),
        }
    }
}

impl UpdateView<'_> {
    /// Field by field, for people.
    pub fn rows(&self, pull: Option<&PullView<'_>>) -> Vec<[String; 2]> {
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
        rows.extend(pull.map(|pull| ("NOT HERE YET", pull.why())));
        rows.extend(self.review.map(|reason| ("review", reason.to_owned())));
        rows.extend(self.parked.map(|reason| ("PARKED", reason.to_owned())));
        rows.into_iter()
            .map(|(name, value)| [name.to_owned(), value])
            .collect()
    }
}

fn new_objects(update: &Update) -> usize {
    let series = update.new_objects.iter().flat_map(|new| &new.series);
    series.map(|series| series.objects.len()).sum()
}

fn review(update: &Update) -> Option<&str> {
    update.review.as_ref().map(|reason| reason.as_str())
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
