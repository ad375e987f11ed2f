//! What a linked cluster says of itself, held against what we are and what we take it for.
//!
//! Invariant: pure. A digest that the other side does not tell is not known, and never taken for a difference.

use std::net::IpAddr;

use super::super::cluster_query::{ClusterTold, ClusterUntold};
use super::super::conversation::calling;
use super::super::linked_syntax::ClusterStation;
use super::ask::Asked;
use super::item::Items;
use super::ours::Ours;
use crate::model::{AeTitle, ClusterName, Station, in_full};

/// From how many seconds on a difference between the clocks is told, and from how many linking suffers.
const CLOCK_WARNS: i64 = 60;
const CLOCK_FAILS: i64 = 5 * 60;

/// Judges what a linked station said of its cluster, or that it could say nothing.
pub(super) fn judge(items: &mut Items, station: &Station, asked: &Asked, ours: &Ours<'_>) {
    match &asked.cluster {
        Some(Ok(told)) => {
            judge_identity(items, station, told, ours);
            judge_registration(items, station, told, asked, ours);
            judge_move_destination(items, station, told, asked, ours);
            judge_names(items, told, ours);
            judge_digests(items, station, told, ours);
            judge_clock(items, told);
        }
        Some(Err(why)) => items.fail(
            "cluster",
            format!("it says nothing of its cluster: {}", in_full(untold(why))),
            "look into the log there",
        ),
        None => judge_strict(items, station, ours),
    }
}

fn untold(why: &ClusterUntold) -> &dyn std::error::Error {
    match why {
        ClusterUntold::Peer(error) => error,
        other => other,
    }
}

/// Strict DICOM has no words for these.
fn judge_strict(items: &mut Items, station: &Station, ours: &Ours<'_>) {
    let name = &station.name;
    let ask = format!("compare with 'impaxlink check {name} --handover'");
    items.unknown(
        "registration",
        "strict DICOM does not tell where it calls us",
        ask,
    );
    if let Some(destination) = ours.destination(station) {
        items.unknown(
            "move_destination",
            format!(
                "strict DICOM does not tell whether it knows {}",
                destination.title
            ),
            format!(
                "'impaxlink check {name} --move-test UID' tries it with one image of a study that it has"
            ),
        );
    }
    items.unknown(
        "clock",
        "strict DICOM does not tell the time",
        "ask there whether its clock follows a time server (NTP), and see that ours does",
    );
}

fn judge_identity(items: &mut Items, station: &Station, told: &ClusterTold, ours: &Ours<'_>) {
    let answer = &told.answer;
    let its_name = answer.name.as_ref().map_or("without a name", ClusterName::as_str);
    if answer.uid == *ours.cluster_uid {
        return items.fail(
            "cluster",
            format!(
                "it has the ClusterUID of our own store ({}): one is a clone of the other",
                answer.uid
            ),
            "give the clone an identity of its own: impaxlink restore FILE --new-identity",
        );
    }
    match &station.cluster {
        Some(ours) if answer.name.as_ref().is_some_and(|name| name != ours) => items.warn(
            "cluster",
            format!("it calls its cluster {its_name}, and here it is {ours}"),
            format!("impaxlink station set {} --cluster '{its_name}'", station.name),
        ),
        _ => items.pass(
            "cluster",
            format!("{its_name}, impaxlink {}", answer.software_version),
        ),
    }
}

fn judge_registration(
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

fn judge_move_destination(
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
    if destination.host.is_none() && !answers_as(station, ours, title) {
        return items.fail(
            "move_destination",
            format!("studies are moved to {title}, and our service does not answer as that"),
            format!(
                "impaxlink station set {} --ae-title {}",
                destination.archive,
                ours.configuration.settings.ae_title()
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
            format!("{title} is {} there, and listens on port {port}: what is moved arrives nowhere", shown(there)),
            format!("have it put right there: impaxlink station set {} --port {port}", there.name),
        ),
    }
}

/// Whether our service lets `station` call it by that title.
fn answers_as(station: &Station, ours: &Ours<'_>, title: &AeTitle) -> bool {
    *title == ours.configuration.settings.ae_title() || station.calling_ae.as_ref() == Some(title)
}

/// The same name for two stations makes people talk at cross purposes.
fn judge_names(items: &mut Items, told: &ClusterTold, ours: &Ours<'_>) {
    let stations = &ours.configuration.stations;
    let is_other = |our: &Station, there: &ClusterStation| {
        let port = our.endpoint.as_ref().map(|endpoint| endpoint.port.get());
        our.name.as_str().eq_ignore_ascii_case(&there.name)
            && (port.is_none() || port != there.port || our.ae_title.as_str() != there.ae_title)
    };
    let twice: Vec<&str> = (told.answer.stations.iter())
        .filter(|there| stations.iter().any(|our| is_other(our, there)))
        .map(|there| there.name.as_str())
        .collect();
    match twice.first() {
        None => items.pass("station_names", "no other station there has a name of ours"),
        Some(first) => items.warn(
            "station_names",
            format!("other stations there have names of ours: {}", twice.join(", ")),
            format!("give one of the two another name: impaxlink station rename {first} NEW"),
        ),
    }
}

fn judge_digests(items: &mut Items, station: &Station, told: &ClusterTold, ours: &Ours<'_>) {
    judge_digest(
        items,
        station,
        "vocabulary",
        (&ours.vocabulary_digest, &told.answer.vocabulary_digest),
        [
            "its specialties and body parts have the same names",
            "its specialties and body parts have other names",
        ],
        "mapping",
    );
    judge_digest(
        items,
        station,
        "prefetch_rules",
        (&ours.prefetch_rule_digest, &told.answer.prefetch_rule_digest),
        [
            "its rules of relevant priors are the same",
            "its rules of relevant priors are others",
        ],
        "rule",
    );
}

fn judge_digest(
    items: &mut Items,
    station: &Station,
    check: &'static str,
    (ours, theirs): (&str, &str),
    [same, differs]: [&str; 2],
    command: &str,
) {
    let export =
        format!("'impaxlink {command} export' on one side, 'impaxlink {command} import' on the other");
    match theirs {
        "" => items.unknown(
            check,
            "it does not tell",
            format!("compare 'impaxlink {command} list' on both sides"),
        ),
        theirs if theirs == ours => items.pass(check, same),
        // By these it is judged which priors are relevant.
        _ if station.links.cluster_linking && station.links.prefetching => {
            items.fail(check, differs, format!("agree on one: {export}"));
        }
        _ => items.warn(check, differs, format!("agree on one: {export}")),
    }
}

fn judge_clock(items: &mut Items, told: &ClusterTold) {
    let ahead = told.clock_ahead();
    let took = told.answered_at.duration_since(told.asked_at).as_millis();
    let seconds = ahead.abs().as_secs();
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let detail = format!("its clock is {} {way} ours", approximate(seconds));
    let hint = "see that both clocks follow a time server (NTP)";
    match seconds {
        0 => items.pass("clock", format!("the clocks agree (asked in {took} ms)")),
        CLOCK_FAILS.. => items.fail("clock", detail, hint),
        CLOCK_WARNS.. => items.warn("clock", detail, hint),
        _ => items.pass("clock", detail),
    }
}

/// Seconds as people say them.
fn approximate(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
