//! PDUs over a socket: bounded reading, batched writing.
//!
//! Invariant: a PDU of unknown type, or longer than its type may be here, is refused when its six bytes of header
//! are in, before anything of it is kept. Reading is cancel-safe: a partial PDU stays in the buffer. Writing is
//! not, so a stream whose write was dropped midway refuses all further use. Deadlines are for the callers.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use dicom_ul::pdu::{AssociationRQ, PDataValue, Pdu, read_pdu, write_pdu};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls;

use super::associate_accept::AssociateAccept;
use super::socket::Socket;
use super::tls::PeerCertificate;
use super::{Abort, Awaited, Error, Rejection, Violation};

/// The longest A-ASSOCIATE PDU that is taken, in bytes. PS3.8 sets no limit; 128 presentation contexts with every
/// transfer syntax there is in each make some 150 KB.
pub const MAX_ASSOCIATE_PDU: usize = 256 * 1024;

/// What a P-DATA-TF may be longer than we announced. Some peers leave headers out of their sums.
const SLACK: usize = 1024;
/// The longest A-ASSOCIATE-RJ, A-RELEASE or A-ABORT that is taken. By the standard they have 4 bytes.
const MAX_SHORT_PDU: usize = 256;
const PDU_HEADER: usize = 6;
const SMALLEST_READ: usize = 8 * 1024;
const LARGEST_READ: usize = 128 * 1024;

/// A PDU that came from the peer.
#[derive(Debug)]
pub(super) enum Incoming {
    AssociateRequest(AssociationRQ),
    AssociateAccept(AssociateAccept),
    Rejected(Rejection),
    Data(Vec<PDataValue>),
    ReleaseRequest,
    ReleaseResponse,
    Aborted(Abort),
}

impl Incoming {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Incoming::AssociateRequest(_) => "A-ASSOCIATE-RQ",
            Incoming::AssociateAccept(_) => "A-ASSOCIATE-AC",
            Incoming::Rejected(_) => "A-ASSOCIATE-RJ",
            Incoming::Data(_) => "P-DATA-TF",
            Incoming::ReleaseRequest => "A-RELEASE-RQ",
            Incoming::ReleaseResponse => "A-RELEASE-RP",
            Incoming::Aborted(_) => "A-ABORT",
        }
    }
}

/// A socket that speaks PDUs.
#[derive(Debug)]
pub(super) struct PduStream {
    socket: Socket,
    input: BytesMut,
    read_size: usize,
    max_data_pdu: usize,
    write_under_way: bool,
    established: bool,
    /// How long a message may take from its first byte to its last.
    message_timeout: Duration,
    /// Since when a message, or the PDU that begins one, has been coming.
    message_since: Option<Instant>,
}

impl PduStream {
    /// Takes a connected socket. `max_pdu_length` is what we announce (PS3.8 D.1).
    pub(super) fn new(socket: Socket, max_pdu_length: u32) -> Self {
        // Where it cannot be set, messages are slower by Nagle's delay, and still right.
        let _ = socket.tcp().set_nodelay(true);
        PduStream {
            socket,
            input: BytesMut::new(),
            read_size: SMALLEST_READ,
            max_data_pdu: max_pdu_length as usize + SLACK,
            write_under_way: false,
            established: false,
            message_timeout: Duration::MAX,
            message_since: None,
        }
    }

    /// The certificate that the peer has shown, if it did.
    pub(super) fn peer_certificate(&self) -> Option<PeerCertificate> {
        self.socket.peer_certificate()
    }

    /// Says that the peer has proved to speak DICOM, so that garbage from now on is a violation, and how long each of its
    /// messages may take.
    pub(super) fn set_established(&mut self, message_timeout: Duration) {
        self.established = true;
        self.message_timeout = message_timeout;
    }

    /// Says that a message has come whole: the next one has its own time.
    pub(super) fn end_message(&mut self) {
        self.message_since = None;
    }

    /// Whether a part of a PDU, or PDUs, are waiting to be taken.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// The next PDU. Cancel-safe. `awaited` goes into the errors.
    pub(super) async fn receive(&mut self, awaited: Awaited) -> Result<Incoming, Error> {
        loop {
            if let Some(pdu) = self.take_pdu()? {
                return Ok(pdu);
            }
            self.fill(awaited).await?;
        }
    }

    /// The next PDU of messages. `is_under_way` says that PDUs before it have begun one; from its first byte to its last
    /// it has the time of a message, however often a byte of it comes. Cancel-safe.
    pub(super) async fn receive_of_message(
        &mut self,
        awaited: Awaited,
        is_under_way: bool,
    ) -> Result<Incoming, Error> {
        loop {
            if let Some(pdu) = self.take_pdu()? {
                return Ok(pdu);
            }
            if !is_under_way && self.input.is_empty() {
                self.message_since = None;
                self.fill(awaited).await?;
                continue;
            }
            let since = *self.message_since.get_or_insert_with(Instant::now);
            let after = self.message_timeout;
            let left = after.saturating_sub(since.elapsed());
            let filled = timeout(left, self.fill(awaited)).await;
            filled.unwrap_or(Err(Error::TimedOut { awaited, after }))?;
        }
    }

