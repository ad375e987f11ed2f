//! What a key asks of a returned value, at its most lenient (PS3.4 C.2.2.2).
//!
//! Invariant: a rule says no only where no peer could reasonably have matched; what cannot be judged may match.

use std::collections::HashSet;

use dicom_core::VR;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::name::NameSounds;
use crate::model::{is_universal, wildcard_matches};

/// The longest key, and the longest value, in bytes, that is judged: matching with wildcards takes time by the product of
/// both. Attributes that stations match by have 64 characters, names three times that.
const MAX_JUDGED: usize = 4096;

/// The lower bound of how strictly a peer matches a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// Any of these, to the letter.
    Uid(HashSet<String>),
    /// From the first to the last date, as `YYYYMMDD`; an empty one leaves that end open.
    Dates(String, String),
    /// Any of these patterns.
    Identifier(Vec<String>),
    /// Any of these patterns, anywhere in the value.
    FreeText(Vec<String>),
    /// Any of these names.
    Name(Vec<NameSounds>),
    /// Times, numbers and what else is matched in too many ways.
    Unjudged,
}

impl Rule {
    /// The rule for a key of this VR; its value may be several with backslashes between, of which any may match.
    pub(super) fn new(vr: VR, key: &str) -> Self {
        if vr != VR::UI && key.len() > MAX_JUDGED {
            return Rule::Unjudged;
        }
        let values = || key.split('\\').map(str::trim).filter(|value| !value.is_empty());
        match vr {
            VR::UI => Rule::Uid(values().map(str::to_owned).collect()),
            VR::DA => dates(key).unwrap_or(Rule::Unjudged),
            VR::PN => Rule::Name(values().map(NameSounds::of).collect()),
            VR::AE | VR::CS | VR::SH | VR::IS => Rule::identifier(key),
            VR::LO | VR::LT | VR::ST | VR::UT | VR::UC => {
                Rule::FreeText(values().map(text_pattern).collect())
            }
            _ => Rule::Unjudged,
        }
    }

    /// The rule for IDs, whatever their VR.
    pub(super) fn identifier(key: &str) -> Self {
        if key.len() > MAX_JUDGED {
            return Rule::Unjudged;
        }
        let values = key.split('\\').map(str::trim).filter(|value| !value.is_empty());
        Rule::Identifier(values.map(identifier_pattern).collect())
    }

    /// Whether a peer may have matched `value`, which may be several with backslashes between.
    pub(super) fn may_match(&self, value: &str) -> bool {
        if value.len() > MAX_JUDGED {
            return true;
        }
        let mut values = value.split('\\').map(str::trim);
        match self {
            Rule::Uid(uids) => values.any(|value| uids.contains(value.trim_matches('\0'))),
            Rule::Dates(from, to) => values.any(|value| may_be_within(value, from, to)),
            Rule::Identifier(patterns) => values.any(|value| may_be_identifier(patterns, value)),
            Rule::FreeText(patterns) => values.any(|value| may_contain(patterns, value)),
            Rule::Name(keys) => {
                let sounds = NameSounds::of(value);
                keys.iter().any(|key| key.may_match(sounds))
            }
            Rule::Unjudged => true,
        }
    }
}

/// Reads a matching key of VR DA: a date or a range of dates (PS3.4 C.2.2.2.5.1).
fn dates(key: &str) -> Option<Rule> {
    let (from, to) = key.split_once('-').unwrap_or((key, key));
    let (from, to) = (from.trim(), to.trim());
    let is_end = |text: &str| text.is_empty() || is_date(text);
    (is_end(from) && is_end(to)).then(|| Rule::Dates(from.to_owned(), to.to_owned()))
}

fn is_date(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The date returned is the date the peer matched by, so no time zone makes a range wider here.
fn may_be_within(value: &str, from: &str, to: &str) -> bool {
    !is_date(value) || ((from.is_empty() || from <= value) && (to.is_empty() || value <= to))
}

fn identifier_pattern(key: &str) -> String {
    pattern(&key.to_lowercase(), |_| true)
}

/// IDs match without case, leading zeros and what stands after a `^` (`4711^^^NORTH`): some peers store or match them
/// without. An ID beyond ASCII may have been read by the wrong charset, and is not judged.
fn may_be_identifier(patterns: &[String], value: &str) -> bool {
    let value = value.to_lowercase();
    let id = value.split('^').next().unwrap_or_default().trim();
    is_unreadable(&value)
        || !value.is_ascii()
        || patterns.iter().any(|pattern| {
            wildcard_matches(pattern, &value)
                || wildcard_matches(pattern, id)
                || wildcard_matches(pattern.trim_start_matches('0'), id.trim_start_matches('0'))
        })
}

fn text_pattern(key: &str) -> String {
    let letters = |character: char| character.is_alphanumeric() || character == '*';
    format!("*{}*", pattern(&key.to_lowercase().replace('?', "*"), letters))
}

/// Letters of which a peer may hold another spelling become `*`: all that are not ASCII.
fn pattern(key: &str, is_kept: impl Fn(char) -> bool) -> String {
    let vague = |character: char| if character.is_ascii() { character } else { '*' };
    key.chars()
        .filter(|character| is_kept(*character))
        .map(vague)
        .collect()
}

/// Letters that decomposition leaves whole, as they are written without them.
const LETTERS: [(char, &str); 9] = [
    ('æ', "ae"),
    ('œ', "oe"),
    ('ø', "o"),
    ('ß', "ss"),
    ('ł', "l"),
    ('đ', "d"),
    ('ð', "d"),
    ('þ', "th"),
    ('ı', "i"),
];

/// Letters that are written as two where accents are not available.
const UMLAUTS: [(char, &str); 5] = [('ä', "ae"), ('ö', "oe"), ('ø', "oe"), ('ü', "ue"), ('å', "aa")];

/// Free text matches without case, accents, spaces and punctuation, and within a longer text. ä is a or ae.
fn may_contain(patterns: &[String], value: &str) -> bool {
    let value: String = value.to_lowercase().nfc().collect();
    let matches = |text: &str| {
        let text = fold(text);
        patterns.iter().any(|pattern| wildcard_matches(pattern, &text))
    };
    is_unreadable(&value) || matches(&value) || (!value.is_ascii() && matches(&respell(&value, &UMLAUTS)))
}

/// Without accents, spaces and punctuation.
fn fold(text: &str) -> String {
    let plain = respell(text, &LETTERS);
    let letters = plain.nfkd().filter(|character| !is_combining_mark(*character));
    letters
        .flat_map(char::to_lowercase)
        .filter(|character| character.is_alphanumeric())
        .collect()
}

fn respell(text: &str, spellings: &[(char, &str)]) -> String {
    let mut respelled = String::with_capacity(text.len());
    for character in text.chars() {
        match spellings.iter().find(|(letter, _)| *letter == character) {
            Some((_, spelling)) => respelled.push_str(spelling),
            None => respelled.push(character),
        }
    }
    respelled
}

/// Whether characters were lost: peers write `?` for what their charset lacks, and decoding marks what it cannot read.
fn is_unreadable(value: &str) -> bool {
    value.contains(['?', char::REPLACEMENT_CHARACTER])
}

/// Whether a key constrains anything.
pub(super) fn is_constraint(key: &str) -> bool {
    !key.split('\\').all(is_universal)
}
