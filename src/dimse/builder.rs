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

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn text_elements() -> impl Strategy<Value = BTreeMap<(u16, u16), (VR, Vec<u8>)>> {
        let vr = prop::sample::select(vec![
            VR::LO,
            VR::PN,
            VR::CS,
            VR::UI,
            VR::UT,
            VR::UN,
            VR::OB,
            VR::UC,
        ]);
        // Odd groups have no sequences in the dictionary, so that implicit VR reads them as they were written.
        let tag = (0x0009_u16..0xFFF0, 0x1000_u16..).prop_map(|(group, element)| (group | 1, element));
        btree_map(tag, (vr, vec(any::<u8>(), 0..20)), 0..8)
    }

    proptest! {
        #[test]
        fn what_is_built_is_walked(elements in text_elements(), in_item in text_elements()) {
            let build = |elements: &BTreeMap<(u16, u16), (VR, Vec<u8>)>| {
                elements.iter().rev().fold(DataSetBuilder::new(), |builder, (&tag, (vr, value))| {
                    builder.put(tag.into(), *vr, value.as_slice())
                })
            };
            let sequence = tags::REFERENCED_STUDY_SEQUENCE;
            let builder = build(&elements).put_items(sequence, vec![build(&in_item), DataSetBuilder::new()]);
            for syntax in TransferSyntax::ALL {
                let data_set = builder.encode(syntax).unwrap();
                prop_assert_eq!(data_set.elements().count(), elements.len() + 1);
                prop_assert!(data_set.elements().map(|element| element.tag).is_sorted());
                for (&tag, (vr, value)) in &elements {
                    let found = data_set.elements().value(tag.into()).unwrap();
                    prop_assert!(found.len() % 2 == 0 && found.starts_with(value));
                    let element = data_set.elements().element(tag.into()).unwrap();
                    let explicit = syntax == TransferSyntax::ExplicitVrLittleEndian;
                    prop_assert_eq!(element.vr(), explicit.then_some(*vr));
                }
                let items: Vec<_> = data_set.items(sequence).collect();
                prop_assert_eq!(items.len(), 2);
                prop_assert_eq!(items[0].clone().count(), in_item.len());
                for (&tag, (_, value)) in &in_item {
                    prop_assert!(items[0].clone().value(tag.into()).unwrap().starts_with(value));
                }
                prop_assert_eq!(items[1].clone().count(), 0);
            }
        }
    }

    #[test]
    fn padding_is_by_value_representation() {
        let builder = DataSetBuilder::new()
            .put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3")
            .put(tags::PATIENT_ID, VR::LO, "471")
            .put_empty(tags::PATIENT_NAME, VR::PN);
        let data_set = builder.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
        assert_eq!(data_set.element(tags::STUDY_INSTANCE_UID), Some(&b"1.2.3\0"[..]));
        assert_eq!(data_set.element(tags::PATIENT_ID), Some(&b"471 "[..]));
        assert_eq!(data_set.element(tags::PATIENT_NAME), Some(&b""[..]));
        assert_eq!(data_set.element(tags::MODALITY), None);
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let long = DataSetBuilder::new().put(tags::PATIENT_ID, VR::LO, vec![b'1'; 65_535]);
        let explicit = TransferSyntax::ExplicitVrLittleEndian;
        assert_eq!(
            long.encode(explicit),
            Err(EncodeError::ValueTooLong(tags::PATIENT_ID))
        );
        let partial = DataSetBuilder::new().put(tags::ROWS, VR::US, vec![1, 2, 3]);
        assert!(partial.encode(explicit).is_ok(), "padded to a whole number");
        let partial = DataSetBuilder::new().put(tags::STATUS, VR::UL, vec![1, 2]);
        assert!(matches!(partial.encode(explicit), Err(EncodeError::Malformed(_))));
    }
}
