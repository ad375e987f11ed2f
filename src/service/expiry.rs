//! Visitors that go: what linked clusters gave stays in the embedded archive for `prefetch.keep` after it was last
//! brought or used.
//!
//! Invariant: nothing is removed but what came whole over the network from stations that are linked now, so that it can be
//! fetched again; what was changed here is at home from then on. It leaves the archive while nobody can begin to bring
//! it, or note its use, in the store. What was removed is in the log and in the audit, by UID and source.
//!
//! `verdict` says what stays and why. `archive expire` does the same without a service.

mod verdict;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

pub use self::verdict::{Stays, Visitor};
use super::{Service, chain};
use crate::archive::{Archive, ArchiveError, Holding};
use crate::audit::{Attribution, Expired};
use crate::model::{Configuration, StationName, Uid};
use crate::store::{SharedStore, Store, StoreError};

/// So many times while one is kept, visitors are looked through, within these bounds.
const LOOKS_WHILE_KEPT: u32 = 10;
const MOST_OFTEN: Duration = Duration::from_millis(500);
const MOST_RARELY: Duration = Duration::from_secs(3600);

/// Why a visitor could not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpiryError {
    /// The archive failed.
    #[error("the study can't be looked at or removed")]
    Archive(#[from] ArchiveError),
    /// The store failed.
    #[error("the record of copies can't be read or written")]
    Store(#[from] StoreError),
}

/// A visitor whose time has come, and what became of it.
#[derive(Debug)]
pub struct Expiry {
    /// Which study.
    pub study_instance_uid: Uid,
    /// The stations that gave it.
    pub sources: Vec<StationName>,
    /// How many instances there were, where it was looked at.
    pub instances: u64,
    /// The size of their files, in bytes.
    pub bytes: u64,
    /// Why it stays; `None` where it went, or is to go.
    pub stays: Option<Stays>,
}

/// The visitors of the cluster whose store and embedded archive these are.
#[derive(Debug)]
pub struct Visitors<'a> {
    /// Where their origin is on record.
    pub store: &'a Store,
    /// Where they are.
    pub archive: &'a Archive,
    /// Which stations are linked, and how long visitors are kept.
    pub configuration: &'a Configuration,
}

impl Visitors<'_> {
    /// Those whose time has come: neither brought nor used for as long as they are kept.
    pub fn due(&self) -> Result<Vec<Visitor>, ExpiryError> {
        let records = self.store.quiet_copies(self.quiet_since())?;
        let by_study = records.chunk_by(|one, other| one.study_instance_uid == other.study_instance_uid);
        Ok(by_study
            .filter_map(|records| Visitor::of(records.to_vec()))
            .collect())
    }

    /// What became of one if it were to go now.
    pub fn look_at(&self, visitor: &Visitor) -> Result<Expiry, ExpiryError> {
        Ok(self.look(visitor)?.0)
    }

    /// Removes one, unless something keeps it.
    pub fn expire(&self, visitor: &Visitor, attribution: &Attribution) -> Result<Expiry, ExpiryError> {
        let (mut expiry, holding) = self.look(visitor)?;
        let Some(holding) = holding else {
            if expiry.stays.as_ref().is_some_and(Stays::is_for_good) {
                self.store.keep_for_good(visitor.study_instance_uid())?;
            }
            return Ok(expiry);
        };
        let expired = Expired {
            study_instance_uid: expiry.study_instance_uid.clone(),
            sources: expiry.sources.clone(),
            instances: expiry.instances,
        };
        let has_gone = self
            .store
            .expire_copy(&expired, self.quiet_since(), attribution, || {
                self.archive.remove(&holding).map_err(ExpiryError::from)
            })?;
        if !has_gone {
            expiry.stays = Some(Stays::InUse);
        }
        Ok(expiry)
    }

    /// The holding is there where nothing keeps the visitor.
    fn look(&self, visitor: &Visitor) -> Result<(Expiry, Option<Holding>), ExpiryError> {
        let study = visitor.study_instance_uid();
        let mut expiry = Expiry {
            study_instance_uid: study.clone(),
            sources: visitor.sources().cloned().collect(),
            instances: 0,
            bytes: 0,
            stays: visitor.stays_by_record(self.configuration, Timestamp::now()),
        };
        if expiry.stays.is_none() && self.was_stated_here(study)? {
            expiry.stays = Some(Stays::Changed);
        }
        if expiry.stays.is_some() {
            return Ok((expiry, None));
        }
        let holding = self.archive.holding(study)?;
        expiry.instances = holding.instances();
        expiry.bytes = holding.bytes();
        expiry.stays = visitor.stays_by_holding(&holding);
        let may_go = expiry.stays.is_none();
        Ok((expiry, may_go.then_some(holding)))
    }

    /// Whether its state was changed in this cluster.
    fn was_stated_here(&self, study: &Uid) -> Result<bool, StoreError> {
        let states = self.store.study_states(std::slice::from_ref(study))?;
        let mut writes = states.iter().flat_map(|stated| stated.state.writes());
        Ok(writes.any(|(_, write)| write.cluster == *self.store.cluster_uid()))
    }

    fn quiet_since(&self) -> Timestamp {
        let keep = self.configuration.settings.prefetch_keep();
        Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN)
    }
}

/// Lets visitors expire from now on, until the service drains.
pub(super) async fn expire_visitors(service: Arc<Service>, store: SharedStore, attribution: Attribution) {
    let attribution = Arc::new(attribution);
    loop {
        let (here, store, attribution) = (Arc::clone(&service), store.clone(), Arc::clone(&attribution));
        let looking = tokio::task::spawn_blocking(move || {
            store.with_blocking(|store| look_through(&here, store, &attribution))
        });
        match looking.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("visitors could not be looked through: {}", chain(&error)),
            Err(error) => tracing::error!("looking through visitors broke off: {error}"),
        }
        let keep = service.in_force.pin().settings().prefetch_keep();
        tokio::select! {
            () = service.drain.cancelled() => return,
            () = sleep((keep / LOOKS_WHILE_KEPT).clamp(MOST_OFTEN, MOST_RARELY)) => {}
        }
    }
}

fn look_through(service: &Service, store: &Store, attribution: &Attribution) -> Result<(), ExpiryError> {
    let snapshot = service.in_force.pin();
    let configuration = snapshot.configuration();
    if !configuration.stations.iter().any(|station| station.is_embedded()) {
        return Ok(());
    }
    let archive = service.archive.open(snapshot.settings())?;
    let visitors = Visitors {
        store,
        archive: &archive,
        configuration,
    };
    for visitor in visitors.due()? {
        if service.drain.is_cancelled() {
            break;
        }
        let study = visitor.study_instance_uid();
        match visitors.expire(&visitor, attribution) {
            Ok(expiry) => tell(&expiry),
            Err(error) => tracing::warn!("visitor {study} has not expired: {}", chain(&error)),
        }
    }
    Ok(archive.finish_removals()?)
}

fn tell(expiry: &Expiry) {
    let study = &expiry.study_instance_uid;
    let sources: Vec<&str> = expiry.sources.iter().map(StationName::as_str).collect();
    let sources = sources.join(", ");
    match &expiry.stays {
        None => tracing::info!(
            "visitor {study} from {sources} has expired, {} instances",
            expiry.instances
        ),
        Some(stays) if stays.is_for_good() => {
            tracing::info!("visitor {study} from {sources} is at home now: {stays}");
        }
        Some(stays) => tracing::debug!("visitor {study} from {sources} stays: {stays}"),
    }
}
