//! Whether a station can be reached and does what linking needs of it, judged by what asking it brought.
//!
//! Invariant: pure. Where something failed, what it would have told is not made up: it has no item.

use std::io;
use std::net::IpAddr;

use jiff::Timestamp;

use super::ask::{Asked, Opened, Unopened};
use super::certificate::judge_certificate;
use super::item::Items;
use crate::dimse::{Awaited, Error, Rejection, StatusClass, uids};
use crate::link::calling;
use crate::link::{association_failure as of_association, find_failure as of_find, tls_trouble};
use crate::model::{IMPLEMENTATION_CLASS_UID, Settings, Station, Syntax};

/// Judges the way to a station and what it accepts; whether an association was made, for what it says over one.
pub(super) fn judge<'a>(
    items: &mut Items,
    station: &Station,
    settings: &Settings,
    asked: &'a Asked,
    now: Timestamp,
) -> Option<&'a Opened> {
    let opened = match &asked.opened {
        Some(Ok(opened)) => opened,
        Some(Err(Unopened::Unaskable(why))) => {
            items.fail(
                "tls",
                why.to_string(),
                "mend the tls.… settings: 'impaxlink config list' shows them",
            );
            return None;
        }
        Some(Err(Unopened::Failed(error))) => {
            judge_failure(items, station, settings, error);
            return None;
        }
        None => {
            let hint = "give it more time with --timeout";
            items.unknown("association", "the time was up before it was made", hint);
            return None;
        }
    };
    let address = opened.peer.address;
    items.pass("address", format!("{address} takes connections"));
    judge_from_address(items, station, opened);
    if let Some(certificate) = &opened.peer.certificate {
        let named = station.tls_fingerprints.contains(&certificate.fingerprint());
        judge_certificate(
            items,
            certificate.expires(),
            named,
            "its certificate",
            "renew it there",
            now,
        );
    }
    let software = match opened.peer.implementation_version_name.as_str() {
        "" => String::new(),
        name => format!("; it is {name}"),
    };
    let (ours, theirs) = (calling(station, settings), &station.ae_title);
    let took = opened.took.as_millis();
    items.pass(
        "association",
        format!("{theirs} accepts {ours}, in {took} ms{software}"),
    );
    judge_echo(items, station, settings, asked);
    judge_query(items, station, settings, opened, asked);
    judge_retrieve(items, opened);
    Some(opened)
}

fn judge_failure(items: &mut Items, station: &Station, settings: &Settings, error: &Error) {
    let calling = calling(station, settings);
    let name = &station.name;
    if let Some((what, remedy)) = tls_trouble(error, station) {
        return items.fail("tls", what, remedy);
    }
    let detail = of_association(error, station, &calling);
    let endpoint = station
        .endpoint
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    match error {
        Error::Resolve { .. } => items.fail(
            "address",
            detail,
            format!("look at the name service, or: impaxlink station set {name} --host ADDRESS"),
        ),
        Error::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => items.fail(
            "address",
            detail,
            format!(
                "nothing listens there: ask which port it is, then: impaxlink station set {name} --port PORT"
            ),
        ),
        Error::Connect { .. }
        | Error::TimedOut {
            awaited: Awaited::Connection | Awaited::NameResolution,
            ..
        } => items.fail(
            "address",
            detail,
            format!("have TCP to {endpoint} let through on both sides, and ask whether it runs"),
        ),
        Error::Rejected(rejection) => items.fail("association", detail, of_rejection(*rejection, station)),
        Error::NotDicom => items.fail(
            "association",
            detail,
            format!("ask which port speaks DICOM, then: impaxlink station set {name} --port PORT"),
        ),
        _ => items.fail(
            "association",
            detail,
            format!("look into the log there; {}", register(station)),
        ),
    }
}

fn of_rejection(rejection: Rejection, station: &Station) -> String {
    let name = &station.name;
    match rejection {
        Rejection::CALLED_AE_TITLE => {
            format!("ask which AE title it has, then: impaxlink station set {name} --ae-title TITLE")
        }
        rejection if rejection.is_transient() => {
            "try again; it may have all the associations it takes".to_owned()
        }
        _ => register(station),
    }
}

fn register(station: &Station) -> String {
    format!(
        "have us registered there: 'impaxlink check {} --handover' prints what",
        station.name
    )
}

/// Where its calls are taken from named addresses alone, and it is at none of them.
fn judge_from_address(items: &mut Items, station: &Station, opened: &Opened) {
    let address = opened.peer.address.ip().to_canonical();
    let named = &station.from_addresses;
    if named.is_empty() || named.iter().any(|from| from.to_canonical() == address) {
        return;
    }
    items.warn(
        "from_address",
        format!("it is at {address}, and its calls are taken from other addresses alone"),
        format!(
            "ask where its calls come from; if from {address} too: impaxlink station set {} --from-address …",
            station.name
        ),
    );
}

fn judge_echo(items: &mut Items, station: &Station, settings: &Settings, asked: &Asked) {
    match &asked.echo {
        Some(Ok(status)) if status.is_success() => items.pass("echo", "C-ECHO is answered"),
        Some(Ok(status)) => items.warn(
            "echo",
            format!("C-ECHO is answered with status {status}"),
            "look into the log there",
        ),
        Some(Err(Error::ContextRefused { .. })) => items.warn(
            "echo",
            "it does not offer C-ECHO",
            "have Verification (1.2.840.10008.1.1) allowed for us there",
        ),
        Some(Err(error)) => items.fail(
            "echo",
            of_association(error, station, &calling(station, settings)),
            format!("look into the log there; {}", register(station)),
        ),
        None => items.unknown(
            "echo",
            "the time was up before it was asked",
            "give it more time with --timeout",
        ),
    }
}

