//! Which visitors stay, and why: by what is on record, by the configuration, and by what is stored.
//!
//! Invariant: pure. What is not known for sure is a reason to stay.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::archive::Holding;
use crate::model::{AeTitle, Configuration, Station, StationName, Uid};
use crate::store::CopyRecord;

/// A study in the embedded archive that was brought from elsewhere, by all its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    study_instance_uid: Uid,
    records: Vec<CopyRecord>,
}

/// Why a visitor does not expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// A part of it was in the archive before anything was brought.
    HeldBefore,
    /// Somebody else than its sources sent a part of it.
    SentBy(AeTitle),
    /// A part of it did not come over the network.
    Imported,
    /// Its state was changed here.
    Changed,
    /// A source of it is not linked any more: it could not be fetched again.
    NotLinked(StationName),
    /// A source of it is suspended.
    Suspended(StationName),
    /// Something of it is kept aside for somebody to look at.
    KeptAside,
    /// It was brought, used or sent to again while it was looked at.
    InUse,
}

impl Stays {
    /// Whether it is at home now, and does not expire later either.
    pub fn is_for_good(&self) -> bool {
        matches!(
            self,
            Stays::HeldBefore | Stays::SentBy(_) | Stays::Imported | Stays::Changed
        )
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::HeldBefore => f.write_str("a part of it was here before"),
            Stays::SentBy(sender) => write!(f, "changed here: {sender} sent a part of it"),
            Stays::Imported => f.write_str("changed here: a part of it was imported"),
            Stays::Changed => f.write_str("changed here"),
            Stays::NotLinked(source) => write!(f, "{source} is not linked: it could not be fetched again"),
            Stays::Suspended(source) => write!(f, "{source} is suspended: it could not be fetched again"),
            Stays::KeptAside => f.write_str("something of it is kept aside"),
            Stays::InUse => f.write_str("in use"),
        }
    }
}

impl Visitor {
    /// What is on record of one study, as far as it is of the embedded archive and has not expired; `None` where nothing
    /// is.
    pub fn of(records: Vec<CopyRecord>) -> Option<Self> {
        let is_here = |record: &CopyRecord| record.is_embedded && record.expired_at.is_none();
        let records: Vec<CopyRecord> = records.into_iter().filter(is_here).collect();
        let study_instance_uid = records.first()?.study_instance_uid.clone();
        Some(Visitor {
            study_instance_uid,
            records,
        })
    }

    /// Which study.
    pub fn study_instance_uid(&self) -> &Uid {
        &self.study_instance_uid
    }

    /// The stations that gave it.
    pub fn sources(&self) -> impl Iterator<Item = &StationName> {
        self.records.iter().map(|record| &record.source)
    }

    /// When it expires, `keep` after it was last brought or used, where nothing keeps it.
    pub fn expires_at(&self, keep: Duration) -> Timestamp {
        let last = self.records.iter().map(CopyRecord::last_activity).max();
        last.and_then(|last| last.checked_add(keep).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// What keeps it, by the record and the configuration alone.
    pub fn stays_by_record(&self, configuration: &Configuration, now: Timestamp) -> Option<Stays> {
        if self.records.iter().any(|record| record.held_before > 0) {
            return Some(Stays::HeldBefore);
        }
        self.records.iter().find_map(|record| {
            let source = configuration
                .stations
                .iter()
                .find(|station| is_source(record, station));
            match source {
                None => Some(Stays::NotLinked(record.source.clone())),
                Some(source) if source.is_suspended(now) => Some(Stays::Suspended(record.source.clone())),
                Some(_) => None,
            }
        })
    }

    /// What keeps it, by what is stored of it.
    pub fn stays_by_holding(&self, holding: &Holding) -> Option<Stays> {
        let is_of_source = |sender: &&AeTitle| {
            let mut titles = self.records.iter().flat_map(|record| &record.source_titles);
            titles.any(|title| title == *sender)
        };
        if let Some(other) = holding.senders().iter().find(|sender| !is_of_source(sender)) {
            return Some(Stays::SentBy(other.clone()));
        }
        if holding.was_imported() {
            return Some(Stays::Imported);
        }
        (holding.kept_aside() > 0).then_some(Stays::KeptAside)
    }
}

/// Whether the copy can be fetched again from that station, which may have got another name.
fn is_source(record: &CopyRecord, station: &Station) -> bool {
    let is_same = station.name == record.source || record.source_titles.contains(&station.ae_title);
    is_same && station.is_linked()
}
