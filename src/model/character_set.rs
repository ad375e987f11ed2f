//! A value of Specific Character Set (0008,0005), as PS3.3 C.12.1.1.2 defines its terms.
//!
//! Invariant: every term is a defined one. Decoding and encoding text by it is `dimse`'s.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The defined terms of PS3.3 C.12.1.1.2, with and without code extensions.
const DEFINED_TERMS: [&str; 31] = [
    "",
    "ISO_IR 6",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 144",
    "ISO_IR 127",
    "ISO_IR 126",
    "ISO_IR 138",
    "ISO_IR 148",
    "ISO_IR 203",
    "ISO_IR 13",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "ISO 2022 IR 6",
    "ISO 2022 IR 100",
    "ISO 2022 IR 101",
    "ISO 2022 IR 109",
    "ISO 2022 IR 110",
    "ISO 2022 IR 144",
    "ISO 2022 IR 127",
    "ISO 2022 IR 126",
    "ISO 2022 IR 138",
    "ISO 2022 IR 148",
    "ISO 2022 IR 13",
    "ISO 2022 IR 166",
    "ISO 2022 IR 87",
    "ISO 2022 IR 149",
];

/// Further terms with code extensions that only stand after the first.
const DEFINED_EXTENSIONS: [&str; 3] = ["ISO 2022 IR 159", "ISO 2022 IR 58", "ISO 2022 IR 203"];

/// A Specific Character Set: one defined term, or several joined by a backslash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CharacterSet(String);

impl CharacterSet {
    /// The value as it stands in (0008,0005).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its terms, in order; the first may be empty (ISO 646).
    pub fn terms(&self) -> impl Iterator<Item = &str> {
        self.0.split('\\')
    }
}

impl FromStr for CharacterSet {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let terms: Vec<&str> = text.split('\\').map(str::trim).collect();
        let is_defined = |term: &&str| DEFINED_TERMS.contains(term) || DEFINED_EXTENSIONS.contains(term);
        if text.trim().is_empty() || !terms.iter().all(is_defined) {
            let rule = "it is a defined term of PS3.3 C.12.1.1.2, like 'ISO_IR 192' or 'ISO_IR 100'";
            return Err(Invalid::new("charset", text, rule));
        }
        Ok(CharacterSet(terms.join("\\")))
    }
}

impl TryFrom<String> for CharacterSet {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<CharacterSet> for String {
    fn from(charset: CharacterSet) -> String {
        charset.0
    }
}

impl fmt::Display for CharacterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_defined_terms_only() {
        for text in [
            "ISO_IR 192",
            "\\ISO 2022 IR 87",
            "ISO 2022 IR 13\\ISO 2022 IR 159",
        ] {
            assert_eq!(text.parse::<CharacterSet>().unwrap().as_str(), text);
        }
        for text in ["", "UTF-8", "latin1", "ISO_IR 192\\UTF-8"] {
            assert!(text.parse::<CharacterSet>().is_err(), "{text}");
        }
    }
}