    /// The next PDU, if the whole of it is here.
    fn take_pdu(&mut self) -> Result<Option<Incoming>, Error> {
        let Some(&[pdu_type, _, l0, l1, l2, l3]) = self.input.first_chunk::<PDU_HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let (what, limit) = match pdu_type {
            0x01 | 0x02 => ("association PDU", MAX_ASSOCIATE_PDU),
            0x04 => ("P-DATA-TF PDU", self.max_data_pdu),
            0x03 | 0x05..=0x07 => ("control PDU", MAX_SHORT_PDU),
            _ if self.established => return Err(Violation::UnknownPduType(pdu_type).into()),
            _ => return Err(Error::NotDicom),
        };
        if length > limit {
            return Err(Error::TooLarge { what, limit });
        }
        if self.input.len() < PDU_HEADER + length {
            return Ok(None);
        }
        decode(pdu_type, self.input.split_to(PDU_HEADER + length)).map(Some)
    }

    async fn fill(&mut self, awaited: Awaited) -> Result<(), Error> {
        self.input.reserve(self.read_size);
        // Delayed acknowledgements cost 40 ms where the peer waits for one before it sends the rest. The kernel
        // forgets this option by itself, so it is set each time.
        let _ = rustix::net::sockopt::set_tcp_quickack(self.socket.tcp(), true);
        let room = self.input.capacity() - self.input.len();
        match self.socket.read_buf(&mut self.input).await {
            Ok(0) => Err(Error::Closed(awaited)),
            Ok(count) => {
                if count >= room {
                    self.read_size = (self.read_size * 2).min(LARGEST_READ);
                }
                Ok(())
            }
            Err(source) => Err(lost(source, awaited)),
        }
    }

    /// Encodes and sends PDUs, in one write where the system allows it.
    pub(super) async fn send(&mut self, pdus: &[Pdu]) -> Result<(), Error> {
        let mut output = Vec::with_capacity(1024);
        for pdu in pdus {
            write_pdu(&mut output, pdu).map_err(|_| Error::Unencodable("a PDU"))?;
        }
        self.send_bytes(&output).await
    }

    /// Sends encoded PDUs.
    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if std::mem::replace(&mut self.write_under_way, true) {
            return Err(Error::Ended);
        }
        let written = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        let written = written.await;
        self.write_under_way = false;
        written.map_err(|source| lost(source, Awaited::Sending))
    }

    /// Ends our side, then takes and forgets what the peer still sends until it closes: a socket closed with unread
    /// input is reset, and what was sent last is lost on its way. For the caller to bound in time.
    pub(super) async fn close_gently(&mut self) {
        if self.socket.shutdown().await.is_err() {
            return;
        }
        self.input.clear();
        while self.fill(Awaited::ReleaseResponse).await.is_ok() {
            self.input.clear();
        }
    }
}

/// What an error of the socket means. A reset after our last write is how many peers hang up.
fn lost(source: io::Error, awaited: Awaited) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match source.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Error::Closed(awaited),
        // A peer that does not like our certificate says so after its own handshake, not in ours.
        _ if source.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => Error::Tls(source),
        _ => Error::Io { awaited, source },
    }
}

/// Decodes a whole PDU of a known type.
fn decode(pdu_type: u8, whole: BytesMut) -> Result<Incoming, Error> {
    let unreadable = |name| Error::from(Violation::UnreadablePdu(name));
    let body = whole.get(PDU_HEADER..).unwrap_or_default();
    match pdu_type {
        0x02 => match AssociateAccept::read(body) {
            Some(accept) => Ok(Incoming::AssociateAccept(accept)),
            None => Err(unreadable("A-ASSOCIATE-AC")),
        },
        0x03 => match body.first_chunk::<4>() {
            Some(&[_, result, source, reason]) => Ok(Incoming::Rejected(Rejection {
                result,
                source,
                reason,
            })),
            None => Err(unreadable("A-ASSOCIATE-RJ")),
        },
        // Nothing in these tells more than that they came.
        0x05 => Ok(Incoming::ReleaseRequest),
        0x06 => Ok(Incoming::ReleaseResponse),
        0x07 => {
            let [_, _, source, reason] = *body.first_chunk().unwrap_or(&[0; 4]);
            Ok(Incoming::Aborted(Abort { source, reason }))
        }
        _ => match read_pdu(whole.freeze(), dicom_ul::pdu::MAXIMUM_PDU_SIZE, false) {
            Ok(Some(Pdu::AssociationRQ(request))) => Ok(Incoming::AssociateRequest(request)),
            Ok(Some(Pdu::PData { data })) => Ok(Incoming::Data(data)),
            _ if pdu_type == 0x01 => Err(unreadable("A-ASSOCIATE-RQ")),
            _ => Err(unreadable("P-DATA-TF")),
        },
    }
}
