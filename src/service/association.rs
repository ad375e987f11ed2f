//! One connection from its first byte to its last: waiting for its request, admitted or not, served.
//!
//! Invariant: a place in the waiting room is held until the request is decided about, a place among the associations
//! from then to the end; both go with this.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;

use super::admission::{Calls, NotAdmitted};
use super::find::find;
use super::limits::{CallerSlot, OpenAssociation, WaitingPlace};
use super::listener::Transport;
use super::retrieve::{held_syntaxes, retrieve};
use super::store::{is_storage, store};
use super::update::take_updates;
use super::{Service, Snapshot, chain, locked};
use crate::dimse::{
    self, AcceptorOptions, Admission, AssociationRequest, FindEnd, FindRequest, FindResponder, Handler,
    IncomingObject, Limits, ObjectsServed, PresentationContext, Rejection, RetrieveEnd, RetrieveRequest,
    RetrieveResponder, ScpOptions, Status, StoreRequest, TlsFailure, TransferSyntax, WholeObject,
    WholeStored, uids,
};
use crate::model::{REQUIRE_ADDRESS, Station, StationName, accepts_updates};

/// Serves the connection until it ends, in whatever way.
pub(super) async fn serve_connection(
    service: Arc<Service>,
    socket: TcpStream,
    address: SocketAddr,
    transport: Transport,
    place: WaitingPlace,
) {
    let handshake = service.in_force.pin();
    let options = scp_options(&handshake, transport);
    if transport == Transport::Tls && options.acceptor.tls.is_none() {
        // A reload has just closed this address.
        return;
    }
    let gives_way = place.gives_way();
    let connection = Connection {
        service: &service,
        transport,
        waiting: Mutex::new(Some(Waiting {
            _place: place,
            handshake,
        })),
    };
    let serving = dimse::serve(socket, address, options, &connection, &service.drain);
    tokio::pin!(serving);
    let gone = async {
        tokio::select! {
            () = gives_way.cancelled() => "it was silent while others wait",
            () = service.drain.cancelled() => "the service is ending",
        }
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        why = gone => {
            if connection.is_waiting() {
                service.rejections.log(address.ip(), None, &why);
                return;
            }
            serving.await
        }
    };
    report_end(&connection, address, ended);
}

fn report_end(connection: &Connection<'_>, address: SocketAddr, ended: Result<(), dimse::Error>) {
    match ended {
        Ok(()) => tracing::debug!("association with {address} ended"),
        // Said where it was decided, with the words that are not for the peer.
        Err(dimse::Error::Refused(_)) if !connection.is_waiting() => {}
        // Looking whether the port is open, as monitoring does, is no event.
        Err(dimse::Error::Closed(_)) if connection.is_waiting() => {
            tracing::debug!("{address} connected and went away");
        }
        Err(error) if connection.is_waiting() => {
            let why = match error.tls_failure() {
                Some(TlsFailure::Unvouched(shown) | TlsFailure::NotNamed(shown)) => format!(
                    "its certificate is not trusted; tls.authorities must hold its authority, or, where it is truly a \
                     station's, set --tls-fingerprint {shown}"
                ),
                _ => chain(&error),
            };
            connection.service.rejections.log(address.ip(), None, &why);
        }
        Err(error) => tracing::info!("association with {address} broke: {}", chain(&error)),
    }
}

fn scp_options(snapshot: &Snapshot, transport: Transport) -> ScpOptions {
    let settings = snapshot.settings();
    let defaults = Limits::default();
    ScpOptions {
        acceptor: AcceptorOptions {
            associate_timeout: settings.duration("timeout.artim"),
            tls: snapshot
                .acceptor_tls()
                .filter(|_| transport == Transport::Tls)
                .cloned(),
            tls_timeout: settings.duration("timeout.artim"),
            limits: Limits {
                max_pdu_length: u32::try_from(settings.count("limits.pdu"))
                    .unwrap_or(defaults.max_pdu_length),
                max_data_set: settings.count("limits.message"),
                message_timeout: settings.duration("timeout.idle"),
                ..defaults
            },
        },
        idle_timeout: settings.duration("timeout.idle"),
    }
}

/// What is done for one connection.
struct Connection<'a> {
    service: &'a Service,
    transport: Transport,
    /// Until its request is decided about.
    waiting: Mutex<Option<Waiting>>,
}

/// What is held while a request is waited for.
struct Waiting {
    _place: WaitingPlace,
    /// Under which a certificate was trusted, or not.
    handshake: Arc<Snapshot>,
}

/// The station at the other end of an association.
struct Caller {
    station: StationName,
    /// By what it is known again under another snapshot.
    calls: Calls,
    _open: OpenAssociation,
}

