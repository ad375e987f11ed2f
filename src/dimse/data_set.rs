//! A data set in its encoded form, and the flat walk over it.
//!
//! Invariant: the bytes of a [`DataSet`] have passed the structural [`check`]. The walk allocates nothing and
//! decodes nothing: a C-FIND answer costs half of what dicom-object takes for it. Text is raw here; which
//! characters it stands for is for `charset` to say.

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::check::{Malformed, count_headers};
use super::element::{
    ElementHeader, ITEM, ITEM_DELIMITATION, ITEM_HEADER, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH,
};
use super::{Error, TransferSyntax, trim_padding};

/// A whole data set (an identifier, say), checked, with the transfer syntax of its bytes. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    bytes: Bytes,
    syntax: TransferSyntax,
    headers: u32,
}

impl DataSet {
    /// Checks the structure of `bytes` and takes them as a data set.
    pub fn parse(bytes: impl Into<Bytes>, syntax: TransferSyntax) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        let headers = count_headers(&bytes, syntax)?;
        Ok(DataSet {
            bytes,
            syntax,
            headers: u32::try_from(headers).unwrap_or(u32::MAX),
        })
    }

    /// How many elements and items it has, those of all levels together.
    pub fn headers(&self) -> usize {
        self.headers as usize
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The transfer syntax of the bytes.
    pub fn transfer_syntax(&self) -> TransferSyntax {
        self.syntax
    }

    /// The elements of the top level, in the order in which they came.
    pub fn elements(&self) -> Elements<'_> {
        Elements {
            rest: &self.bytes,
            syntax: self.syntax,
        }
    }

    /// The value of the first top-level element with this tag, padding included; of a sequence, its items.
    pub fn element(&self, tag: Tag) -> Option<&[u8]> {
        self.elements().value(tag)
    }

    /// The elements of the top level by their tags, for many lookups.
    pub fn elements_by_tag(&self) -> ElementsByTag<'_> {
        ElementsByTag::new(self.elements())
    }

    /// The raw value of Specific Character Set (0008,0005): terms separated by backslashes.
    pub fn specific_character_set(&self) -> Option<&[u8]> {
        self.element(tags::SPECIFIC_CHARACTER_SET).map(trim_padding)
    }

    /// The items of a top-level sequence; none where there is no such element or it is empty.
    pub fn items(&self, tag: Tag) -> Items<'_> {
        Items {
            rest: self.element(tag).unwrap_or_default(),
            syntax: self.syntax,
        }
    }

    /// Decodes the whole data set with dicom-object. Slower than the walk, by far.
    pub fn to_object(&self) -> Result<InMemDicomObject, Error> {
        InMemDicomObject::read_dataset_with_ts(&self.bytes[..], &self.syntax.of_registry())
            .map_err(|error| Error::Undecodable(Box::new(error)))
    }
}

/// One element of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag.
    pub tag: Tag,
    /// The value, padding included; of a sequence, its items.
    pub value: &'a [u8],
    vr: Option<[u8; 2]>,
    syntax: TransferSyntax,
}

impl<'a> Element<'a> {
    /// The VR that the bytes name; `None` in implicit VR and for one that the standard does not know.
    pub fn vr(&self) -> Option<VR> {
        self.vr.and_then(VR::from_binary)
    }

    /// The value read as the items of a sequence.
    pub fn items(&self) -> Items<'a> {
        Items {
            rest: self.value,
            syntax: self.syntax,
        }
    }
}

/// The elements of a data set or of an item, one level deep.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
    syntax: TransferSyntax,
}

impl<'a> Elements<'a> {
    /// The value of the first of these elements with this tag.
    pub fn value(self, tag: Tag) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.value)
    }

    /// The first of these elements with this tag.
    pub fn element(mut self, tag: Tag) -> Option<Element<'a>> {
        self.find(|element| element.tag == tag)
    }

    fn take_next(&mut self) -> Option<Element<'a>> {
        let header = ElementHeader::read(self.rest, self.syntax)?;
        let value = self.rest.get(header.size..)?;
        let (value, rest) = if header.length == UNDEFINED_LENGTH {
            split_delimited(value, SEQUENCE_DELIMITATION, self.syntax)?
        } else {
            value.split_at_checked(header.length as usize)?
        };
        self.rest = rest;
        Some(Element {
            tag: header.tag,
            value,
            vr: header.vr,
            syntax: self.syntax,
        })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let element = self.take_next();
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

