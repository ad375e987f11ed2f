//! Which station a C-MOVE names by its AE title.
//!
//! Invariant: an AE title that several stations have is the one of them at the caller's address, else the caller, else
//! nobody.

use super::super::Snapshot;
use super::super::admission::Calls;
use crate::dimse::RetrieveRequest;
use crate::model::Station;
use crate::retrieve::{Resources, Sink, StationSink};

/// The station of this title as a sink, for the caller `by`. The error says what to register.
pub(super) fn sink<'s>(
    resources: &'s Resources,
    snapshot: &'s Snapshot,
    title: &str,
    by: &Station,
    calls: &Calls,
    request: &RetrieveRequest,
) -> Result<Sink<'s>, String> {
    let station = station(snapshot, title, by, calls)?;
    if station.endpoint.is_none() {
        return Err(unknown(title));
    }
    let originator = calls.title().map(|title| (title, request.message_id));
    let sink = StationSink::new(resources, station)?;
    Ok(Sink::Station(Box::new(
        sink.asked_for_by(originator, request.priority),
    )))
}

fn station<'s>(
    snapshot: &'s Snapshot,
    title: &str,
    by: &Station,
    calls: &Calls,
) -> Result<&'s Station, String> {
    let stations = &snapshot.configuration().stations;
    let titled: Vec<&Station> = stations
        .iter()
        .filter(|station| station.ae_title.as_str() == title && !station.is_embedded())
        .collect();
    let at_caller = |station: &&&Station| {
        let host = station
            .endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.host.address());
        host.is_some_and(|address| address.to_canonical() == calls.address().to_canonical())
    };
    let near: Vec<&Station> = titled.iter().filter(at_caller).copied().collect();
    let itself = titled.iter().copied().find(|station| station.name == by.name);
    match (titled.as_slice(), near.as_slice(), itself) {
        ([], _, _) => Err(unknown(title)),
        (&[station], _, _) | (_, &[station], _) | (_, _, Some(station)) => Ok(station),
        _ => Err(format!("several stations have the AE title {}", shown(title))),
    }
}

fn unknown(title: &str) -> String {
    format!("destination {} is no station: register it here", shown(title))
}

/// Fit for a log.
fn shown(title: &str) -> String {
    title.replace(char::is_control, " ").chars().take(16).collect()
}
