//! The association over which updates are sent to a station.
//!
//! Invariants: it is only there after the peer's CLUSTER answer has shown that it is the cluster we know: a promiscuous
//! archive would store an update as an image and say success. Of one study one update is on its way at a time. Nothing
//! that could not be sent changes its row, unless the refusal was of that update.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::object;
use super::wait::{backoff, later};
use crate::dimse::{
    Association, Context, DataSet, Error, PresentationContext, Status, StoreEnd, TransferSyntax,
    UnansweredStores, connect, uids,
};
use crate::link::cluster_query::{ClusterUntold, ask_cluster};
use crate::link::tls::LinkTls;
use crate::link::{Unaskable, association_failure, requestor_options};
use crate::model::{Settings, Station, StationName, Uid, in_full};
use crate::store::{Due, Settled};

/// How long the first retry of one update waits.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How long each later one waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// For how long updates are sent before it is kept what became of them: so much is sent again after a crash.
const WHILE: Duration = Duration::from_millis(200);

/// Why no update can be sent to a station for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The association failed.
    #[error("{0}")]
    Failed(String),
    /// It takes no linked syntax at all.
    #[error("no linked syntax there: updates can't be relayed")]
    LacksSyntax,
    /// It takes none from us: the flag is off there, or it does not know for sure who we are.
    #[error("it does not accept updates from us: {0}")]
    NotAccepted(String),
    /// It is another cluster than it was.
    #[error("it is another cluster than before ({0}); where that is right: impaxlink updates resync {1}")]
    OtherCluster(Uid, StationName),
    /// It has our own identity.
    #[error("it has this cluster's own identity: one of the two is a clone (restore --new-identity)")]
    OurOwn,
}

impl Halt {
    /// Whether only a person can change it, there or here.
    pub fn lasts(&self) -> bool {
        !matches!(self, Halt::Failed(_))
    }
}

/// Whom a conversation is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The station.
    pub station: &'a Station,
    /// The local cluster's settings.
    pub settings: &'a Settings,
    /// TLS towards it.
    pub tls: &'a LinkTls,
    /// The local cluster's identity.
    pub own: &'a Uid,
    /// The cluster that it has shown to be before.
    pub known: Option<&'a Uid>,
}

/// An association with a cluster that has shown who it is.
#[derive(Debug)]
pub struct Conversation {
    association: Association,
    context: Context,
    within: Duration,
    cluster: Uid,
}

impl Conversation {
    /// Opens it.
    pub async fn open(peer: Peer<'_>) -> Result<Self, Halt> {
        let station = peer.station;
        let unaskable = |reason: Unaskable| Halt::Failed(reason.to_string());
        let endpoint = station
            .endpoint
            .as_ref()
            .ok_or_else(|| unaskable(Unaskable::NoEndpoint))?;
        let contexts =
            [uids::LINKED_CLUSTER_QUERY, uids::CLUSTER_UPDATE].map(|sop_class| PresentationContext {
                abstract_syntax: sop_class.to_owned(),
                transfer_syntaxes: vec![TransferSyntax::ExplicitVrLittleEndian],
            });
        let mut options =
            requestor_options(station, peer.settings, peer.tls, contexts.to_vec()).map_err(unaskable)?;
        options.is_asynchronous = true;
        let failed = |error: &Error| Halt::Failed(association_failure(error, station, &options.calling));
        let mut association = connect(endpoint, &options)
            .await
            .map_err(|error| failed(&error))?;
        let opened = converse(&mut association, &peer, failed).await;
        match opened {
            Ok((context, cluster)) => Ok(Conversation {
                association,
                context,
                within: station.timeout,
                cluster,
            }),
            Err(halt) => {
                // Nothing more is to be said.
                let _ = association.release().await;
                Err(halt)
            }
        }
    }

    /// The cluster at its other end.
    pub fn cluster(&self) -> &Uid {
        &self.cluster
    }

    /// Sends updates, in order for each study, and for a while; adds what became of each to `settled`. Those of a study
    /// whose update is to be tried again are left as they are, and so are those whose turn did not come.
    pub async fn send(&mut self, due: Vec<Due>, settled: &mut Vec<(Uid, Settled)>) -> Result<(), Halt> {
        let began = Instant::now();
        let mut batch = Batch::of(due, settled);
        let mut unanswered = UnansweredStores::default();
        let window = self.association.window();
        loop {
            if unanswered.len() <= window / 2 && began.elapsed() < WHILE {
                let next = batch.take(window - unanswered.len());
                if !next.is_empty() {
                    self.send_some(next, &mut batch, &mut unanswered).await?;
                }
            }
            if unanswered.is_empty() {
                return Ok(());
            }
            let answer = self.association.next_stored(&mut unanswered, self.within).await;
            let (message_id, end) = answer.map_err(|error| Halt::Failed(in_full(&error)))?;
            if let Some(due) = batch.answered(message_id) {
                let verdict = judge(&due, &end)?;
                if matches!(verdict, Settled::TryAgain { .. }) {
                    batch.hold(due.update.study);
                }
                settled.push((due.update.id, verdict));
            }
        }
    }

