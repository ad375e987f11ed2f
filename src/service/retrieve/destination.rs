//! Where a C-MOVE goes: the station of an AE title, and the association with it, opened when the first object is there
//! and opened again for objects of a kind that was not proposed.
//!
//! Invariant: an AE title that several stations have is the one of them at the caller's address, else the caller, else
//! nobody. After a number of lost associations in a row nothing more is tried.

use tokio::time::timeout;

use super::super::admission::Calls;
use super::super::{Service, Snapshot};
use crate::dimse::{
    Association, Error, MAX_CONTEXTS, ObjectContext, ObjectFlow, ProposedObjects, RequestorOptions,
    RetrieveRequest, Status, StoreObject, connect,
};
use crate::link::{Turn, association_failure, calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, AeTitle, Endpoint, Station, Uid};
use crate::retrieve::ObjectKind;

/// How often in a row an association may be lost, or not be made.
const MAX_LOSSES: u32 = 2;

/// Why an object does not go to the destination.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It takes no such objects.
    Kind,
    /// There is no association with it.
    Unreachable,
}

/// The application entity that a C-MOVE names.
pub(super) struct Destination<'s> {
    service: &'s Service,
    snapshot: &'s Snapshot,
    station: &'s Station,
    endpoint: Endpoint,
    options: RequestorOptions,
    originator: Option<(AeTitle, u16)>,
    priority: u16,
    open: Option<(Association, Option<Turn>)>,
    proposed: Vec<ObjectKind>,
    losses: u32,
}

impl<'s> Destination<'s> {
    /// The destination of this title, for the caller `by`. The error says what to register.
    pub(super) fn find(
        service: &'s Service,
        snapshot: &'s Snapshot,
        title: &str,
        by: &Station,
        calls: &Calls,
        request: &RetrieveRequest,
    ) -> Result<Self, String> {
        let station = station(snapshot, title, by, calls)?;
        let settings = snapshot.settings();
        let endpoint = station.endpoint.clone().ok_or_else(|| unknown(title))?;
        let options = requestor_options(station, settings, snapshot.tls(), Vec::new());
        Ok(Destination {
            service,
            snapshot,
            station,
            endpoint,
            options: options.map_err(|why| why.to_string())?,
            originator: calls.title().map(|title| (title, request.message_id)),
            priority: request.priority,
            open: None,
            proposed: Vec::new(),
            losses: 0,
        })
    }

    /// Whether it is given up.
    pub(super) fn is_lost(&self) -> bool {
        self.losses > MAX_LOSSES
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
    pub(super) fn patience(&self) -> std::time::Duration {
        self.station.timeout
    }

    /// Notes that an object has arrived, whatever it thought of it.
    pub(super) fn answered(&mut self, status: Status) {
        self.losses = 0;
        if !status.is_success() {
            tracing::debug!("{} answers an object with {status}", self.station.name);
        }
    }

    /// Notes that the association has broken.
    pub(super) fn lose(&mut self, error: &Error) {
        let calling = calling(self.station, self.snapshot.settings());
        let why = association_failure(error, self.station, &calling);
        tracing::warn!("objects for {}: {why}", self.station.name);
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
            let limit = self.snapshot.settings().count(ASSOCIATIONS_TO_STATION);
            let turn = self.service.destination_turns.wait(&self.station.name, limit);
            let Ok(turn) = timeout(self.station.timeout, turn).await else {
                tracing::warn!(
                    "objects for {}: no turn ({ASSOCIATIONS_TO_STATION})",
                    self.station.name
                );
                self.losses = MAX_LOSSES + 1;
                break;
            };
            match connect(&self.endpoint, &self.options).await {
                Ok(association) => self.open = Some((association, turn)),
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

fn station<'s>(
    snapshot: &'s Snapshot,
    title: &str,
    by: &Station,
    calls: &Calls,
) -> Result<&'s Station, String> {
    let stations = &snapshot.configuration().stations;
    let titled: Vec<&Station> = stations
        .iter()
        .filter(|station| station.ae_title.as_str() == title && !station.is_embedded())
        .collect();
    let at_caller = |station: &&&Station| {
        let host = station
            .endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.host.address());
        host.is_some_and(|address| address.to_canonical() == calls.address().to_canonical())
    };
    let near: Vec<&Station> = titled.iter().filter(at_caller).copied().collect();
    let itself = titled.iter().copied().find(|station| station.name == by.name);
    match (titled.as_slice(), near.as_slice(), itself) {
        ([], _, _) => Err(unknown(title)),
        (&[station], _, _) | (_, &[station], _) | (_, _, Some(station)) => Ok(station),
        _ => Err(format!("several stations have the AE title {}", shown(title))),
    }
}

fn unknown(title: &str) -> String {
    format!("destination {} is no station: register it here", shown(title))
}

/// Fit for a log.
fn shown(title: &str) -> String {
    title.replace(char::is_control, " ").chars().take(16).collect()
}
