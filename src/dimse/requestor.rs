//! Opening associations.
//!
//! Invariant: every step has its deadline: name resolution and TCP connection share one, the TLS handshake
//! and the negotiation have their own. Names are resolved on a thread of their own that nobody joins: a resolver that hangs holds neither the
//! runtime's shutdown nor the end of the process, as a task of tokio's blocking pool would.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use dicom_ul::pdu::{AssociationRQ, Pdu, PresentationContextProposed, RequestorRoles, UserVariableItem};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::associate_accept::{AssociateAccept, ContextResult};
use super::socket::Socket;
use super::stream::{Incoming, PduStream};
use super::tls::RequestorTls;
use super::user_information::{UserInformation, WINDOW, agreed_window, our_items, window_item};
use super::{
    Abort, Association, Awaited, Context, ContextRefusal, Error, Limits, ObjectContext, Peer, TransferSyntax,
    Violation, uids,
};
use crate::model::{AeTitle, Endpoint, Uid};

/// How long one address may keep the next one waiting (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// How many presentation contexts an association has at most (PS3.8 9.3.2.2).
pub const MAX_CONTEXTS: usize = 128;

/// A SOP class with the transfer syntaxes in which we would speak it: what a requestor proposes, or an acceptor takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentationContext {
    /// The SOP class.
    pub abstract_syntax: String,
    /// The transfer syntaxes, most wanted first. An acceptor takes its own order.
    pub transfer_syntaxes: Vec<TransferSyntax>,
}

impl PresentationContext {
    /// A SOP class in both transfer syntaxes.
    pub fn new(abstract_syntax: &str) -> Self {
        PresentationContext {
            abstract_syntax: abstract_syntax.to_owned(),
            transfer_syntaxes: TransferSyntax::ALL.to_vec(),
        }
    }
}

/// Objects of a SOP class that a requestor would send or receive, in one of these transfer syntaxes, whatever they are.
///
/// The peer chooses one of them: where it is to be able to use several, each needs a proposal of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedObjects {
    /// The SOP class.
    pub sop_class_uid: Uid,
    /// The transfer syntaxes, most wanted first.
    pub transfer_syntax_uids: Vec<Uid>,
    /// Which way they go.
    pub flow: ObjectFlow,
}

impl ProposedObjects {
    /// Objects of one SOP class in one transfer syntax.
    pub fn new(sop_class_uid: Uid, transfer_syntax_uid: Uid, flow: ObjectFlow) -> Self {
        ProposedObjects {
            sop_class_uid,
            transfer_syntax_uids: vec![transfer_syntax_uid],
            flow,
        }
    }
}

/// Which way objects go on an association, as the requestor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFlow {
    /// We send them by C-STORE, as its SCU.
    Sent,
    /// The peer sends them as sub-operations of our C-GET: we are the SCP of C-STORE, by role selection (PS3.7 D.3.3.4).
    Received,
}

/// How an association is to be opened.
#[derive(Debug, Clone)]
pub struct RequestorOptions {
    /// Our AE title.
    pub calling: AeTitle,
    /// The AE title of the peer.
    pub called: AeTitle,
    /// The presentation contexts of messages. With those of objects: 1 to 128.
    pub contexts: Vec<PresentationContext>,
    /// Those of objects.
    pub objects: Vec<ProposedObjects>,
    /// Whether several requests are to be unanswered at once, as far as the peer lets them.
    pub is_asynchronous: bool,
    /// How long name resolution and TCP connection may take together.
    pub connect_timeout: Duration,
    /// TLS, where the peer speaks it.
    pub tls: Option<RequestorTls>,
    /// How long the TLS handshake may take.
    pub tls_timeout: Duration,
    /// How long the peer may take to answer the association request.
    pub associate_timeout: Duration,
    /// Bounds on the association.
    pub limits: Limits,
}

