//! How HL7 messages are understood: the values of the `hl7.…` settings.
//!
//! Invariant: what a code or an authority means is said once; of two entries for one, the setting is refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FieldValue, Invalid, Issuer, StateField};

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hl7Settings {
    /// Where the service listens, where it does.
    pub listen: Option<SocketAddr>,
    /// Who may send.
    pub from: Senders,
    /// Messages that are taken, and with which nothing is done.
    pub ignored: MessageTypes,
    /// What codes say of a report.
    pub codes: ReportCodes,
    /// Who assigns patient IDs, as HL7 names them.
    pub authorities: Authorities,
    /// The issuer of an ID that names no authority.
    pub local_issuer: Option<Issuer>,
    /// Where the code of a report's status is.
    pub status_fields: FieldPaths,
    /// Where the Study Instance UID is.
    pub study_fields: FieldPaths,
    /// Where the accession number is.
    pub accession_fields: FieldPaths,
    /// How long a message waits for its study.
    pub wait: Duration,
    /// How many days messages are kept that are done.
    pub keep_days: usize,
}

/// What is answered to a message (HL7 table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcknowledgmentCode {
    /// It is stored.
    #[serde(rename = "AA")]
    Accept,
    /// It can't be understood.
    #[serde(rename = "AE")]
    Error,
    /// It is none that is taken here.
    #[serde(rename = "AR")]
    Reject,
}

impl AcknowledgmentCode {
    /// The code: `AA`.
    pub fn as_str(self) -> &'static str {
        match self {
            AcknowledgmentCode::Accept => "AA",
            AcknowledgmentCode::Error => "AE",
            AcknowledgmentCode::Reject => "AR",
        }
    }
}

/// Types of messages, each with one of its events or with all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTypes(Vec<(String, Option<String>)>);

impl MessageTypes {
    /// Whether messages of this type and event (MSH-9) are among them.
    pub fn include(&self, kind: &str, event: &str) -> bool {
        let is_meant = |(its_kind, its_event): &(String, Option<String>)| {
            its_kind == kind && its_event.as_deref().is_none_or(|its_event| its_event == event)
        };
        self.0.iter().any(is_meant)
    }
}

impl FromStr for MessageTypes {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_code = |code: &str| {
            !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        let types = entries(text).map(|entry| {
            let (kind, event) = match entry.split_once('^') {
                Some((kind, event)) => (kind, Some(event)),
                None => (entry, None),
            };
            match is_code(kind) && event.is_none_or(is_code) {
                true => Ok((kind.to_owned(), event.map(str::to_owned))),
                false => Err(Invalid::new(
                    "message type",
                    text,
                    "it is types of messages with commas, like ADT^A01,SIU",
                )),
            }
        });
        types.collect::<Result<_, _>>().map(MessageTypes)
    }
}

/// Addresses of senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senders(Vec<IpAddr>);

impl Senders {
    /// Whether one may send from there.
    pub fn include(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Senders {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let addresses = entries(text).map(|entry| {
            let rule = "it is addresses with commas, like 10.2.0.5,10.2.0.6";
            let address: IpAddr = entry.parse().map_err(|_| Invalid::new("senders", text, rule))?;
            Ok(address.to_canonical())
        });
        addresses.collect::<Result<_, _>>().map(Senders)
    }
}

/// What a code says of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportCode {
    /// Nothing.
    Nothing,
    /// Its status.
    Status {
        /// Which.
        status: FieldValue,
        /// Whether it may take the report back.
        is_correction: bool,
    },
}

/// What codes of HL7 say of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportCodes(BTreeMap<String, ReportCode>);

impl ReportCodes {
    /// What that code says; `None` where nobody has said.
    pub fn get(&self, code: &str) -> Option<&ReportCode> {
        self.0.get(&code.to_ascii_uppercase())
    }
}

impl FromStr for ReportCodes {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut codes = BTreeMap::new();
        for (code, status) in pairs(text)? {
            let meaning = match (status, status.strip_suffix('!')) {
                ("-", _) => ReportCode::Nothing,
                (status, taking_back) => ReportCode::Status {
                    status: FieldValue::new(
                        StateField::InterpretationStatus,
                        taking_back.unwrap_or(status).trim(),
                    )?,
                    is_correction: taking_back.is_some(),
                },
            };
            insert_once(&mut codes, code.to_ascii_uppercase(), meaning, text)?;
        }
        Ok(ReportCodes(codes))
    }
}

