//! Who a patient is: an ID together with the domain that assigned it.
//!
//! Invariant: two identities are equal only when both ID and domain are; an ID alone is never compared.
//! That two identities are one person only the cross-reference says; it is not here.

use std::fmt;

use super::{Invalid, Issuer, MAX_LONG_STRING, StationName};

/// The domain in which a patient ID is unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IssuerDomain {
    /// An issuer that the answer, the station or the local cluster names.
    Named(Issuer),
    /// None is named: the station that answered is the domain.
    Inferred(StationName),
}

impl fmt::Display for IssuerDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssuerDomain::Named(issuer) => issuer.fmt(f),
            IssuerDomain::Inferred(station) => write!(f, "{station}?"),
        }
    }
}

/// A patient ID with the domain that assigned it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatientId {
    /// The ID, without padding; empty where the answer had none.
    pub id: String,
    /// The domain in which the ID is unique.
    pub domain: IssuerDomain,
}

/// A patient ID as a caller gives it to query by: the issuer may be left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientIdKey {
    /// The ID; may hold the wildcards `*` and `?`.
    pub id: String,
    /// The issuer, where the caller named one.
    pub issuer: Option<Issuer>,
}

impl std::str::FromStr for PatientIdKey {
    type Err = Invalid;

    /// Reads `ID` or `ID^^^ISSUER`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (id, issuer) = match text.split_once("^^^") {
            Some((id, issuer)) => (id.trim(), Some(issuer.parse()?)),
            None => (text.trim(), None),
        };
        let broken = if id.is_empty() {
            Some("it must not be empty")
        } else if id.chars().any(|c| c.is_control() || c == '\\') {
            Some("backslash and control characters are not allowed (PS3.5 6.2)")
        } else if id.chars().count() > MAX_LONG_STRING {
            Some("at most 64 characters are allowed (PS3.5 6.2)")
        } else {
            None
        };
        match broken {
            Some(rule) => Err(Invalid::new("patient ID", text, rule)),
            None => Ok(PatientIdKey {
                id: id.to_owned(),
                issuer,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_may_follow_three_carets() {
        let key: PatientIdKey = "4711^^^NORTH".parse().unwrap();
        assert_eq!((key.id.as_str(), key.issuer.unwrap().as_str()), ("4711", "NORTH"));
        assert_eq!("4711".parse::<PatientIdKey>().unwrap().issuer, None);
        for text in ["", "^^^NORTH", "4711^^^", "47\\11", "47\n11"] {
            assert!(text.parse::<PatientIdKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_same_id_from_two_domains_is_two_patients() {
        let of = |domain| PatientId {
            id: "4711".to_owned(),
            domain,
        };
        let named = of(IssuerDomain::Named("NORTH".parse().unwrap()));
        assert_ne!(named, of(IssuerDomain::Named("HARBOUR".parse().unwrap())));
        assert_ne!(named, of(IssuerDomain::Inferred("NORTH".parse().unwrap())));
    }
}
