//! Answering association requests.
//!
//! In two steps, so that whoever decides may take its time and look things up: [`receive_request`] reads the
//! request, and [`PendingAssociation`] is then accepted or rejected. Invariant: a caller that we do not accept is
//! told why in the standard's terms, and the connection stays until it had the chance to read that. Each step is
//! bounded in time, as the ARTIM timer of PS3.8 9.1.5 asks.

use std::net::SocketAddr;
use std::time::Duration;

use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, RequestorRoles, UserVariableItem,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::conversion::is_convertible;
use super::socket::Socket;
use super::stream::{Incoming, PduStream};
use super::tls::{AcceptorTls, PeerCertificate};
use super::user_information::{UserInformation, agreed_window, our_items, window_item};
use super::{
    Abort, Association, Awaited, Context, Error, Limits, ObjectContext, ObjectsServed, Peer,
    PresentationContext, Rejection, TransferSyntax, Violation, trim_padding, uids,
};
use crate::model::{AeTitle, Invalid, Uid};

/// How long a rejected peer may take to hang up.
const LINGER: Duration = Duration::from_secs(1);

/// Bounds on associations that others open.
#[derive(Debug, Clone)]
pub struct AcceptorOptions {
    /// TLS, where callers must speak it.
    pub tls: Option<AcceptorTls>,
    /// How long the TLS handshake may take.
    pub tls_timeout: Duration,
    /// How long a peer may take from connecting to its whole association request, and to take our answer.
    pub associate_timeout: Duration,
    /// Bounds on the association.
    pub limits: Limits,
}

impl Default for AcceptorOptions {
    /// No TLS, 5 s for its handshake, 10 s to associate, and the default limits.
    fn default() -> Self {
        AcceptorOptions {
            tls: None,
            tls_timeout: Duration::from_secs(5),
            associate_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// An AE title of an association request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedTitle {
    /// As it came, without padding. May hold anything.
    pub raw: String,
    /// As a title, unless it breaks the rules of one.
    pub title: Result<AeTitle, Invalid>,
}

/// Who asks for an association, and what for: all that a decision about access can be based on.
#[derive(Debug, Clone)]
pub struct AssociationRequest {
    /// Who says to be calling. Anyone can write any title here.
    pub calling: RequestedTitle,
    /// Whom it believes to call.
    pub called: RequestedTitle,
    /// Address and implementation of the peer.
    pub peer: Peer,
    /// The SOP classes of the proposed presentation contexts, in their order.
    pub abstract_syntaxes: Vec<String>,
}

/// An association that waits for its answer. Dropped without one, the connection is closed.
#[derive(Debug)]
pub struct PendingAssociation {
    stream: PduStream,
    received: AssociationRQ,
    request: AssociationRequest,
    options: AcceptorOptions,
}

/// Reads the association request of a peer that has connected.
///
/// Requests that no decision could accept are answered here, and become errors: unknown protocol version or
/// application context, too large, malformed, something else than a request.
pub async fn receive_request(
    socket: TcpStream,
    address: SocketAddr,
    options: AcceptorOptions,
) -> Result<PendingAssociation, Error> {
    let socket = secure(socket, &options).await?;
    let mut stream = PduStream::new(socket, options.limits.max_pdu_length);
    let awaited = Awaited::AssociationRequest;
    let after = options.associate_timeout;
    let received = timeout(after, stream.receive(awaited)).await;
    let received = received.unwrap_or(Err(Error::TimedOut { awaited, after }));
    let request = received.and_then(|pdu| match pdu {
        Incoming::AssociateRequest(request) => Ok(request),
        Incoming::Aborted(abort) => Err(Error::Aborted(abort)),
        pdu => Err(Violation::UnexpectedPdu(pdu.name()).into()),
    });
    let checked = request.and_then(|received| {
        check_request(&received, address, stream.peer_certificate()).map(|request| (received, request))
    });
    match checked {
        Ok((received, request)) => Ok(PendingAssociation {
            stream,
            received,
            request,
            options,
        }),
        Err(error) => {
            if let Some(answer) = answer_to(&error) {
                send_and_close(&mut stream, &answer).await;
            }
            Err(error)
        }
    }
}

async fn secure(socket: TcpStream, options: &AcceptorOptions) -> Result<Socket, Error> {
    let Some(tls) = &options.tls else {
        return Ok(Socket::Plain(socket));
    };
    let (awaited, after) = (Awaited::TlsHandshake, options.tls_timeout);
    match timeout(after, tls.accept(socket)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err((error, socket))) => {
            let mut refused = PduStream::new(Socket::Plain(socket), options.limits.max_pdu_length);
            let _ = timeout(LINGER, refused.close_gently()).await;
            Err(Error::Tls(error))
        }
        Err(_) => Err(Error::TimedOut { awaited, after }),
    }
}

fn check_request(
    received: &AssociationRQ,
    address: SocketAddr,
    certificate: Option<PeerCertificate>,
) -> Result<AssociationRequest, Error> {
    if received.protocol_version & 1 == 0 {
        return Err(Error::Refused(Rejection::PROTOCOL_VERSION));
    }
    let application_context = trim_padding(received.application_context_name.as_bytes());
    if application_context != uids::APPLICATION_CONTEXT.as_bytes() {
        return Err(Error::Refused(Rejection::APPLICATION_CONTEXT));
    }
    let mut seen = [false; 256];
    for context in &received.presentation_contexts {
        if context.id % 2 == 0 || std::mem::replace(&mut seen[usize::from(context.id)], true) {
            return Err(Violation::BadContextId(context.id).into());
        }
    }
    let syntaxes = received
        .presentation_contexts
        .iter()
        .map(|context| unpadded(&context.abstract_syntax));
    Ok(AssociationRequest {
        calling: requested_title(&received.calling_ae_title),
        called: requested_title(&received.called_ae_title),
        peer: Peer::new(
            address,
            certificate,
            UserInformation::of_items(&received.user_variables),
        ),
        abstract_syntaxes: syntaxes.collect(),
    })
}

fn requested_title(text: &str) -> RequestedTitle {
    let raw = unpadded(text);
    RequestedTitle {
        title: raw.parse(),
        raw,
    }
}

fn unpadded(text: &str) -> String {
    text.trim_matches([' ', '\0']).to_owned()
}

/// What a peer is told whose request failed this way.
fn answer_to(error: &Error) -> Option<[u8; 10]> {
    Some(match error {
        Error::Refused(rejection) => rejection.to_pdu(),
        Error::TooLarge {
            what: "association PDU",
            ..
        } => Rejection::REQUEST_TOO_LARGE.to_pdu(),
        Error::TooLarge { .. } | Error::Violation(Violation::UnexpectedPdu(_)) => {
            Abort::UNEXPECTED_PDU.to_pdu()
        }
        Error::NotDicom => Abort::UNRECOGNIZED_PDU.to_pdu(),
        Error::Violation(_) => Abort::INVALID_PDU_PARAMETER.to_pdu(),
        Error::TimedOut { .. } => Abort::BY_USER.to_pdu(),
        _ => return None,
    })
}

async fn send_and_close(stream: &mut PduStream, answer: &[u8]) {
    // A peer that does not take its answer in this time does without.
    let _ = timeout(LINGER, async {
        if stream.send_bytes(answer).await.is_ok() {
            stream.close_gently().await;
        }
    })
    .await;
}

impl PendingAssociation {
    /// What is asked for.
    pub fn request(&self) -> &AssociationRequest {
        &self.request
    }

