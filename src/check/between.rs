//! What must hold between stations: who they are known by, whose patient IDs they use, which clusters they lead to.
//!
//! Invariant: pure. Each trouble is told once, at the later of the two stations.

use std::net::IpAddr;

use super::item::Items;
use super::ours::Ours;
use crate::link::cluster_query::ClusterTold;
use crate::model::{Issuer, Station};

/// Judges the issuers of a linked station, among those of the local cluster and of other clusters.
pub(super) fn judge_issuers(items: &mut Items, station: &Station, ours: &Ours<'_>) {
    let (settings, name) = (&ours.configuration.settings, &station.name);
    if station.issuers.is_empty() {
        return items.warn(
            "issuer",
            "whose patient IDs it uses is not set: where an answer names no issuer, its patients are nobody else's, \
             and its copies of studies whose issuer is named elsewhere are conflicts",
            format!("ask there, then: impaxlink station set {name} --issuer ISSUER"),
        );
    }
    if let Some(shared) = settings.issuer().filter(|own| station.issuers.contains(own)) {
        return items.warn(
            "issuer",
            format!("it has our own issuer {shared}: the same ID counts as the same patient"),
            "right only where both use one register of patients; else set the issuer of each",
        );
    }
    let others = ours
        .configuration
        .linked_stations()
        .filter(|other| leads_elsewhere(other, station));
    let shared: Vec<(&Station, &Issuer)> = others
        .filter_map(|other| {
            Some((
                other,
                station.issuers.iter().find(|it| other.issuers.contains(it))?,
            ))
        })
        .collect();
    match shared.first() {
        Some((other, shared)) => items.warn(
            "issuer",
            format!(
                "it has the issuer {shared} of {}: the same ID counts as the same patient",
                other.name
            ),
            "right only where both use one register of patients; else set the issuer of each",
        ),
        None => {
            let issuers: Vec<String> = station.issuers.iter().map(ToString::to_string).collect();
            items.pass("issuer", format!("{}, which nobody else has", issuers.join(", ")));
        }
    }
}

/// Several stations may be doors to one cluster.
fn leads_elsewhere(one: &Station, other: &Station) -> bool {
    one.name != other.name && (one.cluster.is_none() || one.cluster != other.cluster)
}

/// Judges whether calls of a station are known to be its own.
pub(super) fn judge_caller(items: &mut Items, station: &Station, ours: &Ours<'_>) {
    let others = ours.configuration.stations.iter();
    let mut tied = others.filter(|other| other.name != station.name && is_tie(station, other));
    match tied.next() {
        None => items.pass("caller", "its calls can be told from those of all others"),
        Some(other) => items.fail(
            "caller",
            format!(
                "{} calls by the same AE title: calls of either are rejected",
                other.name
            ),
            format!(
                "impaxlink station set {} --from-address ADDRESS, and {} likewise",
                station.name, other.name
            ),
        ),
    }
}

/// Whether calls can come that may be either's, as the service admits them.
fn is_tie(one: &Station, other: &Station) -> bool {
    let titles = |station: &Station| -> Vec<String> {
        let further = station.also_calls_as.iter();
        further
            .chain([&station.ae_title])
            .map(ToString::to_string)
            .collect()
    };
    let calls_alike = titles(one).iter().any(|title| titles(other).contains(title));
    let (places, other_places) = (places(one), places(other));
    let apart =
        !places.is_empty() && !other_places.is_empty() && !places.iter().any(|at| other_places.contains(at));
    calls_alike && one.endpoint.is_some() && other.endpoint.is_some() && !apart
}

/// The addresses by which its calls are known; none where it may call from anywhere.
fn places(station: &Station) -> Vec<IpAddr> {
    let host = station
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.host.address());
    let mut places = station.from_addresses.clone();
    places.extend(host.filter(|_| station.from_addresses.is_empty()));
    places.iter().map(IpAddr::to_canonical).collect()
}

/// Judges whether an earlier station leads to the same cluster, and is said to lead to another.
pub(super) fn judge_doors<'a>(
    items: &mut Items,
    station: &Station,
    told: &ClusterTold,
    earlier: impl IntoIterator<Item = (&'a Station, &'a ClusterTold)>,
) {
    let same = |(other, of_other): &(&Station, &ClusterTold)| {
        of_other.answer.uid == told.answer.uid && leads_elsewhere(other, station)
    };
    if let Some((other, _)) = earlier.into_iter().find(same) {
        items.warn(
            "doors",
            format!(
                "{} leads to the same cluster: its studies are asked for twice",
                other.name
            ),
            format!(
                "if that is meant: impaxlink station set {} {} --cluster NAME",
                other.name, station.name
            ),
        );
    }
}
