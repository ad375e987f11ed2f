//! What a linked cluster says of itself, held against what we are and what we take it for.
//!
//! Invariant: pure. A digest that the other side does not tell is not known, and never taken for a difference.

use super::ask::Asked;
use super::item::Items;
use super::ours::Ours;
use super::registration;
use crate::link::cluster_query::{ClusterTold, ClusterUntold};
use crate::link::linked_syntax::ClusterStation;
use crate::model::{ClusterName, Station, in_full};

/// From how many seconds on a difference between the clocks is told, and from how many linking suffers.
const CLOCK_WARNS: i64 = 60;
const CLOCK_FAILS: i64 = 5 * 60;

/// Judges what a linked station said of its cluster, or that it could say nothing.
pub(super) fn judge(items: &mut Items, station: &Station, asked: &Asked, ours: &Ours<'_>) {
    match &asked.cluster {
        Some(Ok(told)) => {
            judge_identity(items, station, told, ours);
            registration::judge(items, station, told, asked, ours);
            registration::judge_move_destination(items, station, told, asked, ours);
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
