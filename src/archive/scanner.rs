//! The structural check of an object while it streams in, which on the way keeps what the index wants.
//!
//! Invariant: memory is bounded whatever the object's size and whatever its bytes say: a header, the open levels (at
//! most [`MAX_DEPTH`]) and at most [`MAX_KEPT`] bytes of values. It never recurses. An object passes when every length
//! fits and all that is open is closed; what follows whole pixel data is not judged, for some writers pad it.

use std::mem;

use dicom_core::{Tag, VR};
use flate2::{Decompress, FlushDecompress, Status};

use super::catalogue;
use super::encoding::{
    Encoding, HEADER_SIZES, Header, ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH,
    is_deflated,
};

/// The deepest nesting of sequences and items, both counted.
const MAX_DEPTH: usize = 64;
/// The longest value that is kept for the index; longer ones stay in the file alone.
const MAX_VALUE: usize = 64 * 1024;
/// The most that is kept of one object.
const MAX_KEPT: usize = 1024 * 1024;
/// The most that is inflated of one object: what lies beyond is not looked at.
const MAX_INFLATED: u64 = 256 * 1024 * 1024;

const SPECIFIC_CHARACTER_SET: Tag = dicom_dictionary_std::tags::SPECIFIC_CHARACTER_SET;

/// Why the bytes are no data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They end within an element.
    #[error("it ends within an element")]
    Truncated,
    /// An item or delimitation item where none may be, or something else where one must be.
    #[error("element {0} is out of place")]
    Misplaced(Tag),
    /// Undefined length on an element that is no sequence.
    #[error("element {0} has an undefined length and is no sequence")]
    UndefinedLength(Tag),
    /// More than 64 levels.
    #[error("its sequences are nested too deep")]
    TooDeep,
    /// The transfer syntax says deflated, and the bytes are not.
    #[error("it cannot be inflated")]
    NotDeflated,
}

/// A top-level element that the index wants, its value as it came; of a sequence, its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    pub(super) value: Vec<u8>,
}

/// Takes the bytes of a data set in any pieces.
#[derive(Debug)]
pub(super) struct Scanner {
    walk: Walk,
    inflater: Option<Box<Decompress>>,
    end_of_deflated: bool,
}

impl Scanner {
    pub(super) fn new(transfer_syntax_uid: &str) -> Self {
        Scanner {
            walk: Walk::new(Encoding::of(transfer_syntax_uid)),
            inflater: is_deflated(transfer_syntax_uid).then(|| Box::new(Decompress::new(false))),
            end_of_deflated: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        match &mut self.inflater {
            None => self.walk.feed(bytes),
            Some(_) if self.end_of_deflated => Ok(()),
            Some(inflater) => {
                self.end_of_deflated = inflate(inflater, bytes, &mut self.walk)?;
                Ok(())
            }
        }
    }

    /// How many of the next bytes are of no interest and may be left out, if [`skip`](Self::skip) is told so.
    pub(super) fn skippable(&self) -> u64 {
        let walk = &self.walk;
        let is_skippable = self.inflater.is_none() && walk.keeping.is_none();
        if is_skippable { u64::from(walk.value) } else { 0 }
    }

    /// Goes on behind all that is [`skippable`](Self::skippable).
    pub(super) fn skip(&mut self) {
        if self.skippable() > 0 {
            self.walk.value = 0;
            self.walk.end_of_value();
        }
    }

    /// Whether an element behind that tag has begun at the top level.
    pub(super) fn is_past(&self, tag: Tag) -> bool {
        self.walk.last > tag
    }

    /// What was kept so far.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.walk.kept
    }

    /// Whether the data set may end here.
    pub(super) fn is_whole(&self) -> bool {
        match &self.inflater {
            Some(_) => self.end_of_deflated,
            None => self.walk.is_whole(),
        }
    }

    /// Ends the data set, and gives what was kept of it.
    pub(super) fn finish(self) -> Result<Vec<Kept>, Unreadable> {
        let beyond = |inflater: &Decompress| inflater.total_out() > MAX_INFLATED;
        if self.inflater.as_deref().is_some_and(beyond) {
            return Ok(self.walk.kept);
        }
        if self.inflater.is_some() && !self.end_of_deflated {
            return Err(Unreadable::Truncated);
        }
        self.walk.finish()
    }
}

