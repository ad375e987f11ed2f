//! What came of a retrieve.
//!
//! Invariant: text from peers holds no control characters; no patient data are in it.

use std::collections::BTreeMap;

use super::{Method, Refusal};
use crate::archive::ArchiveError;
use crate::model::{StationName, Uid};
use crate::store::{LinkReport, StoreError};

/// What came of a retrieve.
#[derive(Debug)]
pub struct Retrieved {
    /// The study.
    pub study_instance_uid: Uid,
    /// The archive station it was brought to.
    pub station: StationName,
    /// Whether every wanted instance is there that any source lists, and every source has answered in full.
    pub complete: bool,
    /// How many of the wanted instances are there now.
    pub instances: u64,
    /// How many of them have come; would come, where it was only looked.
    pub fetched: u64,
    /// How many of them were there before.
    pub already_there: u64,
    /// Those that a source lists, and that are not there.
    pub missing: Vec<Uid>,
    /// How many more a source counts without listing or sending them.
    pub missing_unlisted: u64,
    /// Those that were refused as they are not what their source listed, with the reason of the last refusal.
    pub refused: BTreeMap<Uid, Refusal>,
    /// Why nothing was moved, though a station has it: a conflict that was not checked, or one at the destination.
    pub deferred: Option<String>,
    /// Those whose data differ from what was stored under their UIDs before: that stays, and they are kept aside.
    pub kept_aside: Vec<Uid>,
    /// The sources that were used or tried, in their order.
    pub sources: Vec<SourceReport>,
    /// Stations that should have said what they have of it, and did not, or not in full.
    pub unanswered: Vec<Unanswered>,
    /// Stations where the UID stands for another patient: unless they are named, nothing is fetched then.
    pub conflicts: Vec<StationName>,
    /// Whether it was cancelled before its end.
    pub cancelled: bool,
    /// Why the origin of what came could not be put on record.
    pub unrecorded: Option<String>,
    /// How the links fared, for the store.
    pub link_reports: Vec<LinkReport>,
}

impl Retrieved {
    /// Whether the study was found anywhere, the destination included.
    pub fn is_found(&self) -> bool {
        self.instances > 0 || !self.sources.is_empty() || !self.conflicts.is_empty()
    }

    /// What went wrong at which station: first those that did not say what they have, then those that were tried.
    pub fn troubles(&self) -> impl Iterator<Item = (&StationName, &str)> {
        let unanswered = self.unanswered.iter();
        let unanswered = unanswered.map(|station| (&station.station, station.detail.as_str()));
        let tried = self.sources.iter();
        unanswered.chain(tried.filter_map(|source| Some((&source.station, source.detail.as_deref()?))))
    }
}

/// A station that should have said what it has of the study, and did not, or not in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Its name.
    pub station: StationName,
    /// Whether it answered, but not in full.
    pub answered_in_part: bool,
    /// Why it did not.
    pub detail: String,
}

/// What a source did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Its name.
    pub station: StationName,
    /// The last method that was tried; `None` where nothing was fetched.
    pub method: Option<Method>,
    /// How many of the wanted instances it lists.
    pub listed: u64,
    /// How many came from it; would come, where it was only looked.
    pub instances: u64,
    /// How many of those asked for did not.
    pub failed: u64,
    /// The status of its last final response.
    pub dicom_status: Option<u16>,
    /// What went wrong. Never patient data.
    pub detail: Option<String>,
    /// The comments of its final responses that tell of something. They may hold patient data, so they are shown and
    /// never stored.
    pub comments: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SourceReport {
    /// The detail with the station's comments, for the person who has retrieved.
    pub fn shown_detail(&self) -> Option<String> {
        let comments = self
            .comments
            .iter()
            .map(|comment| format!("its comment: {comment}"));
        let parts: Vec<String> = self.detail.iter().cloned().chain(comments).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Why nothing could be retrieved at all.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveError {
    /// There is nowhere to bring it.
    #[error("the local cluster has no archive station to bring studies to")]
    NoArchive,
    /// The station to bring it to is none.
    #[error("{0} is no archive station of the local cluster")]
    NotAnArchive(StationName),
    /// It can't be known what is there.
    #[error("{station} does not say what it has: {detail}")]
    Destination {
        /// The destination.
        station: StationName,
        /// Why not.
        detail: String,
    },
    /// What comes into the embedded archive must not be taken for the local cluster's own later.
    #[error("the origin of the copy can't be put on record")]
    Unrecorded(#[source] StoreError),
    /// The embedded archive failed.
    #[error("the embedded archive failed")]
    Archive(#[source] ArchiveError),
}
