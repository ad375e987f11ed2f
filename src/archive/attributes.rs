//! Attributes as the index keeps them and as rows give them: UTF-8 text and items of sequences, free of any syntax.
//!
//! Invariant: in tag order, each tag once. The encoded form is the index's own, never leaves it, and is read without
//! allocation; bytes that are no encoding read as fewer attributes, never as a panic.

use dicom_core::{Tag, VR};

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text without padding; several values have backslashes between them. Numbers are in decimal.
    Text(String),
    /// The items of a sequence.
    Items(Vec<Attributes>),
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation.
    pub vr: VR,
    /// Its value.
    pub value: Value,
}

/// Attributes of one entity or item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Vec<Attribute>);

impl Attributes {
    /// Adds an attribute in its place, unless one with its tag is there.
    pub(super) fn add(&mut self, attribute: Attribute) {
        if let Err(place) = self.0.binary_search_by_key(&attribute.tag, |it| it.tag) {
            self.0.insert(place, attribute);
        }
    }

    /// All, in tag order.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// The value of an attribute.
    pub fn get(&self, tag: Tag) -> Option<&Value> {
        let place = self.0.binary_search_by_key(&tag, |it| it.tag).ok()?;
        self.0.get(place).map(|attribute| &attribute.value)
    }

    /// The text of an attribute; empty where there is none.
    pub fn text(&self, tag: Tag) -> &str {
        match self.get(tag) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The encoded form.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        out
    }

    fn encode_into(&self, out: &mut Vec<u8>) {
        for Attribute { tag, vr, value } in &self.0 {
            out.extend_from_slice(&tag.0.to_le_bytes());
            out.extend_from_slice(&tag.1.to_le_bytes());
            out.extend_from_slice(&vr.to_bytes());
            with_length(out, |out| match value {
                Value::Text(text) => out.extend_from_slice(text.as_bytes()),
                Value::Items(items) => {
                    for item in items {
                        with_length(out, |out| item.encode_into(out));
                    }
                }
            });
        }
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        let mut all = Attributes::default();
        attributes.into_iter().for_each(|attribute| all.add(attribute));
        all
    }
}

/// Appends what `write` writes, its length before it. Kept values are far shorter than 4 GiB.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// A walk over encoded attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

/// An encoded value: text, or items one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum EncodedValue<'a> {
    Text(&'a str),
    Items(&'a [u8]),
}

impl<'a> EncodedValue<'a> {
    /// The text; of a sequence, none.
    pub(super) fn text(self) -> &'a str {
        match self {
            EncodedValue::Text(text) => text,
            EncodedValue::Items(_) => "",
        }
    }

    /// The items of a sequence; of text, none.
    pub(super) fn items(self) -> impl Iterator<Item = Encoded<'a>> {
        let mut rest = match self {
            EncodedValue::Text(_) => &[][..],
            EncodedValue::Items(items) => items,
        };
        std::iter::from_fn(move || take_with_length(&mut rest).map(Encoded))
    }
}

impl<'a> Iterator for Encoded<'a> {
    type Item = (Tag, VR, EncodedValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[g0, g1, e0, e1, v0, v1], mut rest) = self.0.split_first_chunk::<6>()?;
        let value = take_with_length(&mut rest)?;
        self.0 = rest;
        let vr = VR::from_binary([v0, v1])?;
        let value = match vr {
            VR::SQ => EncodedValue::Items(value),
            _ => EncodedValue::Text(str::from_utf8(value).ok()?),
        };
        Some((
            Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1])),
            vr,
            value,
        ))
    }
}

fn take_with_length<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;
    use proptest::prelude::*;

    fn decode(encoded: Encoded<'_>) -> Attributes {
        let attribute = |(tag, vr, value): (Tag, VR, EncodedValue<'_>)| Attribute {
            tag,
            vr,
            value: match value {
                EncodedValue::Text(text) => Value::Text(text.to_owned()),
                items => Value::Items(items.items().map(decode).collect()),
            },
        };
        encoded.map(attribute).collect()
    }

    #[test]
    fn what_is_encoded_comes_back_in_tag_order() {
        let text = |tag, vr, text: &str| Attribute {
            tag,
            vr,
            value: Value::Text(text.to_owned()),
        };
        let item: Attributes = [text(tags::CODE_VALUE, VR::SH, "T-1")].into_iter().collect();
        let attributes: Attributes = [
            text(tags::PATIENT_NAME, VR::PN, "Łukasz"),
            Attribute {
                tag: tags::PROCEDURE_CODE_SEQUENCE,
                vr: VR::SQ,
                value: Value::Items(vec![item.clone(), Attributes::default(), item]),
            },
            text(tags::PATIENT_NAME, VR::PN, "a second one is not taken"),
        ]
        .into_iter()
        .collect();
        assert_eq!(decode(Encoded(&attributes.encode())), attributes);
        assert_eq!(attributes.text(tags::PATIENT_NAME), "Łukasz");
        assert_eq!(
            attributes.iter().next().unwrap().tag,
            tags::PROCEDURE_CODE_SEQUENCE
        );
    }

    proptest! {
        #[test]
        fn other_bytes_are_no_panic(bytes: Vec<u8>) {
            decode(Encoded(&bytes));
        }
    }
}
