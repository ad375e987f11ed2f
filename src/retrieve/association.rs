//! An association with a station for a retrieve, and the words for what goes wrong with it.
//!
//! Invariant: it takes a turn at the station as queries do. Words hold nothing of the patient.

use std::time::Duration;

use tokio::time::timeout;

use super::Resources;
use crate::dimse::{
    Association, Context, Error, PresentationContext, ProposedObjects, RetrieveEnd, SubOperations, connect,
};
use crate::link::{Turn, association_failure, calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, Station};

/// An open association with a station.
#[derive(Debug)]
pub(super) struct OpenAssociation {
    pub(super) association: Association,
    _turns: [Option<Turn>; 2],
}

/// Opens an association with `station`; the error says in words why not. A turn is waited for at most so long, else
/// until the caller gives up.
pub(super) async fn open(
    resources: &Resources,
    station: &Station,
    services: &[&str],
    objects: Vec<ProposedObjects>,
    turn_within: Option<Duration>,
) -> Result<OpenAssociation, String> {
    let settings = &resources.configuration.settings;
    let endpoint = station.endpoint.as_ref().ok_or("it has no host and port")?;
    let contexts = services.iter().map(|uid| PresentationContext::new(uid)).collect();
    let options = requestor_options(station, settings, &resources.tls, contexts);
    let mut options = options.map_err(|error| error.to_string())?;
    options.objects = objects;
    let limit = settings.count(ASSOCIATIONS_TO_STATION);
    let turns = async {
        // Long retrieves leave room for queries.
        let of_retrieves = match &resources.retrieve_turns {
            Some(turns) => turns.wait(&station.name, limit.div_ceil(2)).await,
            None => None,
        };
        let of_all = match &resources.turns {
            Some(turns) => turns.wait(&station.name, limit).await,
            None => None,
        };
        [of_retrieves, of_all]
    };
    let turns = match turn_within {
        None => turns.await,
        Some(within) => timeout(within, turns).await.map_err(|_| {
            format!("all {limit} associations to it stayed taken ({ASSOCIATIONS_TO_STATION})")
        })?,
    };
    let association = connect(endpoint, &options).await;
    Ok(OpenAssociation {
        association: association.map_err(|error| failure(resources, station, &error))?,
        _turns: turns,
    })
}

/// The first of these SOP classes that the peer has accepted; else what became of the first.
pub(super) fn choose<'a>(association: &'a Association, services: &[&str]) -> Result<&'a Context, String> {
    let mut contexts = services.iter().map(|uid| association.context_for(uid));
    let first = contexts.next().ok_or_else(String::new)?;
    first.or_else(|refused| contexts.find_map(Result::ok).ok_or_else(|| refused.to_string()))
}

/// A failed association in words.
pub(super) fn failure(resources: &Resources, station: &Station, error: &Error) -> String {
    association_failure(
        error,
        station,
        &calling(station, &resources.configuration.settings),
    )
}

/// A final response in words; `None` where it is success. The comment is not among them, as it may hold patient data.
pub(super) fn unsuccessful(end: &RetrieveEnd) -> Option<String> {
    if end.status.is_success() {
        return None;
    }
    let mut words = format!("ended with {}", end.status);
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
        words.push_str(&format!(" ({})", counts.join(", ")));
    }
    Some(words)
}