    async fn send_some(
        &mut self,
        next: Vec<(Due, DataSet)>,
        batch: &mut Batch,
        unanswered: &mut UnansweredStores,
    ) -> Result<(), Halt> {
        let objects: Vec<(&Uid, &DataSet)> = next
            .iter()
            .map(|(due, object)| (&due.update.id, object))
            .collect();
        let sent = self
            .association
            .store_whole(&self.context, &objects, unanswered)
            .await;
        let message_ids = sent.map_err(|error| Halt::Failed(in_full(&error)))?;
        batch.sent(message_ids, next);
        Ok(())
    }

    /// Ends it.
    pub async fn close(mut self) {
        // What was to be said was said.
        let _ = self.association.release().await;
    }
}

/// Has the peer show who it is.
async fn converse(
    association: &mut Association,
    peer: &Peer<'_>,
    failed: impl Fn(&Error) -> Halt,
) -> Result<(Context, Uid), Halt> {
    if association.context_for(uids::LINKED_CLUSTER_QUERY).is_err() {
        return Err(Halt::LacksSyntax);
    }
    let told = match ask_cluster(association, peer.station.timeout).await {
        Ok(told) => told,
        Err(ClusterUntold::Peer(error)) => return Err(failed(&error)),
        Err(untold) if untold.is_of_no_cluster(association.peer()) => return Err(Halt::LacksSyntax),
        Err(untold) => return Err(Halt::NotAccepted(untold.to_string())),
    };
    let cluster = told.answer.uid;
    if cluster == *peer.own {
        return Err(Halt::OurOwn);
    }
    if peer.known.is_some_and(|known| *known != cluster) {
        return Err(Halt::OtherCluster(cluster, peer.station.name.clone()));
    }
    match association.context_for(uids::CLUSTER_UPDATE) {
        Ok(context) => Ok((context.clone(), cluster)),
        Err(_) => {
            let why = "link cluster updates is off for us there, or only sends";
            Err(Halt::NotAccepted(why.to_owned()))
        }
    }
}

fn judge(due: &Due, end: &StoreEnd) -> Result<Settled, Halt> {
    let words = match &end.comment {
        Some(comment) => format!("{}: {comment}", end.status),
        None => end.status.to_string(),
    };
    match end.status {
        Status::SUCCESS => Ok(Settled::Delivered),
        Status::NOT_AUTHORIZED | Status::SOP_CLASS_NOT_SUPPORTED => Err(Halt::NotAccepted(words)),
        Status(0xA900..=0xA9FF | 0xC000..=0xCFFF) => Ok(Settled::Refused { reason: words }),
        _ => Ok(Settled::TryAgain {
            at: later(Timestamp::now(), backoff(due.attempts, FIRST_WAIT, LONGEST_WAIT)),
            reason: words,
        }),
    }
}

/// Updates that are being sent.
struct Batch {
    waiting: Vec<(Due, DataSet)>,
    on_their_way: HashMap<u16, Due>,
    /// Studies of which nothing may be sent now.
    held: HashSet<Uid>,
}

impl Batch {
    /// What can't be written as an object is refused for good.
    fn of(due: Vec<Due>, settled: &mut Vec<(Uid, Settled)>) -> Self {
        let mut waiting = Vec::with_capacity(due.len());
        for due in due {
            match object::write(&due.update) {
                Ok(object) => waiting.push((due, object)),
                Err(error) => settled.push((
                    due.update.id,
                    Settled::Refused {
                        reason: in_full(&error),
                    },
                )),
            }
        }
        Batch {
            waiting,
            on_their_way: HashMap::new(),
            held: HashSet::new(),
        }
    }

    /// The next that may be sent, at most so many.
    fn take(&mut self, most: usize) -> Vec<(Due, DataSet)> {
        let (mut taken, mut left) = (Vec::new(), Vec::with_capacity(self.waiting.len()));
        for (due, object) in std::mem::take(&mut self.waiting) {
            let study = &due.update.study;
            if taken.len() < most && !self.held.contains(study) {
                self.held.insert(study.clone());
                taken.push((due, object));
            } else {
                left.push((due, object));
            }
        }
        self.waiting = left;
        taken
    }

    fn sent(&mut self, message_ids: Vec<u16>, sent: Vec<(Due, DataSet)>) {
        let dues = sent.into_iter().map(|(due, _)| due);
        self.on_their_way.extend(message_ids.into_iter().zip(dues));
    }

    fn answered(&mut self, message_id: u16) -> Option<Due> {
        let due = self.on_their_way.remove(&message_id)?;
        self.held.remove(&due.update.study);
        Some(due)
    }

    fn hold(&mut self, study: Uid) {
        self.held.insert(study);
    }
}
