//! Associations over TLS: DCMTK's tools, our own requestor, and who must not get in.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use impaxlink::dimse::{
    AcceptorTls, Authorities, Awaited, CallerCertificates, CallerTrust, Error, Identity, RequestorTls,
    ScpOptions, connect,
};
use tokio::sync::Semaphore;

use super::dimse_requestor::{endpoint, options};
use super::support::certificates::{Authority, Certificate};
use super::support::process::{Process, free_port, listens};
use super::support::scp::{Scp, on_one_thread as run};

const WITHIN: Duration = Duration::from_secs(20);

/// Long enough for a handshake on a busy machine.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub fn identity(certificate: &Certificate) -> Identity {
    let read = |path| fs::read(path).unwrap();
    Identity::from_pem(&read(&certificate.certificate), &read(&certificate.key)).unwrap()
}

fn trusting(authority: &Authority) -> Authorities {
    Authorities::from_pem(&fs::read(authority.file()).unwrap()).unwrap()
}

fn vouched_by(authority: &Authority) -> CallerTrust {
    CallerTrust {
        authorities: Some(trusting(authority)),
        ..CallerTrust::default()
    }
}

fn scp(certificate: &Certificate, callers: CallerCertificates) -> Scp {
    scp_with(certificate, callers, HANDSHAKE)
}

fn scp_with(certificate: &Certificate, callers: CallerCertificates, handshake: Duration) -> Scp {
    let mut options = ScpOptions::default();
    options.acceptor.tls = Some(AcceptorTls::new(identity(certificate), callers).unwrap());
    options.acceptor.tls_timeout = handshake;
    Scp::start_with(options, Semaphore::MAX_PERMITS)
}

/// C-ECHO from our requestor.
fn echo(port: u16, tls: Option<RequestorTls>) -> Result<(), Error> {
    let mut options = options("LINK");
    options.tls = tls;
    options.tls_timeout = HANDSHAKE;
    run(async {
        let mut association = connect(&endpoint(port), &options).await?;
        assert_eq!(association.peer().certificate.is_some(), options.tls.is_some());
        assert!(association.echo(WITHIN).await?.is_success());
        association.release().await
    })
}

#[test]
fn echoscu_is_answered_over_tls_and_known_by_its_certificate() {
    let authority = Authority::new("ours");
    let (server, client) = (authority.certify("server"), authority.certify("client"));
    let mut scp = scp(&server, CallerCertificates::Required(vouched_by(&authority)));
    let output = Command::new("echoscu")
        .args(["-v", "-aec", "LINK", "+tls"])
        .args([&client.key, &client.certificate])
        .arg("+cf")
        .arg(authority.file())
        .args(["127.0.0.1", &scp.port.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let certificate = scp.requested.blocking_recv().unwrap().peer.certificate.unwrap();
    assert_eq!(certificate.fingerprint(), client.fingerprint());
}

#[test]
fn storescp_answers_us_over_tls() {
    let authority = Authority::new("ours");
    let (server, client) = (authority.certify("server"), authority.certify("client"));
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new("storescp");
    command
        .args(["+tls"])
        .args([&server.key, &server.certificate])
        .arg("+cf")
        .arg(authority.file());
    command.current_dir(folder.path()).arg(port.to_string());
    let mut storescp = Process::start(&mut command, folder.path().join("log"));
    storescp.wait_until("listening", || listens(port));
    let tls = RequestorTls::new(&trusting(&authority), Some(identity(&client))).unwrap();
    echo(port, Some(tls)).unwrap();
    let without_certificate = RequestorTls::new(&trusting(&authority), None).unwrap();
    let error = echo(port, Some(without_certificate)).unwrap_err();
    assert!(matches!(error, Error::Tls(_) | Error::Closed(_)), "{error}");
}

#[test]
fn certificates_of_callers_are_verified_as_told() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let server = authority.certify("server");
    let required = CallerCertificates::Required(vouched_by(&authority));
    let optional = CallerCertificates::Optional(vouched_by(&authority));
    for (callers, with_none, with_ours, with_foreign) in [
        (CallerCertificates::NotAsked, true, true, true),
        (optional, true, true, false),
        (required, false, true, false),
    ] {
        let scp = scp(&server, callers);
        for (caller, is_let_in) in [
            (None, with_none),
            (Some(authority.certify("client")), with_ours),
            (Some(stranger.certify("client")), with_foreign),
        ] {
            let tls = RequestorTls::new(&trusting(&authority), caller.as_ref().map(identity)).unwrap();
            match echo(scp.port, Some(tls)) {
                Ok(()) => assert!(is_let_in),
                Err(Error::Tls(_)) => assert!(!is_let_in),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_peer_that_is_not_vouched_for_is_not_spoken_to() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let scp = scp(&authority.certify("server"), CallerCertificates::NotAsked);
    let tls = RequestorTls::new(&trusting(&stranger), None).unwrap();
    let error = echo(scp.port, Some(tls)).unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error}");
}

#[test]
fn only_one_side_speaking_tls_is_told_and_bounded() {
    let authority = Authority::new("ours");
    let tls_scp = scp(&authority.certify("server"), CallerCertificates::NotAsked);
    let error = echo(tls_scp.port, None).unwrap_err();
    assert!(matches!(error, Error::NotDicom), "{error}");
    let tls = RequestorTls::new(&trusting(&authority), None).unwrap();
    let error = echo(Scp::start().port, Some(tls)).unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error}");

    let server = authority.certify("server");
    let impatient = scp_with(&server, CallerCertificates::NotAsked, Duration::from_millis(300));
    let begun = Instant::now();
    let mut silent = impatient.connect();
    silent.write_all(&[22, 3, 1]).unwrap();
    // Once it drains, the SCP takes nothing more, nor what still waits to be taken. That it had this connection shows
    // in its closing it, and not in our having written to it.
    let closed = silent.read_to_end(&mut Vec::new());
    assert!(!closed.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    assert!(begun.elapsed() < HANDSHAKE);
    let outcomes = impatient.outcomes();
    let awaited = Awaited::TlsHandshake;
    let timed_out = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::TimedOut { awaited: it, .. }) if *it == awaited);
    assert!(outcomes.len() == 1 && timed_out(&outcomes[0]), "{outcomes:?}");
}
