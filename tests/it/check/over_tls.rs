//! Certificates that have expired, or soon will, and TLS that only one side speaks.

use impaxlink::dimse::{AcceptorTls, CallerCertificates, ScpOptions};
use impaxlink::model::Configuration;

use super::{Review, change, cluster, door};
use crate::dimse_tls::identity;
use crate::support::certificates::{Authority, Certificate};
use crate::support::env::Env;
use crate::support::scp::Scp;
use crate::support::service::{Service, save, set, station};

/// NORTH and a peer that shows this certificate, or speaks without TLS; what is registered for it can be changed.
fn review_of(
    authority: &Authority,
    shown: Option<&Certificate>,
    edit: impl FnOnce(&mut Configuration),
) -> (Review, Service) {
    let mut options = ScpOptions::default();
    options.acceptor.tls =
        shown.map(|shown| AcceptorTls::new(identity(shown), CallerCertificates::NotAsked).unwrap());
    let scp = Scp::start_with(options, 8);
    let north = cluster("NORTH");
    change(&north, |configuration| {
        set(
            configuration,
            "tls.authorities",
            authority.file().to_str().unwrap(),
        );
        let mut link = door("LINK", scp.port);
        link.tls = true;
        configuration.stations.push(link);
        edit(configuration);
    });
    (Review::of(&north.env, &[]), north)
}

#[test]
fn a_certificate_that_has_expired() {
    let authority = Authority::new("ours");
    let expired = authority.certify_at("expired", "IP:127.0.0.1", -1);
    let (review, _north) = review_of(&authority, Some(&expired), |_| {});
    review.is("LINK tls fail", "its certificate has expired", "renew it there");
    // Whoever named it vouches for it, dates and all; but others may not.
    let named = expired.fingerprint();
    let (review, _north) = review_of(&authority, Some(&expired), |configuration| {
        configuration.stations[1].tls_fingerprints = vec![named];
    });
    review.tells(
        "LINK certificate warn",
        "trusted by its fingerprint all the same",
        "renew it there",
    );
}

#[test]
fn a_certificate_that_expires_soon() {
    let authority = Authority::new("ours");
    let soon = authority.certify_at("soon", "IP:127.0.0.1", 20);
    let (review, _north) = review_of(&authority, Some(&soon), |_| {});
    review.tells("LINK certificate warn", "in 19 days", "renew it there");
    let later = authority.certify_at("later", "IP:127.0.0.1", 90);
    let (review, _north) = review_of(&authority, Some(&later), |_| {});
    assert!(
        !review
            .troubles()
            .iter()
            .any(|trouble| trouble.contains("certificate"))
    );
}

#[test]
fn a_certificate_that_nobody_vouches_for_and_no_tls_at_all() {
    let authority = Authority::new("ours");
    let stranger = Authority::new("theirs");
    let foreign = stranger.certify("foreign");
    let (review, _north) = review_of(&authority, Some(&foreign), |_| {});
    let hint = format!("--tls-fingerprint {}", foreign.fingerprint());
    review.is("LINK tls fail", "its certificate is not trusted", &hint);
    let (review, _north) = review_of(&authority, None, |_| {});
    review.is("LINK tls fail", "it does not speak TLS", "--no-tls");
}

#[test]
fn files_that_are_missing_and_our_own_certificate() {
    let env = Env::new();
    let authority = Authority::new("ours");
    let own = authority.certify_at("own", "IP:127.0.0.1", 3);
    for (key, value) in [
        ("tls.certificate", own.certificate.to_str().unwrap()),
        ("tls.key", own.key.to_str().unwrap()),
    ] {
        env.impaxlink(&["config", "set", key, value]).success();
    }
    save(&env, |configuration| {
        let mut link = station("LINK", 1);
        link.tls = true;
        link.links.cluster_linking = true;
        configuration.stations.push(link);
    });
    let review = Review::of(&env, &[]);
    review.tells("local certificate warn", "in 2 days", "impaxlink reload");
    review.tells(
        "LINK tls fail",
        "TLS needs the setting tls.authorities",
        "impaxlink config list",
    );
    let handover = env.impaxlink(&["check", "LINK", "--handover"]).stdout;
    assert!(handover.contains(&own.fingerprint().to_string()), "{handover}");
}
