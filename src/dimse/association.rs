//! An open association: whole messages in and out, the same for requestor and acceptor; objects to be stored come in
//! piece by piece.
//!
//! Invariant: nothing waits without a deadline. After any error the association has ended: the peer was told by an
//! A-ABORT of the right source where that makes sense, and every further call says [`Error::Ended`]. A malformed
//! data set is no such error: the message was whole, and the next one can be read.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, write_pdu};
use tokio::time::timeout;

use super::fragment::fragment;
use super::object_rate::ObjectWindow;
use super::stream::{Incoming, PduStream};
use super::tls::PeerCertificate;
use super::user_information::UserInformation;
use super::{Abort, Assembler, Awaited, Command, DataSet, Error, Message, TransferSyntax, Violation};
use crate::model::Uid;

/// How long telling the peer that we abort may take.
const ABORT_WITHIN: Duration = Duration::from_millis(500);

/// Bounds on what a peer may make us hold and on how long it may take. Everything else waits by a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The length of P-DATA-TF PDUs that we announce, in bytes (PS3.8 D.1).
    pub max_pdu_length: u32,
    /// The greatest length of a data set, in bytes.
    pub max_data_set: usize,
    /// How long the peer may take to accept what we send.
    pub send_timeout: Duration,
    /// How long the peer may take from the first byte of a message to its last, but for an object's.
    pub message_timeout: Duration,
    /// How long the peer may take to answer a release.
    pub release_timeout: Duration,
}

impl Default for Limits {
    /// 64 KiB PDUs, 1 MiB data sets (identifiers have less than 4 KiB), 30 s to send, 60 s for a message to come, 2 s to release.
    fn default() -> Self {
        Limits {
            max_pdu_length: 65_536,
            max_data_set: 1024 * 1024,
            send_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(60),
            release_timeout: Duration::from_secs(2),
        }
    }
}

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its ID: odd, 1 to 255.
    pub id: u8,
    /// The SOP class.
    pub abstract_syntax: String,
    /// How its data sets are encoded.
    pub transfer_syntax: TransferSyntax,
}

/// An accepted presentation context for objects to be stored, which are taken as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectContext {
    /// Its ID: odd, 1 to 255.
    pub id: u8,
    /// The SOP class of its objects.
    pub sop_class_uid: Uid,
    /// How they are encoded.
    pub transfer_syntax_uid: Uid,
}

/// Why a proposed presentation context cannot be used (PS3.8 table 9-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextRefusal {
    /// By the peer's application.
    User,
    /// Without reason.
    NoReason,
    /// The SOP class is not supported.
    AbstractSyntax,
    /// None of the transfer syntaxes is supported, or another one was chosen.
    TransferSyntaxes,
    /// The answer did not mention it.
    Unanswered,
    /// It was not proposed.
    NotProposed,
}

impl fmt::Display for ContextRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ContextRefusal::User => "rejected by the peer's application",
            ContextRefusal::NoReason => "rejected without a reason",
            ContextRefusal::AbstractSyntax => "abstract syntax not supported",
            ContextRefusal::TransferSyntaxes => "transfer syntaxes not supported",
            ContextRefusal::Unanswered => "the peer's answer does not mention it",
            ContextRefusal::NotProposed => "it was not proposed",
        })
    }
}

/// What the peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its implementation class UID; empty if it gave none.
    pub implementation_class_uid: String,
    /// Its implementation version name, without control characters; empty if it gave none.
    pub implementation_version_name: String,
    /// The longest P-DATA-TF that it takes, in bytes; 0 is no limit.
    pub max_pdu_length: u32,
    /// The certificate that it has shown, over TLS.
    pub certificate: Option<PeerCertificate>,
}

impl Peer {
    pub(super) fn new(
        address: SocketAddr,
        certificate: Option<PeerCertificate>,
        information: UserInformation,
    ) -> Self {
        Peer {
            address,
            implementation_class_uid: information.implementation_class_uid,
            implementation_version_name: information.implementation_version_name,
            max_pdu_length: information.max_pdu_length,
            certificate,
        }
    }
}

