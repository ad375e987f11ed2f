//! DIMSE messages of a fake peer: command sets, their reassembly from PDVs, and their packing into PDUs.
//!
//! Invariant: sound in what it reads; what it writes is as unsound as the script wants.

use std::collections::BTreeMap;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

use super::Request;
use super::script::Packing;

/// Command Field of C-CANCEL-RQ.
pub const C_CANCEL_RQ: u16 = 0x0FFF;

const NO_DATA_SET: u16 = 0x0101;

/// A request, and the presentation context it came in.
pub struct Incoming {
    pub context_id: u8,
    pub request: Request,
}

/// The fragments of one message.
#[derive(Default)]
pub struct Assembler {
    command: Vec<u8>,
    command_set: Option<InMemDicomObject>,
    data_set: Vec<u8>,
}

impl Assembler {
    /// Takes a PDV in, and returns the message that it completes.
    pub fn push(&mut self, pdv: PDataValue, transfer_syntax: &str) -> Option<Incoming> {
        match pdv.value_type {
            PDataValueType::Command => self.command.extend(pdv.data),
            PDataValueType::Data => self.data_set.extend(pdv.data),
        }
        if !pdv.is_last {
            return None;
        }
        if pdv.value_type == PDataValueType::Command {
            let syntax = IMPLICIT_VR_LITTLE_ENDIAN.erased();
            let command = InMemDicomObject::read_dataset_with_ts(self.command.as_slice(), &syntax);
            let command = command.expect("a sound command set");
            self.command.clear();
            let has_data_set = number(&command, tags::COMMAND_DATA_SET_TYPE) != NO_DATA_SET;
            self.command_set = Some(command);
            if has_data_set {
                return None;
            }
        }
        let command = self
            .command_set
            .take()
            .expect("a command set before its data set");
        Some(Incoming {
            context_id: pdv.presentation_context_id,
            request: request(&command, std::mem::take(&mut self.data_set), transfer_syntax),
        })
    }
}

fn request(command: &InMemDicomObject, data_set: Vec<u8>, transfer_syntax: &str) -> Request {
    let field = number(command, tags::COMMAND_FIELD);
    let message_id = match field {
        C_CANCEL_RQ => tags::MESSAGE_ID_BEING_RESPONDED_TO,
        _ => tags::MESSAGE_ID,
    };
    let sop_class_uid = command.get(tags::AFFECTED_SOP_CLASS_UID);
    let sop_class_uid = sop_class_uid.and_then(|element| element.to_str().ok());
    Request {
        command: field,
        message_id: number(command, message_id),
        sop_class_uid: sop_class_uid
            .unwrap_or_default()
            .trim_end_matches('\0')
            .to_owned(),
        transfer_syntax: transfer_syntax.to_owned(),
        keys: keys(&data_set, transfer_syntax),
        data_set,
    }
}

fn keys(data_set: &[u8], transfer_syntax: &str) -> BTreeMap<String, String> {
    let syntax = if transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN.uid() {
        EXPLICIT_VR_LITTLE_ENDIAN.erased()
    } else {
        IMPLICIT_VR_LITTLE_ENDIAN.erased()
    };
    let object = InMemDicomObject::read_dataset_with_ts(data_set, &syntax).expect("a sound identifier");
    let pair = |element: &DataElement<InMemDicomObject>| {
        let tag = element.header().tag;
        let keyword = match StandardDataDictionary.by_tag(tag) {
            Some(entry) => entry.alias().to_owned(),
            None => format!("{:04x},{:04x}", tag.group(), tag.element()),
        };
        let value = element.to_str().unwrap_or_default();
        (keyword, value.trim_end_matches([' ', '\0']).to_owned())
    };
    object.iter().map(pair).collect()
}

fn number(command: &InMemDicomObject, tag: Tag) -> u16 {
    command.get(tag).and_then(|it| it.to_int().ok()).unwrap_or(0)
}

/// The command set of a response to `request`, encoded.
pub fn response(
    request: &Request,
    message_id: u16,
    status: u16,
    has_data_set: bool,
    comment: &str,
) -> Vec<u8> {
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let data_set_type = if has_data_set { 0x0001 } else { NO_DATA_SET };
    let mut elements = vec![
        DataElement::new(
            tags::AFFECTED_SOP_CLASS_UID,
            VR::UI,
            request.sop_class_uid.as_str(),
        ),
        short(tags::COMMAND_FIELD, request.command | 0x8000),
        short(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id),
        short(tags::COMMAND_DATA_SET_TYPE, data_set_type),
        short(tags::STATUS, status),
    ];
    if !comment.is_empty() {
        elements.push(DataElement::new(tags::ERROR_COMMENT, VR::LO, comment));
    }
    encode(
        &InMemDicomObject::command_from_element_iter(elements),
        IMPLICIT_VR_LITTLE_ENDIAN.uid(),
    )
}

/// A data set in one of the two uncompressed little endian transfer syntaxes.
pub fn encode(object: &InMemDicomObject, transfer_syntax: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let syntax = if transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN.uid() {
        EXPLICIT_VR_LITTLE_ENDIAN.erased()
    } else {
        IMPLICIT_VR_LITTLE_ENDIAN.erased()
    };
    let written = object.write_dataset_with_ts(&mut bytes, &syntax);
    written.expect("a data set that can be written");
    bytes
}

/// The PDUs of one message.
pub fn pack(packing: Packing, context_id: u8, command: Vec<u8>, data_set: Option<Vec<u8>>) -> Vec<Pdu> {
    let parts = [
        Some((PDataValueType::Command, command)),
        data_set.map(|it| (PDataValueType::Data, it)),
    ];
    let pdvs = parts.into_iter().flatten().flat_map(|(value_type, bytes)| {
        fragments(packing, &bytes)
            .into_iter()
            .map(move |(data, is_last)| PDataValue {
                presentation_context_id: context_id,
                value_type: value_type.clone(),
                is_last,
                data,
            })
    });
    match packing {
        Packing::OnePdu | Packing::FragmentsInOnePdu(_) => vec![Pdu::PData { data: pdvs.collect() }],
        _ => pdvs.map(|pdv| Pdu::PData { data: vec![pdv] }).collect(),
    }
}

/// Each fragment, and whether it is the last.
fn fragments(packing: Packing, bytes: &[u8]) -> Vec<(Vec<u8>, bool)> {
    match packing {
        Packing::TwoPdus | Packing::OnePdu => vec![(bytes.to_vec(), true)],
        Packing::ZeroLengthPdvs => vec![(vec![], false), (bytes.to_vec(), false), (vec![], true)],
        Packing::FragmentEach(size) | Packing::FragmentsInOnePdu(size) => {
            let count = bytes.chunks(size).len();
            let numbered = bytes.chunks(size).zip(1..);
            numbered
                .map(|(chunk, number)| (chunk.to_vec(), number == count))
                .collect()
        }
    }
}
