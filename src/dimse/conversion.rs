//! Data sets on their way from one uncompressed transfer syntax to another.
//!
//! Invariants: a data set is converted while it is read, so that its size costs no memory. Values stay what they are, to the
//! byte: text is not decoded, and what is big endian is turned by its value representation. Sequences and their items come
//! out with undefined length, group lengths (retired) not at all. What has a length beyond that of its sequence, or ends
//! early, is an error.

use std::io::{self, BufRead, BufReader, Read, Write};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::header::{DataElementHeader, HasLength, Header, Length, SequenceItemHeader};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::StandardImplicitVRLittleEndianDecoder;
use dicom_encoding::encode::explicit_le::ExplicitVRLittleEndianEncoder;
use dicom_encoding::encode::implicit_le::ImplicitVRLittleEndianEncoder;
use dicom_encoding::{Decode, Encode};
use flate2::bufread::DeflateDecoder;

use super::TransferSyntax;
use super::element::{ITEM_DELIMITATION, UNDEFINED_LENGTH, has_short_length};

const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// How deep sequences may nest.
const MAX_DEPTH: usize = 128;
/// How much of a value is converted at once, in bytes: a multiple of the size of every number.
const PIECE: usize = 64 * 1024;

/// Whether objects of this transfer syntax can be converted: their pixel data are not compressed.
pub fn is_convertible(transfer_syntax_uid: &str) -> bool {
    [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
    ]
    .contains(&transfer_syntax_uid)
}

/// Reads a data set of the transfer syntax `from`, to the end of `source`, and writes it in the syntax `to`.
pub fn convert(source: impl Read, from: &str, to: TransferSyntax, target: &mut impl Write) -> io::Result<()> {
    let mut source = BufReader::new(source);
    match from {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Conversion::new(&mut source, Encoding::Implicit, to, target).run(),
        uids::EXPLICIT_VR_LITTLE_ENDIAN => Conversion::new(&mut source, Encoding::Explicit, to, target).run(),
        EXPLICIT_VR_BIG_ENDIAN => Conversion::new(&mut source, Encoding::BigEndian, to, target).run(),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => {
            let mut inflated = BufReader::new(DeflateDecoder::new(&mut source));
            Conversion::new(&mut inflated, Encoding::Explicit, to, target).run()?;
            // The byte that makes the length even.
            io::copy(&mut source, &mut io::sink()).map(drop)
        }
        _ => Err(malformed("its transfer syntax is not converted")),
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// How elements are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Implicit,
    Explicit,
    BigEndian,
}

/// A sequence or an item that has begun.
struct Level {
    is_item: bool,
    /// Where it ends; `None` where a delimitation item says so.
    end: Option<u64>,
    /// Where it ends at the latest.
    limit: u64,
    from: Encoding,
    to: Encoding,
}

/// A source that knows how much of it was read.
struct Counted<'s, R> {
    source: &'s mut R,
    position: u64,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// A conversion under way.
struct Conversion<'c, R, W> {
    source: Counted<'c, R>,
    target: &'c mut W,
    /// The data set, then what has begun in it.
    levels: Vec<Level>,
    /// Whether samples of pixels have a sign, which implicit VR takes as known.
    is_signed: bool,
    piece: Vec<u8>,
}

impl<'c, R: BufRead, W: Write> Conversion<'c, R, W> {
    fn new(source: &'c mut R, from: Encoding, to: TransferSyntax, target: &'c mut W) -> Self {
        let data_set = Level {
            is_item: true,
            end: None,
            limit: u64::MAX,
            from,
            to: match to {
                TransferSyntax::ImplicitVrLittleEndian => Encoding::Implicit,
                TransferSyntax::ExplicitVrLittleEndian => Encoding::Explicit,
            },
        };
        Conversion {
            source: Counted { source, position: 0 },
            target,
            levels: vec![data_set],
            is_signed: false,
            piece: vec![0; PIECE],
        }
    }

    fn run(mut self) -> io::Result<()> {
        while let Some(level) = self.levels.last() {
            let (is_item, has_ended) = (level.is_item, level.end == Some(self.source.position));
            if has_ended {
                self.end_level()?;
            } else if !is_item {
                self.convert_item()?;
            } else if self.levels.len() == 1 && self.source.source.fill_buf()?.is_empty() {
                return Ok(());
            } else {
                self.convert_element()?;
            }
        }
        Err(malformed("a sequence ends that has not begun"))
    }

    /// The header of an item, or the end of a sequence.
    fn convert_item(&mut self) -> io::Result<()> {
        let (from, to) = self.encodings();
        match from.read_item(&mut self.source)? {
            SequenceItemHeader::Item { len } if len.0 == 0 => to.write_item(self.target, 0),
            SequenceItemHeader::Item { len } => {
                to.write_item(self.target, UNDEFINED_LENGTH)?;
                self.begin_level(true, len.0, (from, to))
            }
            SequenceItemHeader::SequenceDelimiter => self.end_delimited(),
            SequenceItemHeader::ItemDelimiter => Err(malformed("an item ends that has not begun")),
        }
    }

