//! TLS from the settings to the wire: queries to a real archive over TLS, and a service that DCMTK calls over it.

use std::path::Path;
use std::process::Command;

use impaxlink::dimse::{AcceptorTls, CallerCertificates, ScpOptions};
use impaxlink::model::{Configuration, Kind};
use serde_json::json;

use super::dimse_tls::identity;
use super::support::archive_options::{ArchiveOptions, ArchiveTls};
use super::support::certificates::{Authority, Certificate};
use super::support::env::{Env, Run};
use super::support::orthanc::Orthanc;
use super::support::process::free_port;
use super::support::scp::Scp;
use super::support::service::{Service, save, set, station, wait_for};
use super::support::studies::Federation;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An Orthanc that speaks over TLS alone, and the program that knows it as such.
fn linked_over_tls(authority: &Authority, federation: &Federation) -> (Env, Orthanc) {
    linked_showing(authority.certify("orthanc"), authority, federation)
}

/// One that shows this certificate, to callers that `authority` vouches for.
fn linked_showing(server: Certificate, authority: &Authority, federation: &Federation) -> (Env, Orthanc) {
    let options = ArchiveOptions {
        tls: Some(ArchiveTls {
            certificate: server.certificate,
            key: server.key,
            authorities: authority.file(),
        }),
        ..ArchiveOptions::new("SITEA")
    };
    let orthanc = Orthanc::start_with(&options, &federation.sites[0].studies);
    let env = Env::new();
    add_over_tls(&env, orthanc.port);
    (env, orthanc)
}

/// Registers the archive past the command line, which wants the authorities first.
fn add_over_tls(env: &Env, port: u16) {
    save(env, |configuration| {
        let mut archive = station("SITEA", port);
        archive.name = "PACS".parse().unwrap();
        archive.kind = Kind::Archive;
        archive.tls = true;
        configuration.stations.push(archive);
    });
}

fn trust(env: &Env, authority: &Authority, client: &Certificate) {
    for (key, path) in [
        ("tls.authorities", &authority.file()),
        ("tls.key", &client.key),
        ("tls.certificate", &client.certificate),
    ] {
        env.impaxlink(&["config", "set", key, text(path)]).success();
    }
}

fn query(env: &Env, federation: &Federation) -> Run {
    env.impaxlink(&["query", "--study-uid", &federation.full_copy, "--json"])
}

#[test]
fn a_query_asks_an_archive_over_tls() {
    let (authority, federation) = (Authority::new("ours"), Federation::new(1, 4));
    let (env, _orthanc) = linked_over_tls(&authority, &federation);
    trust(&env, &authority, &authority.certify("impaxlink"));
    let run = query(&env, &federation);
    run.success();
    assert_eq!(run.json()["items"].as_array().unwrap().len(), 1, "{run:#?}");
    assert_eq!(run.json()["complete"], json!(true));
}

#[test]
fn what_is_to_be_asked_over_tls_is_never_asked_without() {
    let (authority, federation) = (Authority::new("ours"), Federation::new(1, 4));
    let (env, _orthanc) = linked_over_tls(&authority, &federation);
    let failure = |words: &str| {
        let run = query(&env, &federation);
        run.exits(1);
        let detail = run.json()["ledger"][0]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "no {words:?} in {detail:?}");
    };
    failure("TLS needs the setting tls.authorities");

    let stranger = Authority::new("theirs");
    trust(&env, &stranger, &authority.certify("impaxlink"));
    failure("its certificate is not trusted; the file of tls.authorities must hold its authority");

    save(&env, |configuration| {
        set(configuration, "tls.authorities", "/nowhere/ca.pem");
    });
    failure("can't read /nowhere/ca.pem (tls.authorities)");
}

#[test]
fn a_plain_archive_is_not_mistaken_for_one_over_tls() {
    let (authority, federation) = (Authority::new("ours"), Federation::new(1, 4));
    let orthanc = Orthanc::start("SITEA", &federation.sites[0].studies);
    let env = Env::new();
    add_over_tls(&env, orthanc.port);
    trust(&env, &authority, &authority.certify("impaxlink"));
    env.impaxlink(&["config", "set", "timeout.association", "2s"])
        .success();
    let run = query(&env, &federation);
    run.exits(1);
    let detail = run.json()["ledger"][0]["detail"].clone();
    assert!(detail.as_str().unwrap().contains("TLS"), "{detail}");
}