impl RequestorOptions {
    /// Options for these titles and SOP classes, without TLS, with 5 s to connect, 10 s to associate and the default limits.
    pub fn new(calling: AeTitle, called: AeTitle, abstract_syntaxes: &[&str]) -> Self {
        RequestorOptions {
            calling,
            called,
            contexts: abstract_syntaxes
                .iter()
                .map(|uid| PresentationContext::new(uid))
                .collect(),
            objects: Vec::new(),
            is_asynchronous: false,
            connect_timeout: Duration::from_secs(5),
            tls: None,
            tls_timeout: Duration::from_secs(5),
            associate_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Opens an association with the application entity at `endpoint`.
///
/// An association without a usable presentation context is a success here; [`Association::context_for`] tells.
pub async fn connect(endpoint: &Endpoint, options: &RequestorOptions) -> Result<Association, Error> {
    let count = options.contexts.len() + options.objects.len();
    if !(1..=MAX_CONTEXTS).contains(&count) {
        return Err(Error::ContextCount(count));
    }
    let socket = open_socket(endpoint, options.connect_timeout).await?;
    let awaited = Awaited::AssociationResponse;
    let address = socket
        .peer_addr()
        .map_err(|source| Error::Io { awaited, source })?;
    let socket = secure(socket, endpoint, options).await?;
    let after = options.associate_timeout;
    let negotiated = timeout(after, negotiate(socket, address, options)).await;
    negotiated.unwrap_or(Err(Error::TimedOut { awaited, after }))
}

async fn open_socket(endpoint: &Endpoint, within: Duration) -> Result<TcpStream, Error> {
    let mut awaited = Awaited::NameResolution;
    let opened = timeout(within, async {
        let addresses = resolve(endpoint).await?;
        awaited = Awaited::Connection;
        connect_to_any(endpoint, addresses).await
    })
    .await;
    opened.unwrap_or(Err(Error::TimedOut {
        awaited,
        after: within,
    }))
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Error> {
    let port = endpoint.port.get();
    if let Some(address) = endpoint.host.address() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |source| Error::Resolve {
        host: endpoint.host.to_string(),
        source,
    };
    let (sender, receiver) = oneshot::channel();
    let name = endpoint.host.as_str().to_owned();
    let lookup = move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Nobody listens any more when the deadline has passed.
        let _ = sender.send(addresses);
    };
    std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(lookup)
        .map_err(failed)?;
    let addresses = receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the resolver died")));
    addresses.map_err(failed)
}

/// Connects to the first address that answers: all are tried, each a moment after the one before it or at once
/// when that one has failed.
async fn connect_to_any(endpoint: &Endpoint, addresses: Vec<SocketAddr>) -> Result<TcpStream, Error> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let no_address = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    let mut last_failure = Error::Connect {
        address: endpoint.to_string(),
        source: no_address,
    };
    let mut all_started = false;
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.spawn(async move { (address, TcpStream::connect(address).await) });
            }
            None => all_started = true,
        }
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok((_, Ok(socket)))) => return Ok(socket),
                Some(Ok((address, Err(source)))) => {
                    last_failure = Error::Connect { address: address.to_string(), source };
                }
                Some(Err(_)) => {}
                None if all_started => return Err(last_failure),
                None => {}
            },
            () = sleep(NEXT_ADDRESS_AFTER), if !all_started => {}
        }
    }
}

async fn secure(socket: TcpStream, endpoint: &Endpoint, options: &RequestorOptions) -> Result<Socket, Error> {
    let Some(tls) = &options.tls else {
        return Ok(Socket::Plain(socket));
    };
    let (awaited, after) = (Awaited::TlsHandshake, options.tls_timeout);
    let secured = timeout(after, tls.connect(socket, &endpoint.host)).await;
    secured.unwrap_or(Err(Error::TimedOut { awaited, after }))
}

async fn negotiate(
    socket: Socket,
    address: SocketAddr,
    options: &RequestorOptions,
) -> Result<Association, Error> {
    let awaited = Awaited::AssociationResponse;
    let mut stream = PduStream::new(socket, options.limits.max_pdu_length);
    let proposed = number_contexts(options);
    stream.send(&[association_request(&proposed, options)]).await?;
    match stream.receive(awaited).await {
        Ok(Incoming::AssociateAccept(accept)) => {
            let (contexts, refused) = read_results(&options.contexts, &proposed, &accept.results);
            let [sent, received] = [ObjectFlow::Sent, ObjectFlow::Received]
                .map(|flow| accepted_objects(flow, options, &proposed, &accept));
            let window = accept.user_information.window.filter(|_| options.is_asynchronous);
            let peer = Peer::new(address, stream.peer_certificate(), accept.user_information);
            let association = Association::new(stream, peer, contexts, refused, options.limits);
            let association = association.with_objects_in(received).with_objects_out(sent);
            Ok(association.with_window(window.map_or(1, agreed_window)))
        }
        Ok(Incoming::Rejected(rejection)) => Err(Error::Rejected(rejection)),
        Ok(Incoming::Aborted(abort)) => Err(Error::Aborted(abort)),
        Ok(pdu) => {
            let _ = stream.send_bytes(&Abort::UNEXPECTED_PDU.to_pdu()).await;
            Err(Violation::UnexpectedPdu(pdu.name()).into())
        }
        Err(error) => {
            if let Error::Violation(_) | Error::TooLarge { .. } = error {
                let _ = stream.send_bytes(&Abort::INVALID_PDU_PARAMETER.to_pdu()).await;
            }
            Err(error)
        }
    }
}

/// Gives the contexts their IDs: 1, 3, 5 ... 255.
fn number_contexts(options: &RequestorOptions) -> Vec<PresentationContextProposed> {
    let messages = options.contexts.iter().map(|context| {
        let syntaxes = context.transfer_syntaxes.iter();
        let syntaxes = syntaxes.map(|syntax| syntax.uid().to_owned()).collect();
        (context.abstract_syntax.clone(), syntaxes)
    });
    let objects = options.objects.iter().map(|objects| {
        let syntaxes = objects.transfer_syntax_uids.iter();
        let syntaxes = syntaxes.map(|syntax| syntax.as_str().to_owned()).collect();
        (objects.sop_class_uid.as_str().to_owned(), syntaxes)
    });
    let ids = (1..=u8::MAX).step_by(2);
    let proposed = |(id, (abstract_syntax, transfer_syntaxes))| PresentationContextProposed {
        id,
        abstract_syntax,
        transfer_syntaxes,
    };
    ids.zip(messages.chain(objects)).map(proposed).collect()
}