/// Who assigns patient IDs, as HL7 names them, and the issuers that they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorities(BTreeMap<String, Issuer>);

impl Authorities {
    /// The issuer that is set for that authority.
    pub fn get(&self, authority: &str) -> Option<&Issuer> {
        self.0.get(authority)
    }
}

impl FromStr for Authorities {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut authorities = BTreeMap::new();
        for (authority, issuer) in pairs(text)? {
            insert_once(&mut authorities, authority.to_owned(), issuer.parse()?, text)?;
        }
        Ok(Authorities(authorities))
    }
}

/// A field of a message: `OBR-25`, `PID-3.4`, or `OBX-5:113014`, the OBX whose OBX-3 is that code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// The segment's name.
    pub segment: String,
    /// The field's number, from 1.
    pub field: usize,
    /// The component's number, from 1.
    pub component: usize,
    /// The first component of field 3 that the segment must have.
    pub code: Option<String>,
}

impl FromStr for FieldPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("field", text, "it is like OBR-25, PID-3.4 or OBX-5:113014");
        let (path, code) = match text.split_once(':') {
            Some((path, code)) => (path, Some(code.trim().to_owned())),
            None => (text, None),
        };
        let (segment, place) = path.split_once('-').ok_or_else(invalid)?;
        let (field, component) = place.split_once('.').unwrap_or((place, "1"));
        let number = |text: &str| {
            let number = text.trim().parse().ok();
            number
                .filter(|number| (1..=999).contains(number))
                .ok_or_else(invalid)
        };
        let segment = segment.trim().to_ascii_uppercase();
        let is_name = segment.len() == 3 && segment.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name || code.as_deref() == Some("") {
            return Err(invalid());
        }
        Ok(FieldPath {
            segment,
            field: number(field)?,
            component: number(component)?,
            code,
        })
    }
}

/// Fields, the first that has a value counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPaths(pub Vec<FieldPath>);

impl FromStr for FieldPaths {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        entries(text)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(FieldPaths)
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, Invalid> {
    let rule = "it is NAME=VALUE pairs with commas between them";
    let pair = |entry| {
        let (name, value) = str::split_once(entry, '=')?;
        Some((name.trim(), value.trim())).filter(|(name, value)| !name.is_empty() && !value.is_empty())
    };
    entries(text)
        .map(|entry| pair(entry).ok_or_else(|| Invalid::new("list", text, rule)))
        .collect()
}

fn insert_once<T>(into: &mut BTreeMap<String, T>, name: String, value: T, text: &str) -> Result<(), Invalid> {
    match into.contains_key(&name) {
        true => Err(Invalid::new("list", text, format!("{name} is there twice"))),
        false => {
            into.insert(name, value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_one_thing() {
        let codes: ReportCodes = "p = TRANSCRIBED, C=APPROVED!,CA=-".parse().unwrap();
        let approved = FieldValue::new(StateField::InterpretationStatus, "APPROVED").unwrap();
        let correction = ReportCode::Status {
            status: approved,
            is_correction: true,
        };
        assert_eq!(codes.get("c"), Some(&correction));
        assert_eq!(codes.get("CA"), Some(&ReportCode::Nothing));
        assert_eq!(codes.get("F"), None);
        for text in ["P", "P=", "=NEW", "P=NEW,p=DICTATED"] {
            assert!(text.parse::<ReportCodes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_is_named_as_in_the_standard() {
        let path: FieldPath = "obx-5.2:113014".parse().unwrap();
        assert_eq!((path.segment.as_str(), path.field, path.component), ("OBX", 5, 2));
        assert_eq!(path.code.as_deref(), Some("113014"));
        for text in ["OBR", "OBR-0", "OBRX-1", "OBR-x", "OBX-5:", "ÄBR-1", "OBR-1.0"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn senders_are_addresses() {
        let senders: Senders = "10.2.0.5, ::1".parse().unwrap();
        assert!(senders.include("::ffff:10.2.0.5".parse().unwrap()));
        assert!(!senders.include("10.2.0.6".parse().unwrap()));
        assert!("10.2.0".parse::<Senders>().is_err());
    }
}