    /// Rejects the association, and waits a moment for the peer to hang up.
    pub async fn reject(mut self, rejection: Rejection) {
        send_and_close(&mut self.stream, &rejection.to_pdu()).await;
    }

    /// Accepts the association with those of the proposed contexts that are among `supported`. Of the others, those are
    /// for objects whose SOP class is `served` in a role that the requestor has proposed.
    pub async fn accept(
        mut self,
        supported: &[PresentationContext],
        served: &ObjectsServed,
    ) -> Result<Association, Error> {
        let proposed = &self.received.presentation_contexts;
        let mut results: Vec<_> = proposed
            .iter()
            .map(|context| answer_context(context, supported))
            .collect();
        let contexts: Vec<Context> = results.iter().zip(proposed).filter_map(accepted).collect();
        let UserInformation {
            roles: proposed_roles,
            window,
            ..
        } = UserInformation::of_items(&self.received.user_variables);
        let mut user_variables = our_items(self.options.limits.max_pdu_length);
        // Other requests than these are served one after the other.
        if contexts
            .iter()
            .any(|context| context.abstract_syntax == uids::CLUSTER_UPDATE)
        {
            user_variables.extend(window.map(|window| window_item(agreed_window(window))));
        }
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        for (result, proposed) in results.iter_mut().zip(proposed) {
            let is_free = result.reason == PresentationContextResultReason::AbstractSyntaxNotSupported;
            let Some((context, roles)) =
                object_context(proposed, &proposed_roles, served).filter(|_| is_free)
            else {
                continue;
            };
            result.reason = PresentationContextResultReason::Acceptance;
            result.transfer_syntax = context.transfer_syntax_uid.as_str().to_owned();
            let sop_class_uid = context.sop_class_uid.as_str();
            let answer = UserVariableItem::ScuScpRoleSelectionSubItem(sop_class_uid.to_owned(), roles);
            if proposed_roles.iter().any(|(uid, _)| uid == sop_class_uid) && !user_variables.contains(&answer)
            {
                user_variables.push(answer);
            }
            if roles.scp {
                given.push(context.clone());
            }
            if roles.scu {
                taken.push(context);
            }
        }
        let answer = Pdu::AssociationAC(AssociationAC {
            protocol_version: 1,
            calling_ae_title: self.received.calling_ae_title.clone(),
            called_ae_title: self.received.called_ae_title.clone(),
            application_context_name: uids::APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: results,
            user_variables,
        });
        let (awaited, after) = (Awaited::Sending, self.options.associate_timeout);
        let sent = timeout(after, self.stream.send(&[answer])).await;
        sent.unwrap_or(Err(Error::TimedOut { awaited, after }))?;
        let Self {
            stream,
            request,
            options,
            ..
        } = self;
        let association = Association::new(stream, request.peer, contexts, Vec::new(), options.limits);
        Ok(association.with_objects_in(taken).with_objects_out(given))
    }
}

/// The context that objects may have, and the requestor's roles in it; `None` where it has none.
fn object_context(
    proposed: &PresentationContextProposed,
    proposed_roles: &[(String, RequestorRoles)],
    served: &ObjectsServed,
) -> Option<(ObjectContext, RequestorRoles)> {
    let sop_class_uid: Uid = proposed.abstract_syntax.parse().ok()?;
    let roles = proposed_roles
        .iter()
        .find(|(uid, _)| uid == sop_class_uid.as_str());
    let roles = match roles {
        Some((_, roles)) => RequestorRoles {
            scu: roles.scu && (served.taken)(&sop_class_uid),
            scp: roles.scp && (served.given)(&sop_class_uid),
        },
        None => RequestorRoles {
            scu: (served.taken)(&sop_class_uid),
            scp: false,
        },
    };
    let syntaxes: Vec<Uid> = proposed
        .transfer_syntaxes
        .iter()
        .filter_map(|uid| uid.parse().ok())
        .collect();
    let held = served.held.get(&sop_class_uid).filter(|_| roles.scp);
    let context = ObjectContext {
        id: proposed.id,
        transfer_syntax_uid: sending_syntax(held.map_or(&[], Vec::as_slice), &syntaxes)
            .or(syntaxes.first())?
            .clone(),
        sop_class_uid,
    };
    (roles.scu || roles.scp).then_some((context, roles))
}

/// In which of the `proposed` transfer syntaxes objects are given that are there in those of `held`: as they are stored,
/// unless it is a syntax that objects are not converted to where it would be converted from.
fn sending_syntax<'s>(held: &[Uid], proposed: &'s [Uid]) -> Option<&'s Uid> {
    let stored = held
        .iter()
        .find_map(|syntax| proposed.iter().find(|it| *it == syntax));
    let is_converted = match stored {
        Some(stored) => {
            is_convertible(stored.as_str()) && TransferSyntax::from_uid(stored.as_str()).is_none()
        }
        None => held.iter().any(|syntax| is_convertible(syntax.as_str())),
    };
    let mut targets = TransferSyntax::ALL.iter().filter(|_| is_converted);
    let target = targets.find_map(|syntax| proposed.iter().find(|it| it.as_str() == syntax.uid()));
    target.or(stored)
}

