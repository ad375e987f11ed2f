//! The coded character sets that a Specific Character Set can name, and the escape sequences that invoke them
//! (PS3.3 C.12.1.1.2, tables C.12-2 to C.12-5).
//!
//! Invariant: ASCII bytes mean ASCII in every set here except the two-byte ones of G0. The tables themselves are
//! `encoding_rs`'s; the state of a text that switches between sets is the decoder's and encoder's.

use std::collections::HashMap;
use std::sync::LazyLock;

use encoding_rs::Encoding;

/// Begins every escape sequence.
pub(super) const ESC: u8 = 0x1B;

/// What one term of Specific Character Set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// Nothing beyond ASCII.
    Ascii,
    /// A set for whole values that knows no escape sequences: UTF-8, GB18030, GBK.
    Whole(&'static Encoding),
    /// A set of two-byte characters below 80H.
    Left(LeftSet),
    /// A set of characters from 80H on.
    Right(RightSet),
}

impl Term {
    /// Reads a term, forgiving case and the separators that senders write ("ISO-IR 100", "ISO_IR_192").
    pub(super) fn from_code(code: &str) -> Option<Term> {
        let letters: String = code
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        match letters.as_str() {
            "" => return Some(Term::Ascii),
            "GB18030" => return Some(Term::Whole(encoding_rs::GB18030)),
            "GBK" => return Some(Term::Whole(encoding_rs::GBK)),
            _ => {}
        }
        let number = letters
            .strip_prefix("ISO2022IR")
            .or_else(|| letters.strip_prefix("ISOIR"))?;
        Some(match number {
            "6" => Term::Ascii,
            "192" => Term::Whole(encoding_rs::UTF_8),
            "87" => Term::Left(LeftSet::JisX0208),
            "159" => Term::Left(LeftSet::JisX0212),
            number => Term::Right(RightSet::from_registration(number)?),
        })
    }
}

/// A set of two-byte characters that escape sequences bring into G0 (bytes 21H to 7EH).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftSet {
    /// ISO-IR 87, Japanese kanji and kana.
    JisX0208,
    /// ISO-IR 159, supplementary kanji.
    JisX0212,
}

/// The cells of JIS X 0212 by character; `encoding_rs` has this table for decoding only.
static JIS_X_0212: LazyLock<HashMap<char, [u8; 2]>> = LazyLock::new(|| {
    let cells = (0x21..=0x7E).flat_map(|row| (0x21..=0x7E).map(move |cell| [row, cell]));
    cells
        .filter_map(|[row, cell]| {
            let bytes = [0x8F, row | 0x80, cell | 0x80];
            let text = encoding_rs::EUC_JP.decode_without_bom_handling_and_without_replacement(&bytes)?;
            Some((text.chars().next()?, [row, cell]))
        })
        .collect()
});

impl LeftSet {
    /// Its escape sequence, without ESC.
    pub(super) fn escape(self) -> &'static [u8] {
        match self {
            LeftSet::JisX0208 => b"$B",
            LeftSet::JisX0212 => b"$(D",
        }
    }

    /// Decodes bytes from 21H to 7EH onto the end of `text`.
    pub(super) fn decode(self, bytes: &[u8], text: &mut String) {
        let mut euc = Vec::with_capacity(bytes.len() * 2);
        for pair in bytes.chunks(2) {
            if self == LeftSet::JisX0212 {
                euc.push(0x8F);
            }
            euc.extend(pair.iter().map(|byte| byte | 0x80));
        }
        text.push_str(&encoding_rs::EUC_JP.decode_without_bom_handling(&euc).0);
    }

    /// The two bytes of a character. Those that only vendors put into JIS X 0208 (NEC, IBM: 髙) are taken: an archive
    /// that has such a name under this set has it in just these bytes.
    pub(super) fn encode(self, character: char) -> Option<[u8; 2]> {
        match self {
            LeftSet::JisX0208 => match encode_one(encoding_rs::EUC_JP, character)?[..] {
                [row @ 0xA1..=0xFE, cell @ 0xA1..=0xFE] => Some([row & 0x7F, cell & 0x7F]),
                _ => None,
            },
            LeftSet::JisX0212 => JIS_X_0212.get(&character).copied(),
        }
    }
}

/// A set for G1 (bytes from 80H on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RightSet {
    Latin1,
    Latin2,
    Latin3,
    Latin4,
    Latin5,
    Latin9,
    Cyrillic,
    Arabic,
    Greek,
    Hebrew,
    Thai,
    /// Half-width katakana of JIS X 0201.
    Katakana,
    /// KS X 1001, two bytes.
    Korean,
    /// GB 2312, two bytes.
    Chinese,
}

/// Every right set with its ISO registration number and its escape sequence, without ESC.
const RIGHT_SETS: [(RightSet, &str, &[u8]); 14] = [
    (RightSet::Latin1, "100", b"-A"),
    (RightSet::Latin2, "101", b"-B"),
    (RightSet::Latin3, "109", b"-C"),
    (RightSet::Latin4, "110", b"-D"),
    (RightSet::Latin5, "148", b"-M"),
    (RightSet::Latin9, "203", b"-b"),
    (RightSet::Cyrillic, "144", b"-L"),
    (RightSet::Arabic, "127", b"-G"),
    (RightSet::Greek, "126", b"-F"),
    (RightSet::Hebrew, "138", b"-H"),
    (RightSet::Thai, "166", b"-T"),
    (RightSet::Katakana, "13", b")I"),
    (RightSet::Korean, "149", b"$)C"),
    (RightSet::Chinese, "58", b"$)A"),
];

/// Where half-width katakana begin, in Unicode and in JIS X 0201.
const FIRST_KATAKANA: (u32, u8) = (0xFF61, 0xA1);

