//! Callers that send what no library would: raw messages, whole or not, over an association of their own.
//!
//! Invariant: nothing here waits for ever, whatever the service does.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use super::raw_association::association_request;
use super::service::block_on;

/// Study Root C-FIND.
pub const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root C-MOVE.
pub const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// What a PDU of theirs holds of a message, in bytes.
const FRAGMENT: usize = 100_000;

/// An association in which anything can be sent.
pub struct Attacker {
    stream: TcpStream,
    sop_class: String,
}

/// The end of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub status: u16,
    pub comment: String,
}

impl Attacker {
    /// Associates as `calling` for one SOP class in Implicit VR Little Endian; `None` where the service does not accept.
    pub fn associate(port: u16, calling: &str, sop_class: &str) -> Option<Self> {
        Self::associate_from([127, 0, 0, 1].into(), port, calling, sop_class)
    }

    /// The same, from another address of this machine.
    pub fn associate_from(from: IpAddr, port: u16, calling: &str, sop_class: &str) -> Option<Self> {
        let mut stream = block_on(connect_from(from, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        stream.set_write_timeout(Some(Duration::from_secs(30))).ok()?;
        stream.write_all(&association_request(calling, sop_class)).ok()?;
        let (kind, _) = read_pdu(&mut stream)?;
        (kind == 2).then(|| Attacker {
            stream,
            sop_class: sop_class.to_owned(),
        })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends the command of a request whose data set is to come: 0x01 is C-STORE-RQ, 0x20 C-FIND-RQ, 0x21 C-MOVE-RQ.
    pub fn begin(&mut self, field: u16) -> bool {
        let mut sop_class = self.sop_class.clone().into_bytes();
        if sop_class.len() % 2 == 1 {
            sop_class.push(0);
        }
        let mut command = [
            element((0, 0x0002), &sop_class),
            element((0, 0x0100), &field.to_le_bytes()),
            element((0, 0x0110), &1_u16.to_le_bytes()),
        ]
        .concat();
        if field == 0x01 {
            command.extend(element((0, 0x1000), b"1.2.3\0"));
        }
        if field == 0x21 {
            command.extend(element((0, 0x0600), b"READER"));
        }
        command.extend(element((0, 0x0700), &0_u16.to_le_bytes()));
        command.extend(element((0, 0x0800), &1_u16.to_le_bytes()));
        self.send(&pdu(3, &command))
    }

    /// Sends a part of the data set, in as many PDUs as it takes.
    pub fn send_data(&mut self, data: &[u8], is_last: bool) -> bool {
        let mut parts = data.chunks(FRAGMENT).peekable();
        let mut is_sent = true;
        while let Some(part) = parts.next() {
            let control = if is_last && parts.peek().is_none() { 2 } else { 0 };
            is_sent = is_sent && self.send(&pdu(control, part));
        }
        is_sent
    }

    /// Sends a whole request, and waits for its end.
    pub fn ask(&mut self, field: u16, identifier: &[u8]) -> Option<End> {
        (self.begin(field) && self.send_data(identifier, true)).then_some(())?;
        self.end()
    }

    /// Reads responses until the final one; `None` where the association ends before.
    pub fn end(&mut self) -> Option<End> {
        loop {
            let (kind, body) = read_pdu(&mut self.stream)?;
            if kind != 4 {
                return None;
            }
            // The service sends a response's command in one value, at the beginning of a PDU.
            let value = body.get(6..4 + u32::from_be_bytes(*body.first_chunk()?) as usize)?;
            if body.get(5)? & 1 == 0 {
                continue;
            }
            let of = |number| value_of(value, number);
            let status = of(0x0900).and_then(|value| Some(u16::from_le_bytes(*value.first_chunk()?)))?;
            if status & 0xFF00 != 0xFF00 {
                let comment = String::from_utf8_lossy(of(0x0902).unwrap_or_default());
                return Some(End {
                    status,
                    comment: comment.trim_end().to_owned(),
                });
            }
        }
    }

    /// Waits until the service hangs up; whether it did so in its patience.
    pub fn is_hung_up_on(&mut self) -> bool {
        self.stream.read_to_end(&mut Vec::new()).is_ok()
    }
}

/// An element in Implicit VR Little Endian; its value must be of even length.
pub fn element((group, number): (u16, u16), value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_le_bytes();
    [&group.to_le_bytes()[..], &number.to_le_bytes(), &length, value].concat()
}

/// The identifier of a query of studies, with these elements after its level.
pub fn at_study_level(elements: &[u8]) -> Vec<u8> {
    [&element((0x0008, 0x0052), b"STUDY ")[..], elements].concat()
}

fn value_of(command: &[u8], number: u16) -> Option<&[u8]> {
    let mut rest = command;
    loop {
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
        let value = rest.get(8..8 + length)?;
        if rest.get(2..4)? == number.to_le_bytes() {
            return Some(value);
        }
        rest = &rest[8 + length..];
    }
}

/// A P-DATA-TF PDU with one value in context 1.
fn pdu(control: u8, bytes: &[u8]) -> Vec<u8> {
    let value = u32::try_from(bytes.len() + 2).unwrap().to_be_bytes();
    let length = u32::try_from(bytes.len() + 6).unwrap().to_be_bytes();
    [&[4, 0], &length[..], &value, &[1, control], bytes].concat()
}

async fn connect_from(from: IpAddr, port: u16) -> io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(([127, 0, 0, 1], port).into()).await?.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn read_pdu(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header).ok()?;
    let [kind, _, length @ ..] = header;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    Some((kind, body))
}
