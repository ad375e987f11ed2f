//! What a query of a good local archive and of a misbehaving linked one brings.
//!
//! Invariant: PACS is good and has study 1.1; SITEB is the scripted peer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::env::Env;
use super::fake_peer::FakePeer;
use super::fake_peer::script::{Acceptance, Step, a_match, answer};
use super::links::{add_archive, add_linked, item, query, values};

/// A match of this study, of DOE^JANE.
pub fn study(uid: &'static str) -> Step {
    a_match(&[
        ("StudyInstanceUID", uid),
        ("PatientID", "4711"),
        ("PatientName", "DOE^JANE"),
    ])
}

/// Accepts whatever is proposed.
pub fn accept() -> Step {
    Step::Accept(Acceptance::default())
}

/// What a query of a good local archive and of a misbehaving linked one brings.
pub struct Brought {
    pub status: Option<i32>,
    pub document: Value,
    pub peer: FakePeer,
    pub took: Duration,
}

impl Brought {
    pub fn entry(&self) -> &Value {
        item(&self.document["ledger"], "station", "SITEB")
    }

    pub fn uids(&self) -> Vec<&str> {
        values(&self.document["items"], "study_instance_uid")
    }

    #[track_caller]
    pub fn is(&self, status: i32, outcome: &str, uids: &[&str], detail: &str) {
        assert_eq!(self.status, Some(status), "{:#}", self.document);
        assert_eq!(self.uids(), uids, "{:#}", self.document);
        assert_eq!(self.entry()["outcome"], json!(outcome), "{}", self.entry());
        let told = self.entry()["detail"].as_str().unwrap_or_default();
        assert!(told.contains(detail), "no {detail:?} in {told:?}");
        assert_eq!(self.document["complete"], json!(status == 0));
        assert_eq!(
            item(&self.document["ledger"], "station", "PACS")["outcome"],
            json!("searched")
        );
    }
}

/// Asks a good local archive PACS, which has study 1.1, and the linked SITEB, which is `peer`.
pub fn ask(peer: FakePeer, options: &[&str], filters: &[&str]) -> Brought {
    let mut script = answer([study("1.1")]);
    // A query of two modalities asks twice.
    script.extend([Step::AwaitRequest, Step::End(0, "")]);
    let pacs = FakePeer::start(script);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &["--issuer", "NORTH"]);
    add_linked(
        &env,
        "SITEB",
        "SITEB_QR",
        peer.port,
        &[&["--issuer", "NORTH"], options].concat(),
    );
    let begun = Instant::now();
    let (run, document) = query(&env, filters);
    Brought {
        status: run.status,
        document,
        peer,
        took: begun.elapsed(),
    }
}

/// Asks SITEB, which plays this script.
pub fn with(script: Vec<Step>) -> Brought {
    ask(FakePeer::start(script), &[], &[])
}

/// Asks SITEB, which plays this script and may be silent for three seconds: enough for it to be heard on a busy machine.
pub fn with_patience(script: Vec<Step>) -> Brought {
    ask(FakePeer::start(script), &["--timeout", "3s"], &[])
}
