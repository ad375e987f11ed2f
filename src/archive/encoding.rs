//! How the data set of an object is encoded, by its transfer syntax (PS3.5 annex A).
//!
//! Invariant: what is not known is read as the encapsulated syntaxes all are, Explicit VR Little Endian. Headers are
//! dicom-encoding's to read: that allocates nothing and does not recurse.

use dicom_core::{Tag, VR};
use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::StandardImplicitVRLittleEndianDecoder;

/// The length of items and sequences that end with a delimitation item.
pub(super) const UNDEFINED_LENGTH: u32 = u32::MAX;
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);
/// The shortest and the longest header of an element, in bytes.
pub(super) const HEADER_SIZES: [usize; 2] = [8, 12];

/// The encoding of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    /// Retired in 2006; objects in it are kept as they are.
    ExplicitBig,
}

/// What an element's first bytes say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: Tag,
    /// The one that the bytes name, else the dictionary's.
    pub(super) vr: VR,
    pub(super) length: u32,
    /// The size of the header itself, in bytes.
    pub(super) size: usize,
}

impl Encoding {
    /// The encoding that a transfer syntax has once it is inflated.
    pub(super) fn of(transfer_syntax_uid: &str) -> Self {
        match transfer_syntax_uid {
            // the second is GE's private syntax, big endian in its pixel data alone
            "1.2.840.10008.1.2" | "1.2.840.113619.5.2" => Encoding::ImplicitLittle,
            "1.2.840.10008.1.2.2" => Encoding::ExplicitBig,
            _ => Encoding::ExplicitLittle,
        }
    }

    /// Reads the header at the beginning of `bytes`; `None` where they end within it.
    pub(super) fn header(self, mut bytes: &[u8]) -> Option<Header> {
        let source = &mut bytes;
        let decoded = match self {
            Encoding::ImplicitLittle => {
                StandardImplicitVRLittleEndianDecoder::default().decode_header(source)
            }
            Encoding::ExplicitLittle => ExplicitVRLittleEndianDecoder::default().decode_header(source),
            Encoding::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(source),
        };
        let (header, size) = decoded.ok()?;
        Some(Header {
            tag: header.tag,
            vr: header.vr,
            length: header.len.0,
            size,
        })
    }
}

/// Whether the data set of a transfer syntax is deflated as a whole (PS3.5 A.5).
pub(super) fn is_deflated(transfer_syntax_uid: &str) -> bool {
    matches!(
        transfer_syntax_uid,
        "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" | "1.2.840.10008.1.2.4.205"
    )
}
