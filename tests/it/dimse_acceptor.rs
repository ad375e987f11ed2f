//! Associations that others open: DCMTK's tools, our own requestor, and bare sockets that misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use impaxlink::dimse::{Error, Rejection, ScpOptions, connect, uids};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::dimse_requestor::{endpoint, options};
use super::support::findscu::{echo, find_studies};
use super::support::scp::{Scp, on_one_thread as run};

const WITHIN: Duration = Duration::from_secs(20);

#[test]
fn echoscu_is_answered() {
    let mut scp = Scp::start();
    let output = Command::new("echoscu")
        .args([
            "-v",
            "-aet",
            "NORTH",
            "-aec",
            "LINK",
            "--repeat",
            "5",
            "-pts",
            "3",
            "127.0.0.1",
        ])
        .arg(scp.port.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let request = scp.requested.blocking_recv().unwrap();
    assert_eq!(
        (request.calling.raw.as_str(), request.called.raw.as_str()),
        ("NORTH", "LINK")
    );
    assert!(request.peer.address.ip().is_loopback());
    assert!(
        request
            .peer
            .implementation_version_name
            .starts_with("OFFIS_DCMTK")
    );
    assert_eq!(request.abstract_syntaxes, [uids::VERIFICATION]);
    assert!(matches!(scp.outcomes()[..], [Ok(())]));
}

#[test]
fn who_is_not_admitted_is_told_why() {
    let scp = Scp::start();
    let (success, log) = echo("WRONG", scp.port);
    assert!(
        !success && log.contains("Called AE Title Not Recognized"),
        "{log}"
    );
    run(async {
        let mut options = options("LINK");
        options.calling = "HARBOUR".parse().unwrap();
        let error = connect(&endpoint(scp.port), &options).await.unwrap_err();
        assert!(
            matches!(error, Error::Rejected(rejection) if rejection.is_transient()),
            "{error}"
        );
    });
    let found = find_studies("LINK", scp.port, &["PatientID"]);
    assert!(
        found.log.contains("No Acceptable Presentation Contexts"),
        "{}",
        found.log
    );
    let outcomes = scp.outcomes();
    assert!(matches!(
        outcomes[0],
        Err(Error::Refused(Rejection::CALLED_AE_TITLE))
    ));
}

#[test]
fn our_own_requestor_is_answered_a_hundred_times_at_once() {
    let scp = Scp::start();
    run(async {
        let mut clients = JoinSet::new();
        for _ in 0..100 {
            let port = scp.port;
            clients.spawn(async move {
                let mut association = connect(&endpoint(port), &options("LINK")).await?;
                assert_eq!(
                    association.peer().implementation_class_uid,
                    uids::IMPLEMENTATION_CLASS_UID
                );
                for _ in 0..10 {
                    assert!(association.echo(WITHIN).await?.is_success());
                }
                association.release().await
            });
        }
        for outcome in clients.join_all().await {
            outcome.unwrap();
        }
    });
    assert!(scp.outcomes().iter().all(Result::is_ok));
}

/// An A-ASSOCIATE-RQ for Verification in context 1, with `padding` bytes of something unknown.
fn association_request(padding: usize) -> Vec<u8> {
    let item = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0, length[0], length[1]], content].concat()
    };
    let context = [
        vec![1, 0, 0, 0],
        item(0x30, uids::VERIFICATION.as_bytes()),
        item(0x40, b"1.2.840.10008.1.2"),
    ]
    .concat();
    let mut user = item(0x51, &[0, 0, 0x40, 0]);
    for _ in 0..padding / 1_000 {
        user.extend(item(0x57, &[0; 996]));
    }
    let mut body = [&[0, 1, 0, 0][..], b"LINK            NORTH           ", &[0; 32]].concat();
    body.extend(
        [
            item(0x10, b"1.2.840.10008.3.1.1.1"),
            item(0x20, &context),
            item(0x50, &user),
        ]
        .concat(),
    );
    pdu(1, &body)
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 0], &length[..], body].concat()
}

