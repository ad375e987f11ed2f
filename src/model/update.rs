//! An update: a change to one study, as clusters relay it, and the rules by which one is accepted and sent on.
//!
//! Invariants: an update has one identity, origin and revision, however often it is relayed. It concerns one study of
//! one patient; a change of a patient is an update for each of the patient's studies. Pure: what is kept of updates is
//! `store`'s, how they travel `updates`'.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::study_state::{FieldChange, StudyState};
use super::{
    AeTitle, Configuration, Issuer, ReviewReason, Revision, Station, StationName, Syntax, Uid,
    UpdatesDirection,
};

/// Whose study it is, as an update says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StudyPatient {
    /// Patient ID, without wildcards.
    pub id: String,
    /// Its issuer; `None` only of what stays in the cluster: nobody could tell elsewhere whose ID it is.
    pub issuer: Option<Issuer>,
}

/// A series with objects that are new at the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSeries {
    /// Series Instance UID.
    pub series: Uid,
    /// SOP class (where known) and instance of each new object.
    pub objects: Vec<(Option<Uid>, Uid)>,
}

/// New objects of the study, which the receiver pulls as far as it lacks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewObjects {
    /// Where they are had.
    pub retrieve_from: AeTitle,
    /// What they are.
    pub series: Vec<NewSeries>,
}

/// A change to one study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Its own identity (SOP Instance UID).
    pub id: Uid,
    /// The study.
    pub study: Uid,
    /// Whose it is.
    pub patient: StudyPatient,
    /// The cluster that made it.
    pub origin: Uid,
    /// When.
    pub revision: Revision,
    /// The changed fields, each once.
    pub changes: Vec<FieldChange>,
    /// Objects that are new.
    pub new_objects: Option<NewObjects>,
    /// What a person must look at: a key image note, a split, a merge or a deletion, none of which is relayed itself.
    pub review: Option<ReviewReason>,
}

/// Why an update is not applied as it comes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// The switch, or the direction, says no.
    #[error("updates are not accepted from {0}: link cluster updates is off, or only sends")]
    FlagOff(StationName),
    /// Nobody can tell whose patient it is.
    #[error("it names no issuer of the patient ID")]
    NoIssuer,
    /// The sender speaks for a patient of another's.
    #[error("{station} does not speak for patients of {issuer} (its --issuer)")]
    NotItsPatient {
        /// The sender.
        station: StationName,
        /// Whose patient it is.
        issuer: Issuer,
    },
    /// The origin's clock is wrong, or the update is. It is parked: it would win over all that comes until then.
    #[error("its clock is ahead: it was made at {at}, more than the updates.max_clock_ahead setting allows")]
    ClockAhead {
        /// The moment it claims.
        at: String,
    },
}

impl Update {
    /// The state that knows of nothing but this update.
    pub fn state(&self) -> StudyState {
        StudyState::of_changes(&self.changes, (self.revision, &self.origin, &self.id))
    }

    /// Why it is not applied as it came from `sender`; `None` where it is. The patient must be one of the *sender's*
    /// issuers, also where it only relays: whoever lets it speak for other clusters' patients says so by its `--issuer`s.
    pub fn objection(&self, sender: &Station, now: Timestamp, max_ahead: Duration) -> Option<Objection> {
        if !accepts_updates(sender) {
            return Some(Objection::FlagOff(sender.name.clone()));
        }
        let Some(issuer) = &self.patient.issuer else {
            return Some(Objection::NoIssuer);
        };
        if !sender.issuers.contains(issuer) {
            return Some(Objection::NotItsPatient {
                station: sender.name.clone(),
                issuer: issuer.clone(),
            });
        }
        self.clock_objection(now, max_ahead)
    }

    /// The part of [`objection`](Self::objection) that passes with time.
    fn clock_objection(&self, now: Timestamp, max_ahead: Duration) -> Option<Objection> {
        self.revision
            .is_too_far_ahead(now, max_ahead)
            .then(|| Objection::ClockAhead {
                at: self
                    .revision
                    .at()
                    .map_or("no time at all".to_owned(), |at| format!("{at:.0}")),
            })
    }

    /// Updates that tell all that `state` says, under the identities that first brought it, oldest first: for a cluster
    /// that may have missed some. None where the patient has no issuer.
    pub fn telling(state: &StudyState, study: &Uid, patient: &StudyPatient) -> Vec<Update> {
        if patient.issuer.is_none() {
            return Vec::new();
        }
        let told = state.to_tell_again().into_iter();
        told.map(|((revision, origin, id), changes)| Update {
            id,
            study: study.clone(),
            patient: patient.clone(),
            origin,
            revision,
            changes,
            new_objects: None,
            review: None,
        })
        .collect()
    }
}

/// Whether updates of this station are accepted, once it has proven to be it.
pub fn accepts_updates(station: &Station) -> bool {
    let accepts = matches!(
        station.updates_direction,
        UpdatesDirection::Both | UpdatesDirection::Accept
    );
    station.is_linked() && station.links.cluster_updates && accepts
}

/// The stations to which an update that came from `from` (`None`: from here) is relayed: neither back, nor to another
/// door of the cluster it came from.
pub fn relay_targets<'c>(
    configuration: &'c Configuration,
    from: Option<&StationName>,
) -> impl Iterator<Item = &'c Station> {
    let from = from.cloned();
    let cluster = from
        .as_ref()
        .and_then(|from| configuration.station(from)?.cluster.clone());
    configuration.linked_stations().filter(move |station| {
        let sends = matches!(
            station.updates_direction,
            UpdatesDirection::Both | UpdatesDirection::Send
        );
        let is_back =
            from.as_ref() == Some(&station.name) || (cluster.is_some() && station.cluster == cluster);
        station.links.cluster_updates && sends && station.syntax != Syntax::Dicom && !is_back
    })
}

#[cfg(test)]
mod tests;