/// What a query says of a peer that our SCP plays with this certificate, or without TLS; and what the service logs.
fn told_of(authority: &Authority, certificate: Option<&Certificate>) -> [String; 2] {
    let mut options = ScpOptions::default();
    options.acceptor.tls = certificate
        .map(|certificate| AcceptorTls::new(identity(certificate), CallerCertificates::NotAsked).unwrap());
    let scp = Scp::start_with(options, 8);
    let service = Service::start_with(|configuration| {
        let mut door = station("LINK", scp.port);
        door.kind = Kind::Archive;
        door.tls = true;
        configuration.stations = vec![door];
        set(configuration, "tls.authorities", text(&authority.file()));
    });
    let query = service
        .env
        .impaxlink(&["query", "--study-uid", "1.2.3", "--json"]);
    query.exits(1);
    let detail = query.json()["ledger"][0]["detail"].as_str().unwrap().to_owned();
    let mut log = String::new();
    wait_for("word of the link", || {
        log = service.process.output();
        log.contains("LINK does not answer")
    });
    [detail, log]
}

#[test]
fn it_is_told_what_is_wrong_with_a_peer_and_its_certificate() {
    let authority = Authority::new("ours");
    let expired = authority.certify_at("expired", "IP:127.0.0.1", -1);
    let elsewhere = authority.certify_at("elsewhere", "DNS:pacs.example", 2);
    let stranger = Authority::new("theirs");
    let (foreign, self_signed) = (stranger.certify("foreign"), stranger.itself());
    let shown = self_signed.fingerprint().to_string();
    for (certificate, words) in [
        (Some(&expired), "its certificate has expired"),
        (Some(&elsewhere), "its certificate does not name 127.0.0.1"),
        (
            Some(&foreign),
            "the file of tls.authorities must hold its authority",
        ),
        (Some(&self_signed), shown.as_str()),
        (None, "it does not speak TLS"),
    ] {
        for told in told_of(&authority, certificate) {
            assert!(told.contains(words), "no {words:?} in {told:?}");
        }
    }
}

#[test]
fn a_service_does_not_start_without_its_files() {
    let env = Env::new();
    save(&env, |configuration| {
        set(configuration, "tls.listen", "127.0.0.1:0");
        set(configuration, "tls.callers", "none");
        set(configuration, "tls.certificate", "/nowhere/server.pem");
    });
    env.impaxlink(&["serve"])
        .fails_with(1, "can't read /nowhere/server.pem (tls.certificate)");
}

/// A service that listens for TLS too, with a viewer that calls over it alone.
fn service_over_tls(authority: &Authority, tls_port: u16) -> Service {
    let server = authority.certify("server");
    Service::start_with(|configuration: &mut Configuration| {
        let mut viewer = station("VIEWER", 104);
        viewer.tls = true;
        configuration.stations = vec![viewer, station("PLAIN", 104)];
        set(configuration, "tls.listen", &format!("127.0.0.1:{tls_port}"));
        set(configuration, "tls.certificate", text(&server.certificate));
        set(configuration, "tls.key", text(&server.key));
        set(configuration, "tls.authorities", text(&authority.file()));
        set(configuration, "tls.callers", "required");
    })
}

/// Whether echoscu, with this certificate, is answered at `port`.
fn echoes(port: u16, calling: &str, client: &Certificate, authority: &Authority) -> (bool, String) {
    let output = Command::new("echoscu")
        .args(["-v", "-to", "5", "-aet", calling, "-aec", "IMPAXLINK", "+tls"])
        .args([&client.key, &client.certificate])
        .arg("+cf")
        .arg(authority.file())
        .args(["127.0.0.1", &port.to_string()])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (log.contains("Received Echo Response (Success)"), log)
}

#[test]
fn the_service_answers_over_tls_and_holds_stations_to_it() {
    let authority = Authority::new("ours");
    let tls_port = free_port();
    let service = service_over_tls(&authority, tls_port);
    let client = authority.certify("viewer");
    let (answered, log) = echoes(tls_port, "VIEWER", &client, &authority);
    assert!(answered, "{log}");
    let stranger = Authority::new("theirs");
    let stranger_shown = stranger.certify("viewer");
    let (answered, log) = echoes(tls_port, "VIEWER", &stranger_shown, &authority);
    assert!(!answered && !log.contains("No such file"), "{log}");
    wait_for("word of the stranger", || {
        service
            .process
            .output()
            .contains(&format!("--tls-fingerprint {}", stranger_shown.fingerprint()))
    });

    assert!(service.echo("PLAIN", "IMPAXLINK").0);
    let (answered, log) = service.echo("VIEWER", "IMPAXLINK");
    assert!(!answered && log.contains("Rejected Permanent"), "{log}");
    service.log_with("the station calls over TLS alone");
}

#[test]
fn a_renewed_certificate_is_taken_by_a_reload_and_a_bad_file_is_refused() {
    let authority = Authority::new("ours");
    let tls_port = free_port();
    let service = service_over_tls(&authority, tls_port);
    let client = authority.certify("viewer");

    let renewed = Authority::new("renewed");
    let server = renewed.certify("server");
    let reload = |certificate: &Path| {
        service.save(|configuration| {
            set(configuration, "tls.certificate", text(certificate));
            set(configuration, "tls.key", text(&server.key));
        });
        service.env.impaxlink(&["reload"])
    };
    reload(&server.certificate).success();
    // Who trusts the old authority alone sees that the certificate is another one.
    assert!(!echoes(tls_port, "VIEWER", &client, &authority).0);
    assert!(echoes(tls_port, "VIEWER", &client, &renewed).0);

    std::fs::write(&server.certificate, "this is no certificate").unwrap();
    let run = service.env.impaxlink(&["reload"]);
    run.fails_with(1, "(tls.certificate)");
    assert!(service.echo("PLAIN", "IMPAXLINK").0);
    let (answered, log) = echoes(tls_port, "VIEWER", &client, &renewed);
    assert!(answered, "{log}");
}

