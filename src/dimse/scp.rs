//! Serving one association: requests in, responses out, until it ends.
//!
//! Invariant: the protocol knows nothing of what is served, and a [`Handler`] nothing of PDUs. Every response names
//! the message ID of its request. What cannot be served gets a status that says so, and the association goes on.

mod find;
mod identifier;
mod retrieve;
pub(super) mod store;
mod store_whole;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::find::final_response;
pub use self::find::{CallerGone, FindRequest, FindResponder};
pub use self::retrieve::{RetrieveRequest, RetrieveResponder, RetrieveTo, StoreToCaller};
pub use self::store::{IncomingObject, StoreRequest};
pub use self::store_whole::{WholeObject, WholeStored};
use super::acceptor::{AcceptorOptions, AssociationRequest, receive_request};
use super::{
    Association, Awaited, Command, CommandField, Context, Error, FindEnd, Message, PresentationContext,
    Rejection, RetrieveEnd, Status, Violation, uids,
};
use crate::model::Uid;

/// How long a request that has begun may take to come whole once the service is ending.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// What is served, and to whom.
pub trait Handler: Send + Sync {
    /// What the handler wants to know of the caller in each of its requests.
    type Caller: Send + Sync;

    /// Decides about an association.
    fn admit(
        &self,
        request: &AssociationRequest,
    ) -> impl Future<Output = Result<Admission<Self::Caller>, Rejection>> + Send;

    /// Answers a C-ECHO.
    fn echo(&self, caller: &Self::Caller) -> impl Future<Output = Status> + Send;

    /// Answers a C-FIND: gives its matches to `responder`, and returns the final response.
    ///
    /// When the request's token is cancelled, it must come to its end soon. What is given then reaches nobody.
    fn find(
        &self,
        caller: &Self::Caller,
        request: FindRequest,
        responder: FindResponder,
    ) -> impl Future<Output = FindEnd> + Send;

    /// Answers a C-MOVE or C-GET: tells `responder` how far it is, gives it the objects of a C-GET, and returns the final
    /// response. When the caller has cancelled or is gone, it must come to its end soon.
    fn retrieve(
        &self,
        caller: &Self::Caller,
        request: RetrieveRequest,
        responder: &mut RetrieveResponder<'_>,
    ) -> impl Future<Output = RetrieveEnd> + Send;

    /// Takes an object, and gives the status of the response: success only once it is safe.
    fn store(
        &self,
        caller: &Self::Caller,
        request: StoreRequest,
        object: &mut IncomingObject<'_>,
    ) -> impl Future<Output = Status> + Send;

    /// Takes objects of services that are admitted as messages, in their order, and gives what each is answered, success
    /// only once it is safe. Who admits no such service need not know how.
    fn store_whole(
        &self,
        _caller: &Self::Caller,
        objects: Vec<WholeObject>,
    ) -> impl Future<Output = Vec<WholeStored>> + Send {
        std::future::ready(vec![Status::SOP_CLASS_NOT_SUPPORTED.into(); objects.len()])
    }
}

/// An association that may be.
#[derive(Debug)]
pub struct Admission<C> {
    /// Who it is with.
    pub caller: C,
    /// What it may be about.
    pub services: Vec<PresentationContext>,
    /// About which objects.
    pub objects: ObjectsServed,
}

/// Which objects an acceptor takes and gives. A requestor that has not selected a role sends them (PS3.7 D.3.3.4).
#[derive(Debug, Clone)]
pub struct ObjectsServed {
    /// Of which SOP classes objects are taken, in whatever transfer syntax.
    pub taken: fn(&Uid) -> bool,
    /// Of which SOP classes objects are given to the caller of a C-GET.
    pub given: fn(&Uid) -> bool,
    /// In which transfer syntaxes objects of a SOP class are there, the most usual first: of those proposed for objects
    /// that are given, the first of these is taken, or one that they are converted to.
    pub held: HashMap<Uid, Vec<Uid>>,
}

impl ObjectsServed {
    /// None.
    pub fn none() -> Self {
        ObjectsServed {
            taken: |_| false,
            given: |_| false,
            held: HashMap::new(),
        }
    }
}

/// Bounds on associations that are served.
#[derive(Debug, Clone)]
pub struct ScpOptions {
    /// Bounds on making them.
    pub acceptor: AcceptorOptions,
    /// How long an association may be idle.
    pub idle_timeout: Duration,
}

