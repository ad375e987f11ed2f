//! A unique identifier (PS3.5 9), as it names a study, a series or an instance.
//!
//! Invariant: 1 to 64 characters, digits and dots only, without padding. Components with leading zeros are
//! against the standard but are found in archives, so they are taken and compared to the letter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The greatest length of a UID, in characters (PS3.5 9.1).
pub const MAX_UID: usize = 64;

/// A unique identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

impl Uid {
    /// The identifier without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bare = text.trim_matches([' ', '\0']);
        let is_valid = (1..=MAX_UID).contains(&bare.len())
            && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && bare.split('.').all(|component| !component.is_empty());
        if is_valid {
            Ok(Uid(bare.to_owned()))
        } else {
            let rule = "it is made of numbers with dots between, 64 characters at most (PS3.5 9.1)";
            Err(Invalid::new("UID", text, rule))
        }
    }
}

impl TryFrom<String> for Uid {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> String {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case: a UID with padding
    #[test]
    fn strips_padding_and_nothing_else() {
        assert_eq!("1.2.840\0".parse::<Uid>().unwrap().as_str(), "1.2.840");
        for text in ["", "1..2", "1.2.", "1.2*", "1.2\\3", "1.2\n", &"1".repeat(65)] {
            assert!(text.parse::<Uid>().is_err(), "{text:?}");
        }
    }
}