/// Inflates `bytes` into the walk, and says whether the deflated stream has ended.
fn inflate(inflater: &mut Decompress, mut bytes: &[u8], walk: &mut Walk) -> Result<bool, Unreadable> {
    let mut buffer = [0; 16 * 1024];
    while inflater.total_out() <= MAX_INFLATED {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(bytes, &mut buffer, FlushDecompress::None)
            .map_err(|_| Unreadable::NotDeflated)?;
        let (read, written) = (inflater.total_in() - read, inflater.total_out() - written);
        walk.feed(buffer.get(..written as usize).unwrap_or_default())?;
        bytes = bytes.get(read as usize..).unwrap_or_default();
        if status == Status::StreamEnd {
            return Ok(true);
        }
        if read == 0 && written == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Debug)]
struct Walk {
    encoding: Encoding,
    /// The header that is being read.
    header: Vec<u8>,
    /// How much of the present value is still to come.
    value: u32,
    /// The open sequences and items of undefined length, the outermost first.
    open: Vec<Open>,
    /// The top-level element that is being read, where the index wants it.
    keeping: Option<Kept>,
    kept: Vec<Kept>,
    kept_bytes: usize,
    in_pixel_data: bool,
    past_pixel_data: bool,
    /// The highest tag that has begun at the top level.
    last: Tag,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    is_item: bool,
    /// Within UN of undefined length all is Implicit VR Little Endian (PS3.5 6.2.2).
    encoding: Encoding,
}

