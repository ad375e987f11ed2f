//! What the index says of an object: the attributes of its patient, study, series and of itself.
//!
//! Invariant: the four UIDs that place an object are valid; all text is UTF-8, decoded by the object's own Specific
//! Character Set, trimmed value by value. Items of sequences are read with their depth bounded.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::attributes::{Attribute, Attributes, Value};
use super::catalogue::{self, Level, dictionary_vr};
use super::encoding::{Encoding, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH};
use super::scanner::Kept;
use crate::charset::Decoder;
use crate::model::{ObjectIdentity, Uid};

/// Sequences within the items of sequences, at most so deep; what is deeper stays in the file alone.
const MAX_DEPTH: usize = 8;

/// What the index keeps of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) study_instance_uid: Uid,
    pub(super) series_instance_uid: Uid,
    pub(super) sop_class_uid: Uid,
    pub(super) sop_instance_uid: Uid,
    pub(super) patient: Attributes,
    pub(super) study: Attributes,
    pub(super) series: Attributes,
    pub(super) image: Attributes,
}

/// An attribute without which an object has no place in the index: its UID is absent or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has no valid UID in {0}")]
pub struct NoPlace(pub Tag);

impl Description {
    /// Reads what the scanner kept.
    pub(super) fn read(kept: &[Kept], transfer_syntax_uid: &str) -> Result<Self, NoPlace> {
        let encoding = Encoding::of(transfer_syntax_uid);
        let character_set = kept.iter().find(|it| it.tag == tags::SPECIFIC_CHARACTER_SET);
        let decoder = Decoder::for_answer(character_set.map(|it| it.value.trim_ascii()), None);
        let mut levels: [Attributes; 4] = Default::default();
        for element in kept {
            let Some(entry) = catalogue::entry(element.tag) else {
                continue;
            };
            let vr = if element.vr == VR::UN {
                entry.vr
            } else {
                element.vr
            };
            let value = match entry.vr {
                VR::SQ => read_items(&mut &element.value[..], encoding, &decoder, 1).map(Value::Items),
                _ => text(&element.value, vr, encoding, &decoder).map(Value::Text),
            };
            let (Some(value), false) = (value, entry.is_computed) else {
                continue;
            };
            let level = match entry.level {
                Level::Patient => 0,
                Level::Study => 1,
                Level::Series => 2,
                Level::Image => 3,
            };
            levels[level].add(Attribute {
                tag: element.tag,
                vr: entry.vr,
                value,
            });
        }
        let [patient, study, series, image] = levels;
        let uid = |attributes: &Attributes, tag| attributes.text(tag).parse().map_err(|_| NoPlace(tag));
        Ok(Description {
            study_instance_uid: uid(&study, tags::STUDY_INSTANCE_UID)?,
            series_instance_uid: uid(&series, tags::SERIES_INSTANCE_UID)?,
            sop_class_uid: uid(&image, tags::SOP_CLASS_UID)?,
            sop_instance_uid: uid(&image, tags::SOP_INSTANCE_UID)?,
            patient,
            study,
            series,
            image,
        })
    }

    /// Which object it is, and whose.
    pub(super) fn identity(&self) -> ObjectIdentity {
        let of_patient = |tag| self.patient.text(tag).trim().to_owned();
        ObjectIdentity {
            sop_class_uid: self.sop_class_uid.clone(),
            sop_instance_uid: self.sop_instance_uid.clone(),
            study_instance_uid: self.study_instance_uid.clone(),
            series_instance_uid: self.series_instance_uid.clone(),
            patient_id: of_patient(tags::PATIENT_ID),
            issuer: of_patient(tags::ISSUER_OF_PATIENT_ID),
        }
    }
}

