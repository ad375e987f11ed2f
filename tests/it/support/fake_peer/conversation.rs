//! Plays a script to one requestor.
//!
//! Invariant: a thread of its own reads, so that a C-CANCEL is seen while matches are being written; every wait ends
//! with the association's deadline.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AbortRQSource, AssociationAC, AssociationRJ, AssociationRQ, MAXIMUM_PDU_SIZE, PDataValue, PDataValueType,
    Pdu, PresentationContextResultReason, UserVariableItem, read_pdu, write_pdu,
};
use impaxlink::dimse::{Command, CommandField};
use rustix::net::connect_unspec;

use super::message::{Assembler, C_CANCEL_RQ, Incoming, encode, pack, response};
use super::script::{Acceptance, Flood, Identifier, Packing, Step};
use super::{Association, DEADLINE, Ended};

/// Changes the record of this association.
type Note<'a> = &'a dyn Fn(&mut dyn FnMut(&mut Association));

/// Plays `script` on `stream` to its end.
pub fn play(stream: TcpStream, script: &[Step], note: Note) {
    let (sender, incoming) = mpsc::channel();
    let reading = stream.try_clone().expect("a second handle of a stream");
    thread::spawn(move || read_pdus(reading, &sender));
    // Without it each of two small writes waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(DEADLINE));
    let mut conversation = Conversation {
        stream,
        incoming,
        note,
        deadline: Instant::now() + DEADLINE,
        association: None,
        contexts: HashMap::new(),
        assembler: Assembler::default(),
        current: None,
        cancelled: false,
        answers: 0,
        packing: Packing::TwoPdus,
        interval: None,
        answer_as: None,
    };
    let ended = script
        .iter()
        .try_for_each(|step| conversation.step(step))
        .and_then(|()| conversation.until_released());
    let ended = ended.err().unwrap_or(Ended::ByScript);
    note(&mut |record| record.ended = ended.clone());
    // The script alone decides when the connection goes: the reading thread still holds a handle.
    let _ = conversation.stream.shutdown(std::net::Shutdown::Both);
}

struct Conversation<'a> {
    stream: TcpStream,
    incoming: Receiver<Result<Pdu, Ended>>,
    note: Note<'a>,
    deadline: Instant,
    association: Option<AssociationRQ>,
    /// Transfer syntax of each accepted context.
    contexts: HashMap<u8, String>,
    assembler: Assembler,
    current: Option<Incoming>,
    cancelled: bool,
    /// How many of our own requests the requestor has answered.
    answers: usize,
    packing: Packing,
    interval: Option<Duration>,
    answer_as: Option<u16>,
}

