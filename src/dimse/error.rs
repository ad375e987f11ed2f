//! What can go wrong with an association, told apart so exactly that a user can act on it.
//!
//! Invariant: the text of an error says one thing, not its source, and holds nothing that a peer wrote unless its
//! control characters are gone.

use std::fmt;
use std::io;
use std::time::Duration;

use super::{Abort, ContextRefusal, Malformed, Rejection};

/// What an association waited for when its time was up, or when the peer went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The answer of the name service.
    NameResolution,
    /// The TCP connection.
    Connection,
    /// The TLS handshake.
    TlsHandshake,
    /// A-ASSOCIATE-RQ.
    AssociationRequest,
    /// A-ASSOCIATE-AC or -RJ.
    AssociationResponse,
    /// A whole DIMSE request.
    Request,
    /// A whole DIMSE response.
    Response,
    /// Room to send.
    Sending,
    /// A-RELEASE-RP.
    ReleaseResponse,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Awaited::NameResolution => "name resolution",
            Awaited::Connection => "the TCP connection",
            Awaited::TlsHandshake => "the TLS handshake",
            Awaited::AssociationRequest => "an association request",
            Awaited::AssociationResponse => "the answer to our association request",
            Awaited::Request => "a request",
            Awaited::Response => "a response",
            Awaited::Sending => "the peer to take what we send",
            Awaited::ReleaseResponse => "the release of the association",
        })
    }
}

/// A rule of PS3.7 or PS3.8 that the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A PDU that has no place in the present state.
    #[error("unexpected {0}")]
    UnexpectedPdu(&'static str),
    /// A PDU whose content cannot be read.
    #[error("unreadable {0}")]
    UnreadablePdu(&'static str),
    /// A PDU of a type that the standard does not know, on an association that was good before.
    #[error("unknown PDU type {0:02X}")]
    UnknownPduType(u8),
    /// A proposed presentation context with an even or repeated ID.
    #[error("bad presentation context ID {0}")]
    BadContextId(u8),
    /// A message in a presentation context that was not accepted.
    #[error("message in presentation context {0}, which was not accepted")]
    ForeignContext(u8),
    /// Fragments of messages of two presentation contexts, mixed.
    #[error("interleaved messages")]
    InterleavedContexts,
    /// A fragment of a data set where one of a command belongs, or the other way round.
    #[error("fragments out of order")]
    FragmentsOutOfOrder,
    /// A command set that cannot be read.
    #[error("unreadable command set")]
    UnreadableCommand,
    /// A message that is no response, or one to another request.
    #[error("response {0:04X} to message {1:?}, which was not asked")]
    ForeignResponse(u16, Option<u16>),
    /// A match without identifier, or a final response with one.
    #[error("a response without the data set that it must have")]
    MissingDataSet,
    /// A response without status.
    #[error("a response without status")]
    MissingStatus,
    /// A request while another one is answered (PS3.7 D.3.3.3: no asynchronous operations were negotiated).
    #[error("a request while another one was answered")]
    OverlappingRequest,
    /// A response where a request belongs.
    #[error("a response where a request was expected")]
    UnexpectedResponse,
}

/// An association that could not be made, or did not last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of the host cannot be resolved.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host took the TCP connection; refused, most often.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address that was tried last, with its port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The two sides do not trust each other, or one of them does not speak TLS.
    #[error("TLS refused")]
    Tls(#[source] io::Error),
    /// All associations together hold as many bytes as they may.
    #[error("too many bytes of data sets are held at once")]
    NoRoom,
    /// An object that comes by so few bytes a second that it would take for ever.
    #[error("the object comes too slowly: {bytes} bytes in {within:?}")]
    TooSlow {
        /// How many bytes came.
        bytes: usize,
        /// In which time of waiting.
        within: Duration,
    },
    /// None, or more than 128, presentation contexts were to be proposed (PS3.8 9.3.2.2).
    #[error("{0} presentation contexts cannot be proposed, only 1 to 128")]
    ContextCount(usize),
    /// The peer rejected the association.
    #[error("association rejected: {0}")]
    Rejected(Rejection),
    /// We rejected the association that the peer asked for.
    #[error("association refused: {0}")]
    Refused(Rejection),
    /// The peer accepted the association, but not the service.
    #[error("{abstract_syntax} not accepted: {refusal}")]
    ContextRefused {
        /// The SOP class.
        abstract_syntax: String,
        /// Why not.
        refusal: ContextRefusal,
    },
    /// The peer aborted the association.
    #[error("association aborted by the peer, {0}")]
    Aborted(Abort),
    /// The peer asked to release the association while we waited for something.
    #[error("association released by the peer while we waited for {0}")]
    Released(Awaited),
    /// The peer closed the connection.
    #[error("connection closed by the peer while we waited for {0}")]
    Closed(Awaited),
    /// What the peer sent first is no DICOM.
    #[error("the peer does not speak DICOM")]
    NotDicom,
    /// The peer took too long.
    #[error("no progress within {} s, waiting for {awaited}", .after.as_secs_f32())]
    TimedOut {
        /// What for.
        awaited: Awaited,
        /// How long we waited.
        after: Duration,
    },
    /// The peer sent something larger than we take.
    #[error("{what} of more than {limit} bytes")]
    TooLarge {
        /// What it was.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The peer sent a data set that may not be read.
    #[error("malformed data set")]
    Malformed(#[source] Malformed),
    /// dicom-object does not take the data set, though its structure is sound.
    #[error("data set cannot be decoded")]
    Undecodable(#[source] Box<dicom_object::ReadError>),
    /// The peer broke the protocol.
    #[error("protocol violation by the peer: {0}")]
    Violation(Violation),
    /// What we wanted to send cannot be encoded.
    #[error("cannot encode {0}")]
    Unencodable(&'static str),
    /// The association has ended before.
    #[error("the association has ended")]
    Ended,
    /// The connection broke.
    #[error("connection lost while waiting for {awaited}")]
    Io {
        /// What for.
        awaited: Awaited,
        /// What the system said.
        source: io::Error,
    },
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Error::Violation(violation)
    }
}