fn association_request(proposed: &[PresentationContextProposed], options: &RequestorOptions) -> Pdu {
    let mut user_variables = our_items(options.limits.max_pdu_length);
    user_variables.extend(role_selections(&options.objects));
    user_variables.extend(options.is_asynchronous.then(|| window_item(WINDOW)));
    Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: options.calling.to_string(),
        called_ae_title: options.called.to_string(),
        application_context_name: uids::APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: proposed.to_vec(),
        user_variables,
    })
}

/// One for each SOP class of which we would receive objects.
fn role_selections(objects: &[ProposedObjects]) -> Vec<UserVariableItem> {
    let flows = |class: &Uid, flow| {
        let mut same = objects.iter().filter(|other| other.sop_class_uid == *class);
        same.any(|other| other.flow == flow)
    };
    let mut classes: Vec<&Uid> = objects.iter().map(|objects| &objects.sop_class_uid).collect();
    classes.sort();
    classes.dedup();
    let received = classes
        .into_iter()
        .filter(|class| flows(class, ObjectFlow::Received));
    let item = |class: &Uid| {
        let roles = RequestorRoles {
            scu: flows(class, ObjectFlow::Sent),
            scp: true,
        };
        UserVariableItem::ScuScpRoleSelectionSubItem(class.as_str().to_owned(), roles)
    };
    received.map(item).collect()
}

fn read_results(
    options: &[PresentationContext],
    proposed: &[PresentationContextProposed],
    results: &[ContextResult],
) -> (Vec<Context>, Vec<(String, ContextRefusal)>) {
    let mut accepted = Vec::new();
    let mut refused = Vec::new();
    for (wanted, context) in options.iter().zip(proposed) {
        let result = results.iter().find(|result| result.id == context.id);
        let abstract_syntax = context.abstract_syntax.clone();
        match usable(wanted, result) {
            Ok(transfer_syntax) => accepted.push(Context {
                id: context.id,
                abstract_syntax,
                transfer_syntax,
            }),
            Err(refusal) => refused.push((abstract_syntax, refusal)),
        }
    }
    (accepted, refused)
}

/// The contexts in which objects may go this way. Received ones need the role too.
fn accepted_objects(
    flow: ObjectFlow,
    options: &RequestorOptions,
    proposed: &[PresentationContextProposed],
    accept: &AssociateAccept,
) -> Vec<ObjectContext> {
    let proposed = proposed.iter().skip(options.contexts.len());
    let going = options
        .objects
        .iter()
        .zip(proposed)
        .filter(|(objects, _)| objects.flow == flow);
    let accepted = going.filter_map(|(objects, context)| {
        let result = accept.results.iter().find(|result| result.id == context.id)?;
        let transfer_syntax_uid: Uid = result.transfer_syntax.parse().ok()?;
        let is_usable = result.result == 0
            && objects.transfer_syntax_uids.contains(&transfer_syntax_uid)
            && has_role(flow, &objects.sop_class_uid, &accept.user_information);
        is_usable.then(|| ObjectContext {
            id: context.id,
            sop_class_uid: objects.sop_class_uid.clone(),
            transfer_syntax_uid,
        })
    });
    accepted.collect()
}

/// Without an answer about a SOP class the requestor is its SCU alone (PS3.7 D.3.3.4.2). A peer that forgets to answer, and
/// sends all the same, is not refused: one that means it sends nothing.
fn has_role(flow: ObjectFlow, sop_class_uid: &Uid, answer: &UserInformation) -> bool {
    let roles = answer.roles.iter().find(|(uid, _)| uid == sop_class_uid.as_str());
    match (flow, roles) {
        (_, None) => true,
        (ObjectFlow::Sent, Some((_, roles))) => roles.scu,
        (ObjectFlow::Received, Some((_, roles))) => roles.scp,
    }
}

fn usable(
    wanted: &PresentationContext,
    result: Option<&ContextResult>,
) -> Result<TransferSyntax, ContextRefusal> {
    let result = result.ok_or(ContextRefusal::Unanswered)?;
    match result.result {
        0 => TransferSyntax::from_uid(&result.transfer_syntax)
            .filter(|syntax| wanted.transfer_syntaxes.contains(syntax))
            .ok_or(ContextRefusal::TransferSyntaxes),
        1 => Err(ContextRefusal::User),
        3 => Err(ContextRefusal::AbstractSyntax),
        4 => Err(ContextRefusal::TransferSyntaxes),
        _ => Err(ContextRefusal::NoReason),
    }
}
