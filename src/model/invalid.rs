//! The one error of every value that text can fail to be: it names the field, the value and the rule.
//!
//! Invariant: its text holds no control characters, whatever the value held.

use std::fmt;

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
    /// An error for `value`, which was meant to be a `field` and breaks `rule`.
    pub fn new(field: &'static str, value: &str, rule: impl Into<String>) -> Self {
        Invalid {
            field,
            value: value.to_owned(),
            rule: rule.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {} {:?}: {}", self.field, self.value, self.rule)
    }
}

impl std::error::Error for Invalid {}