impl Default for ScpOptions {
    /// The default bounds, and 60 s of idleness.
    fn default() -> Self {
        ScpOptions {
            acceptor: AcceptorOptions::default(),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Serves the association of a peer that has connected, until it ends.
///
/// When `drain` is cancelled, the request under way is finished, and the association released, or aborted where the
/// peer does not answer that. Returns without error when the peer or we released it, and for a peer that was
/// rejected by the handler's word, [`Error::Refused`].
pub async fn serve<H: Handler>(
    socket: TcpStream,
    address: SocketAddr,
    options: ScpOptions,
    handler: &H,
    drain: &CancellationToken,
) -> Result<(), Error> {
    let pending = receive_request(socket, address, options.acceptor).await?;
    let admission = match handler.admit(pending.request()).await {
        Ok(admission) => admission,
        Err(rejection) => {
            pending.reject(rejection).await;
            return Err(Error::Refused(rejection));
        }
    };
    let mut association = pending.accept(&admission.services, &admission.objects).await?;
    let mut at_hand = None;
    loop {
        let message = match at_hand.take() {
            Some(message) => message,
            None => match next_request(&mut association, options.idle_timeout, drain).await? {
                Some(message) => message,
                None => break,
            },
        };
        if store_whole::is_whole_store(&association, &message) {
            at_hand = store_whole::respond(&mut association, message, handler, &admission.caller).await?;
            continue;
        }
        if message.command.field == CommandField::C_STORE_RQ {
            store::respond(
                &mut association,
                message,
                handler,
                &admission.caller,
                options.idle_timeout,
            )
            .await?;
            continue;
        }
        if respond(&mut association, message, handler, &admission.caller)
            .await?
            .is_break()
        {
            break;
        }
    }
    Ok(())
}

/// The next request; `None` when the association was released, by the peer or, to drain it, by us.
async fn next_request(
    association: &mut Association,
    within: Duration,
    drain: &CancellationToken,
) -> Result<Option<Message>, Error> {
    tokio::select! {
        biased;
        received = association.receive(Awaited::Request, within) => return received,
        () = drain.cancelled() => {}
    }
    if association.is_receiving() {
        // The peer is in the middle of a request.
        return association
            .receive(Awaited::Request, within.min(DRAIN_WITHIN))
            .await;
    }
    association.release().await.map(|()| None)
}

/// Answers one request; breaks where the peer released the association meanwhile.
async fn respond<H: Handler>(
    association: &mut Association,
    message: Message,
    handler: &H,
    caller: &H::Caller,
) -> Result<ControlFlow<()>, Error> {
    let request = &message.command;
    if request.field.is_response() {
        return Err(association.violated(Violation::UnexpectedResponse).await);
    }
    if request.field == CommandField::C_CANCEL_RQ {
        // For an operation that has ended already: nothing to cancel, and no response to give.
        return Ok(ControlFlow::Continue(()));
    }
    let context = association.context(message.context_id).cloned();
    let status = match (refusal_of(request, context.as_ref()), context) {
        (Some(status), _) => status,
        (None, Some(context)) if request.field == CommandField::C_FIND_RQ => {
            return find::respond(association, context, message, handler, caller).await;
        }
        (None, Some(context)) if request.field != CommandField::C_ECHO_RQ => {
            return retrieve::respond(association, context, message, handler, caller).await;
        }
        (None, _) => handler.echo(caller).await,
    };
    association
        .send(message.context_id, &Command::response(request, status), None)
        .await
        .map(ControlFlow::Continue)
}

/// Why a request is not for any service here.
fn refusal_of(request: &Command, context: Option<&Context>) -> Option<Status> {
    let of_context = context.map(|context| context.abstract_syntax.as_str());
    if request.sop_class.as_deref() != of_context {
        return Some(Status::SOP_CLASS_NOT_SUPPORTED);
    }
    let of_service = match of_context {
        Some(uids::VERIFICATION) => CommandField::C_ECHO_RQ,
        Some(uids::STUDY_ROOT_MOVE | uids::PATIENT_ROOT_MOVE) => CommandField::C_MOVE_RQ,
        Some(uids::STUDY_ROOT_GET | uids::PATIENT_ROOT_GET) => CommandField::C_GET_RQ,
        Some(uids::CLUSTER_UPDATE) => CommandField::C_STORE_RQ,
        _ => CommandField::C_FIND_RQ,
    };
    (request.field != of_service).then_some(Status::UNRECOGNIZED_OPERATION)
}