/// Whether echoscu is answered that shows no certificate.
fn echoes_without_certificate(port: u16, calling: &str) -> (bool, String) {
    let output = Command::new("echoscu")
        .args([
            "-v",
            "-to",
            "5",
            "-aet",
            calling,
            "-aec",
            "IMPAXLINK",
            "+tla",
            "-ic",
        ])
        .args(["127.0.0.1", &port.to_string()])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (log.contains("Received Echo Response (Success)"), log)
}

#[test]
fn who_says_to_be_a_station_over_tls_shows_a_certificate() {
    let authority = Authority::new("ours");
    let tls_port = free_port();
    let service = service_over_tls(&authority, tls_port);
    let ask_for = |callers| {
        service.save(|configuration| set(configuration, "tls.callers", callers));
        service.env.impaxlink(&["reload"]).success();
    };
    ask_for("optional");
    let (answered, log) = echoes_without_certificate(tls_port, "VIEWER");
    assert!(!answered && log.contains("Rejected Permanent"), "{log}");
    service.log_with("the station shows no certificate");
    // It is answered without TLS, too.
    let (answered, log) = echoes_without_certificate(tls_port, "PLAIN");
    assert!(answered, "{log}");
    let client = authority.certify("viewer");
    assert!(echoes(tls_port, "VIEWER", &client, &authority).0);

    ask_for("none");
    let (answered, log) = echoes_without_certificate(tls_port, "VIEWER");
    assert!(answered, "{log}");
}

#[test]
fn a_caller_is_known_by_the_fingerprint_of_its_certificate() {
    let (authority, own) = (Authority::new("ours"), Authority::new("viewer"));
    let tls_port = free_port();
    let service = service_over_tls(&authority, tls_port);
    let (self_signed, vouched) = (own.itself(), authority.certify("other"));
    service.save(|configuration| {
        let mut other = station("OTHER", 105);
        other.tls = true;
        configuration.stations.push(other);
        for viewer in &mut configuration.stations {
            if viewer.name.as_str() == "VIEWER" {
                viewer.tls_fingerprints = vec![self_signed.fingerprint()];
            }
        }
    });
    service.env.impaxlink(&["reload"]).success();
    let echoes = |calling, certificate| echoes(tls_port, calling, certificate, &authority);
    let (answered, log) = echoes("VIEWER", &self_signed);
    assert!(answered, "{log}");
    let (answered, log) = echoes("OTHER", &vouched);
    assert!(answered, "{log}");

    // Neither speaks for the other: not by the authority that both sides trust, not by a fingerprint.
    for (calling, certificate) in [("VIEWER", &vouched), ("OTHER", &self_signed)] {
        let (answered, log) = echoes(calling, certificate);
        assert!(
            !answered && log.contains("Rejected Permanent"),
            "{calling}: {log}"
        );
        let why = format!(
            "the certificate is not the station's; where it truly is, set --tls-fingerprint {}",
            certificate.fingerprint()
        );
        service.log_with(&why);
    }
}

#[test]
fn a_peer_that_nobody_vouches_for_is_asked_by_the_fingerprint_of_its_certificate() {
    let (authority, federation) = (Authority::new("ours"), Federation::new(1, 4));
    let stranger = Authority::new("theirs");
    let server = stranger.certify_at("orthanc", "DNS:elsewhere.example", -1);
    let fingerprint = server.fingerprint().to_string();
    let (env, _orthanc) = linked_showing(server, &authority, &federation);
    trust(&env, &authority, &authority.certify("impaxlink"));
    let set = |fingerprint: &str| {
        env.impaxlink(&["station", "set", "PACS", "--tls-fingerprint", fingerprint])
            .success();
    };
    query(&env, &federation).exits(1);

    set(&fingerprint);
    env.impaxlink(&["config", "unset", "tls.authorities"]).success();
    let run = query(&env, &federation);
    run.success();
    assert_eq!(run.json()["items"].as_array().unwrap().len(), 1, "{run:#?}");

    set(&"0".repeat(64));
    let run = query(&env, &federation);
    run.exits(1);
    let detail = run.json()["ledger"][0]["detail"].as_str().unwrap().to_owned();
    let words = format!("is not the one of --tls-fingerprint, but {fingerprint}");
    assert!(detail.contains(&words), "{detail}");
}
