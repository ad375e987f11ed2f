//! A C-FIND SCP for measurements: it answers every query with the same matches, faster than any client can read them.
//!
//! Prints the port of each peer, one a line, then serves until it is killed. Not a sound SCP: it looks at no key,
//! and takes requests in Explicit or Implicit VR Little Endian whatever the SOP class.

use std::io::{self, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use clap::Parser;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, MAXIMUM_PDU_SIZE, PDataValue, PDataValueType, Pdu,
    PresentationContextResult, PresentationContextResultReason, UserVariableItem, read_pdu, write_pdu,
};

#[allow(
    dead_code,
    reason = "the federation is for the tests; this takes the studies of one site"
)]
#[path = "../it/support/studies/mod.rs"]
mod studies;

use studies::Federation;

/// Serve the same matches to everyone.
#[derive(Parser)]
struct Options {
    /// How many matches each peer gives.
    #[arg(long, default_value_t = 1)]
    matches: usize,
    /// How many peers there are.
    #[arg(long, default_value_t = 1)]
    peers: usize,
    /// How far the matches of each peer are shifted against those of the one before: the rest is doubles.
    #[arg(long, default_value_t = 0)]
    shift: usize,
    /// Milliseconds before the first match.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

/// So many studies are made up; more than that are these again, under UIDs of their own.
const MADE_UP: usize = 10_000;

/// The identifiers of all peers' matches.
struct Studies {
    made_up: Vec<InMemDicomObject>,
    explicit: OnceLock<Vec<Vec<u8>>>,
    implicit: OnceLock<Vec<Vec<u8>>>,
    count: usize,
}

impl Studies {
    fn new(count: usize) -> Self {
        let federation = Federation::new(1, count.clamp(4, MADE_UP));
        let studies = &federation.site("SITEA").studies;
        Studies {
            made_up: studies.iter().map(studies::Study::identifier).collect(),
            explicit: OnceLock::new(),
            implicit: OnceLock::new(),
            count,
        }
    }

    /// Encoded once, when the first peer of this transfer syntax asks.
    fn encoded(&self, transfer_syntax: &str) -> &[Vec<u8>] {
        let encode_all = || {
            let number = 0..self.count;
            number
                .map(|number| encode(&self.study(number), transfer_syntax))
                .collect()
        };
        match transfer_syntax {
            uids::EXPLICIT_VR_LITTLE_ENDIAN => self.explicit.get_or_init(encode_all),
            _ => self.implicit.get_or_init(encode_all),
        }
    }

    fn study(&self, number: usize) -> InMemDicomObject {
        let mut study = self.made_up[number % self.made_up.len()].clone();
        if number >= self.made_up.len() {
            let uid = format!("2.25.{}", (1_u128 << 120) + number as u128);
            study.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, uid));
        }
        study
    }
}

/// The matches of one peer.
struct Matches {
    studies: Arc<Studies>,
    range: Range<usize>,
    delay: Duration,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let total = options.matches + options.shift * (options.peers - 1);
    let studies = Arc::new(Studies::new(total));
    studies.encoded(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut threads = Vec::new();
    for peer in 0..options.peers {
        let first = peer * options.shift;
        let matches = Arc::new(Matches {
            studies: Arc::clone(&studies),
            range: first..first + options.matches,
            delay: Duration::from_millis(options.delay_ms),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        println!("{}", listener.local_addr()?.port());
        threads.push(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let matches = Arc::clone(&matches);
                thread::spawn(move || serve(stream, &matches));
            }
        }));
    }
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a listener panicked")))
}

