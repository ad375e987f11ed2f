//! What is said over the control socket.
//!
//! Invariant: a line of another version of this protocol is told apart from one that is not understood, so that the
//! user is told to restart the service and not that it is broken.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Change, Generation};

/// The version of the protocol. Raised when a message changes its meaning; new fields alone don't.
pub const PROTOCOL: u32 = 1;

/// The longest request, in bytes, with its line feed.
pub const LONGEST_REQUEST: usize = 64 * 1024;

/// The longest answer, in bytes, with its line feed: a reload may bring thousands of stations.
pub const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// One line, either way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<T> {
    pub version: u32,
    #[serde(flatten)]
    pub message: T,
}

/// The version alone, of a line that may otherwise be of any kind.
#[derive(Debug, Deserialize)]
struct Versioned {
    version: u32,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Whether anyone is there.
    Ping,
    /// How the service is.
    Status,
    /// To take the newest generation, within so many milliseconds.
    Reload { timeout_ms: u64 },
    /// To take the newest cross-reference of patients.
    CrossReference,
    /// To look at once whether updates are to be sent.
    Updates,
}

/// What the service answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Pong,
    Status(ServiceStatus),
    Reload(ReloadReport),
    /// The change of the cross-reference that is in force now.
    CrossReference {
        change: u64,
    },
    /// It looks.
    Updates,
    Failure(Failure),
}

/// Why the service does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum Failure {
    /// The peer of the socket is none of those who may use it.
    NotPermitted,
    /// The service is ending.
    Ending,
    /// The newest generation can't be used; the one in force stays.
    NotInForce { in_force: Generation, reason: String },
    /// The cross-reference can't be read; the one in force stays.
    CrossReferenceStays { reason: String },
    /// The newest generation was not in force in time.
    TimedOut { in_force: Generation },
    /// The service speaks another version of this protocol.
    OtherVersion { program: String },
    /// The request can't be read.
    NotUnderstood,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The generation that was in force before.
    pub previous: Generation,
    /// The generation that is in force now.
    pub generation: Generation,
    /// From the request to the answer, in milliseconds.
    pub elapsed_ms: u64,
    /// What differs between the two.
    pub changes: Vec<Change>,
    /// What had happened to the store, where another was taken up.
    #[serde(default)]
    pub store_taken_up: Option<String>,
}

/// How the service is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its process ID.
    pub pid: u32,
    /// The version of its program.
    pub program: String,
    /// When it started.
    pub started: Timestamp,
    /// The generation in force.
    pub generation: Generation,
    /// Since when it is in force.
    pub in_force_since: Timestamp,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How many associations are open.
    pub associations: usize,
    /// Whether it is ending and takes no more.
    pub ending: bool,
    /// The last reload, where it was refused.
    pub refused: Option<RefusedReload>,
    /// What happened to the store, where the service does not use it until a reload takes up what is there now.
    #[serde(default)]
    pub store_lost: Option<String>,
    /// When each link is tried next.
    pub links: Vec<LinkTry>,
    /// Archives that could not be looked through for new objects when they last were, and why.
    #[serde(default)]
    pub poll_troubles: BTreeMap<String, String>,
}

/// A reload that was refused, with no successful one after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedReload {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// When a station is tried next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTry {
    /// Its name.
    pub station: String,
    /// When; `None` while it is being tried.
    pub next_try: Option<Timestamp>,
}

/// One message as a line, its line feed included.
pub fn to_line<T: Serialize>(message: T) -> Vec<u8> {
    let line = Line {
        version: PROTOCOL,
        message,
    };
    // These types have string keys and finite numbers alone, so they always have a JSON text.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Reads a request; the error is the answer to it.
pub fn read_request(line: &[u8]) -> Result<Request, Failure> {
    let Versioned { version } = serde_json::from_slice(line).map_err(|_| Failure::NotUnderstood)?;
    if version != PROTOCOL {
        return Err(Failure::OtherVersion {
            program: env!("CARGO_PKG_VERSION").to_owned(),
        });
    }
    let line: Line<Request> = serde_json::from_slice(line).map_err(|_| Failure::NotUnderstood)?;
    Ok(line.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_sent() {
        let request = Request::Reload { timeout_ms: 30_000 };
        assert_eq!(read_request(&to_line(&request)).unwrap(), request);
        let answer = Answer::Failure(Failure::NotInForce {
            in_force: 4,
            reason: "a\nb".into(),
        });
        let line = to_line(&answer);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let back: Line<Answer> = serde_json::from_slice(&line).unwrap();
        assert_eq!((back.version, back.message), (PROTOCOL, answer));
    }

    #[test]
    fn the_wire_is_what_other_versions_expect() {
        let line = to_line(Request::Reload { timeout_ms: 5 });
        let expected = r#"{"version":1,"request":"reload","timeout_ms":5}"#;
        assert_eq!(String::from_utf8(line).unwrap().trim_end(), expected);
    }

    #[test]
    fn another_version_is_not_taken_for_nonsense() {
        let other = br#"{"version":2,"request":"dance"}"#;
        assert!(matches!(read_request(other), Err(Failure::OtherVersion { .. })));
        for nonsense in [&b"\xff\x00"[..], b"{}", br#"{"version":1,"request":"dance"}"#] {
            assert_eq!(read_request(nonsense), Err(Failure::NotUnderstood));
        }
    }
}