impl RightSet {
    fn from_registration(number: &str) -> Option<Self> {
        let mut sets = RIGHT_SETS.iter();
        sets.find(|(_, registration, _)| *registration == number)
            .map(|(set, ..)| *set)
    }

    /// Its escape sequence, without ESC.
    pub(super) fn escape(self) -> &'static [u8] {
        let mut sets = RIGHT_SETS.iter();
        sets.find(|(set, ..)| *set == self)
            .map_or(b"", |(.., escape)| escape)
    }

    /// The table. Those of Windows hold the ISO sets and give the bytes 80H to 9FH, which ISO leaves to controls, the
    /// typographic marks that senders mean by them.
    fn encoding(self) -> &'static Encoding {
        match self {
            RightSet::Latin1 => encoding_rs::WINDOWS_1252,
            RightSet::Latin2 => encoding_rs::ISO_8859_2,
            RightSet::Latin3 => encoding_rs::ISO_8859_3,
            RightSet::Latin4 => encoding_rs::ISO_8859_4,
            RightSet::Latin5 => encoding_rs::WINDOWS_1254,
            RightSet::Latin9 => encoding_rs::ISO_8859_15,
            RightSet::Cyrillic => encoding_rs::ISO_8859_5,
            RightSet::Arabic => encoding_rs::ISO_8859_6,
            RightSet::Greek => encoding_rs::ISO_8859_7,
            RightSet::Hebrew => encoding_rs::ISO_8859_8,
            RightSet::Thai => encoding_rs::WINDOWS_874,
            RightSet::Katakana => encoding_rs::SHIFT_JIS,
            RightSet::Korean => encoding_rs::EUC_KR,
            RightSet::Chinese => encoding_rs::GBK,
        }
    }

    /// How many bytes at the head of `bytes`, of which the first is 80H or above, this set has to decode.
    ///
    /// A letter after a single high byte is taken along for Korean: Windows' extension of KS X 1001 is written so, and in
    /// KS X 1001 itself it cannot occur.
    pub(super) fn run_length(self, bytes: &[u8]) -> usize {
        let mut length = 0;
        while let [0x80..=0xFF, rest @ ..] = bytes.get(length..).unwrap_or_default() {
            length += match rest {
                [0x80..=0xFF, ..] if self.is_two_byte() => 2,
                [b'A'..=b'Z' | b'a'..=b'z', ..] if self == RightSet::Korean => 2,
                _ => 1,
            };
        }
        length
    }

    /// Decodes a run of bytes onto the end of `text`.
    pub(super) fn decode(self, bytes: &[u8], text: &mut String) {
        if self == RightSet::Katakana {
            text.extend(
                bytes
                    .iter()
                    .map(|byte| katakana(*byte).unwrap_or(char::REPLACEMENT_CHARACTER)),
            );
        } else {
            text.push_str(&self.encoding().decode_without_bom_handling(bytes).0);
        }
    }

    /// Appends the bytes of a character, where the set has it.
    pub(super) fn encode(self, character: char, bytes: &mut Vec<u8>) -> Option<()> {
        let encoded = encode_one(self.encoding(), character)?;
        let belongs = match (self, encoded.as_slice()) {
            (RightSet::Katakana, [byte]) => katakana(*byte).is_some(),
            (RightSet::Korean, [0xA1..=0xFE, 0xA1..=0xFE]) => true,
            (RightSet::Chinese, [0xA1..=0xA9 | 0xB0..=0xF7, 0xA1..=0xFE]) => true,
            (set, [0xA0..=0xFF]) => !set.is_two_byte(),
            _ => false,
        };
        belongs.then(|| bytes.extend_from_slice(&encoded))
    }

    fn is_two_byte(self) -> bool {
        matches!(self, RightSet::Korean | RightSet::Chinese)
    }
}

fn katakana(byte: u8) -> Option<char> {
    let (first_character, first_byte) = FIRST_KATAKANA;
    let offset = byte.checked_sub(first_byte).filter(|_| byte <= 0xDF)?;
    char::from_u32(first_character + u32::from(offset))
}

fn encode_one(encoding: &'static Encoding, character: char) -> Option<Vec<u8>> {
    let mut buffer = [0; 4];
    let (bytes, _, is_unmappable) = encoding.encode(character.encode_utf8(&mut buffer));
    (!is_unmappable).then(|| bytes.into_owned())
}

/// What an escape sequence invokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Designation {
    /// ASCII, or the Roman letters of JIS X 0201, which are read as ASCII.
    SingleByteLeft,
    Left(LeftSet),
    Right(RightSet),
    /// A sequence that DICOM does not know.
    Unknown,
}

/// Reads the escape sequence at the head of `bytes`, of which the first is ESC: what it invokes, and its length.
pub(super) fn read_escape(bytes: &[u8]) -> (Designation, usize) {
    let after = bytes.get(1..).unwrap_or_default();
    for (set, _, escape) in RIGHT_SETS {
        if after.starts_with(escape) {
            return (Designation::Right(set), 1 + escape.len());
        }
    }
    match after {
        [b'(', b'B' | b'J', ..] => (Designation::SingleByteLeft, 3),
        // JIS C 6226-1978, the forerunner of JIS X 0208
        [b'$', b'B' | b'@', ..] => (Designation::Left(LeftSet::JisX0208), 3),
        [b'$', b'(', b'D', ..] => (Designation::Left(LeftSet::JisX0212), 4),
        _ => {
            let intermediate = after
                .iter()
                .take_while(|byte| (0x20..=0x2F).contains(*byte))
                .count();
            let has_final = matches!(after.get(intermediate), Some(0x30..=0x7E));
            (Designation::Unknown, 1 + intermediate + usize::from(has_final))
        }
    }
}
