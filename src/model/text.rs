//! Short texts that travel as DICOM values of VR LO: issuers, cluster names; and free descriptions.
//!
//! Invariant: no control character, no backslash, not empty, at most 64 characters (PS3.5 6.2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The greatest length of a value of VR LO, in characters (PS3.5 6.2).
pub const MAX_LONG_STRING: usize = 64;

/// Trims `text` and holds it to the rules of VR LO.
fn long_string(field: &'static str, text: &str) -> Result<String, Invalid> {
    let trimmed = text.trim();
    let broken = if trimmed.is_empty() {
        Some("it must not be empty or only spaces")
    } else if trimmed.contains('\\') {
        Some("a backslash is not allowed (PS3.5 6.2)")
    } else if trimmed.chars().any(char::is_control) {
        Some("control characters are not allowed (PS3.5 6.2)")
    } else if trimmed.chars().count() > MAX_LONG_STRING {
        Some("at most 64 characters are allowed (PS3.5 6.2)")
    } else {
        None
    };
    match broken {
        Some(rule) => Err(Invalid::new(field, text, rule)),
        None => Ok(trimmed.to_owned()),
    }
}

macro_rules! long_string_type {
    ($(#[$doc:meta])* $name:ident, $field:literal, $further_rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let value = long_string($field, text)?;
                let further_rule: fn(&str) -> Option<&'static str> = $further_rule;
                match further_rule(&value) {
                    Some(rule) => Err(Invalid::new($field, text, rule)),
                    None => Ok($name(value)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

long_string_type!(
    /// Who assigns a patient ID: the value of Issuer of Patient ID (0010,0021). Case is significant.
    Issuer,
    "issuer",
    |text| text.contains('^').then_some("a '^' is not allowed: it separates ID and issuer")
);

long_string_type!(
    /// The patient ID that is the same in all clusters.
    GlobalPatientId,
    "global patient ID",
    |text| text.contains(['*', '?']).then_some("wildcards are not allowed")
);

long_string_type!(
    /// The name of a cluster, for people. Several stations may be doors to one cluster.
    ClusterName,
    "cluster name",
    |_| None
);

long_string_type!(
    /// What an administrator notes about a station.
    Description,
    "description",
    |_| None
);

long_string_type!(
    /// Why a person must look at the copies of a study (linked syntax).
    ReviewReason,
    "review reason",
    |_| None
);

long_string_type!(
    /// A specialty or body part as the mapping tables give it.
    MappedValue,
    "mapped value",
    |_| None
);

long_string_type!(
    /// The Code Value of a procedure (0008,0100).
    ProcedureCode,
    "procedure code",
    |_| None
);

long_string_type!(
    /// The alias of a station: unique in the store, and what every command calls it by.
    StationName,
    "station name",
    broken_station_name_rule
);

long_string_type!(
    /// What a prefetch rule is called: unique in the set, whatever the case.
    RuleName,
    "rule name",
    broken_word_rule
);

/// The words that mean something else where a station's name could stand.
const RESERVED_NAMES: [&str; 3] = ["internal", "external", "local"];

fn broken_station_name_rule(name: &str) -> Option<&'static str> {
    let is_reserved = RESERVED_NAMES.iter().any(|word| name.eq_ignore_ascii_case(word));
    match is_reserved {
        true => Some("'internal', 'external' and 'local' are reserved words"),
        false => broken_word_rule(name),
    }
}

fn broken_word_rule(name: &str) -> Option<&'static str> {
    let begins_well = name.starts_with(|c: char| c.is_alphanumeric());
    let rest_is_well = name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    let is_well = begins_well && rest_is_well;
    (!is_well).then_some("it is made of letters, digits, '-', '_' and '.', and begins with a letter or digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_name_is_one_plain_word() {
        for text in ["SITEB", "site-b.north_1", "Zürich"] {
            assert_eq!(text.parse::<StationName>().unwrap().as_str(), text);
        }
        for text in ["", "local", "INTERNAL", "-x", "a b", "a/b", "a,b", "x\u{1b}[1m"] {
            assert!(text.parse::<StationName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_issuer_is_a_long_string() {
        assert_eq!(" NORTH ".parse::<Issuer>().unwrap().as_str(), "NORTH");
        for text in ["", "A\\B", "A^B", &"x".repeat(65)] {
            assert!(text.parse::<Issuer>().is_err(), "{text:?}");
        }
    }
}
