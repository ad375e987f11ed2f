//! What is recorded of every change and every disclosure, and the chain that makes tampering show.
//!
//! Invariant: the hash of a record covers all its other fields and the hash of the record before it, in an encoding
//! that no two different records share. The first record follows a genesis value made from the cluster's UID.
//! Where records are kept is `store`'s; who the user is, is for the caller to find out.

mod aside;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{Change, Generation, Invalid, StateField, StationName, Uid};

pub use self::aside::{AsideDecided, AsideDecision};

/// On whose behalf something is done, and by which command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// The OS user the process runs as, by name.
    pub user: String,
    /// That user's number.
    pub uid: u32,
    /// The person who became `user` by sudo or the like, where known and another.
    pub real_user: Option<String>,
    /// The command line. It must hold no patient data: whoever builds it leaves out the values of query keys.
    pub command: String,
    /// Why: mostly a ticket's number.
    pub reason: Option<String>,
}

impl Attribution {
    /// The person: `real_user` where there is one, else `user`.
    pub fn person(&self) -> &str {
        self.real_user.as_deref().unwrap_or(&self.user)
    }
}

/// Patient data that were asked for: by which keys and where, never which patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disclosure {
    /// The stations that were asked.
    pub stations: Vec<StationName>,
    /// The keywords (or `gggg,eeee`) of the keys that were given a value. Never a value.
    pub keywords: Vec<String>,
}

/// A change of the cross-reference of patients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PatientsLinked {
    /// Its number among the changes of the cross-reference.
    pub change: u64,
    /// How many identities came to be known.
    pub added: u64,
    /// How many became another person's, because two persons were found to be one.
    pub moved: u64,
    /// How many were taken out.
    pub removed: u64,
    /// How many persons got a global patient ID.
    pub global_ids: u64,
    /// The identities as `ID^^^ISSUER`, where a person named them one by one: without them a wrong link could not be
    /// found and undone. Empty for an import.
    pub identities: Vec<String>,
}

impl PatientsLinked {
    /// Whether anything is other than before.
    pub fn has_changed(&self) -> bool {
        self.added + self.moved + self.removed + self.global_ids > 0
    }
}

/// What was done with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateAct {
    /// It was made here, or taken in.
    Applied,
    /// It was kept and not applied.
    Parked,
    /// A person has given it up: it is not applied, or not sent to a station.
    Dropped,
    /// A person has looked at what its review notice says.
    Acknowledged,
}

/// An update of a study: which fields, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRecord {
    /// What was done with it.
    pub act: UpdateAct,
    /// Its identity, the same in all clusters.
    pub update: Uid,
    /// The study.
    pub study: Uid,
    /// The station that sent it; `None` where it was made here.
    pub from: Option<StationName>,
    /// The station to which it is not sent any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_to: Option<StationName>,
    /// The fields that it changes.
    pub changed: Vec<StateField>,
}

/// A study that was brought from linked clusters and has been removed from the embedded archive again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Which study.
    pub study_instance_uid: Uid,
    /// The stations that had given it.
    pub sources: Vec<StationName>,
    /// How many instances of it were removed.
    pub instances: u64,
}

/// A message of HL7 that a person has given up: it is never done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hl7Dropped {
    /// Its number.
    pub message: i64,
}

/// A person has looked at a study UID that was found with different patients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictAcknowledged {
    /// The study.
    pub study_instance_uid: Uid,
    /// The stations that listed it.
    pub stations: Vec<StationName>,
}

/// The machine's clock was taken for right by a person, wherever it had jumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRebased {
    /// How far the newest revision was ahead, in milliseconds, where that was too far.
    pub newest_ahead_ms: Option<u64>,
    /// How far the clock had jumped ahead, in milliseconds, where it had.
    pub jumped_ahead_ms: Option<u64>,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A configuration was saved.
    Configuration {
        /// Its number.
        generation: Generation,
        /// What differs from the one before.
        changes: Vec<Change>,
    },
    /// Patient data were asked for.
    Disclosure(Disclosure),
    /// Patient IDs were linked or unlinked.
    PatientsLinked(PatientsLinked),
    /// Something was done with an update of a study.
    Update(UpdateRecord),
    /// A visitor was removed.
    Expired(Expired),
    /// A message of HL7 was given up.
    Hl7Dropped(Hl7Dropped),
    /// A study conflict was acknowledged.
    ConflictAcknowledged(ConflictAcknowledged),
    /// The machine's clock was taken for right.
    ClockRebased(ClockRebased),
    /// An object that was kept aside was released or dropped.
    AsideDecided(AsideDecided),
}

