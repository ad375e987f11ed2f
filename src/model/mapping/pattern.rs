//! How a study description is compared: as words, whatever their case, accents and punctuation.
//!
//! Invariant: text and pattern are folded alike, so that a text without wildcards is matched by itself as a pattern.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::{Invalid, is_universal, wildcard_matches};

/// The longest pattern, in characters: a description (VR LO) and some wildcards.
const LONGEST: usize = 100;

/// A pattern for study descriptions: `*` stands for any text, `?` for one character. It matches the whole description,
/// in which case and accents don't matter and punctuation is a space: `*thorax*` is found anywhere, `* hip *` as a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DescriptionPattern {
    text: String,
    folded: String,
    search: Search,
}

/// What is quickest for a pattern: there may be hundreds for each study.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Search {
    /// `*` alone: also where there is no description.
    Anything,
    /// `*text*`.
    Anywhere(String),
    /// Any other.
    Wildcard,
}

/// A description as patterns see it; made once for each study.
#[derive(Debug)]
pub struct FoldedDescription(String);

impl FoldedDescription {
    /// Folds `text`: lowercase without accents, anything but letters and digits a space, one space at either end.
    pub fn new(text: &str) -> Self {
        let mut folded = String::with_capacity(text.len() + 2);
        folded.push(' ');
        fold_into(&mut folded, text, |_| false);
        if !folded.ends_with(' ') {
            folded.push(' ');
        }
        FoldedDescription(folded)
    }
}

impl DescriptionPattern {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is compared: two patterns that fold to the same text match the same descriptions.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether it matches; where there is no description, only `*` does.
    pub fn matches(&self, description: Option<&FoldedDescription>) -> bool {
        let Some(FoldedDescription(description)) = description else {
            return self.search == Search::Anything;
        };
        match &self.search {
            Search::Anything => true,
            Search::Anywhere(text) => description.contains(text.as_str()),
            Search::Wildcard => wildcard_matches(&self.folded, description),
        }
    }
}

impl FromStr for DescriptionPattern {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let invalid = |rule: &str| Invalid::new("description", given, rule);
        let text = given.trim();
        if text.chars().count() > LONGEST {
            return Err(invalid("a pattern has at most 100 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("control characters are not allowed"));
        }
        let folded = fold_pattern(text);
        let search = match folded.strip_prefix('*').and_then(|rest| rest.strip_suffix('*')) {
            _ if text.is_empty() => return Err(invalid("it must not be empty")),
            _ if is_universal(text) => Search::Anything,
            _ if !folded.chars().any(char::is_alphanumeric) => {
                return Err(invalid("it has a letter or digit, or is '*' alone"));
            }
            Some(inner) if !inner.contains(['*', '?']) => Search::Anywhere(inner.to_owned()),
            _ => Search::Wildcard,
        };
        Ok(DescriptionPattern {
            text: text.to_owned(),
            folded,
            search,
        })
    }
}

impl TryFrom<String> for DescriptionPattern {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<DescriptionPattern> for String {
    fn from(pattern: DescriptionPattern) -> String {
        pattern.text
    }
}

impl fmt::Display for DescriptionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn fold_pattern(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 2);
    if !text.starts_with('*') {
        folded.push(' ');
    }
    fold_into(&mut folded, text, |c| c == '*' || c == '?');
    if !folded.ends_with([' ', '*']) {
        folded.push(' ');
    }
    folded
}

/// Appends `text` folded, without two spaces or two stars in a row.
fn fold_into(folded: &mut String, text: &str, is_wildcard: impl Fn(char) -> bool) {
    let mut push = |c: char| {
        if is_wildcard(c) {
            if !(c == '*' && folded.ends_with('*')) {
                folded.push(c);
            }
        } else if c.is_alphanumeric() {
            folded.push(c);
        } else if !folded.ends_with(' ') {
            folded.push(' ');
        }
    };
    if text.is_ascii() {
        return text.chars().for_each(|c| push(c.to_ascii_lowercase()));
    }
    for c in text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
    {
        match c {
            'ß' => "ss".chars().for_each(&mut push),
            'æ' => "ae".chars().for_each(&mut push),
            'œ' => "oe".chars().for_each(&mut push),
            'ø' => push('o'),
            _ => push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, description: &str) -> bool {
        let pattern: DescriptionPattern = pattern.parse().unwrap();
        pattern.matches(Some(&FoldedDescription::new(description)))
    }

    #[test]
    fn case_accents_and_punctuation_do_not_matter() {
        assert!(matches("*schadel*", "CT SCHÄDEL nativ"));
        assert!(matches("*Schädel*", "ct schadel"));
        assert!(matches("*coeur*", "IRM du cœur"));
        assert!(matches("*fuss*", "Rx Fuß links"));
        assert!(matches("CT CHEST", " ct-chest "));
        assert!(matches("CT*W/O*", "CT_HEAD_W.O_CONTRAST"));
        assert!(!matches("CT CHEST", "CT CHEST ABDOMEN"));
    }

    #[test]
    fn a_space_in_a_pattern_is_the_end_of_a_word() {
        for description in ["hip", "HIP/PELVIS", "MR left hip"] {
            assert!(matches("* hip *", description), "{description}");
        }
        assert!(!matches("* hip *", "MR hippocampus"));
        assert!(matches("* lung*", "HRCT Lunge"));
        assert!(!matches("* lung*", "Gefäßdarstellung"));
    }

    #[test]
    fn only_a_star_matches_a_study_without_description() {
        assert!("*".parse::<DescriptionPattern>().unwrap().matches(None));
        assert!(!"*chest*".parse::<DescriptionPattern>().unwrap().matches(None));
        for text in ["", " ", "?", "* *", "x\ny", &"x".repeat(101)] {
            assert!(text.parse::<DescriptionPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn question_marks_and_inner_stars_are_wildcards() {
        assert!(matches("*t?x*", "CT TIX"));
        assert!(matches("*skull base*thigh*", "PET/CT skull base to mid-thigh"));
        assert!(!matches("*skull base*thigh*", "skull base"));
    }
}
