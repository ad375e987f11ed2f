//! Whether a linked cluster calls us, and sends what is moved, where we listen.
//!
//! Invariant: pure. An address that differs may be right all the same, where addresses are translated in between; a port
//! that differs is taken for a mistake.

use std::net::IpAddr;

use super::ask::Asked;
use super::item::Items;
use super::ours::Ours;
use crate::link::cluster_query::ClusterTold;
use crate::link::linked_syntax::ClusterStation;
use crate::link::{answers_as, calling};
use crate::model::Station;

/// Judges where it calls us.
pub(super) fn judge(
    items: &mut Items,
    station: &Station,
    told: &ClusterTold,
    asked: &Asked,
    ours: &Ours<'_>,
) {
    let calling = calling(station, &ours.configuration.settings);
    let there: Vec<(&ClusterStation, &[IpAddr])> = (told.answer.stations.iter())
        .filter(|there| there.ae_title == calling.as_str())
        .zip(asked.ours_there.iter().map(Vec::as_slice))
        .collect();
    let has_our_port = |there: &ClusterStation| there.port.is_some_and(|port| ours.ports.contains(&port));
    let at_our_address =
        |addresses: &[IpAddr]| asked.our_address.is_none_or(|ours| addresses.contains(&ours));
    let (host, port) = (host(asked.our_address), ours.port());
    let right = there
        .iter()
        .find(|(there, at)| has_our_port(there) && at_our_address(at));
    let nearly = right.or_else(|| there.iter().find(|(there, _)| has_our_port(there)));
    match (right, nearly.or(there.first())) {
        (Some((there, _)), _) => items.pass("registration", format!("we are {} there", shown(there))),
        (None, None) => items.warn(
            "registration",
            format!("it lists no station with the AE title {calling}"),
            format!("have us registered there: impaxlink station add NAME --ae-title {calling} --host {host} --port {port}"),
        ),
        (None, Some((there, _))) if has_our_port(there) => items.warn(
            "registration",
            format!("we are {} there, and on the way there we are at {host}", shown(there)),
            format!(
                "right only where addresses are translated in between; else there: impaxlink station set {} --host {host}",
                there.name
            ),
        ),
        (None, Some((there, _))) => items.fail(
            "registration",
            format!("we are {} there, and we listen on port {port}", shown(there)),
            format!("have it put right there: impaxlink station set {} --port {port}", there.name),
        ),
    }
}

fn shown(there: &ClusterStation) -> String {
    let port = there.port.map_or("-".to_owned(), |port| port.to_string());
    format!("{} ({}@{}:{port})", there.name, there.ae_title, there.host)
}

fn host(address: Option<IpAddr>) -> String {
    address.map_or("HOST".to_owned(), |address| address.to_string())
}

/// Judges where it sends what is moved here.
pub(super) fn judge_move_destination(
    items: &mut Items,
    station: &Station,
    told: &ClusterTold,
    asked: &Asked,
    ours: &Ours<'_>,
) {
    let Some(destination) = ours.destination(station) else {
        return;
    };
    let (title, port) = (&destination.title, destination.port());
    let settings = &ours.configuration.settings;
    if destination.host.is_none() && !answers_as(title.as_str(), station, settings) {
        return items.fail(
            "move_destination",
            format!("studies are moved to {title}, and our service does not answer as that"),
            format!(
                "impaxlink station set {} --ae-title {}",
                destination.archive,
                settings.ae_title()
            ),
        );
    }
    let named = told
        .answer
        .stations
        .iter()
        .filter(|there| there.ae_title == title.as_str());
    let named: Vec<&ClusterStation> = named.filter(|there| there.port.is_some()).collect();
    let right = named
        .iter()
        .find(|there| there.port.is_some_and(|port| destination.ports.contains(&port)));
    let host = destination
        .host
        .clone()
        .unwrap_or_else(|| host(asked.our_address));
    match (right, named.first()) {
        (Some(there), _) => items.pass("move_destination", format!("{title} is {} there", shown(there))),
        (None, None) => items.fail(
            "move_destination",
            format!("it knows no station {title}: C-MOVE to it would end with A801"),
            format!(
                "have it registered there: impaxlink station add NAME --ae-title {title} --host {host} --port {port}"
            ),
        ),
        (None, Some(there)) => items.fail(
            "move_destination",
            format!(
                "what is moved to {title} goes to {}, and it listens on port {port}",
                shown(there)
            ),
            format!("have it put right there: impaxlink station set {} --port {port}", there.name),
        ),
    }
}
