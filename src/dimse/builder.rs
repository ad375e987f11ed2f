//! Encoding of data sets: keys of a query, identifiers of an answer.
//!
//! Invariant: what comes out has its elements in tag order, even lengths, and has passed the structural check.
//! Text comes in already encoded in its character set.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};

use super::element::{ITEM, UNDEFINED_LENGTH, has_short_length};
use super::{DataSet, Malformed, TransferSyntax};

/// Why a data set cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The value does not fit the length field of its value representation (PS3.5 7.1.2).
    #[error("the value of {0} is too long for its value representation")]
    ValueTooLong(Tag),
    /// The whole breaks a rule of the structural check.
    #[error("the data set cannot be read back")]
    Malformed(#[source] Malformed),
}

/// The elements of a data set to be, in any order, whatever its transfer syntax will be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataSetBuilder {
    elements: BTreeMap<Tag, (VR, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Items(Vec<DataSetBuilder>),
}

impl DataSetBuilder {
    /// No elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an element, or replaces the one with this tag. The value needs no padding.
    pub fn put(mut self, tag: Tag, vr: VR, value: impl Into<Vec<u8>>) -> Self {
        self.elements.insert(tag, (vr, Value::Bytes(value.into())));
        self
    }

    /// Adds an element without value: a universal key (PS3.4 C.2.2.2.3).
    pub fn put_empty(self, tag: Tag, vr: VR) -> Self {
        self.put(tag, vr, Vec::new())
    }

    /// Adds a sequence; one without items is a universal key for the sequence as a whole.
    pub fn put_items(mut self, tag: Tag, items: Vec<DataSetBuilder>) -> Self {
        self.elements.insert(tag, (VR::SQ, Value::Items(items)));
        self
    }

    /// Encodes the elements.
    pub fn encode(&self, syntax: TransferSyntax) -> Result<DataSet, EncodeError> {
        let mut bytes = Vec::with_capacity(512);
        self.encode_into(&mut bytes, syntax)?;
        DataSet::parse(bytes, syntax).map_err(EncodeError::Malformed)
    }

    fn encode_into(&self, out: &mut Vec<u8>, syntax: TransferSyntax) -> Result<(), EncodeError> {
        for (&tag, (vr, value)) in &self.elements {
            match value {
                Value::Bytes(value) => put_element(out, syntax, tag, *vr, value)?,
                Value::Items(items) => {
                    let value = encode_items(tag, items, syntax)?;
                    put_element(out, syntax, tag, VR::SQ, &value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_items(tag: Tag, items: &[DataSetBuilder], syntax: TransferSyntax) -> Result<Vec<u8>, EncodeError> {
    let mut value = Vec::new();
    for item in items {
        let mut elements = Vec::new();
        item.encode_into(&mut elements, syntax)?;
        put_tag(&mut value, ITEM);
        value.extend_from_slice(&long_length(tag, elements.len())?.to_le_bytes());
        value.extend_from_slice(&elements);
    }
    Ok(value)
}

/// Appends one element, padded to an even length.
pub(super) fn put_element(
    out: &mut Vec<u8>,
    syntax: TransferSyntax,
    tag: Tag,
    vr: VR,
    value: &[u8],
) -> Result<(), EncodeError> {
    put_tag(out, tag);
    let padded = value.len().next_multiple_of(2);
    let letters = vr.to_bytes();
    match syntax {
        TransferSyntax::ImplicitVrLittleEndian => {
            out.extend_from_slice(&long_length(tag, padded)?.to_le_bytes());
        }
        TransferSyntax::ExplicitVrLittleEndian if has_short_length(letters) => {
            let length = u16::try_from(padded).map_err(|_| EncodeError::ValueTooLong(tag))?;
            out.extend_from_slice(&letters);
            out.extend_from_slice(&length.to_le_bytes());
        }
        TransferSyntax::ExplicitVrLittleEndian => {
            out.extend_from_slice(&letters);
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&long_length(tag, padded)?.to_le_bytes());
        }
    }
    out.extend_from_slice(value);
    if padded > value.len() {
        out.push(if matches!(vr, VR::UI | VR::OB | VR::UN) {
            0
        } else {
            b' '
        });
    }
    Ok(())
}

fn put_tag(out: &mut Vec<u8>, tag: Tag) {
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&tag.1.to_le_bytes());
}

fn long_length(tag: Tag, length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length)
        .ok()
        .filter(|length| *length < UNDEFINED_LENGTH)
        .ok_or(EncodeError::ValueTooLong(tag))
}