    /// An element of a data set or of an item, or the end of that item.
    fn convert_element(&mut self) -> io::Result<()> {
        let (from, to) = self.encodings();
        let header = from.read_header(&mut self.source)?;
        let (tag, length) = (header.tag(), header.length().0);
        if tag == ITEM_DELIMITATION {
            return self.end_delimited();
        }
        let vr = match from {
            Encoding::Implicit if self.is_signed && is_sample(tag) => VR::SS,
            _ => header.vr(),
        };
        if vr == VR::SQ && length > 0 {
            to.write_header(self.target, tag, VR::SQ, UNDEFINED_LENGTH)?;
            return self.begin_level(false, length, (from, to));
        }
        if length == UNDEFINED_LENGTH {
            if tag == tags::PIXEL_DATA || vr != VR::UN {
                return Err(malformed("a value has no length"));
            }
            // Such a sequence is in implicit VR whatever is around it (PS3.5 6.2.2).
            to.write_header(self.target, tag, VR::UN, UNDEFINED_LENGTH)?;
            return self.begin_level(false, length, (Encoding::Implicit, Encoding::Implicit));
        }
        if self.source.position.saturating_add(length.into()) > self.limit() {
            return Err(malformed("a value goes beyond its item"));
        }
        if tag.element() == 0 {
            return self.copy_value(length, 1, false);
        }
        let written = match has_short_length(vr.to_bytes()) && length > u16::MAX.into() {
            true => VR::UN,
            false => vr,
        };
        to.write_header(self.target, tag, written, length)?;
        let size = match from {
            Encoding::BigEndian => size_of_number(vr),
            _ => 1,
        };
        self.copy_value(length, size, true)?;
        if tag == tags::PIXEL_REPRESENTATION && length == 2 {
            self.is_signed = self.piece.first() == Some(&1);
        }
        Ok(())
    }

    /// Copies a value, its numbers turned where they have more than one byte.
    fn copy_value(&mut self, length: u32, size: usize, is_written: bool) -> io::Result<()> {
        let mut rest = length as usize;
        while rest > 0 {
            let piece = self.piece.get_mut(..rest.min(PIECE)).unwrap_or_default();
            self.source.read_exact(piece)?;
            if size > 1 {
                piece.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            if is_written {
                self.target.write_all(piece)?;
            }
            rest -= piece.len();
        }
        Ok(())
    }

    fn encodings(&self) -> (Encoding, Encoding) {
        let level = self.levels.last();
        level.map_or((Encoding::Implicit, Encoding::Implicit), |it| (it.from, it.to))
    }

    fn limit(&self) -> u64 {
        self.levels.last().map_or(0, |level| level.limit)
    }

    fn begin_level(
        &mut self,
        is_item: bool,
        length: u32,
        (from, to): (Encoding, Encoding),
    ) -> io::Result<()> {
        let end = (length != UNDEFINED_LENGTH).then(|| self.source.position + u64::from(length));
        if end.is_some_and(|end| end > self.limit()) {
            return Err(malformed("a sequence goes beyond its item"));
        }
        if self.levels.len() > MAX_DEPTH {
            return Err(malformed("its sequences nest too deeply"));
        }
        self.levels.push(Level {
            is_item,
            end,
            limit: end.unwrap_or(self.limit()),
            from,
            to,
        });
        Ok(())
    }

    /// Ends the last level at the delimitation item that was read.
    fn end_delimited(&mut self) -> io::Result<()> {
        let is_delimited = self.levels.last().is_some_and(|level| level.end.is_none());
        match is_delimited && self.levels.len() > 1 {
            true => self.end_level(),
            false => Err(malformed("what ends there has another end")),
        }
    }

    fn end_level(&mut self) -> io::Result<()> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        let encoder = ImplicitVRLittleEndianEncoder::default();
        match level.is_item {
            true => encoder.encode_item_delimiter(&mut *self.target),
            false => encoder.encode_sequence_delimiter(&mut *self.target),
        }
        .map_err(io::Error::other)
    }
}

impl Encoding {
    fn read_header(self, source: &mut impl Read) -> io::Result<DataElementHeader> {
        let header = match self {
            Encoding::Implicit => StandardImplicitVRLittleEndianDecoder::default().decode_header(source),
            Encoding::Explicit => ExplicitVRLittleEndianDecoder::default().decode_header(source),
            Encoding::BigEndian => ExplicitVRBigEndianDecoder::default().decode_header(source),
        };
        header.map(|(header, _)| header).map_err(io::Error::other)
    }

    fn read_item(self, source: &mut impl Read) -> io::Result<SequenceItemHeader> {
        let item = match self {
            Encoding::Implicit => StandardImplicitVRLittleEndianDecoder::default().decode_item_header(source),
            Encoding::Explicit => ExplicitVRLittleEndianDecoder::default().decode_item_header(source),
            Encoding::BigEndian => ExplicitVRBigEndianDecoder::default().decode_item_header(source),
        };
        item.map_err(io::Error::other)
    }

    fn write_header(self, target: &mut impl Write, tag: Tag, vr: VR, length: u32) -> io::Result<()> {
        let header = DataElementHeader::new(tag, vr, Length(length));
        let written = match self {
            Encoding::Implicit => {
                ImplicitVRLittleEndianEncoder::default().encode_element_header(target, header)
            }
            _ => ExplicitVRLittleEndianEncoder::default().encode_element_header(target, header),
        };
        written.map(drop).map_err(io::Error::other)
    }

    fn write_item(self, target: &mut impl Write, length: u32) -> io::Result<()> {
        // The same in all that is little endian.
        let written = ImplicitVRLittleEndianEncoder::default().encode_item_header(target, length);
        written.map_err(io::Error::other)
    }
}

/// Whether a value has the sign of the samples of the pixels.
fn is_sample(tag: Tag) -> bool {
    let entry = StandardDataDictionary.by_tag(tag);
    entry.is_some_and(|entry| entry.vr() == VirtualVr::Xs)
}

/// The size of the numbers in values of this representation, in bytes; 1 where it has none.
fn size_of_number(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OL | VR::OF => 4,
        VR::UV | VR::SV | VR::FD | VR::OV | VR::OD => 8,
        _ => 1,
    }
}