/// The elements of one level in the order of their tags: made by one walk, so that looking up each of many keys in a
/// data set of many elements takes no walk for each.
#[derive(Debug, Clone)]
pub struct ElementsByTag<'a>(Vec<Element<'a>>);

impl<'a> ElementsByTag<'a> {
    fn new(elements: Elements<'a>) -> Self {
        let mut elements: Vec<Element<'a>> = elements.collect();
        // They come in this order from all but odd peers. The sort is stable: of elements with one tag the first stays first.
        if !elements.is_sorted_by_key(|element| element.tag) {
            elements.sort_by_key(|element| element.tag);
        }
        ElementsByTag(elements)
    }

    /// The first element with this tag.
    pub fn element(&self, tag: Tag) -> Option<Element<'a>> {
        let place = self.0.partition_point(|element| element.tag < tag);
        self.0.get(place).filter(|element| element.tag == tag).copied()
    }
}

/// The items of a sequence.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: &'a [u8],
    syntax: TransferSyntax,
}

impl<'a> Iterator for Items<'a> {
    type Item = Elements<'a>;

    fn next(&mut self) -> Option<Elements<'a>> {
        let header = ElementHeader::read(self.rest, self.syntax).filter(|header| header.tag == ITEM);
        let (item, rest) = header.and_then(|header| {
            let value = self.rest.get(ITEM_HEADER..)?;
            if header.length == UNDEFINED_LENGTH {
                split_delimited(value, ITEM_DELIMITATION, self.syntax)
            } else {
                value.split_at_checked(header.length as usize)
            }
        })?;
        self.rest = rest;
        Some(Elements {
            rest: item,
            syntax: self.syntax,
        })
    }
}

/// Splits `bytes` at the delimitation item that ends their first level: what is before it, and what is after.
fn split_delimited(bytes: &[u8], end: Tag, syntax: TransferSyntax) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    let mut depth = 0_usize;
    loop {
        let header = ElementHeader::read(bytes.get(at..)?, syntax)?;
        if depth == 0 && header.tag == end {
            return Some((bytes.get(..at)?, bytes.get(at + ITEM_HEADER..)?));
        }
        at += header.size;
        match header.tag {
            ITEM_DELIMITATION | SEQUENCE_DELIMITATION => depth = depth.checked_sub(1)?,
            _ if header.length == UNDEFINED_LENGTH => depth += 1,
            _ => at = at.checked_add(header.length as usize)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_up_by_tag_finds_what_the_walk_finds_first() {
        let element = |number: u8, value: u8| [0x10, 0, number, 0, 2, 0, 0, 0, value, b' '];
        let bytes = [element(0x40, b'F'), element(0x20, b'1'), element(0x20, b'2')].concat();
        let data_set = DataSet::parse(bytes, TransferSyntax::ImplicitVrLittleEndian).unwrap();
        let by_tag = data_set.elements_by_tag();
        for tag in [tags::PATIENT_ID, tags::PATIENT_SEX, tags::PATIENT_NAME] {
            assert_eq!(by_tag.element(tag), data_set.elements().element(tag), "{tag}");
        }
    }

    #[test]
    fn sequences_of_undefined_length_are_walked() {
        let bytes = [
            &[0x08, 0, 0x10, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF][..],
            &[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x10, 0, 0x20, 0, b'L', b'O', 2, 0, b'4', b'7'],
            &[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0],
            &[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0],
            &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0],
            &[0x10, 0, 0x20, 0, b'L', b'O', 2, 0, b'1', b'1'],
        ]
        .concat();
        let data_set = DataSet::parse(bytes, TransferSyntax::ExplicitVrLittleEndian).unwrap();
        assert_eq!(data_set.element(tags::PATIENT_ID), Some(&b"11"[..]));
        let items: Vec<_> = data_set.items(tags::REFERENCED_STUDY_SEQUENCE).collect();
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].clone().value(tags::PATIENT_ID), Some(&b"47"[..]));
        assert_eq!(items[1].clone().count(), 0);
    }
}