/// An open association.
#[derive(Debug)]
pub struct Association {
    stream: PduStream,
    fragments: VecDeque<PDataValue>,
    assembler: Assembler,
    contexts: Vec<Context>,
    object_contexts: Vec<ObjectContext>,
    sending_contexts: Vec<ObjectContext>,
    refused: Vec<(String, ContextRefusal)>,
    peer: Peer,
    limits: Limits,
    last_message_id: u16,
    window: u16,
    object_window: ObjectWindow,
    ended: bool,
}

impl Association {
    pub(super) fn new(
        mut stream: PduStream,
        peer: Peer,
        contexts: Vec<Context>,
        refused: Vec<(String, ContextRefusal)>,
        limits: Limits,
    ) -> Self {
        stream.set_established(limits.message_timeout);
        Association {
            stream,
            fragments: VecDeque::new(),
            assembler: Assembler::new(limits.max_data_set),
            contexts,
            object_contexts: Vec::new(),
            sending_contexts: Vec::new(),
            refused,
            peer,
            limits,
            last_message_id: 0,
            window: 1,
            object_window: ObjectWindow::default(),
            ended: false,
        }
    }

    /// The same association, on which objects come in these contexts.
    pub(super) fn with_objects_in(mut self, contexts: Vec<ObjectContext>) -> Self {
        let ids = contexts.iter().map(|context| context.id);
        self.assembler = self.assembler.with_objects_in(ids);
        self.object_contexts = contexts;
        self
    }

    /// The same association, on which objects go out in these contexts.
    pub(super) fn with_objects_out(mut self, contexts: Vec<ObjectContext>) -> Self {
        self.sending_contexts = contexts;
        self
    }

    /// The same association, on which so many of our requests may be unanswered at once.
    pub(super) fn with_window(mut self, window: u16) -> Self {
        self.window = window.max(1);
        self
    }

    /// How many of our requests may be unanswered at once, as the peer has agreed to.
    pub fn window(&self) -> usize {
        self.window.into()
    }

    /// The contexts in which objects may be sent.
    pub fn sending_contexts(&self) -> &[ObjectContext] {
        &self.sending_contexts
    }

    /// The contexts in which objects come.
    pub fn object_contexts(&self) -> &[ObjectContext] {
        &self.object_contexts
    }

    /// The context for objects that come, with this ID.
    pub(super) fn object_context(&self, id: u8) -> Option<&ObjectContext> {
        self.object_contexts.iter().find(|context| context.id == id)
    }

    /// What the peer says of itself.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The accepted presentation contexts.
    pub fn contexts(&self) -> &[Context] {
        &self.contexts
    }

    /// The accepted presentation context with this ID.
    pub fn context(&self, id: u8) -> Option<&Context> {
        self.contexts.iter().find(|context| context.id == id)
    }

    /// The accepted presentation context for a SOP class, or why there is none.
    pub fn context_for(&self, abstract_syntax: &str) -> Result<&Context, Error> {
        let accepted = self
            .contexts
            .iter()
            .find(|context| context.abstract_syntax == abstract_syntax);
        accepted.ok_or_else(|| {
            let refused = self.refused.iter().find(|(syntax, _)| syntax == abstract_syntax);
            Error::ContextRefused {
                abstract_syntax: abstract_syntax.to_owned(),
                refusal: refused.map_or(ContextRefusal::NotProposed, |(_, refusal)| *refusal),
            }
        })
    }

    fn has_context(&self, id: u8) -> bool {
        let sends_in = || self.sending_contexts.iter().any(|context| context.id == id);
        self.context(id).is_some() || self.object_context(id).is_some() || sends_in()
    }

    /// The message ID that our next request has. Objects that are moved name it as their originator, and may come before
    /// any answer.
    pub fn message_id_ahead(&self) -> u16 {
        self.last_message_id.checked_add(1).unwrap_or(1)
    }

    /// A message ID that was not used for a while; never 0.
    pub(super) fn next_message_id(&mut self) -> u16 {
        self.last_message_id = self.message_id_ahead();
        self.last_message_id
    }