/// The kind of an [`Event`], as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A saved configuration.
    Configuration,
    /// Patient data that were asked for.
    Disclosure,
    /// Patient IDs that were linked or unlinked.
    PatientsLinked,
    /// An update of a study.
    Update,
    /// A visitor that was removed.
    Expired,
    /// A message of HL7 that was given up.
    Hl7Dropped,
    /// A study conflict that was acknowledged.
    ConflictAcknowledged,
    /// The machine's clock was taken for right.
    ClockRebased,
    /// An object kept aside that was released or dropped.
    AsideDecided,
}

impl EventKind {
    /// The word, as `configuration`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Configuration => "configuration",
            EventKind::Disclosure => "disclosure",
            EventKind::PatientsLinked => "patients_linked",
            EventKind::Update => "update",
            EventKind::Expired => "expired",
            EventKind::Hl7Dropped => "hl7_dropped",
            EventKind::ConflictAcknowledged => "conflict_acknowledged",
            EventKind::ClockRebased => "clock_rebased",
            EventKind::AsideDecided => "aside_decided",
        }
    }
}

/// A SHA-256 of the chain. Shown and read as 64 hexadecimal digits, lowercase.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first record of the cluster's chain follows.
    pub fn genesis(cluster_uid: &Uid) -> Hash {
        let mut encoding = Encoding::new(b"impaxlink audit genesis 1");
        encoding.text(cluster_uid.as_str());
        encoding.hash()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Hash(bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("hash", text, "it is 64 hexadecimal digits");
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: &u8| char::from(*digit).to_digit(16);
            let (high, low) = match pair {
                [high, low] => (value(high), value(low)),
                _ => (None, None),
            };
            let (Some(high), Some(low)) = (high, low) else {
                return Err(invalid());
            };
            *byte = (high << 4 | low) as u8;
        }
        Ok(Hash(bytes))
    }
}

impl TryFrom<String> for Hash {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}

/// One record of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its place in the chain, from 1, without gaps.
    pub sequence: u64,
    /// When (UTC), to the microsecond.
    pub at: Timestamp,
    /// Who, by which command, and why.
    pub attribution: Attribution,
    /// What kind of event it records.
    pub kind: EventKind,
    /// The generation that was saved; `None` where none was.
    pub generation: Option<Generation>,
    /// The event as JSON, as its list of changes. Kept to the letter, since the hash covers it.
    pub detail: String,
    /// The hash of the record before, or the genesis value.
    pub previous_hash: Hash,
    /// The hash of this record.
    pub hash: Hash,
}

impl AuditRecord {
    /// The record of `event`, `sequence`th in the chain, after the one whose hash is `previous_hash`.
    pub fn seal(
        sequence: u64,
        at: Timestamp,
        attribution: Attribution,
        event: &Event,
        previous_hash: Hash,
    ) -> Result<AuditRecord, serde_json::Error> {
        let (kind, generation, detail) = match event {
            Event::Configuration { generation, changes } => (
                EventKind::Configuration,
                Some(*generation),
                serde_json::to_string(changes)?,
            ),
            Event::Disclosure(disclosure) => {
                (EventKind::Disclosure, None, serde_json::to_string(disclosure)?)
            }
            Event::PatientsLinked(linked) => {
                (EventKind::PatientsLinked, None, serde_json::to_string(linked)?)
            }
            Event::Update(record) => (EventKind::Update, None, serde_json::to_string(record)?),
            Event::Expired(expired) => (EventKind::Expired, None, serde_json::to_string(expired)?),
            Event::Hl7Dropped(dropped) => (EventKind::Hl7Dropped, None, serde_json::to_string(dropped)?),
            Event::ClockRebased(rebased) => (EventKind::ClockRebased, None, serde_json::to_string(rebased)?),
            Event::AsideDecided(decided) => (EventKind::AsideDecided, None, serde_json::to_string(decided)?),
            Event::ConflictAcknowledged(acknowledged) => (
                EventKind::ConflictAcknowledged,
                None,
                serde_json::to_string(acknowledged)?,
            ),
        };
        let mut record = AuditRecord {
            sequence,
            at: Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at),
            attribution,
            kind,
            generation,
            detail,
            previous_hash,
            hash: previous_hash,
        };
        record.hash = record.computed_hash();
        Ok(record)
    }

    /// The hash that the record must have; `hash` is another one where the record was edited.
    pub fn computed_hash(&self) -> Hash {
        let mut encoding = Encoding::new(b"impaxlink audit record 1");
        encoding.bytes(&self.previous_hash.0);
        encoding.bytes(&self.sequence.to_be_bytes());
        encoding.bytes(&self.at.as_microsecond().to_be_bytes());
        encoding.text(&self.attribution.user);
        encoding.bytes(&self.attribution.uid.to_be_bytes());
        encoding.optional(self.attribution.real_user.as_ref().map(String::as_bytes));
        encoding.text(&self.attribution.command);
        encoding.optional(self.attribution.reason.as_ref().map(String::as_bytes));
        encoding.text(self.kind.as_str());
        encoding.optional(
            self.generation
                .map(u64::to_be_bytes)
                .as_ref()
                .map(|b| b.as_slice()),
        );
        encoding.text(&self.detail);
        encoding.hash()
    }

    /// The event it records, read back from `kind`, `generation` and `detail`.
    pub fn event(&self) -> Result<Event, serde_json::Error> {
        match (self.kind, self.generation) {
            (EventKind::Configuration, Some(generation)) => Ok(Event::Configuration {
                generation,
                changes: serde_json::from_str(&self.detail)?,
            }),
            (EventKind::PatientsLinked, _) => Ok(Event::PatientsLinked(serde_json::from_str(&self.detail)?)),
            (EventKind::Update, _) => Ok(Event::Update(serde_json::from_str(&self.detail)?)),
            (EventKind::Expired, _) => Ok(Event::Expired(serde_json::from_str(&self.detail)?)),
            (EventKind::Hl7Dropped, _) => Ok(Event::Hl7Dropped(serde_json::from_str(&self.detail)?)),
            (EventKind::ClockRebased, _) => Ok(Event::ClockRebased(serde_json::from_str(&self.detail)?)),
            (EventKind::ConflictAcknowledged, _) => {
                Ok(Event::ConflictAcknowledged(serde_json::from_str(&self.detail)?))
            }
            (EventKind::AsideDecided, _) => Ok(Event::AsideDecided(serde_json::from_str(&self.detail)?)),
            _ => Ok(Event::Disclosure(serde_json::from_str(&self.detail)?)),
        }
    }
}

