//! Text by Specific Character Set (0008,0005): PS3.3 C.12.1.1.2, PS3.5 6.1.2.
//!
//! Invariant: whatever the bytes, decoding ends in UTF-8 that is safe for a terminal. Deliberately not here: guessing.
//! An answer that declares ISO_IR 100 and holds UTF-8 is shown as Latin-1, because a guess that is right for one
//! patient's name silently changes another's.
//!
//! The tables are `encoding_rs`'s. `dicom-encoding` has no code extensions, no ISO-IR 148, 159 and 203, turns
//! undecodable bytes into octal escapes that cannot be told from text, and writes kanji as Shift JIS for ISO_IR 13.

mod coded_set;
mod encoder;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use dicom_core::VR;
use encoding_rs::Encoding;

use self::coded_set::{Designation, ESC, LeftSet, RightSet, Term, read_escape};
pub use self::encoder::{Encoder, Unencodable};
use crate::model::CharacterSet;

/// A value without its padding: trailing NULs and spaces, and leading spaces. Right for UI, and for text whose
/// spaces at both ends are not significant (PS3.5 6.2); in ISO 2022 text too, where a space is always a space.
pub fn trim_padding(value: &[u8]) -> &[u8] {
    let is_padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let end = value
        .iter()
        .rposition(|byte| !is_padding(byte))
        .map_or(0, |last| last + 1);
    let value = value.get(..end).unwrap_or_default();
    let start = value.iter().position(|byte| *byte != b' ').unwrap_or(end);
    value.get(start..).unwrap_or_default()
}

/// Reads the text of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    scheme: Scheme,
    is_assumed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Whole(&'static Encoding),
    /// Escape sequences switch sets; bytes from 80H on begin in this one.
    CodeExtensions(RightSet),
}

impl Decoder {
    /// A decoder by the answer's own Specific Character Set (the value's bytes), else the station's, else Latin-1.
    ///
    /// A value that says nothing about bytes from 80H on is no answer to the question: empty, ASCII only, undefined
    /// terms. Escape sequences name their set themselves and are followed whether declared or not. Where the first term
    /// gives no right set but a later one does (Korean after an empty first term), bytes from 80H on are read by that one
    /// even if the sender left out the escape sequence: they have no other meaning.
    pub fn for_answer(declared: Option<&[u8]>, station: Option<&CharacterSet>) -> Self {
        let declared = String::from_utf8_lossy(declared.unwrap_or_default());
        let own = scheme(declared.split('\\'));
        let known = own.or_else(|| station.and_then(|charset| scheme(charset.terms())));
        Decoder {
            scheme: known.unwrap_or(Scheme::CodeExtensions(RightSet::Latin1)),
            is_assumed: known.is_none(),
        }
    }

    /// Whether neither answer nor station names a charset, so that Latin-1 is an assumption.
    pub fn is_assumed(&self) -> bool {
        self.is_assumed
    }

    /// Whether `value` decodes under that assumption: worth a notice. ASCII needs none.
    pub fn assumes(&self, value: &[u8]) -> bool {
        self.is_assumed && !value.is_ascii()
    }

    /// Decodes a value, or several with backslashes between, of the given VR, which tells what resets code extensions.
    ///
    /// Never fails: what cannot be decoded is U+FFFD. Padding is gone (of several values, each keeps its own), and so are
    /// control characters, escape sequences and whatever reorders a line; TAB and line breaks are one space. Plain ASCII
    /// is borrowed.
    pub fn decode<'b>(&self, value: &'b [u8], vr: VR) -> Cow<'b, str> {
        let is_paragraph = matches!(vr, VR::ST | VR::LT | VR::UT);
        // leading spaces are text in these (PS3.5 6.2)
        let value = if is_paragraph { value } else { trim_padding(value) };
        let clean = clean(self.decoded(value, vr));
        if is_paragraph {
            trimmed(clean, |text| text.trim_end_matches(' '))
        } else {
            trimmed(clean, |text| text.trim_matches(' '))
        }
    }

    /// Decodes a text of VR ST, LT or UT as [`decode`](Self::decode) does, with its TABs and line breaks kept: for one that
    /// is kept and passed on, not shown.
    pub fn decode_paragraphs(&self, value: &[u8], vr: VR) -> String {
        let is_kept = |c: &char| matches!(c, '\t' | '\n' | '\r') || !(is_break(*c) || is_unsafe(*c));
        let kept: String = self.decoded(value, vr).chars().filter(is_kept).collect();
        kept.trim_end_matches(' ').to_owned()
    }

    fn decoded<'b>(&self, value: &'b [u8], vr: VR) -> Cow<'b, str> {
        match self.scheme {
            _ if is_plain(value) => String::from_utf8_lossy(value),
            Scheme::Whole(encoding) => encoding.decode_without_bom_handling(value).0,
            Scheme::CodeExtensions(initial) => Cow::Owned(decode_extended(value, initial, delimiters(vr))),
        }
    }
}

/// What the terms say of bytes from 80H on; `None` where that is nothing.
fn scheme<'t>(terms: impl Iterator<Item = &'t str>) -> Option<Scheme> {
    let mut known = terms.filter_map(Term::from_code);
    let first = known.next()?;
    if let Term::Whole(encoding) = first {
        return Some(Scheme::Whole(encoding));
    }
    std::iter::once(first).chain(known).find_map(|term| match term {
        Term::Right(set) => Some(Scheme::CodeExtensions(set)),
        _ => None,
    })
}

fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| (0x20..0x7F).contains(byte))
}

/// The characters besides controls before which the first term's sets are in force again (PS3.5 6.1.2.5.3).
fn delimiters(vr: VR) -> &'static [u8] {
    match vr {
        VR::PN => b"^=\\",
        VR::ST | VR::LT | VR::UT => b"",
        _ => b"\\",
    }
}

fn decode_extended(value: &[u8], initial: RightSet, delimiters: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut left: Option<LeftSet> = None;
    let mut right = initial;
    let mut rest = value;
    while let [first, ..] = rest {
        let length = match (*first, left) {
            (ESC, _) => {
                let (designation, length) = read_escape(rest);
                match designation {
                    Designation::SingleByteLeft => left = None,
                    Designation::Left(set) => left = Some(set),
                    Designation::Right(set) => right = set,
                    Designation::Unknown => {}
                }
                length
            }
            (0x80.., _) => {
                let length = right.run_length(rest);
                right.decode(rest.get(..length).unwrap_or(rest), &mut text);
                length
            }
            (0x21..=0x7E, Some(set)) => {
                let length = rest
                    .iter()
                    .take_while(|byte| (0x21..=0x7E).contains(*byte))
                    .count();
                set.decode(rest.get(..length).unwrap_or(rest), &mut text);
                length
            }
            (ascii, _) => {
                if ascii < b' ' || delimiters.contains(&ascii) {
                    left = None;
                    right = initial;
                }
                text.push(char::from(ascii));
                1
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    text
}

/// Takes out what a terminal would obey or a reader could be deceived by.
fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|character| is_break(character) || is_unsafe(character))
    {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut after_break = false;
    for character in text.chars() {
        if is_break(character) {
            after_break = true;
        } else if !is_unsafe(character) {
            if std::mem::take(&mut after_break) {
                clean.push(' ');
            }
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

fn is_break(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\x0C' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

fn trimmed<'b>(text: Cow<'b, str>, trim: fn(&str) -> &str) -> Cow<'b, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if trim(&text).len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}