impl Walk {
    fn new(encoding: Encoding) -> Self {
        Walk {
            encoding,
            header: Vec::with_capacity(HEADER_SIZES[1]),
            value: 0,
            open: Vec::new(),
            keeping: None,
            kept: Vec::new(),
            kept_bytes: 0,
            in_pixel_data: false,
            past_pixel_data: false,
            last: Tag(0, 0),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Unreadable> {
        while !bytes.is_empty() {
            if self.value > 0 {
                let length = bytes.len().min(self.value as usize);
                let (value, rest) = bytes.split_at(length);
                self.keep(value);
                self.value -= length as u32;
                bytes = rest;
                self.end_of_value();
                continue;
            }
            let size = if self.header.len() < HEADER_SIZES[0] {
                HEADER_SIZES[0]
            } else {
                HEADER_SIZES[1]
            };
            let (part, rest) = bytes.split_at(bytes.len().min(size - self.header.len()));
            self.header.extend_from_slice(part);
            bytes = rest;
            if self.header.len() < size {
                return Ok(());
            }
            let encoding = self.open.last().map_or(self.encoding, |open| open.encoding);
            if let Some(header) = encoding.header(&self.header) {
                match self.element(header) {
                    Err(_) if self.past_pixel_data => return Ok(()),
                    result => result?,
                }
                self.header.clear();
                self.end_of_value();
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Kept>, Unreadable> {
        match self.is_whole() {
            true => Ok(self.kept),
            false => Err(Unreadable::Truncated),
        }
    }

    fn is_whole(&self) -> bool {
        self.past_pixel_data || self.value == 0 && self.header.is_empty() && self.open.is_empty()
    }

    fn element(&mut self, header: Header) -> Result<(), Unreadable> {
        match self.open.last() {
            None => self.top_level(header),
            Some(&open) => self.nested(header, open),
        }
    }

    fn top_level(&mut self, Header { tag, vr, length, .. }: Header) -> Result<(), Unreadable> {
        if tag.0 == 0xFFFE {
            return Err(Unreadable::Misplaced(tag));
        }
        self.last = self.last.max(tag);
        self.in_pixel_data = tag.0 == 0x7FE0 && matches!(tag.1, 0x0008..=0x0010);
        let is_wanted = tag == SPECIFIC_CHARACTER_SET || catalogue::entry(tag).is_some();
        self.keeping = is_wanted.then(|| Kept {
            tag,
            vr,
            value: Vec::new(),
        });
        if length == UNDEFINED_LENGTH {
            let may_be = matches!(vr, VR::SQ | VR::UN) || self.in_pixel_data;
            if !may_be {
                return Err(Unreadable::UndefinedLength(tag));
            }
            return self.enter(false, vr == VR::UN, self.encoding);
        }
        self.value = length;
        Ok(())
    }

    fn nested(&mut self, header: Header, open: Open) -> Result<(), Unreadable> {
        let Header { tag, vr, length, .. } = header;
        let closes = match tag {
            SEQUENCE_DELIMITATION => !open.is_item,
            ITEM_DELIMITATION => open.is_item,
            ITEM => open.is_item,
            _ => !open.is_item,
        };
        match tag {
            SEQUENCE_DELIMITATION | ITEM_DELIMITATION if closes => {
                if self.open.len() > 1 {
                    self.keep_header();
                }
                self.open.pop();
                return Ok(());
            }
            _ if tag == SEQUENCE_DELIMITATION || tag == ITEM_DELIMITATION || closes => {
                return Err(Unreadable::Misplaced(tag));
            }
            _ => {}
        }
        self.keep_header();
        if length == UNDEFINED_LENGTH {
            let is_item = tag == ITEM;
            if !is_item && !matches!(vr, VR::SQ | VR::UN) {
                return Err(Unreadable::UndefinedLength(tag));
            }
            return self.enter(is_item, !is_item && vr == VR::UN, open.encoding);
        }
        self.value = length;
        Ok(())
    }

    fn enter(&mut self, is_item: bool, is_unknown: bool, encoding: Encoding) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        let encoding = if is_unknown {
            Encoding::ImplicitLittle
        } else {
            encoding
        };
        self.open.push(Open { is_item, encoding });
        Ok(())
    }

    fn keep_header(&mut self) {
        let header = mem::take(&mut self.header);
        self.keep(&header);
        self.header = header;
    }

    /// Keeps bytes of a wanted element, unless they become too many: then the element is not wanted any more.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(keeping) = &mut self.keeping else { return };
        let length = keeping.value.len() + bytes.len();
        if length > MAX_VALUE || self.kept_bytes + length > MAX_KEPT {
            self.keeping = None;
        } else {
            keeping.value.extend_from_slice(bytes);
        }
    }

    fn end_of_value(&mut self) {
        if self.value > 0 || !self.open.is_empty() {
            return;
        }
        self.past_pixel_data |= mem::take(&mut self.in_pixel_data);
        if let Some(kept) = self.keeping.take() {
            self.kept_bytes += kept.value.len();
            self.kept.push(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;
    use proptest::prelude::*;

    fn scan(syntax: &str, bytes: &[u8], piece: usize) -> Result<Vec<Kept>, Unreadable> {
        let mut scanner = Scanner::new(syntax);
        for piece in bytes.chunks(piece) {
            scanner.feed(piece)?;
        }
        scanner.finish()
    }

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    fn element(tag: Tag, vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        if tag.0 != 0xFFFE {
            bytes.extend_from_slice(vr);
            let is_short = !matches!(vr, b"SQ" | b"OB" | b"UN" | b"UT");
            if is_short {
                bytes.extend_from_slice(&(length as u16).to_le_bytes());
                return [bytes, value.to_vec()].concat();
            }
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        [bytes, value.to_vec()].concat()
    }

    fn object() -> Vec<u8> {
        let code = element(tags::CODE_VALUE, b"SH", 4, b"T-1 ");
        let item = [
            element(ITEM, b"  ", UNDEFINED_LENGTH, &code),
            element(ITEM_DELIMITATION, b"  ", 0, b""),
        ];
        let fragments = [
            element(ITEM, b"  ", 0, b""),
            element(ITEM, b"  ", 6, b"\xff\xd8\xff\xfe\xe0\xdd"),
            element(SEQUENCE_DELIMITATION, b"  ", 0, b""),
        ];
        [
            element(tags::STUDY_DATE, b"DA", 8, b"20240131"),
            element(
                tags::PROCEDURE_CODE_SEQUENCE,
                b"SQ",
                UNDEFINED_LENGTH,
                &item.concat(),
            ),
            element(SEQUENCE_DELIMITATION, b"  ", 0, b""),
            element(Tag(0x0029, 0x1010), b"OB", 4, b"\0\0\0\0"),
            element(tags::PIXEL_DATA, b"OB", UNDEFINED_LENGTH, &fragments.concat()),
        ]
        .concat()
    }

    #[test]
    fn keeps_the_same_whatever_the_pieces() {
        let object = object();
        let whole = scan(EXPLICIT, &object, object.len()).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(
            (whole[0].tag, &whole[0].value[..]),
            (tags::STUDY_DATE, &b"20240131"[..])
        );
        for piece in 1..40 {
            assert_eq!(scan(EXPLICIT, &object, piece).unwrap(), whole);
        }
    }

    #[test]
    fn an_object_cut_short_is_not_whole() {
        let object = object();
        let is_whole = |end: &usize| scan(EXPLICIT, &object[..*end], 7).is_ok();
        let whole: Vec<usize> = (1..=object.len()).filter(is_whole).collect();
        let date = 16;
        let codes = date + 12 + 8 + 12 + 8 + 8;
        assert_eq!(whole, [date, codes, codes + 16, object.len()]);
    }

    #[test]
    fn padding_after_pixel_data_is_nobodys_fault() {
        for padding in [&[0; 5][..], &[0; 64], &[0xff; 64], b"\xfe\xff\x00\xe0\0\0\0\0"] {
            assert!(scan(EXPLICIT, &[&object(), padding].concat(), 9).is_ok());
        }
    }

    #[test]
    fn deep_nesting_ends_early() {
        let level = element(tags::PROCEDURE_CODE_SEQUENCE, b"SQ", UNDEFINED_LENGTH, b"");
        let item = element(ITEM, b"  ", UNDEFINED_LENGTH, b"");
        let bomb = [level, item].concat().repeat(10_000);
        assert_eq!(scan(EXPLICIT, &bomb, 4096), Err(Unreadable::TooDeep));
    }

    #[test]
    fn what_is_deflated_is_inflated_and_a_bomb_of_it_ends() {
        use std::io::Write;
        let deflate = |bytes: &[u8]| {
            let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        };
        let object = object();
        let deflated = "1.2.840.10008.1.2.1.99";
        let whole = scan(EXPLICIT, &object, 100).unwrap();
        assert_eq!(scan(deflated, &deflate(&object), 11).unwrap(), whole);
        assert_eq!(
            scan(deflated, &deflate(&object)[..40], 11),
            Err(Unreadable::Truncated)
        );
        assert_eq!(scan(deflated, &[0xff; 40], 11), Err(Unreadable::NotDeflated));
        let mut long = element(Tag(0x0029, 0x1010), b"OB", 1 << 30, b"");
        long.resize(64 << 20, 0);
        assert!(scan(deflated, &deflate(&long), 4096).is_err());
    }

    #[test]
    fn values_that_are_too_long_stay_in_the_file() {
        let long = element(tags::PATIENT_COMMENTS, b"UT", 100_000, &[b'x'; 100_000]);
        let next = element(tags::STUDY_ID, b"SH", 2, b"1 ");
        let kept = scan(EXPLICIT, &[long, next].concat(), 1000).unwrap();
        assert_eq!(
            kept.iter().map(|kept| kept.tag).collect::<Vec<_>>(),
            [tags::STUDY_ID]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes: Vec<u8>, piece in 1..50_usize, syntax in 0..4_usize) {
            let syntax = [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"][syntax];
            let _ = scan(syntax, &bytes, piece);
        }

        #[test]
        fn a_damaged_object_is_no_panic(at in 0..150_usize, byte: u8, piece in 1..50_usize) {
            let mut object = object();
            let at = at % object.len();
            object[at] = byte;
            let _ = scan(EXPLICIT, &object, piece);
        }
    }
}
