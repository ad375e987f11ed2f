//! The SHA-256 fingerprint of a certificate: what one certificate is told from all others by.
//!
//! Invariant: it is of the whole certificate in DER form. How it is computed is not here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A SHA-256 fingerprint. Displays as 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint that is this SHA-256 hash.
    pub fn new(hash: [u8; 32]) -> Self {
        Fingerprint(hash)
    }
}

impl FromStr for Fingerprint {
    type Err = Invalid;

    /// Reads 64 hexadecimal digits, with or without the colons that `openssl x509 -fingerprint` puts between them.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = "it is the SHA-256 of a certificate: 64 hexadecimal digits, as 'openssl x509 -noout -fingerprint -sha256' prints";
        read(text).ok_or_else(|| Invalid::new("fingerprint", text, rule))
    }
}

fn read(text: &str) -> Option<Fingerprint> {
    let mut hash = [0; 32];
    let mut digits = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16));
    for byte in &mut hash {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(Fingerprint(hash))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_it_with_and_without_colons() {
        let bare = "00ff".repeat(16);
        let with_colons = ["00:FF"; 16].join(":");
        let read: Fingerprint = with_colons.parse().unwrap();
        assert_eq!(read, bare.parse().unwrap());
        assert_eq!(read.to_string(), bare);
    }

    #[test]
    fn refuses_what_is_none() {
        let sha1 = "00ff".repeat(10);
        let too_long = "00ff".repeat(17);
        let no_digit = format!("{}0g", "0".repeat(62));
        for text in ["", &sha1, &too_long, &no_digit] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }
}