    /// Whether the peer has begun a message that is not whole yet.
    pub(super) fn is_receiving(&self) -> bool {
        !self.assembler.is_between_messages() || !self.fragments.is_empty() || self.stream.has_input()
    }

    /// Sends a message, its command and data set in one PDU and one write if the peer's maximum allows it.
    ///
    /// Not cancel-safe: dropped midway, it ends the association.
    pub async fn send(
        &mut self,
        context_id: u8,
        command: &Command,
        data_set: Option<&DataSet>,
    ) -> Result<(), Error> {
        let mut output = Vec::with_capacity(1024);
        self.encode(context_id, &command.encode(), data_set, &mut output)?;
        self.send_encoded(&output).await
    }

    /// Appends to `output` what [`Association::send`] would send of a message, its command encoded already.
    pub(super) fn encode(
        &self,
        context_id: u8,
        command: &[u8],
        data_set: Option<&DataSet>,
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut values = vec![(PDataValueType::Command, command)];
        values.extend(data_set.map(|data_set| (PDataValueType::Data, data_set.bytes())));
        for pdu in fragment(context_id, &values, self.peer.max_pdu_length) {
            write_pdu(output, &pdu).map_err(|_| Error::Unencodable("a PDU"))?;
        }
        Ok(())
    }

    /// Sends messages that [`Association::encode`] has written, as many as there are. Not cancel-safe.
    pub(super) async fn send_encoded(&mut self, output: &[u8]) -> Result<(), Error> {
        if self.ended {
            return Err(Error::Ended);
        }
        let after = self.limits.send_timeout;
        let sent = timeout(after, self.stream.send_bytes(output)).await;
        let sent = sent.unwrap_or(Err(Error::TimedOut {
            awaited: Awaited::Sending,
            after,
        }));
        self.ended = sent.is_err();
        sent
    }

    /// Waits for the next whole message, at most `within`; `None` when the peer released the association instead, and
    /// has its answer. Cancel-safe.
    pub async fn receive(&mut self, awaited: Awaited, within: Duration) -> Result<Option<Message>, Error> {
        if self.ended {
            return Err(Error::Ended);
        }
        let received = timeout(within, self.receive_unbounded(awaited)).await;
        match received.unwrap_or(Err(Error::TimedOut {
            awaited,
            after: within,
        })) {
            Ok(received) => Ok(received),
            Err(error) => {
                self.end_after(&error).await;
                Err(error)
            }
        }
    }

    /// The next whole message, where all of it has come already. Never waits.
    pub(super) async fn receive_at_hand(&mut self) -> Result<Option<Message>, Error> {
        if self.ended {
            return Err(Error::Ended);
        }
        let received = tokio::select! {
            biased;
            received = self.receive_unbounded(Awaited::Request) => received,
            () = std::future::ready(()) => return Ok(None),
        };
        if let Err(error) = &received {
            self.end_after(error).await;
        }
        received
    }

    async fn receive_unbounded(&mut self, awaited: Awaited) -> Result<Option<Message>, Error> {
        loop {
            while let Some(fragment) = self.fragments.pop_front() {
                let context_id = fragment.presentation_context_id;
                if !self.has_context(context_id) {
                    return Err(Violation::ForeignContext(context_id).into());
                }
                if let Some(message) = self.assembler.push(fragment)? {
                    self.stream.end_message();
                    self.object_window = ObjectWindow::default();
                    return Ok(Some(message));
                }
            }
            let is_under_way = !self.assembler.is_between_messages();
            match self.stream.receive_of_message(awaited, is_under_way).await? {
                Incoming::Data(fragments) => self.fragments.extend(fragments),
                Incoming::ReleaseRequest => {
                    self.ended = true;
                    let answer = self.stream.send(&[Pdu::ReleaseRP]);
                    let _ = timeout(self.limits.release_timeout, answer).await;
                    return Ok(None);
                }
                Incoming::Aborted(abort) => return Err(Error::Aborted(abort)),
                pdu => return Err(Violation::UnexpectedPdu(pdu.name()).into()),
            }
        }
    }