impl Connection<'_> {
    /// Whether its request has not been decided about.
    fn is_waiting(&self) -> bool {
        locked(&self.waiting).is_some()
    }

    async fn decide(
        &self,
        request: &AssociationRequest,
        handshake: &Snapshot,
    ) -> Result<Admission<Caller>, Rejection> {
        let address = request.peer.address.ip();
        let log =
            |why: &(dyn std::fmt::Display + Sync)| self.service.rejections.log(address, Some(request), why);
        if self.service.drain.is_cancelled() {
            log(&"the service is ending");
            return Err(Rejection::TEMPORARY_CONGESTION);
        }
        let snapshot = self.service.in_force.pin();
        let calls = Calls::of(request, self.transport, handshake);
        let station = calls
            .station(&snapshot)
            .inspect_err(|why| log(why))
            .map_err(|why| why.rejection())?;
        let is_proven = calls.is_proven(station, &self.service.host_names).await;
        if !is_proven && snapshot.settings().is_on(REQUIRE_ADDRESS) {
            let why = NotAdmitted::NotAtItsAddress(address.to_canonical());
            log(&why);
            return Err(why.rejection());
        }
        let slot = CallerSlot {
            station: &station.name,
            address,
            is_proven,
        };
        let open = self
            .service
            .associations
            .open(slot, snapshot.settings())
            .inspect_err(|why| log(why))
            .map_err(|why| why.rejection())?;
        tracing::debug!("association with {} at {address}", station.name);
        let caller = Caller {
            station: station.name.clone(),
            calls,
            _open: open,
        };
        if caller.calls.speaks_linked() && !station.is_linked() {
            log(&"linked syntax from a station that is not linked: its presentation context is rejected");
        }
        let takes_objects = self.service.arrivals.are_expected_of(&station.name)
            || snapshot
                .configuration()
                .stations
                .iter()
                .any(|station| station.is_embedded());
        Ok(Admission {
            caller,
            services: services(station),
            objects: ObjectsServed {
                taken: if takes_objects { is_storage } else { |_| false },
                given: is_storage,
                held: HashMap::new(),
            },
        })
    }
}

/// What a station may ask for: the linked syntax where it is linked, and updates where they are accepted.
fn services(station: &Station) -> Vec<PresentationContext> {
    let strict = [
        uids::VERIFICATION,
        uids::STUDY_ROOT_FIND,
        uids::PATIENT_ROOT_FIND,
        uids::STUDY_ROOT_MOVE,
        uids::PATIENT_ROOT_MOVE,
        uids::STUDY_ROOT_GET,
        uids::PATIENT_ROOT_GET,
    ];
    let linked = station.is_linked().then_some(uids::LINKED_CLUSTER_QUERY);
    let updates = accepts_updates(station).then_some(uids::CLUSTER_UPDATE);
    let linked = linked.into_iter().chain(updates).map(|uid| PresentationContext {
        abstract_syntax: uid.to_owned(),
        transfer_syntaxes: vec![TransferSyntax::ExplicitVrLittleEndian],
    });
    let strict = strict.into_iter().map(PresentationContext::new);
    strict.chain(linked).collect()
}

impl Handler for Connection<'_> {
    type Caller = Caller;

    async fn admit(&self, request: &AssociationRequest) -> Result<Admission<Caller>, Rejection> {
        let waiting = locked(&self.waiting).take();
        // An association is asked for once.
        let waiting = waiting.ok_or(Rejection::NO_REASON)?;
        let asks_for_objects = [uids::STUDY_ROOT_GET, uids::PATIENT_ROOT_GET]
            .iter()
            .any(|get| request.abstract_syntaxes.iter().any(|uid| uid == get));
        let mut admission = self.decide(request, &waiting.handshake).await?;
        if asks_for_objects {
            admission.objects.held = held_syntaxes(self.service).await;
        }
        Ok(admission)
    }

    async fn echo(&self, caller: &Caller) -> Status {
        tracing::trace!("C-ECHO from {}", caller.station);
        Status::SUCCESS
    }

    async fn find(&self, caller: &Caller, request: FindRequest, responder: FindResponder) -> FindEnd {
        find(self.service, &caller.calls, request, responder).await
    }

    async fn retrieve(
        &self,
        caller: &Caller,
        request: RetrieveRequest,
        responder: &mut RetrieveResponder<'_>,
    ) -> RetrieveEnd {
        retrieve(self.service, &caller.calls, request, responder).await
    }

    async fn store(&self, caller: &Caller, request: StoreRequest, object: &mut IncomingObject<'_>) -> Status {
        store(self.service, &caller.station, request, object).await
    }

    async fn store_whole(&self, caller: &Caller, objects: Vec<WholeObject>) -> Vec<WholeStored> {
        take_updates(self.service, &caller.calls, objects).await
    }
}
