//! The header of a data element, sized exactly as dicom-object's decoder sizes it (PS3.5 7.1).
//!
//! Invariant: reading never goes past the given bytes, and never panics. The exactness is what makes the
//! structural check worth anything: where the two disagree on where an element ends, a bomb slips through between
//! them. A property test holds them together. What a value means is not here.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use super::TransferSyntax;

/// The length of items and sequences that end with a delimitation item.
pub(super) const UNDEFINED_LENGTH: u32 = u32::MAX;
/// The size of an item's or delimitation item's header.
pub(super) const ITEM_HEADER: usize = 8;
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);
pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

/// What an element's first bytes say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElementHeader {
    pub(super) tag: Tag,
    /// The two letters of an explicit VR, known or not; `None` in implicit VR and for items.
    pub(super) vr: Option<[u8; 2]>,
    /// The declared length of the value.
    pub(super) length: u32,
    /// The size of the header itself: 8 or 12 bytes.
    pub(super) size: usize,
}

impl ElementHeader {
    /// Reads the header at the beginning of `bytes`; `None` where they end within it.
    pub(super) fn read(bytes: &[u8], syntax: TransferSyntax) -> Option<Self> {
        let start: &[u8; 8] = bytes.first_chunk()?;
        let [g0, g1, e0, e1, rest @ ..] = *start;
        let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
        if syntax == TransferSyntax::ImplicitVrLittleEndian || tag.0 == 0xFFFE {
            let length = u32::from_le_bytes(rest);
            return Some(ElementHeader {
                tag,
                vr: None,
                length,
                size: 8,
            });
        }
        let [v0, v1, l0, l1] = rest;
        let vr = Some([v0, v1]);
        if has_short_length([v0, v1]) {
            let length = u32::from(u16::from_le_bytes([l0, l1]));
            return Some(ElementHeader {
                tag,
                vr,
                length,
                size: 8,
            });
        }
        let long: &[u8; 12] = bytes.first_chunk()?;
        let [.., l0, l1, l2, l3] = *long;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        Some(ElementHeader {
            tag,
            vr,
            length,
            size: 12,
        })
    }

    /// Whether dicom-object reads the value as a sequence of items, whatever its length.
    pub(super) fn is_sequence(&self) -> bool {
        match self.vr {
            Some(vr) => &vr == b"SQ",
            None => dictionary_vr(self.tag) == VR::SQ,
        }
    }

    /// Whether the value's length is a multiple of its numbers' size. dicom-object reads whole numbers only, and
    /// loses its place after a value that ends within one.
    pub(super) fn holds_whole_values(&self) -> bool {
        if self.length.is_multiple_of(8) {
            return true;
        }
        let vr = match self.vr {
            Some(vr) => VR::from_binary(vr).unwrap_or(VR::UN),
            None => dictionary_vr(self.tag),
        };
        let size = match vr {
            VR::US | VR::SS | VR::OW => 2,
            VR::AT | VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
            VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => 8,
            _ => 1,
        };
        self.length.is_multiple_of(size) && (self.length.is_multiple_of(2) || !can_turn_to_ss(self.tag))
    }
}

/// Whether an explicit VR has a length of 16 bits (PS3.5 table 7.1-2). All others, unknown ones too, have 32.
pub(super) fn has_short_length(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"AE"
            | b"AS"
            | b"AT"
            | b"CS"
            | b"DA"
            | b"DS"
            | b"DT"
            | b"FD"
            | b"FL"
            | b"IS"
            | b"LO"
            | b"LT"
            | b"PN"
            | b"SH"
            | b"SL"
            | b"SS"
            | b"ST"
            | b"TM"
            | b"UI"
            | b"UL"
            | b"US"
    )
}

/// The VR that dicom-object gives an element of Implicit VR Little Endian.
pub(super) fn dictionary_vr(tag: Tag) -> VR {
    if tag == PIXEL_DATA || (tag.0 >> 8 == 0x60 && tag.1 == 0x3000) {
        return VR::OW;
    }
    StandardDataDictionary
        .by_tag(tag)
        .map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// Whether dicom-object reads the element as SS after a signed Pixel Representation, whatever VR it came with.
fn can_turn_to_ss(tag: Tag) -> bool {
    StandardDataDictionary
        .by_tag(tag)
        .is_some_and(|entry| entry.vr() == VirtualVr::Xs)
}
