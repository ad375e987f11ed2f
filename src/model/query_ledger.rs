//! What stays of a linked query: who asked, what each station did, and what the caller was told.
//!
//! Invariant: it names the keys that were asked by, never a value of one. IDs sort as text by the time of their queries.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::{AeTitle, Caller, Generation, Invalid, LedgerEntry, Level};

/// The exit status of a command that was interrupted.
const INTERRUPTED: u16 = 130;
/// The DIMSE status of a C-FIND that the caller cancelled (PS3.4 C.4.1.1.4).
const CANCELLED: u16 = 0xFE00;

/// What a past query is known by: `019ab3f0c2d1-5e6f7a`, its time in milliseconds and a random part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(String);

impl LedgerId {
    /// The ID of a query that began at `at`. Of `random` the lower 24 bits are used.
    pub fn new(at: Timestamp, random: u32) -> Self {
        LedgerId(format!("{}-{:06x}", Self::prefix(at), random & 0x00ff_ffff))
    }

    /// What the IDs of all queries from that moment on are not less than, to the millisecond.
    pub fn prefix(at: Timestamp) -> String {
        format!("{:012x}", at.as_millisecond().max(0))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LedgerId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_hex = |part: &str| part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        match text.split_once('-') {
            Some((at, random)) if at.len() == 12 && random.len() == 6 && is_hex(at) && is_hex(random) => {
                Ok(LedgerId(text.to_owned()))
            }
            _ => Err(Invalid::new(
                "ledger ID",
                text,
                "it is like 019ab3f0c2d1-5e6f7a, as 'impaxlink ledger list' shows it",
            )),
        }
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// A user of the command line, by name.
    User(String),
    /// A station that called the service.
    Station {
        /// The AE title it called as.
        ae_title: AeTitle,
        /// Where its call came from.
        address: IpAddr,
    },
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asker::User(name) => write!(f, "{name} (command line)"),
            Asker::Station { ae_title, address } => write!(f, "{ae_title}@{address}"),
        }
    }
}

/// What the caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The exit status to a user, the final DIMSE status to a station.
    pub status: u16,
    /// How many matches were given.
    pub matches: u64,
}

/// What stays of a linked query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryLedger {
    /// What it is known by.
    pub id: LedgerId,
    /// When it began.
    pub at: Timestamp,
    /// Who asked.
    pub asker: Asker,
    /// As what: this decides who is asked.
    pub asked_as: Caller,
    /// The generation of the configuration it ran under.
    pub generation: Generation,
    /// What was asked for.
    pub level: Level,
    /// The keywords (or `gggg,eeee`) of the keys that were given a value. Never a value.
    pub keywords: Vec<String>,
    /// What each station did.
    pub entries: Vec<LedgerEntry>,
    /// Whether it was the whole answer.
    pub complete: bool,
    /// What the caller was told.
    pub told: Told,
    /// From the question to the end of the answer.
    pub elapsed: Duration,
}

impl QueryLedger {
    /// Whether something went wrong: a station that should have answered did not or not fully, or the caller was told
    /// of a failure. A caller who cut the answer knows it.
    pub fn has_failed(&self) -> bool {
        let may_end_with = match self.asker {
            Asker::User(_) => [0, INTERRUPTED],
            Asker::Station { .. } => [0, CANCELLED],
        };
        self.entries.iter().any(LedgerEntry::is_missing) || !may_end_with.contains(&self.told.status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn ledger(asker: Asker, status: u16, entries: Vec<LedgerEntry>) -> QueryLedger {
        QueryLedger {
            id: LedgerId::new(Timestamp::UNIX_EPOCH, 0),
            at: Timestamp::UNIX_EPOCH,
            asker,
            asked_as: Caller::Internal,
            generation: 1,
            level: Level::Study,
            keywords: Vec::new(),
            complete: entries.iter().all(LedgerEntry::is_complete),
            entries,
            told: Told { status, matches: 0 },
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn ids_sort_by_time_and_are_read_back() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let early = LedgerId::new(at("2026-03-01T16:25:00.999Z"), u32::MAX);
        let late = LedgerId::new(at("2026-03-01T16:25:01Z"), 0);
        assert!(early < late);
        assert!(early.as_str() < LedgerId::prefix(at("2026-03-01T16:25:01Z")).as_str());
        assert_eq!(early.as_str().parse(), Ok(early.clone()));
        for text in [
            "",
            "x",
            "019ab3f0c2d1",
            "019AB3F0C2D1-5e6f7a",
            "019ab3f0c2d1-5e6f7a0",
        ] {
            assert!(text.parse::<LedgerId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_missing_station_and_a_failure_status_are_failures_and_a_cut_is_none() {
        let user = || Asker::User("jdoe".to_owned());
        let viewer = || Asker::Station {
            ae_title: "READER1".parse().unwrap(),
            address: "10.1.0.20".parse().unwrap(),
        };
        let entry = |outcome| LedgerEntry::new("SITEB".parse().unwrap(), outcome);
        let suspended = entry(Outcome::Skipped);
        let by_flag = LedgerEntry {
            was_due: false,
            ..entry(Outcome::Skipped)
        };
        assert!(!ledger(user(), 0, vec![entry(Outcome::Searched), by_flag]).has_failed());
        assert!(ledger(viewer(), 0, vec![entry(Outcome::Failed)]).has_failed());
        assert!(ledger(viewer(), 0, vec![suspended]).has_failed());
        assert!(ledger(viewer(), 0xC001, vec![]).has_failed());
        assert!(!ledger(viewer(), 0xFE00, vec![entry(Outcome::Cancelled)]).has_failed());
        assert!(!ledger(user(), 130, vec![entry(Outcome::Cancelled)]).has_failed());
        assert!(!ledger(user(), 0, vec![entry(Outcome::Cancelled)]).has_failed());
    }
}
