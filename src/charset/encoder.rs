//! Writing text in a station's Specific Character Set.
//!
//! Invariant: what is written decodes to the same text under the same charset, and every value and every component of
//! a person name begins and ends in the state of the first term (PS3.5 6.1.2.5.3).

use encoding_rs::Encoding;
use thiserror::Error;

use super::coded_set::{ESC, LeftSet, RightSet, Term};
use crate::model::CharacterSet;

/// A character that the charset cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the character '{}' can't be written in the station's charset", character.escape_debug())]
pub struct Unencodable {
    /// The first such character.
    pub character: char,
}

/// Writes text for one station.
///
/// ASCII is the same bytes under every charset: where no value of a data set needs more, Specific Character Set
/// (0008,0005) can stay away. Else its value is the charset given here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoder(Scheme);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Whole(&'static Encoding),
    CodeExtensions(CodeExtensions),
}

/// The sets that the terms of a charset give, the first term's right set apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct CodeExtensions {
    initial_right: Option<RightSet>,
    lefts: Vec<LeftSet>,
    rights: Vec<RightSet>,
}

impl Encoder {
    /// An encoder for a station whose charset is known.
    pub fn for_station(charset: &CharacterSet) -> Self {
        let mut sets = CodeExtensions::default();
        for (position, term) in charset.terms().enumerate() {
            match Term::from_code(term) {
                Some(Term::Whole(encoding)) if position == 0 => return Encoder(Scheme::Whole(encoding)),
                Some(Term::Right(set)) if position == 0 => sets.initial_right = Some(set),
                Some(Term::Right(set)) => sets.rights.push(set),
                Some(Term::Left(set)) => sets.lefts.push(set),
                Some(Term::Whole(_) | Term::Ascii) | None => {}
            }
        }
        Encoder(Scheme::CodeExtensions(sets))
    }

    /// Writes a value, or several with backslashes between. Of control characters only TAB, LF, FF and CR are written.
    pub fn encode(&self, text: &str) -> Result<Vec<u8>, Unencodable> {
        let is_forbidden = |character: &char| character.is_control() && !"\t\n\x0C\r".contains(*character);
        if let Some(character) = text.chars().find(is_forbidden) {
            return Err(Unencodable { character });
        }
        match &self.0 {
            _ if text.is_ascii() => Ok(text.as_bytes().to_vec()),
            Scheme::Whole(encoding) => encode_whole(encoding, text),
            Scheme::CodeExtensions(sets) => Writer::new(sets).write(text),
        }
    }
}

fn encode_whole(encoding: &'static Encoding, text: &str) -> Result<Vec<u8>, Unencodable> {
    let (bytes, _, has_unmappable) = encoding.encode(text);
    if !has_unmappable {
        return Ok(bytes.into_owned());
    }
    let is_unmappable = |character: &char| encoding.encode(character.encode_utf8(&mut [0; 4])).2;
    let character = text
        .chars()
        .find(is_unmappable)
        .unwrap_or(char::REPLACEMENT_CHARACTER);
    Err(Unencodable { character })
}

/// A value as it is written, with the sets that are invoked at its end.
struct Writer<'s> {
    sets: &'s CodeExtensions,
    left: Option<LeftSet>,
    right: Option<RightSet>,
    bytes: Vec<u8>,
}

impl<'s> Writer<'s> {
    fn new(sets: &'s CodeExtensions) -> Self {
        Writer {
            sets,
            left: None,
            right: sets.initial_right,
            bytes: Vec::new(),
        }
    }

    fn write(mut self, text: &str) -> Result<Vec<u8>, Unencodable> {
        for character in text.chars() {
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => self.write_ascii(byte),
                _ => self.write_extended(character).ok_or(Unencodable { character })?,
            }
        }
        self.return_to_first_term();
        Ok(self.bytes)
    }

    fn write_ascii(&mut self, byte: u8) {
        if byte < b' ' || b"^=\\".contains(&byte) {
            self.return_to_first_term();
        } else {
            self.leave_left();
        }
        self.bytes.push(byte);
    }

    /// Writes with the set now invoked where it has the character, else with the first that has it.
    fn write_extended(&mut self, character: char) -> Option<()> {
        let sets = self.sets;
        if let Some(code) = self.left.and_then(|set| set.encode(character)) {
            self.bytes.extend(code);
            return Some(());
        }
        let mut code = Vec::new();
        for set in self.right.iter().chain(&sets.initial_right).chain(&sets.rights) {
            if set.encode(character, &mut code).is_some() {
                self.invoke_right(*set);
                self.bytes.append(&mut code);
                return Some(());
            }
        }
        let (set, code) = sets
            .lefts
            .iter()
            .find_map(|set| Some((*set, set.encode(character)?)))?;
        self.escape(set.escape());
        self.left = Some(set);
        self.bytes.extend(code);
        Some(())
    }

    fn invoke_right(&mut self, set: RightSet) {
        self.leave_left();
        if self.right != Some(set) {
            self.escape(set.escape());
            self.right = Some(set);
        }
    }

    /// Before a delimiter and at the end. Where the first term has no right set, the delimiter itself is the reset.
    fn return_to_first_term(&mut self) {
        self.leave_left();
        match self.sets.initial_right {
            Some(set) => self.invoke_right(set),
            None => self.right = None,
        }
    }

    fn leave_left(&mut self) {
        if self.left.take().is_some() {
            // with ISO-IR 13 first, G0 is the Roman letters of JIS X 0201 (PS3.5 H.3.2)
            let roman = self.sets.initial_right == Some(RightSet::Katakana);
            self.escape(if roman { b"(J" } else { b"(B" });
        }
    }

    fn escape(&mut self, sequence: &[u8]) {
        self.bytes.push(ESC);
        self.bytes.extend_from_slice(sequence);
    }
}
