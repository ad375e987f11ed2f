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
use crate::model::{Configuration, Kind, OnPartial, REQUIRE_ADDRESS, Station, TlsCallers, in_full};

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
    judge_store(items, &review.exposures);
    for trouble in &review.clock {
        items.warn("clock", trouble, "man impaxlink-updates-rebase-clock");
    }
    judge_access(items, &review.configuration);
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

/// Anyone can type an AE title: a station that proves nothing else can be impersonated from any address.
fn judge_access(items: &mut Items, configuration: &Configuration) {
    let settings = &configuration.settings;
    let is_proven_by_tls = |station: &Station| station.tls && settings.tls_callers() != TlsCallers::None;
    let trusted = (configuration.stations.iter())
        .filter(|station| station.is_linked() || station.kind == Kind::Internal)
        .filter(|station| station.from_addresses.is_empty() && !is_proven_by_tls(station));
    if settings.is_on(REQUIRE_ADDRESS) {
        let nowhere: Vec<&str> = trusted
            .filter(|station| station.endpoint.is_none())
            .map(|station| station.name.as_str())
            .collect();
        match nowhere.first() {
            None => items.pass("access", "stations are admitted from their own addresses alone"),
            Some(first) => items.warn(
                "access",
                format!("no address is known of {}: it can't call us", some(&nowhere)),
                format!("impaxlink station set {first} --from-address ADDRESS"),
            ),
        }
        return;
    }
    let anywhere: Vec<&str> = trusted.map(|station| station.name.as_str()).collect();
    match anywhere.first() {
        None => items.pass("access", "linked and internal stations are known by more than their AE title"),
        Some(first) => items.warn(
            "access",
            format!("anyone who types its AE title can call as {}", some(&anywhere)),
            format!(
                "impaxlink station set {first} --from-address ADDRESS; for all: impaxlink config set {REQUIRE_ADDRESS} on"
            ),
        ),
    }
}

/// The first of many names, and how many more there are.
fn some(names: &[&str]) -> String {
    let (shown, more) = names.split_at(names.len().min(3));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whoever can read the store reads who is asked for what; whoever can write it rewrites the record.
fn judge_store(items: &mut Items, exposures: &[String]) {
    for exposure in exposures {
        match exposure.rsplit_once(": ") {
            Some((what, remedy)) => items.fail("store", what, remedy),
            None => items.fail("store", exposure, ""),
        }
    }
    if exposures.is_empty() {
        items.pass("store", "its owner, or its group, alone may use the store");
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::{Item, Outcome, Subject};
    use super::*;

    fn access(change: impl FnOnce(&mut Configuration)) -> Item {
        let mut station = Station::new("READER".parse().unwrap(), "READER".parse().unwrap(), None);
        station.kind = Kind::Internal;
        let mut configuration = Configuration {
            stations: vec![station],
            ..Configuration::default()
        };
        change(&mut configuration);
        let mut items = Items::of(Subject::Local);
        judge_access(&mut items, &configuration);
        items.all.remove(0)
    }

    /// Case: a stranger with a station's AE title
    #[test]
    fn a_station_that_can_be_impersonated_is_named_with_the_command_that_prevents_it() {
        let item = access(|_| {});
        assert_eq!((item.check, item.outcome), ("access", Outcome::Warn));
        assert!(item.detail.ends_with("can call as READER"), "{}", item.detail);
        let hint = item.hint.unwrap();
        assert!(
            hint.starts_with("impaxlink station set READER --from-address ADDRESS"),
            "{hint}"
        );
        let known = access(|configuration| {
            configuration.stations[0].from_addresses = vec!["10.0.0.1".parse().unwrap()];
        });
        assert_eq!(known.outcome, Outcome::Pass);
        let over_tls = access(|configuration| configuration.stations[0].tls = true);
        assert_eq!(over_tls.outcome, Outcome::Pass);
        let shut_out = access(|configuration| configuration.settings.set(REQUIRE_ADDRESS, "on").unwrap());
        assert!(
            shut_out.detail.contains("it can't call us"),
            "{}",
            shut_out.detail
        );
    }
}
