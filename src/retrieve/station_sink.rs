//! Objects to a station by C-STORE: the association with it, opened when the first object is there and opened again for
//! objects of a kind that was not proposed.
//!
//! Invariant: after a number of lost associations in a row nothing more is tried.

use std::time::Duration;

use tokio::time::timeout;

use super::{ObjectKind, Resources};
use crate::dimse::{
    Association, Error, MAX_CONTEXTS, ObjectContext, ObjectFlow, ProposedObjects, RequestorOptions, Status,
    StoreObject, connect,
};
use crate::link::{Turn, association_failure, calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, AeTitle, Endpoint, Station, Uid};

/// How often in a row an association may be lost, or not be made.
const MAX_LOSSES: u32 = 2;

/// Why an object does not go to the station.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It takes no such objects.
    Kind,
    /// There is no association with it.
    Unreachable,
}

/// A station as a sink.
pub(crate) struct StationSink<'s> {
    resources: &'s Resources,
    station: &'s Station,
    endpoint: Endpoint,
    options: RequestorOptions,
    /// Who asked for the objects by C-MOVE, and the message ID of that request.
    originator: Option<(AeTitle, u16)>,
    priority: u16,
    open: Option<(Association, Option<Turn>)>,
    proposed: Vec<ObjectKind>,
    losses: u32,
    /// Why the last association was lost, or not made.
    failure: Option<String>,
}

impl<'s> StationSink<'s> {
    /// A sink that opens no association yet. The error says why it never can.
    pub(crate) fn new(resources: &'s Resources, station: &'s Station) -> Result<Self, String> {
        let settings = &resources.configuration.settings;
        let endpoint = station.endpoint.clone().ok_or("it has no host and port")?;
        let options = requestor_options(station, settings, &resources.tls, Vec::new());
        Ok(StationSink {
            resources,
            station,
            endpoint,
            options: options.map_err(|why| why.to_string())?,
            originator: None,
            priority: 0,
            open: None,
            proposed: Vec::new(),
            losses: 0,
            failure: None,
        })
    }

    /// The same for what `originator` asked for by a C-MOVE of this priority.
    pub(crate) fn asked_for_by(mut self, originator: Option<(AeTitle, u16)>, priority: u16) -> Self {
        self.originator = originator;
        self.priority = priority;
        self
    }

    pub(super) fn station(&self) -> &'s Station {
        self.station
    }

    /// Whether it is given up.
    pub(super) fn is_lost(&self) -> bool {
        self.losses > MAX_LOSSES
    }

    /// Why it takes nothing, in words.
    pub(super) fn refusal(&self) -> String {
        let name = &self.station.name;
        match &self.failure {
            Some(failure) => format!("{name}: {failure}"),
            None => format!("{name} takes no objects of these kinds"),
        }
    }

    /// Says which of these kinds it takes.
    pub(super) async fn takes(&mut self, kinds: Vec<ObjectKind>) -> Vec<ObjectKind> {
        if !kinds.iter().all(|kind| self.proposed.contains(kind)) || self.open.is_none() {
            self.proposed = kinds;
            self.close().await;
        }
        if self.reach().await.is_err() {
            return Vec::new();
        }
        let open = self
            .open
            .iter()
            .flat_map(|(association, _)| association.sending_contexts());
        open.map(|context| (context.sop_class_uid.clone(), context.transfer_syntax_uid.clone()))
            .collect()
    }

    /// The association with a context for objects of this kind; `ahead` are kinds of objects still to come.
    pub(super) async fn ready_for(
        &mut self,
        kind: &ObjectKind,
        ahead: &[ObjectKind],
    ) -> Result<(&mut Association, ObjectContext), NotTaken> {
        if !self.proposed.contains(kind) {
            let others = ahead.iter().filter(|other| *other != kind);
            self.proposed = std::iter::once(kind)
                .chain(others)
                .take(MAX_CONTEXTS)
                .cloned()
                .collect();
            self.close().await;
        }
        self.reach().await?;
        let (association, _) = self.open.as_mut().ok_or(NotTaken::Unreachable)?;
        let context = association.sending_context(&kind.0, &kind.1).cloned();
        Ok((association, context.ok_or(NotTaken::Kind)?))
    }

    /// What is announced of an instance.
    pub(super) fn announce(&self, sop_instance_uid: &Uid) -> StoreObject {
        StoreObject {
            sop_instance_uid: sop_instance_uid.clone(),
            priority: self.priority,
            move_originator: self.originator.clone(),
        }
    }

    /// How long it may take to answer.
    pub(super) fn patience(&self) -> Duration {
        self.station.timeout
    }

    /// Notes that an object has arrived, whatever the station thought of it.
    pub(super) fn answered(&mut self, status: Status) {
        self.losses = 0;
        if !status.is_success() {
            tracing::debug!("{} answers an object with {status}", self.station.name);
        }
    }

    /// Notes that the association has broken.
    pub(super) fn lose(&mut self, error: &Error) {
        let calling = calling(self.station, &self.resources.configuration.settings);
        let why = association_failure(error, self.station, &calling);
        tracing::warn!("objects for {}: {why}", self.station.name);
        self.failure = Some(why);
        self.open = None;
        self.losses += 1;
    }

    /// Ends the association in the middle of an object that will not come to its end.
    pub(super) async fn abort(&mut self) {
        if let Some((mut association, _)) = self.open.take() {
            association.abort().await;
        }
    }

    /// Releases the association.
    pub(super) async fn close(&mut self) {
        if let Some((mut association, _)) = self.open.take() {
            // All that was sent is answered.
            let _ = association.release().await;
        }
    }

    /// Opens the association, unless it is open.
    async fn reach(&mut self) -> Result<(), NotTaken> {
        while self.open.is_none() && !self.is_lost() {
            self.options.objects = self.proposed.iter().map(proposed).collect();
            let limit = self
                .resources
                .configuration
                .settings
                .count(ASSOCIATIONS_TO_STATION);
            let turn = async {
                match &self.resources.destination_turns {
                    Some(turns) => turns.wait(&self.station.name, limit).await,
                    None => None,
                }
            };
            let Ok(turn) = timeout(self.station.timeout, turn).await else {
                let why = format!("all {limit} associations to it stayed taken ({ASSOCIATIONS_TO_STATION})");
                tracing::warn!("objects for {}: {why}", self.station.name);
                self.failure = Some(why);
                self.losses = MAX_LOSSES + 1;
                break;
            };
            match connect(&self.endpoint, &self.options).await {
                Ok(association) => {
                    self.failure = None;
                    self.open = Some((association, turn));
                }
                Err(error) => {
                    self.lose(&error);
                    // It was not there at all: it will not be for the next object.
                    self.losses = MAX_LOSSES + 1;
                }
            }
        }
        self.open.is_some().then_some(()).ok_or(NotTaken::Unreachable)
    }
}

fn proposed((sop_class_uid, transfer_syntax_uid): &ObjectKind) -> ProposedObjects {
    ProposedObjects::new(
        sop_class_uid.clone(),
        transfer_syntax_uid.clone(),
        ObjectFlow::Sent,
    )
}