    /// Waits for the next bytes of the object whose C-STORE-RQ has come, at most `within`; `None` after its last.
    pub(super) async fn receive_object(&mut self, within: Duration) -> Result<Option<Vec<u8>>, Error> {
        if self.ended {
            return Err(Error::Ended);
        }
        if !self.assembler.is_in_object() {
            return Ok(None);
        }
        let began = Instant::now();
        let received = timeout(within, self.receive_fragment()).await;
        let received = received.unwrap_or(Err(Error::TimedOut {
            awaited: Awaited::Request,
            after: within,
        }));
        let received = received.and_then(|fragment| {
            self.object_window
                .count(began.elapsed(), fragment.data.len(), within)?;
            Ok(self.assembler.push_object(fragment)?)
        });
        match received {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => {
                self.end_after(&error).await;
                Err(error)
            }
        }
    }

    async fn receive_fragment(&mut self) -> Result<PDataValue, Error> {
        loop {
            if let Some(fragment) = self.fragments.pop_front() {
                return Ok(fragment);
            }
            self.stream.end_message();
            match self.stream.receive(Awaited::Request).await? {
                Incoming::Data(fragments) => self.fragments.extend(fragments),
                Incoming::Aborted(abort) => return Err(Error::Aborted(abort)),
                pdu => return Err(Violation::UnexpectedPdu(pdu.name()).into()),
            }
        }
    }

    /// Ends the association after an error, and tells the peer where it can still hear it.
    async fn end_after(&mut self, error: &Error) {
        let abort = match error {
            Error::Violation(Violation::UnknownPduType(_)) => Abort::UNRECOGNIZED_PDU,
            Error::Violation(Violation::UnexpectedPdu(_)) => Abort::UNEXPECTED_PDU,
            Error::Violation(Violation::UnreadablePdu(_) | Violation::ForeignContext(_)) => {
                Abort::INVALID_PDU_PARAMETER
            }
            Error::Aborted(_) | Error::Closed(_) | Error::Io { .. } => {
                self.ended = true;
                return;
            }
            _ => Abort::BY_USER,
        };
        self.send_abort(abort).await;
    }

    async fn send_abort(&mut self, abort: Abort) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let pdu = abort.to_pdu();
        let _ = timeout(ABORT_WITHIN, self.stream.send_bytes(&pdu)).await;
    }

    /// Ends the association at once, as the application (A-ABORT, source: service user).
    pub async fn abort(&mut self) {
        self.send_abort(Abort::BY_USER).await;
    }

    /// Ends the association because of the peer's violation on the level of messages, and gives the error.
    pub(super) async fn violated(&mut self, violation: Violation) -> Error {
        let error = Error::from(violation);
        self.end_after(&error).await;
        error
    }

    /// Ends the association because nothing more can be held, and gives the error.
    pub(super) async fn out_of_room(&mut self) -> Error {
        self.end_after(&Error::NoRoom).await;
        Error::NoRoom
    }

    /// Releases the association; what the peer still sends is forgotten. Bounded by the release timeout: a peer
    /// that does not answer is aborted.
    pub async fn release(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.ended, true) {
            return Err(Error::Ended);
        }
        let after = self.limits.release_timeout;
        let released = timeout(after, self.exchange_release()).await;
        let awaited = Awaited::ReleaseResponse;
        match released.unwrap_or(Err(Error::TimedOut { awaited, after })) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.ended = false;
                self.end_after(&error).await;
                Err(error)
            }
        }
    }

    async fn exchange_release(&mut self) -> Result<(), Error> {
        self.stream.send(&[Pdu::ReleaseRQ]).await?;
        loop {
            match self.stream.receive(Awaited::ReleaseResponse).await? {
                Incoming::ReleaseResponse => return Ok(()),
                // Both asked at the same moment (PS3.8 9.2.3, release collision).
                Incoming::ReleaseRequest => self.stream.send(&[Pdu::ReleaseRP]).await?,
                Incoming::Data(_) => {}
                Incoming::Aborted(abort) => return Err(Error::Aborted(abort)),
                pdu => return Err(Violation::UnexpectedPdu(pdu.name()).into()),
            }
        }
    }
}
