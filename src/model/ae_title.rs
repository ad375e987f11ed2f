//! An Application Entity title, as PS3.5 6.2 (VR AE) allows it.
//!
//! Invariant: 1 to 16 characters of the default repertoire, no backslash, no control character, no space at
//! either end (they are padding, and not significant). Comparison is exact: AE titles are case sensitive.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The greatest length of an AE title, in characters (PS3.5 6.2).
pub const MAX_AE_TITLE: usize = 16;

/// An Application Entity title.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AeTitle(String);

impl AeTitle {
    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |rule: &str| Invalid::new("AE title", text, rule);
        let title = text.trim_matches(' ');
        if title.is_empty() {
            return Err(invalid("it must not be empty or only spaces (PS3.5 6.2)"));
        }
        if title.contains('\\') {
            return Err(invalid("a backslash is not allowed (PS3.5 6.2)"));
        }
        if title.chars().any(char::is_control) {
            return Err(invalid("control characters are not allowed (PS3.5 6.2)"));
        }
        if !title.is_ascii() {
            return Err(invalid("only ASCII characters are allowed (PS3.5 6.2)"));
        }
        if title.len() > MAX_AE_TITLE {
            let rule = format!(
                "it has {} characters, at most {MAX_AE_TITLE} are allowed (PS3.5 6.2)",
                title.len()
            );
            return Err(invalid(&rule));
        }
        Ok(AeTitle(title.to_owned()))
    }
}

impl TryFrom<String> for AeTitle {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<AeTitle> for String {
    fn from(title: AeTitle) -> String {
        title.0
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_ps3_5_allows() {
        for text in ["A", "PACS", "SITE B", "ABCDEFGHIJKLMNOP", "a_b-c.d", "  PAD  "] {
            assert_eq!(text.parse::<AeTitle>().unwrap().as_str(), text.trim());
        }
    }

    #[test]
    fn refuses_what_it_does_not_allow_and_says_why() {
        for (text, rule) in [
            ("", "empty"),
            ("   ", "only spaces"),
            ("A\\B", "backslash"),
            ("A\tB", "control"),
            ("ABCDEFGHIJKLMNOPQ", "17 characters"),
            ("SITÉ", "ASCII"),
        ] {
            let error = text.parse::<AeTitle>().unwrap_err().to_string();
            assert!(error.contains("AE title") && error.contains(rule), "{error}");
        }
    }
}
