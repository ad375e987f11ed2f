//! The one error of every value that text can fail to be: it names the field, the value and the rule.
//!
//! Invariant: its text holds no control characters, whatever the value held.

use std::fmt;

/// The most characters of a value that an error repeats.
const MAX_VALUE: usize = 120;

/// A value that breaks the rule of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What the value was meant to be, in the words of the domain: `AE title`, `port`.
    pub field: &'static str,
    /// The value as it was given.
    pub value: String,
    /// The rule it breaks, as a sentence fragment that may follow a colon.
    pub rule: String,
}

impl Invalid {
    /// An error for `value`, which was meant to be a `field` and breaks `rule`. A long value is cut.
    pub fn new(field: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Invalid {
            field,
            value: shorten(value, MAX_VALUE),
            rule: rule.into(),
        }
    }
}

/// The beginning of `text`, with an ellipsis where it has more than `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {} {:?}: {}", self.field, self.value, self.rule)
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let error = Invalid::new("AE title", &"Ä".repeat(100_000), "it is too long").to_string();
        assert!(
            error.len() < 300 && error.contains("Ä…\": it is too long"),
            "{error}"
        );
        assert_eq!(shorten("ÄÖ", 2), "ÄÖ");
    }
}