impl Conversation<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Ended> {
        match step {
            Step::AwaitAssociation => self.await_association(),
            Step::Accept(acceptance) => self.accept(acceptance),
            Step::Reject(result, source) => {
                self.await_association()?;
                let (result, source) = (result.clone(), source.clone());
                self.send(&[Pdu::AssociationRJ(AssociationRJ { result, source })])?;
                // A rejected requestor closes; closing first could take the rejection away from it.
                self.until_released()
            }
            Step::AwaitRequest => {
                self.current = None;
                self.cancelled = false;
                self.read_until(|it| it.current.is_some())
            }
            Step::AwaitCancel => self.read_until(|it| it.cancelled),
            Step::Match(status, identifier) => self.send_match(*status, identifier),
            Step::Matches(flood) => self.flood(flood),
            Step::Object(uid, data_set) => {
                let answers = self.answers;
                self.send_object(uid, data_set, true)?;
                self.read_until(|it| it.answers > answers)
            }
            Step::BrokenObject(uid, data_set) => self.send_object(uid, data_set, false),
            Step::End(status, comment) => self.send_response(*status, None, comment),
            Step::EndlessIdentifier(limit) => self.send_endless_identifier(*limit),
            Step::Raw(bytes) => self.write(bytes),
            Step::Pause(duration) => self.pause(*duration),
            Step::Abort => {
                let source = AbortRQSource::ServiceUser;
                self.send(&[Pdu::AbortRQ { source }])?;
                Err(Ended::ByScript)
            }
            Step::Close => Err(Ended::ByScript),
            Step::Reset => {
                // Dissolving the connection resets it at once, however many handles there are.
                connect_unspec(&self.stream).expect("a connection can be dissolved");
                Err(Ended::ByScript)
            }
            Step::Pack(packing) => {
                self.packing = *packing;
                Ok(())
            }
            Step::Slowly(interval) => {
                self.interval = Some(*interval);
                Ok(())
            }
            Step::AnswerAs(message_id) => {
                self.answer_as = Some(*message_id);
                Ok(())
            }
        }
    }

    fn until_released(&mut self) -> Result<(), Ended> {
        self.read_until(|_| false)
    }

    fn await_association(&mut self) -> Result<(), Ended> {
        self.read_until(|it| it.association.is_some())
    }

    fn accept(&mut self, acceptance: &Acceptance) -> Result<(), Ended> {
        self.await_association()?;
        let Some(request) = self.association.clone() else {
            return Ok(());
        };
        let results: Vec<_> = request
            .presentation_contexts
            .iter()
            .map(|proposed| acceptance.result(proposed))
            .collect();
        let accepted = results
            .iter()
            .filter(|result| result.reason == PresentationContextResultReason::Acceptance);
        self.contexts = accepted.map(|it| (it.id, it.transfer_syntax.clone())).collect();
        let user_variables = vec![
            UserVariableItem::MaxLength(acceptance.max_pdu),
            UserVariableItem::ImplementationClassUID(acceptance.implementation_class_uid.into()),
            UserVariableItem::ImplementationVersionName("FAKE_PEER".into()),
        ];
        self.send(&[Pdu::AssociationAC(AssociationAC {
            protocol_version: 1,
            calling_ae_title: request.calling_ae_title,
            called_ae_title: request.called_ae_title,
            application_context_name: request.application_context_name,
            presentation_contexts: results,
            user_variables,
        })])
    }

    fn send_match(&mut self, status: u16, identifier: &Identifier) -> Result<(), Ended> {
        let data_set = match identifier {
            Identifier::Elements(object) => encode(object, &self.transfer_syntax()),
            Identifier::Raw(bytes) => bytes.clone(),
        };
        self.send_response(status, Some(data_set), "")
    }

    fn flood(&mut self, flood: &Flood) -> Result<(), Ended> {
        let syntax = self.transfer_syntax();
        for number in 0..flood.count {
            self.read_what_is_there()?;
            if flood.heeds_cancel && self.cancelled {
                return self.send_response(0xFE00, None, "");
            }
            let data_set = encode(&(flood.identifier)(number), &syntax);
            self.send_response(0xFF00, Some(data_set), "")?;
        }
        Ok(())
    }

    fn send_endless_identifier(&mut self, limit: usize) -> Result<(), Ended> {
        let current = self.current();
        let command = response(&current.request, current.request.message_id, 0xFF00, true, "");
        let context_id = current.context_id;
        self.send(&pack(Packing::TwoPdus, context_id, command, None))?;
        let fragment = Pdu::PData {
            data: vec![PDataValue {
                presentation_context_id: context_id,
                value_type: PDataValueType::Data,
                is_last: false,
                data: vec![0x20; 16_374],
            }],
        };
        for _ in 0..limit / 16_374 {
            self.send(std::slice::from_ref(&fragment))?;
        }
        Ok(())
    }

    fn send_response(&mut self, status: u16, data_set: Option<Vec<u8>>, comment: &str) -> Result<(), Ended> {
        let current = self.current();
        let message_id = self.answer_as.unwrap_or(current.request.message_id);
        let command = response(&current.request, message_id, status, data_set.is_some(), comment);
        self.send(&pack(self.packing, current.context_id, command, data_set))
    }

    fn send_object(&mut self, uid: &str, data_set: &[u8], is_whole: bool) -> Result<(), Ended> {
        let proposed = self.association.iter().flat_map(|it| &it.presentation_contexts);
        let mut of_class = proposed.filter(|it| it.abstract_syntax == uids::CT_IMAGE_STORAGE);
        let context_id = of_class.next().expect("CT images are proposed").id;
        let mut command = Command::request(CommandField::C_STORE_RQ, 7, uids::CT_IMAGE_STORAGE);
        command.sop_instance = Some(uid.to_owned());
        command.has_data_set = true;
        self.send(&pack(Packing::TwoPdus, context_id, command.encode(), None))?;
        let mut fragments = data_set.chunks(100_000).peekable();
        while let Some(fragment) = fragments.next() {
            let data = PDataValue {
                presentation_context_id: context_id,
                value_type: PDataValueType::Data,
                is_last: is_whole && fragments.peek().is_none(),
                data: fragment.to_vec(),
            };
            self.send(&[Pdu::PData { data: vec![data] }])?;
        }
        Ok(())
    }

    fn current(&self) -> &Incoming {
        self.current
            .as_ref()
            .expect("a script awaits a request before it answers one")
    }

    fn transfer_syntax(&self) -> String {
        self.contexts
            .get(&self.current().context_id)
            .cloned()
            .unwrap_or_default()
    }

    fn send(&mut self, pdus: &[Pdu]) -> Result<(), Ended> {
        let mut bytes = Vec::new();
        for pdu in pdus {
            write_pdu(&mut bytes, pdu).expect("a PDU that can be written");
        }
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let Some(interval) = self.interval else {
            return self.stream.write_all(bytes).map_err(|error| self.hung_up(&error));
        };
        for byte in bytes {
            self.pause(interval)?;
            let written = self.stream.write_all(&[*byte]);
            written.map_err(|error| self.hung_up(&error))?;
        }
        Ok(())
    }

    /// Why a write failed: what the requestor said before it hung up, if anything.
    fn hung_up(&mut self, error: &io::Error) -> Ended {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ended::Deadline,
            _ => self.until_released().err().unwrap_or(Ended::Closed),
        }
    }

    /// Reads for so long, and ends at once when the requestor does.
    fn pause(&mut self, duration: Duration) -> Result<(), Ended> {
        let end = Instant::now() + duration;
        while let Some(left) = end
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        {
            match self.incoming.recv_timeout(left) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Ended::Closed),
            }
        }
        Ok(())
    }

    fn read_until(&mut self, condition: impl Fn(&Self) -> bool) -> Result<(), Ended> {
        while !condition(self) {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => return Err(Ended::Deadline),
                Err(RecvTimeoutError::Disconnected) => return Err(Ended::Closed),
            }
        }
        Ok(())
    }

    fn read_what_is_there(&mut self) -> Result<(), Ended> {
        loop {
            match self.incoming.try_recv() {
                Ok(event) => self.take(event)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Ended::Closed),
            }
        }
    }

    fn take(&mut self, event: Result<Pdu, Ended>) -> Result<(), Ended> {
        match event? {
            Pdu::AssociationRQ(request) => {
                (self.note)(&mut |record| record.associate(&request));
                self.association = Some(request);
            }
            Pdu::PData { data } => data.into_iter().for_each(|pdv| self.take_pdv(pdv)),
            Pdu::ReleaseRQ => {
                self.interval = None;
                self.send(&[Pdu::ReleaseRP])?;
                return Err(Ended::Released);
            }
            Pdu::AbortRQ { source } => {
                let mut bytes = Vec::new();
                write_pdu(&mut bytes, &Pdu::AbortRQ { source }).expect("a PDU that can be written");
                return Err(Ended::Aborted(bytes[8], bytes[9]));
            }
            other => return Err(Ended::Unreadable(other.short_description().to_string())),
        }
        Ok(())
    }

    fn take_pdv(&mut self, pdv: PDataValue) {
        let syntax = self.contexts.get(&pdv.presentation_context_id);
        let syntax = syntax.map_or(uids::IMPLICIT_VR_LITTLE_ENDIAN, String::as_str);
        let Some(incoming) = self.assembler.push(pdv, syntax) else {
            return;
        };
        let request = &incoming.request;
        if request.command == C_CANCEL_RQ {
            (self.note)(&mut |record| record.cancelled.push(request.message_id));
            self.cancelled = true;
        } else if CommandField(request.command).is_response() {
            self.answers += 1;
        } else {
            (self.note)(&mut |record| record.requests.push(request.clone()));
            self.current = Some(incoming);
        }
    }
}

fn read_pdus(mut stream: TcpStream, sender: &mpsc::Sender<Result<Pdu, Ended>>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 16_384];
    loop {
        let mut cursor = io::Cursor::new(buffer.as_slice());
        let event = match read_pdu(&mut cursor, MAXIMUM_PDU_SIZE, false) {
            Ok(Some(pdu)) => {
                let read = cursor.position() as usize;
                buffer.drain(..read);
                Ok(pdu)
            }
            Ok(None) => match stream.read(&mut chunk) {
                Ok(count) if count > 0 => {
                    buffer.extend_from_slice(&chunk[..count]);
                    continue;
                }
                _ => Err(Ended::Closed),
            },
            Err(error) => Err(Ended::Unreadable(error.to_string())),
        };
        let over = event.is_err();
        if sender.send(event).is_err() || over {
            return;
        }
    }
}