/// Bytes under a hash, each field led by its length, so that no two lists of fields are the same bytes.
struct Encoding(Sha256);

impl Encoding {
    fn new(purpose: &[u8]) -> Self {
        let mut encoding = Encoding(Sha256::new());
        encoding.bytes(purpose);
        encoding
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.bytes(&[u8::from(bytes.is_some())]);
        self.bytes(bytes.unwrap_or_default());
    }

    fn hash(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        let attribution = Attribution {
            user: "root".to_owned(),
            uid: 0,
            real_user: Some("jdoe".to_owned()),
            command: "impaxlink station set SITEB".to_owned(),
            reason: None,
        };
        let event = Event::Configuration {
            generation: 1,
            changes: Vec::new(),
        };
        let genesis = Hash::genesis(&"2.25.1".parse().unwrap());
        AuditRecord::seal(1, Timestamp::UNIX_EPOCH, attribution, &event, genesis).unwrap()
    }

    #[test]
    fn every_field_is_under_the_hash() {
        let whole = record();
        assert_eq!(whole.computed_hash(), whole.hash);
        let edits: [fn(&mut AuditRecord); 10] = [
            |r| r.sequence += 1,
            |r| r.at = Timestamp::from_microsecond(1).unwrap(),
            |r| r.attribution.user.push('x'),
            |r| r.attribution.uid += 1,
            |r| r.attribution.real_user = None,
            |r| r.attribution.command.push('x'),
            |r| r.attribution.reason = Some(String::new()),
            |r| r.kind = EventKind::Disclosure,
            |r| r.generation = Some(2),
            |r| r.detail = "[ ]".to_owned(),
        ];
        for edit in edits {
            let mut edited = whole.clone();
            edit(&mut edited);
            assert_ne!(edited.computed_hash(), whole.hash, "{edited:?}");
        }
        let mut moved = whole.clone();
        moved.previous_hash = whole.hash;
        assert_ne!(moved.computed_hash(), whole.hash);
    }

    #[test]
    fn text_that_moves_between_fields_changes_the_hash() {
        let mut one = record();
        let mut other = record();
        one.attribution.user = "ab".to_owned();
        one.attribution.command = "c".to_owned();
        other.attribution.user = "a".to_owned();
        other.attribution.command = "bc".to_owned();
        assert_ne!(one.computed_hash(), other.computed_hash());
    }

    #[test]
    fn another_cluster_has_another_genesis() {
        let genesis = |uid: &str| Hash::genesis(&uid.parse().unwrap());
        assert_ne!(genesis("2.25.1"), genesis("2.25.2"));
    }

    #[test]
    fn a_hash_is_read_as_it_is_shown() {
        let hash = record().hash;
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