fn answer_context(
    proposed: &PresentationContextProposed,
    supported: &[PresentationContext],
) -> PresentationContextResult {
    use PresentationContextResultReason::{
        AbstractSyntaxNotSupported, Acceptance, TransferSyntaxesNotSupported,
    };
    let uid = unpadded(&proposed.abstract_syntax);
    let context = supported.iter().find(|context| context.abstract_syntax == uid);
    let offered: Vec<_> = proposed
        .transfer_syntaxes
        .iter()
        .filter_map(|uid| TransferSyntax::from_uid(uid))
        .collect();
    let common = context.and_then(|context| {
        context
            .transfer_syntaxes
            .iter()
            .find(|syntax| offered.contains(syntax))
    });
    let (reason, syntax) = match (context, common) {
        (_, Some(syntax)) => (Acceptance, *syntax),
        // The transfer syntax of a refused context is not significant, but must be there (PS3.8 9.3.3.2).
        (Some(_), None) => (
            TransferSyntaxesNotSupported,
            TransferSyntax::ImplicitVrLittleEndian,
        ),
        (None, None) => (AbstractSyntaxNotSupported, TransferSyntax::ImplicitVrLittleEndian),
    };
    PresentationContextResult {
        id: proposed.id,
        reason,
        transfer_syntax: syntax.uid().to_owned(),
    }
}

fn accepted(
    (result, proposed): (&PresentationContextResult, &PresentationContextProposed),
) -> Option<Context> {
    if result.reason != PresentationContextResultReason::Acceptance {
        return None;
    }
    Some(Context {
        id: proposed.id,
        abstract_syntax: unpadded(&proposed.abstract_syntax),
        transfer_syntax: TransferSyntax::from_uid(&result.transfer_syntax)?,
    })
}
