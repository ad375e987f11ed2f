//! A station: a DICOM application entity this cluster knows, with its link flags.
//!
//! Invariants: an archive station is never linked; only the embedded archive has no endpoint.
//! What holds between stations (unique names, unique addresses) is `Configuration`'s.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::station_document::StationDocument;
use super::{
    AeTitle, CharacterSet, ClusterName, Description, Endpoint, Fingerprint, Invalid, Issuer, LinkFlags,
    StationName,
};

/// How long a station may be silent between whole messages, unless said otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Whose station it is, and so what its queries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One of the local cluster's own clients and services: what it asks is an internal query.
    Internal,
    /// Any other system: what it asks is an external query.
    External,
    /// It holds the local cluster's studies.
    Archive,
}

/// The DICOM syntax spoken with a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Syntax {
    /// The linked syntax where the peer has it, else strict DICOM.
    Auto,
    /// The linked syntax alone.
    Linked,
    /// Strict DICOM alone.
    Dicom,
}

/// Which way cluster updates flow over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdatesDirection {
    /// Relayed to the cluster and accepted from it.
    Both,
    /// Relayed only.
    Send,
    /// Accepted only.
    Accept,
}

/// The final status a caller gets when a linked cluster failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnPartial {
    /// Success, with an Error Comment.
    Success,
    /// Failure: unable to process.
    Failure,
}

/// What the comment on a successful final response of a station says of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuccessComment {
    /// Nothing: some systems comment on every success.
    #[default]
    Notice,
    /// That it is not the whole answer.
    Partial,
}

/// How long a station is suspended: asked nothing, its answers counted as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Suspension {
    /// Up to a moment; after it the station is asked again.
    Until(Timestamp),
    /// Until `station resume`.
    Indefinite,
}

impl Suspension {
    /// Whether it is in force at `now`.
    pub fn is_in_force(self, now: Timestamp) -> bool {
        match self {
            Suspension::Until(until) => now < until,
            Suspension::Indefinite => true,
        }
    }
}

const INDEFINITE: &str = "indefinite";

impl TryFrom<String> for Suspension {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if text == INDEFINITE {
            return Ok(Suspension::Indefinite);
        }
        let rule = "it is 'indefinite' or a time like 2024-01-31T18:00:00Z";
        let until = text
            .parse()
            .map_err(|_| Invalid::new("suspension", &text, rule))?;
        Ok(Suspension::Until(until))
    }
}

impl From<Suspension> for String {
    fn from(suspension: Suspension) -> String {
        match suspension {
            Suspension::Until(until) => until.to_string(),
            Suspension::Indefinite => INDEFINITE.to_owned(),
        }
    }
}

/// A DICOM application entity this cluster knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StationDocument", into = "StationDocument")]
pub struct Station {
    /// Its alias, unique in the store.
    pub name: StationName,
    /// Its AE title: what we call, and what it calls as.
    pub ae_title: AeTitle,
    /// Where it listens; `None` for the embedded archive alone.
    pub endpoint: Option<Endpoint>,
    /// Whose it is.
    pub kind: Kind,
    /// What an administrator notes about it.
    pub description: Option<Description>,
    /// The cluster it is a door to.
    pub cluster: Option<ClusterName>,
    /// The five switches.
    pub links: LinkFlags,
    /// Which way updates flow.
    pub updates_direction: UpdatesDirection,
    /// Whether open queries are kept from it.
    pub constrained: bool,
    /// Its rank among sources; higher first.
    pub priority: i32,
    /// Whose patient IDs it uses.
    pub issuers: Vec<Issuer>,
    /// The character set of its text where an answer names none.
    pub charset: Option<CharacterSet>,
    /// The syntax spoken with it.
    pub syntax: Syntax,
    /// The longest silence between whole messages.
    pub timeout: Duration,
    /// Our AE title towards it, where it is not the cluster's.
    pub calling_ae: Option<AeTitle>,
    /// Further titles it calls as.
    pub also_calls_as: Vec<AeTitle>,
    /// Where its calls come from; empty means anywhere.
    pub from_addresses: Vec<IpAddr>,
    /// The AE title by which it knows where moved studies go, where it is not ours.
    pub move_destination: Option<AeTitle>,
    /// What its own partial queries end with; `None` follows the `query.on_partial` setting.
    pub on_partial: Option<OnPartial>,
    /// What a comment beside success says of its answers.
    pub success_comment: SuccessComment,
    /// Whether and how long it is asked nothing.
    pub suspended: Option<Suspension>,
    /// Whether associations with it are made over TLS.
    pub tls: bool,
    /// The certificates it is known by over TLS, whoever vouches for them; empty where an authority must.
    pub tls_fingerprints: Vec<Fingerprint>,
}

impl Station {
    /// A station with every option at its default: external, no flag on.
    pub fn new(name: StationName, ae_title: AeTitle, endpoint: Option<Endpoint>) -> Self {
        Station {
            name,
            ae_title,
            endpoint,
            kind: Kind::External,
            description: None,
            cluster: None,
            links: LinkFlags::default(),
            updates_direction: UpdatesDirection::Both,
            constrained: false,
            priority: 0,
            issuers: Vec::new(),
            charset: None,
            syntax: Syntax::Auto,
            timeout: DEFAULT_TIMEOUT,
            calling_ae: None,
            also_calls_as: Vec::new(),
            from_addresses: Vec::new(),
            move_destination: None,
            on_partial: None,
            success_comment: SuccessComment::default(),
            suspended: None,
            tls: false,
            tls_fingerprints: Vec::new(),
        }
    }

    /// Whether it is the archive that impaxlink itself keeps.
    pub fn is_embedded(&self) -> bool {
        self.endpoint.is_none()
    }

    /// Whether it is the door to a linked cluster.
    pub fn is_linked(&self) -> bool {
        self.links.cluster_linking
    }

    /// Whether it is suspended at `now`.
    pub fn is_suspended(&self, now: Timestamp) -> bool {
        self.suspended
            .is_some_and(|suspension| suspension.is_in_force(now))
    }

    /// Holds the fields to what they must be together.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.kind == Kind::Archive && self.links.cluster_linking {
            let rule = "an archive station holds the local cluster's own studies and can't be linked";
            return Err(Invalid::new("cluster linking", self.name.as_str(), rule));
        }
        if self.endpoint.is_none() && self.kind != Kind::Archive {
            let rule = "only the embedded archive has no host and port";
            return Err(Invalid::new("station", self.name.as_str(), rule));
        }
        Ok(())
    }
}