/// A P-DATA-TF with one whole command set of numbers: `(element, value)`, and the SOP class.
fn command(context: u8, sop_class: &str, numbers: &[(u16, u16)]) -> Vec<u8> {
    let uid = if sop_class.len().is_multiple_of(2) {
        sop_class.to_owned()
    } else {
        format!("{sop_class}\0")
    };
    let mut set = vec![0, 0, 2, 0];
    set.extend((uid.len() as u32).to_le_bytes());
    set.extend(uid.as_bytes());
    for (element, value) in numbers {
        set.extend([
            0,
            0,
            element.to_le_bytes()[0],
            element.to_le_bytes()[1],
            2,
            0,
            0,
            0,
        ]);
        set.extend(value.to_le_bytes());
    }
    let length = (set.len() as u32 + 2).to_be_bytes();
    pdu(4, &[&length[..], &[context, 3], &set].concat())
}

fn read_pdu(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).unwrap();
    let length = u32::from_be_bytes(*header.last_chunk().unwrap());
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).unwrap();
    (header[0], body)
}

/// The numbers of a response: of this element, if it is there.
fn number(body: &[u8], element: u16) -> Option<u16> {
    let wanted = [
        0,
        0,
        element.to_le_bytes()[0],
        element.to_le_bytes()[1],
        2,
        0,
        0,
        0,
    ];
    let at = body.windows(8).position(|window| window == wanted)?;
    Some(u16::from_le_bytes([body[at + 8], body[at + 9]]))
}

const FIELD: u16 = 0x0100;
const MESSAGE_ID: u16 = 0x0110;
const RESPONDED_TO: u16 = 0x0120;
const DATA_SET_TYPE: u16 = 0x0800;
const STATUS: u16 = 0x0900;

#[test]
fn what_is_not_served_gets_its_status_and_the_association_goes_on() {
    let scp = Scp::start();
    let mut stream = scp.connect();
    stream.write_all(&association_request(0)).unwrap();
    assert_eq!(read_pdu(&mut stream).0, 2);
    for (sop_class, field, status) in [
        (uids::VERIFICATION, 0x0030, 0x0000),
        (uids::VERIFICATION, 0x0020, 0x0211),
        (uids::VERIFICATION, 0x4711, 0x0211),
        (uids::STUDY_ROOT_FIND, 0x0030, 0x0122),
        (uids::VERIFICATION, 0x0030, 0x0000),
    ] {
        let numbers = [
            (FIELD, field),
            (MESSAGE_ID, field ^ 0x5A5A),
            (DATA_SET_TYPE, 0x0101),
        ];
        stream.write_all(&command(1, sop_class, &numbers)).unwrap();
        let (kind, body) = read_pdu(&mut stream);
        assert_eq!(kind, 4);
        assert_eq!(number(&body, FIELD), Some(field | 0x8000));
        assert_eq!(number(&body, RESPONDED_TO), Some(field ^ 0x5A5A));
        assert_eq!(number(&body, STATUS), Some(status), "{field:04X}");
    }
    stream.write_all(&pdu(5, &[0; 4])).unwrap();
    assert_eq!(read_pdu(&mut stream).0, 6);
    assert!(matches!(scp.outcomes()[..], [Ok(())]));
}

#[test]
fn what_comes_instead_of_a_request_is_answered_politely() {
    for (bytes, answer) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), (7, vec![0, 0, 2, 1])),
        (pdu(5, &[0; 4]), (7, vec![0, 0, 2, 2])),
        (pdu(1, &[0; 10]), (7, vec![0, 0, 2, 6])),
        (association_request(60_000), (2, vec![])),
        (vec![1, 0, 0xFF, 0xFF, 0xFF, 0xFF], (3, vec![0, 1, 3, 2])),
    ] {
        let scp = Scp::start();
        let mut stream = scp.connect();
        stream.write_all(&bytes).unwrap();
        let (kind, body) = read_pdu(&mut stream);
        assert_eq!(kind, answer.0);
        assert!(kind == 2 || body == answer.1, "{body:02X?}");
    }
}

