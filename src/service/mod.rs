//! The link service: it listens, admits and serves associations under one snapshot of the configuration, takes the next
//! generation without dropping anything, and watches the links.
//!
//! Where things are:
//! - `run`: the life of the service from its lock to its end
//! - `snapshot`, `reload`: the configuration in force and how the next one comes in force
//! - `listener`, `association`: connections taken and served; `admission`, `limits`, `rejections`: which and how many;
//!   `host_names`: where the names lead by which stations are known
//! - `find`: queries answered for all clusters
//! - `store`: objects taken into the embedded archive; `retrieve`: objects given to where they are wanted
//! - [`control`]: the socket by which commands speak to the service
//! - [`expiry`]: visitors that leave the embedded archive
//! - `records`: what queries leave in the store
//! - `cross_reference`: which patient IDs are one person's
//! - `prefetch`, `arriving`: priors brought when a study arrives or is scheduled, and the queue of them
//! - `schedule`, `health`: whether links answer
//! - `announce`: objects that were acquired here, told to linked clusters; `poll`: those in archives that are not ours
//! - `update`: updates that linked clusters send; `relay`: those that are sent to them; `pull`: objects that they name
//! - `hl7`: messages of the RIS
//! - `lasting`: work that is begun again where it breaks off
//! - `notify`: what the service manager is told
//!
//! Invariants: configuration is never written here. Nothing of a peer's is waited for without a deadline. SQLite never
//! runs on an async thread.

mod admission;
mod announce;
mod arriving;
mod association;
pub mod control;
mod cross_reference;
#[cfg(test)]
mod examples;
pub mod expiry;
mod find;
mod health;
mod hl7;
mod host_names;
mod lasting;
mod limits;
mod listener;
mod notify;
mod poll;
mod prefetch;
mod pull;
mod records;
mod rejections;
mod relay;
mod reload;
mod retrieve;
mod run;
mod schedule;
mod snapshot;
mod store;
mod update;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use admission::{NotAdmitted, admit};
pub use limits::{Associations, LimitReached, OpenAssociation};
pub use run::{Ended, ServeError, run};
pub use snapshot::{InForce, Snapshot, Unusable, check_usable};

use crate::link::{EmbeddedArchive, StudyStates, Turns};
use crate::model::{StationName, Uid, in_full};
use crate::retrieve::Arrivals;
use crate::store::{HeldStore, SharedStore};
use crate::updates::hl7::feed::Feed;
use arriving::ArrivingStudies;
use control::RefusedReload;
use cross_reference::KnownPatients;
use host_names::HostNames;
use limits::WaitingRoom;
use records::Records;
use rejections::RejectionLog;
use schedule::Schedule;
use update::Updates;

/// What the parts of a running service share.
struct Service {
    started: Timestamp,
    store: Arc<HeldStore>,
    /// The local cluster's identity, made once for its store.
    cluster_uid: Uid,
    in_force: InForce,
    associations: Arc<Associations>,
    waiting_room: Arc<WaitingRoom>,
    rejections: RejectionLog,
    /// By which stations are proven that are known by a name.
    host_names: HostNames,
    open_questions: find::OpenQuestions,
    links: Mutex<Schedule>,
    /// The turns at stations that queries are put to.
    turns: Arc<Turns>,
    /// Those of retrieves among them.
    retrieve_turns: Arc<Turns>,
    /// The turns at stations that objects are sent to.
    destination_turns: Arc<Turns>,
    /// Those whose priors are brought when nothing more of them comes.
    arriving: ArrivingStudies,
    archive: EmbeddedArchive,
    /// What clusters have said of the studies of the archives.
    states: StudyStates,
    arrivals: Arc<Arrivals>,
    /// The store, where it is on record whose objects retrieves wait for.
    expectations: SharedStore,
    known_patients: Arc<KnownPatients>,
    records: Records,
    updates: Updates,
    hl7: Feed,
    /// Why archives could not be looked through for new objects when they last were.
    poll_troubles: Mutex<BTreeMap<StationName, String>>,
    state: Mutex<State>,
    /// Cancelled when the service is to end.
    drain: CancellationToken,
    connections: TaskTracker,
}

/// What changes with a reload besides the snapshot, for `status`.
struct State {
    in_force_since: Timestamp,
    listen: SocketAddr,
    refused: Option<RefusedReload>,
}

impl Service {
    /// Why something that must be recorded is not.
    fn why_not_kept(&self) -> String {
        match self.store.refuse_lost() {
            Ok(()) => "it could not be kept".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// The data under the locks of this room is whole after every statement, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error with its sources, on one line and without control characters.
fn chain(error: &dyn Error) -> String {
    in_full(error).replace(char::is_control, " ")
}
