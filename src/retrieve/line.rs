//! An association with a station for a retrieve, and the words for what goes wrong with it.
//!
//! Invariant: it takes a turn at the station as queries do. Words hold nothing of the patient.

use tokio::time::timeout;

use super::RetrieveRequest;
use crate::archive::ArchiveError;
use crate::dimse::{
    Association, Context, Error, PresentationContext, ProposedObjects, RetrieveEnd, SubOperations, connect,
};
use crate::link::Turn;
use crate::link::association_failure;
use crate::link::{calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, Station};

/// What ends an attempt before its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The source failed, or is not up to it; in words.
    Source(String),
    /// The archive station that it is brought to failed; in words.
    Destination(String),
    /// The embedded archive failed.
    Archive(ArchiveError),
    /// The caller cancelled.
    Cancelled,
}

/// An open association with a station.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) association: Association,
    _turn: Option<Turn>,
}

/// Opens an association with `station`; why it can't be, in words.
pub(super) async fn open(
    request: &RetrieveRequest,
    station: &Station,
    services: &[&str],
    objects: Vec<ProposedObjects>,
) -> Result<Line, String> {
    let settings = &request.configuration.settings;
    let endpoint = station.endpoint.as_ref().ok_or("it has no host and port")?;
    let contexts = services.iter().map(|uid| PresentationContext::new(uid)).collect();
    let options = requestor_options(station, settings, &request.tls, contexts);
    let mut options = options.map_err(|error| error.to_string())?;
    options.objects = objects;
    let turn = match &request.turns {
        None => None,
        Some(turns) => {
            let limit = settings.count(ASSOCIATIONS_TO_STATION);
            let turn = timeout(station.timeout, turns.wait(&station.name, limit)).await;
            turn.map_err(|_| {
                format!("all {limit} associations to it stayed taken ({ASSOCIATIONS_TO_STATION})")
            })?
        }
    };
    let association = connect(endpoint, &options).await;
    Ok(Line {
        association: association.map_err(|error| tell(request, station, &error))?,
        _turn: turn,
    })
}

/// The first of these SOP classes that the peer has accepted; else what became of the first.
pub(super) fn choose<'a>(association: &'a Association, services: &[&str]) -> Result<&'a Context, String> {
    let mut contexts = services.iter().map(|uid| association.context_for(uid));
    let first = contexts.next().ok_or_else(String::new)?;
    first.or_else(|refused| contexts.find_map(Result::ok).ok_or_else(|| refused.to_string()))
}

/// Tells of a failed association.
pub(super) fn tell(request: &RetrieveRequest, station: &Station, error: &Error) -> String {
    association_failure(error, station, &calling(station, &request.configuration.settings))
}

/// Tells of a final response that is no success.
pub(super) fn tell_end(end: &RetrieveEnd) -> Option<String> {
    if end.status.is_success() {
        return None;
    }
    let mut told = format!("ended with {}", end.status);
    if let Some(comment) = &end.comment {
        told.push_str(&format!(": {comment}"));
    }
    let SubOperations {
        completed,
        failed,
        warning,
        ..
    } = end.sub_operations;
    let counts = [
        (completed, "completed"),
        (failed, "failed"),
        (warning, "with warnings"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter_map(|(count, what)| Some(format!("{} {what}", count?)))
        .collect();
    if !counts.is_empty() {
        told.push_str(&format!(" ({})", counts.join(", ")));
    }
    Some(told)
}