fn judge_query(items: &mut Items, station: &Station, settings: &Settings, opened: &Opened, asked: &Asked) {
    let look = format!("have our queries allowed there; {}", register(station));
    match &asked.find {
        Some(Ok(end)) if end.status.class() == StatusClass::Success => {
            items.pass("query", "C-FIND is answered (Study Root)");
        }
        Some(Ok(end)) => items.fail("query", format!("C-FIND {}", of_find(end)), look),
        Some(Err(error)) => {
            let told = of_association(error, station, &calling(station, settings));
            items.fail("query", format!("C-FIND: {told}"), look);
        }
        None if opened.takes(uids::STUDY_ROOT_FIND) => {}
        None if opened.takes(uids::PATIENT_ROOT_FIND) => {
            items.pass("query", "C-FIND is accepted in Patient Root alone");
        }
        None => items.fail(
            "query",
            "it accepts C-FIND neither in Study Root nor in Patient Root",
            look,
        ),
    }
}

fn judge_retrieve(items: &mut Items, opened: &Opened) {
    let (moves, gets) = (
        opened.takes(uids::STUDY_ROOT_MOVE),
        opened.takes(uids::STUDY_ROOT_GET),
    );
    match (moves, gets) {
        (true, true) => items.pass("retrieve", "C-MOVE and C-GET are accepted"),
        (true, false) => items.pass("retrieve", "C-MOVE is accepted"),
        (false, true) => items.pass("retrieve", "C-GET is accepted"),
        (false, false) => items.fail(
            "retrieve",
            "it accepts neither C-MOVE nor C-GET: its studies can be listed and not be brought over",
            "have retrieve (Study Root MOVE or GET) allowed for us there",
        ),
    }
}

/// Judges which syntax is spoken with a linked station; whether it takes the linked one.
pub(super) fn judge_syntax(items: &mut Items, station: &Station, opened: &Opened, asked: &Asked) {
    let name = &station.name;
    let is_impaxlink = opened.peer.implementation_class_uid == IMPLEMENTATION_CLASS_UID;
    let is_no_cluster = (asked.cluster.as_ref())
        .is_some_and(|told| matches!(told, Err(why) if why.is_of_no_cluster(&opened.peer)));
    let takes_linked = opened.takes(uids::LINKED_CLUSTER_QUERY) && !is_no_cluster;
    let link_there = "have us linked there: impaxlink station set … --cluster-linking";
    match station.syntax {
        Syntax::Auto | Syntax::Linked if is_no_cluster => items.warn(
            "linked_syntax",
            "it accepts the linked syntax, as it accepts anything, and does not speak it",
            format!("impaxlink station set {name} --syntax dicom"),
        ),
        _ if takes_linked => items.pass("linked_syntax", "the linked syntax is accepted"),
        Syntax::Dicom => items.pass("linked_syntax", "strict DICOM, as set (--syntax dicom)"),
        Syntax::Linked => items.fail(
            "linked_syntax",
            "it does not accept the linked syntax, and no other is allowed (--syntax linked)",
            format!("{link_there}; or here: impaxlink station set {name} --syntax auto"),
        ),
        Syntax::Auto if is_impaxlink => items.warn(
            "linked_syntax",
            "it is an impaxlink and does not accept the linked syntax from us",
            link_there,
        ),
        Syntax::Auto => items.pass(
            "linked_syntax",
            "strict DICOM: it does not know the linked syntax",
        ),
    }
    if station.links.cluster_linking && station.links.cluster_updates {
        judge_updates(items, station, opened, takes_linked);
    }
}

fn judge_updates(items: &mut Items, station: &Station, opened: &Opened, takes_linked: bool) {
    let name = &station.name;
    if !takes_linked {
        items.warn(
            "updates",
            "link cluster updates is on, and without the linked syntax no update is relayed",
            format!("impaxlink station set {name} --no-link-cluster-updates"),
        );
    } else if !opened.takes(uids::CLUSTER_UPDATE) {
        items.warn(
            "updates",
            "link cluster updates is on, and it does not accept Cluster Update from us",
            "have it switched on there too: impaxlink station set … --link-cluster-updates",
        );
    } else {
        let proof = proof(station);
        items.pass(
            "updates",
            format!("Cluster Update is accepted there, and here where the caller is proven: {proof}"),
        );
    }
}

/// By what the service knows that a caller is this station, and not just one that has typed its AE title.
fn proof(station: &Station) -> String {
    let mut proofs: Vec<String> = station.from_addresses.iter().map(IpAddr::to_string).collect();
    if let Some(endpoint) = station.endpoint.as_ref().filter(|_| proofs.is_empty()) {
        proofs.push(match endpoint.host.address() {
            Some(address) => address.to_string(),
            None => format!("an address of {}", endpoint.host),
        });
    }
    if station.tls {
        proofs.push("its certificate".to_owned());
    }
    proofs.join(", ")
}
