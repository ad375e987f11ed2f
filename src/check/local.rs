//! The local cluster's own part of the prerequisites.
//!
//! Invariant: pure. What the service, the store and the files of TLS say has been asked before.

use jiff::Timestamp;

use super::certificate::judge_certificate;
use super::item::Items;
use super::ours::Ours;
use super::{Review, ServiceState};
use crate::dimse::PeerCertificate;
use crate::link::tls::TlsError;
use crate::model::{Kind, OnPartial, in_full};

/// Judges all of it.
pub(super) fn judge(
    items: &mut Items,
    review: &Review,
    ours: &Ours<'_>,
    certificate: Option<Result<PeerCertificate, TlsError>>,
    now: Timestamp,
) {
    judge_generation(items, review);
    judge_listen(items, review, ours);
    judge_store(items, review.store_mode);
    for trouble in &review.clock {
        items.warn("clock", trouble, "man impaxlink-updates-rebase-clock");
    }
    let settings = &review.configuration.settings;
    if !review
        .configuration
        .stations
        .iter()
        .any(|station| station.kind == Kind::Archive)
    {
        items.fail(
            "archive",
            "there is no archive station: every query fails, and nothing can be brought over",
            "impaxlink station add NAME --kind archive …, or the one that impaxlink keeps: --kind archive --embedded",
        );
    }
    match settings.issuer() {
        Some(issuer) => items.pass("issuer", format!("our patient IDs are {issuer}'s")),
        None => items.warn(
            "issuer",
            "whose our patient IDs are is not set: they count as our archive stations' own",
            "impaxlink config set issuer ISSUER",
        ),
    }
    match certificate {
        Some(Ok(certificate)) => {
            let remedy = "renew it (tls.certificate, tls.key), then: impaxlink reload";
            judge_certificate(
                items,
                certificate.expires(),
                false,
                "our certificate",
                remedy,
                now,
            );
        }
        Some(Err(error)) => items.fail("certificate", in_full(&error), "mend tls.certificate and tls.key"),
        None => {}
    }
    items.pass(
        "on_partial",
        match settings.on_partial() {
            OnPartial::Success => {
                "to our callers a query that a linked cluster missed ends as success with a comment, which most viewers \
                 ignore (query.on_partial)"
            }
            OnPartial::Failure => "to our callers a query that a linked cluster missed ends as failed (query.on_partial)",
        },
    );
}

fn judge_generation(items: &mut Items, review: &Review) {
    let saved = review.configuration.generation;
    match &review.service {
        ServiceState::Running { generation, .. } if *generation == saved => {
            items.pass("generation", format!("generation {saved} is in force"));
        }
        ServiceState::Running {
            generation, refused, ..
        } => {
            let why = refused.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            items.fail(
                "generation",
                format!("generation {saved} is saved, and {generation} in force{why}"),
                "impaxlink reload",
            );
        }
        ServiceState::NotRunning => items.warn(
            "generation",
            "the service is not running: linked clusters are not answered, and nothing moved to us arrives",
            "start it: 'impaxlink serve --print-unit' prints a unit for it",
        ),
        ServiceState::Silent(why) => items.unknown(
            "generation",
            format!("the service does not tell which generation is in force: {why}"),
            "run as root or as the service's user, and look with 'impaxlink status'",
        ),
    }
}

fn judge_listen(items: &mut Items, review: &Review, ours: &Ours<'_>) {
    let listen = match &review.service {
        ServiceState::Running { listen, .. } => *listen,
        _ => review.configuration.settings.listen(),
    };
    let is_remote = |host: &crate::model::Host| match host.address() {
        Some(address) => !address.is_loopback(),
        None => host.as_str() != "localhost",
    };
    let mut linked = review.configuration.linked_stations();
    let remote = linked.find(|station| station.endpoint.as_ref().is_some_and(|it| is_remote(&it.host)));
    match remote {
        Some(remote) if listen.ip().is_loopback() => items.fail(
            "listen",
            format!(
                "the service listens on {listen} alone, where {} can't call it",
                remote.name
            ),
            format!(
                "impaxlink config set listen 0.0.0.0:{}, then restart the service",
                ours.port()
            ),
        ),
        _ => items.pass("listen", format!("it is {listen}")),
    }
}

/// Whoever can read the store reads who is asked for what; whoever can write it rewrites the record.
fn judge_store(items: &mut Items, mode: Option<u32>) {
    match mode.map(|mode| mode & 0o777) {
        Some(mode) if mode & 0o007 != 0 => items.fail(
            "store",
            format!("the store's permissions are {mode:04o}: it is open to every user of this machine"),
            "chmod o= on the store and the files beside it",
        ),
        Some(mode) => items.pass("store", format!("the store's permissions are {mode:04o}")),
        None => {}
    }
}