/// The text of a value; `None` for a VR that has none.
fn text(value: &[u8], vr: VR, encoding: Encoding, decoder: &Decoder) -> Option<String> {
    match vr {
        VR::US => Some(numbers(value, encoding, u16::from_le_bytes)),
        VR::SS => Some(numbers(value, encoding, i16::from_le_bytes)),
        VR::UL => Some(numbers(value, encoding, u32::from_le_bytes)),
        VR::SL => Some(numbers(value, encoding, i32::from_le_bytes)),
        VR::FL => Some(numbers(value, encoding, f32::from_le_bytes)),
        VR::FD => Some(numbers(value, encoding, f64::from_le_bytes)),
        VR::ST | VR::LT | VR::UT => Some(decoder.decode(value, vr).into_owned()),
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::PN
        | VR::SH
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR => {
            let text = decoder.decode(value, vr);
            let values: Vec<&str> = text
                .split('\\')
                .map(|value| value.trim_matches([' ', '\0']))
                .collect();
            Some(values.join("\\"))
        }
        _ => None,
    }
}

fn numbers<N: ToString, const SIZE: usize>(
    value: &[u8],
    encoding: Encoding,
    number: impl Fn([u8; SIZE]) -> N,
) -> String {
    let numbers = value.as_chunks::<SIZE>().0.iter().map(|bytes| {
        let mut bytes = *bytes;
        if encoding == Encoding::ExplicitBig {
            bytes.reverse();
        }
        number(bytes).to_string()
    });
    numbers.collect::<Vec<String>>().join("\\")
}

/// Reads items until the bytes end, or a sequence delimitation item; `None` where they make no sense.
fn read_items(
    rest: &mut &[u8],
    encoding: Encoding,
    decoder: &Decoder,
    depth: usize,
) -> Option<Vec<Attributes>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let header = encoding.header(rest)?;
        *rest = rest.get(header.size..)?;
        match header.tag {
            SEQUENCE_DELIMITATION => break,
            ITEM if header.length == UNDEFINED_LENGTH => {
                items.push(read_elements(rest, encoding, decoder, depth)?);
            }
            ITEM => {
                let (mut item, after) = rest.split_at_checked(header.length as usize)?;
                *rest = after;
                items.push(read_elements(&mut item, encoding, decoder, depth)?);
            }
            _ => return None,
        }
    }
    Some(items)
}

/// Reads the elements of an item until the bytes end, or an item delimitation item.
fn read_elements(
    rest: &mut &[u8],
    encoding: Encoding,
    decoder: &Decoder,
    depth: usize,
) -> Option<Attributes> {
    let mut attributes = Attributes::default();
    let mut own_decoder = None;
    while !rest.is_empty() {
        let header = encoding.header(rest)?;
        *rest = rest.get(header.size..)?;
        if header.tag == ITEM_DELIMITATION {
            break;
        }
        let decoder = own_decoder.as_ref().unwrap_or(decoder);
        if header.length == UNDEFINED_LENGTH || header.vr == VR::SQ {
            let items = nested_items(rest, header.length, encoding, decoder, depth)?;
            attributes.add(Attribute {
                tag: header.tag,
                vr: VR::SQ,
                value: Value::Items(items),
            });
            continue;
        }
        let (value, after) = rest.split_at_checked(header.length as usize)?;
        *rest = after;
        if header.tag == tags::SPECIFIC_CHARACTER_SET {
            own_decoder = Some(Decoder::for_answer(Some(value.trim_ascii()), None));
            continue;
        }
        let vr = if header.vr == VR::UN {
            dictionary_vr(header.tag)
        } else {
            header.vr
        };
        if let Some(text) = text(value, vr, encoding, decoder) {
            attributes.add(Attribute {
                tag: header.tag,
                vr,
                value: Value::Text(text),
            });
        }
    }
    Some(attributes)
}

fn nested_items(
    rest: &mut &[u8],
    length: u32,
    encoding: Encoding,
    decoder: &Decoder,
    depth: usize,
) -> Option<Vec<Attributes>> {
    if depth >= MAX_DEPTH {
        return None;
    }
    if length == UNDEFINED_LENGTH {
        return read_items(rest, encoding, decoder, depth + 1);
    }
    let (mut items, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    read_items(&mut items, encoding, decoder, depth + 1)
}