/// The peer is still sending when it is refused; it must be able to read why.
#[test]
fn a_request_too_large_is_rejected_and_not_reset() {
    let scp = Scp::start();
    let mut stream = scp.connect();
    let mut request = vec![1, 0];
    request.extend(4_000_000_u32.to_be_bytes());
    request.resize(4_000_000, 0);
    stream.write_all(&request).unwrap();
    assert_eq!(read_pdu(&mut stream), (3, vec![0, 1, 3, 2]));
    drop(stream);
    assert!(matches!(scp.outcomes()[..], [Err(Error::TooLarge { .. })]));
}

#[test]
fn versions_and_contexts_of_other_worlds_are_rejected() {
    let mut other_version = association_request(0);
    other_version[7] = 2;
    let mut other_application = association_request(0);
    let at = other_application
        .windows(21)
        .position(|it| it == b"1.2.840.10008.3.1.1.1")
        .unwrap();
    other_application[at] = b'2';
    for (request, expected) in [
        (other_version, vec![0, 1, 2, 2]),
        (other_application, vec![0, 1, 1, 2]),
    ] {
        let scp = Scp::start();
        let mut stream = scp.connect();
        stream.write_all(&request).unwrap();
        assert_eq!(read_pdu(&mut stream), (3, expected));
    }
}

#[test]
fn silence_and_idleness_are_bounded() {
    let mut options = ScpOptions {
        idle_timeout: Duration::from_secs(2),
        ..ScpOptions::default()
    };
    options.acceptor.associate_timeout = Duration::from_secs(2);
    let scp = Scp::start_with(options, Semaphore::MAX_PERMITS);
    let begun = Instant::now();
    let mut silent = scp.connect();
    let mut slow = scp.connect();
    slow.write_all(&association_request(0)[..20]).unwrap();
    let mut idle = scp.connect();
    idle.write_all(&association_request(0)).unwrap();
    assert_eq!(read_pdu(&mut idle).0, 2);
    for stream in [&mut silent, &mut slow, &mut idle] {
        assert_eq!(read_pdu(stream), (7, vec![0, 0, 0, 0]));
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn draining_finishes_the_request_under_way_and_releases() {
    let mut scp = Scp::start_with(ScpOptions::default(), 0);
    let mut stream = scp.connect();
    stream.write_all(&association_request(0)).unwrap();
    assert_eq!(read_pdu(&mut stream).0, 2);
    scp.requested.blocking_recv().unwrap();
    let numbers = [(FIELD, 0x0030), (MESSAGE_ID, 7), (DATA_SET_TYPE, 0x0101)];
    let request = command(1, uids::VERIFICATION, &numbers);
    let (first, second) = request.split_at(20);
    stream.write_all(first).unwrap();
    scp.drain.cancel();
    stream.write_all(second).unwrap();
    scp.handler.answers.add_permits(1);
    // Whether the drain was seen before the request's first bytes is the scheduler's choice.
    let (mut kind, mut body) = read_pdu(&mut stream);
    if kind == 4 {
        assert_eq!(number(&body, STATUS), Some(0));
        (kind, body) = read_pdu(&mut stream);
    }
    assert_eq!((kind, body), (5, vec![0; 4]));
    stream.write_all(&pdu(6, &[0; 4])).unwrap();
    assert!(matches!(scp.outcomes()[..], [Ok(())]));
}

#[test]
fn a_peer_that_ignores_the_release_is_aborted() {
    let mut options = ScpOptions::default();
    options.acceptor.limits.release_timeout = Duration::from_millis(100);
    let scp = Scp::start_with(options, 0);
    let mut stream = scp.connect();
    stream.write_all(&association_request(0)).unwrap();
    assert_eq!(read_pdu(&mut stream).0, 2);
    scp.drain.cancel();
    assert_eq!(read_pdu(&mut stream).0, 5);
    assert_eq!(read_pdu(&mut stream).0, 7);
    assert!(matches!(scp.outcomes()[..], [Err(Error::TimedOut { .. })]));
}

/// The address a peer is known by is the one it connects from.
#[test]
fn the_address_of_the_peer_is_known() {
    let mut scp = Scp::start();
    let stream = scp.connect();
    let address: SocketAddr = stream.local_addr().unwrap();
    (&stream).write_all(&association_request(0)).unwrap();
    assert_eq!(scp.requested.blocking_recv().unwrap().peer.address, address);
}
