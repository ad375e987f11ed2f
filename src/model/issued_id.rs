//! A patient ID whose issuer is named, and the patient ID that is the same in all clusters.
//!
//! Invariant: one value of VR LO each (PS3.5 6.2), without wildcards: they are put to stations as keys. Only such IDs
//! take part in the cross-reference; an ID whose domain is merely inferred never does.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, Issuer, IssuerDomain, PatientId, PatientIdKey};

/// A patient ID with the issuer that assigned it. Read and shown as `ID^^^ISSUER`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuedId {
    issuer: Issuer,
    id: String,
}

impl IssuedId {
    /// `key` as an ID of its issuer, or of `local` where it names none.
    pub fn new(key: PatientIdKey, local: Option<&Issuer>) -> Result<Self, Invalid> {
        let rule = if key.id.contains(['*', '?']) {
            Some("wildcards are not allowed")
        } else if key.id.contains('^') {
            Some("a '^' is not allowed but before the issuer: ID^^^ISSUER")
        } else {
            None
        };
        if let Some(rule) = rule {
            return Err(Invalid::new("patient ID", &key.id, rule));
        }
        match key.issuer.or_else(|| local.cloned()) {
            Some(issuer) => Ok(IssuedId { issuer, id: key.id }),
            None => {
                let rule = "it needs its issuer: ID^^^ISSUER";
                Err(Invalid::new("patient ID", &key.id, rule))
            }
        }
    }

    /// The ID alone.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who assigned it.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }
}

impl FromStr for IssuedId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        IssuedId::new(text.parse()?, None)
    }
}

impl fmt::Display for IssuedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}^^^{}", self.id, self.issuer)
    }
}

impl From<IssuedId> for PatientId {
    fn from(issued: IssuedId) -> Self {
        PatientId {
            id: issued.id,
            domain: IssuerDomain::Named(issued.issuer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_named_or_the_local_one() {
        let issued: IssuedId = "4711^^^NORTH".parse().unwrap();
        assert_eq!((issued.id(), issued.issuer().as_str()), ("4711", "NORTH"));
        assert_eq!(issued.to_string(), "4711^^^NORTH");
        let local = "NORTH".parse().unwrap();
        assert_eq!(
            IssuedId::new("4711".parse().unwrap(), Some(&local)).unwrap(),
            issued
        );
        for text in ["4711", "47*^^^NORTH", "47^11^^^NORTH", "^^^NORTH", "4711^^^"] {
            assert!(text.parse::<IssuedId>().is_err(), "{text}");
        }
    }
}
