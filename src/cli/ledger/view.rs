//! The JSON shape of a past query, on which scripts depend.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::query::EntryView;
use crate::model::{AeTitle, Asker, Generation, QueryLedger};

/// A past query; its stations are ENTRYs as in the answer of `query`.
#[derive(Debug, Serialize)]
pub struct LedgerView<'a> {
    id: &'a str,
    at: Timestamp,
    /// The user of the command line; null where the service was asked.
    user: Option<&'a str>,
    /// The station that asked the service; null where a user asked.
    ae_title: Option<&'a AeTitle>,
    address: Option<IpAddr>,
    /// `internal`, `external` or `linked`.
    asked_as: &'static str,
    generation: Generation,
    level: &'static str,
    keywords: &'a [String],
    complete: bool,
    /// What the user was told; null where the service was asked.
    exit_status: Option<u16>,
    /// What the station was told, four hexadecimal digits; null where a user asked.
    dicom_status: Option<String>,
    matches: u64,
    elapsed_ms: u64,
    ledger: Vec<EntryView<'a>>,
}

impl<'a> From<&'a QueryLedger> for LedgerView<'a> {
    fn from(ledger: &'a QueryLedger) -> Self {
        let (user, station) = match &ledger.asker {
            Asker::User(name) => (Some(name.as_str()), None),
            Asker::Station { ae_title, address } => (None, Some((ae_title, *address))),
        };
        let status = ledger.told.status;
        LedgerView {
            id: ledger.id.as_str(),
            at: ledger.at,
            user,
            ae_title: station.map(|(title, _)| title),
            address: station.map(|(_, address)| address),
            asked_as: ledger.asked_as.as_str(),
            generation: ledger.generation,
            level: ledger.level.as_str(),
            keywords: &ledger.keywords,
            complete: ledger.complete,
            exit_status: user.map(|_| status),
            dicom_status: station.map(|_| format!("{status:04X}")),
            matches: ledger.told.matches,
            elapsed_ms: u64::try_from(ledger.elapsed.as_millis()).unwrap_or(u64::MAX),
            ledger: ledger.entries.iter().map(EntryView::of).collect(),
        }
    }
}