/// Serves one association; a requestor that hangs up is no error.
fn serve(mut stream: TcpStream, matches: &Matches) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut chunk) = (Vec::new(), [0; 16_384]);
    let mut association = Association {
        stream: stream.try_clone()?,
        matches,
        contexts: Vec::new(),
        command: Vec::new(),
    };
    loop {
        let mut cursor = Cursor::new(buffer.as_slice());
        if let Some(pdu) = read_pdu(&mut cursor, MAXIMUM_PDU_SIZE, false).map_err(io::Error::other)? {
            let read = cursor.position() as usize;
            buffer.drain(..read);
            association.take(pdu)?;
            continue;
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

struct Association<'a> {
    stream: TcpStream,
    matches: &'a Matches,
    contexts: Vec<PresentationContextResult>,
    /// Of the command set, what has come.
    command: Vec<u8>,
}

impl Association<'_> {
    fn take(&mut self, pdu: Pdu) -> io::Result<()> {
        match pdu {
            Pdu::AssociationRQ(request) => {
                let acceptance = accept(request);
                self.contexts.clone_from(&acceptance.presentation_contexts);
                self.stream.write_all(&bytes(&Pdu::AssociationAC(acceptance)))
            }
            Pdu::PData { data } => data.into_iter().try_for_each(|pdv| self.take_pdv(&pdv)),
            Pdu::ReleaseRQ => self.stream.write_all(&bytes(&Pdu::ReleaseRP)),
            other => Err(io::Error::other(other.short_description().to_string())),
        }
    }

    fn take_pdv(&mut self, pdv: &PDataValue) -> io::Result<()> {
        let of_command = pdv.value_type == PDataValueType::Command;
        if of_command {
            self.command.extend_from_slice(&pdv.data);
        }
        if !pdv.is_last {
            return Ok(());
        }
        let request = decode(&self.command);
        let has_data_set = number(&request, tags::COMMAND_DATA_SET_TYPE) != 0x0101;
        if of_command && has_data_set {
            return Ok(());
        }
        self.command.clear();
        match number(&request, tags::COMMAND_FIELD) {
            0x0FFF => Ok(()),
            0x0020 => self.answer(pdv.presentation_context_id, &request, self.identifiers(pdv)),
            _ => self.answer(pdv.presentation_context_id, &request, &[]),
        }
    }

    fn identifiers(&self, pdv: &PDataValue) -> &'_ [Vec<u8>] {
        let context = self
            .contexts
            .iter()
            .find(|it| it.id == pdv.presentation_context_id);
        let transfer_syntax = context.map_or("", |it| &it.transfer_syntax);
        &self.matches.studies.encoded(transfer_syntax)[self.matches.range.clone()]
    }

    fn answer(&self, context_id: u8, request: &InMemDicomObject, identifiers: &[Vec<u8>]) -> io::Result<()> {
        let mut stream = &self.stream;
        let mut batch = Vec::with_capacity(80_000);
        let pending = response(request, 0xFF00, true);
        thread::sleep(self.matches.delay);
        for identifier in identifiers {
            put_pdu(&mut batch, context_id, &pending, Some(identifier));
            if batch.len() > 64_000 {
                stream.write_all(&batch)?;
                batch.clear();
            }
        }
        put_pdu(&mut batch, context_id, &response(request, 0, false), None);
        stream.write_all(&batch)
    }
}

fn accept(request: AssociationRQ) -> AssociationAC {
    let contexts = request.presentation_contexts.iter().map(|proposed| {
        let explicit = proposed
            .transfer_syntaxes
            .iter()
            .any(|it| it == uids::EXPLICIT_VR_LITTLE_ENDIAN);
        PresentationContextResult {
            id: proposed.id,
            reason: PresentationContextResultReason::Acceptance,
            transfer_syntax: match explicit {
                true => uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
                false => uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned(),
            },
        }
    });
    AssociationAC {
        protocol_version: 1,
        presentation_contexts: contexts.collect(),
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: request.application_context_name,
        user_variables: vec![
            UserVariableItem::MaxLength(65_536),
            UserVariableItem::ImplementationClassUID("2.25.2".into()),
        ],
    }
}

fn put_pdu(batch: &mut Vec<u8>, context_id: u8, command: &[u8], identifier: Option<&Vec<u8>>) {
    let pdv = |value_type, data: &[u8]| PDataValue {
        presentation_context_id: context_id,
        value_type,
        is_last: true,
        data: data.to_vec(),
    };
    let mut data = vec![pdv(PDataValueType::Command, command)];
    data.extend(identifier.map(|it| pdv(PDataValueType::Data, it)));
    batch.extend(bytes(&Pdu::PData { data }));
}

fn response(request: &InMemDicomObject, status: u16, has_data_set: bool) -> Vec<u8> {
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let sop_class = request
        .get(tags::AFFECTED_SOP_CLASS_UID)
        .and_then(|it| it.to_str().ok());
    encode(
        &InMemDicomObject::command_from_element_iter([
            DataElement::new(
                tags::AFFECTED_SOP_CLASS_UID,
                VR::UI,
                sop_class.unwrap_or_default().as_ref(),
            ),
            short(tags::COMMAND_FIELD, number(request, tags::COMMAND_FIELD) | 0x8000),
            short(
                tags::MESSAGE_ID_BEING_RESPONDED_TO,
                number(request, tags::MESSAGE_ID),
            ),
            short(tags::COMMAND_DATA_SET_TYPE, if has_data_set { 1 } else { 0x0101 }),
            short(tags::STATUS, status),
        ]),
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
    )
}

fn number(command: &InMemDicomObject, tag: Tag) -> u16 {
    command.get(tag).and_then(|it| it.to_int().ok()).unwrap_or(0)
}

fn decode(command: &[u8]) -> InMemDicomObject {
    let syntax = IMPLICIT_VR_LITTLE_ENDIAN.erased();
    InMemDicomObject::read_dataset_with_ts(command, &syntax).expect("a sound command set")
}

fn encode(object: &InMemDicomObject, transfer_syntax: &str) -> Vec<u8> {
    let syntax = match transfer_syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => IMPLICIT_VR_LITTLE_ENDIAN.erased(),
        _ => EXPLICIT_VR_LITTLE_ENDIAN.erased(),
    };
    let mut bytes = Vec::with_capacity(512);
    let written = object.write_dataset_with_ts(&mut bytes, &syntax);
    written.expect("a data set that can be written");
    bytes
}

fn bytes(pdu: &Pdu) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    write_pdu(&mut bytes, pdu).expect("a PDU that can be written");
    bytes
}
