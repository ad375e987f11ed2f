//! Who is answered, who is not, and what those are told: judged by DCMTK's `echoscu`.

use std::io::Write;
use std::net::TcpStream;

use impaxlink::model::{Endpoint, Station};
use impaxlink::service::control;

use crate::support::attackers::{Attacker, FIND};
use crate::support::service::{PATIENCE, Service, block_on, set, station};
use crate::support::sites::internal;

#[track_caller]
fn assert_rejected((answered, log): (bool, String), result: &str, reason: &str) {
    assert!(!answered, "{log}");
    let log = log.to_lowercase();
    for words in [result, reason] {
        assert!(log.contains(&words.to_lowercase()), "no {words:?} in {log}");
    }
}

#[test]
fn registered_stations_are_answered_and_others_told_why_not() {
    let known = Station {
        also_calls_as: vec!["VIEWER_2".parse().unwrap()],
        ..station("VIEWER", 104)
    };
    let elsewhere = Station {
        from_addresses: vec!["10.0.0.9".parse().unwrap()],
        ..station("ELSEWHERE", 104)
    };
    let service = Service::start(vec![known, elsewhere]);
    for calling in ["VIEWER", "VIEWER_2"] {
        let (answered, log) = service.echo(calling, "IMPAXLINK");
        assert!(answered, "{log}");
    }
    let (result, reason) = ("Rejected Permanent", "Calling AE Title Not Recognized");
    assert_rejected(service.echo("STRANGER", "IMPAXLINK"), result, reason);
    assert_rejected(service.echo("ELSEWHERE", "IMPAXLINK"), result, reason);
    let reason = "Called AE Title Not Recognized";
    assert_rejected(service.echo("VIEWER", "SOMEBODY"), result, reason);
    for line in [
        r#"from "STRANGER" to "IMPAXLINK" at 127.0.0.1: no station has this calling AE title"#,
        r#"from "ELSEWHERE" to "IMPAXLINK" at 127.0.0.1: no station with this calling AE title calls from"#,
        r#"from "VIEWER" to "SOMEBODY" at 127.0.0.1: the called AE title is not ours"#,
    ] {
        service.log_with(line);
    }
}

/// Case: one site under several AE titles and addresses
#[test]
fn two_stations_at_one_address_with_one_title_are_a_tie() {
    let other = Station {
        ae_title: "PACS".parse().unwrap(),
        ..station("OTHER", 105)
    };
    let service = Service::start(vec![station("PACS", 104), other]);
    let rejected = service.echo("PACS", "IMPAXLINK");
    assert_rejected(rejected, "Rejected Permanent", "Calling AE Title Not Recognized");
    service.log_with("several stations");
}

#[test]
fn a_station_at_its_limit_is_rejected_for_now_and_others_are_not() {
    let service = Service::start_with(|configuration| {
        configuration.stations = vec![station("BUSY", 104), station("OTHER", 104), station("THIRD", 104)];
        set(configuration, "limits.associations_per_station", "1");
        set(configuration, "limits.associations", "2");
    });
    block_on(async {
        let mut held = service.associate("BUSY").await.unwrap();
        let reason = "Local Limit Exceeded";
        assert_rejected(service.echo("BUSY", "IMPAXLINK"), "Rejected Transient", reason);
        let mut other = service.associate("OTHER").await.unwrap();
        assert_rejected(service.echo("THIRD", "IMPAXLINK"), "Rejected Transient", reason);
        held.release().await.unwrap();
        service.wait_for("the released association's end", |status| {
            status.associations == 1
        });
        let (answered, log) = service.echo("BUSY", "IMPAXLINK");
        assert!(answered, "{log}");
        other.echo(PATIENCE).await.unwrap();
    });
}

#[test]
fn connections_that_never_ask_keep_nobody_out() {
    let service = Service::start(vec![station("VIEWER", 104)]);
    let silent: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(("127.0.0.1", service.port)).unwrap())
        .collect();
    let (answered, log) = service.echo("VIEWER", "IMPAXLINK");
    assert!(answered, "{log}");
    drop(silent);
}

#[test]
fn what_a_stranger_writes_does_not_steer_the_terminal_that_shows_the_log() {
    let service = Service::start(vec![]);
    let mut stream = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    // A-ASSOCIATE-RQ (PS3.8 9.3.2), titles of 16 bytes each.
    let mut body = vec![0, 1, 0, 0];
    body.extend_from_slice(b"IMPAXLINK       ");
    body.extend_from_slice(b"\x1b[2JEVIL\r\nroot: ");
    body.extend_from_slice(&[0; 32]);
    let context_name = b"1.2.840.10008.3.1.1.1";
    body.extend_from_slice(&[0x10, 0, 0, context_name.len() as u8]);
    body.extend_from_slice(context_name);
    let mut pdu = vec![1, 0];
    pdu.extend_from_slice(&(body.len() as u32).to_be_bytes());
    pdu.extend_from_slice(&body);
    stream.write_all(&pdu).unwrap();
    let log = service.log_with("EVIL");
    assert!(!log.contains('\x1b'), "{log:?}");
}

const STRANGER: [u8; 4] = [127, 0, 0, 2];

/// Case: a stranger with a station's AE title takes all its slots
#[test]
fn a_stranger_with_a_stations_title_does_not_lock_it_out() {
    let service = Service::start_with(|configuration| {
        configuration.stations = vec![station("PACS", 104)];
        set(configuration, "limits.associations_per_station", "4");
        set(configuration, "limits.associations", "16");
    });
    let from = |address: [u8; 4]| Attacker::associate_from(address.into(), service.port, "PACS", FIND);
    let taken: Vec<_> = (0..10).map_while(|_| from(STRANGER)).collect();
    assert_eq!(taken.len(), 4, "the slots of its own address");
    let others: Vec<_> = (0..12)
        .filter_map(|number| from([127, 0, 0, 3 + number % 6]))
        .collect();
    assert_eq!(taken.len() + others.len(), 14, "the last two are kept");
    let (answered, log) = service.echo("PACS", "IMPAXLINK");
    assert!(answered, "{log}");
}

/// Case: a stranger with a station's AE title
#[test]
fn with_require_address_on_a_station_is_admitted_from_its_own_addresses_alone() {
    let service = Service::start_with(|configuration| {
        let mut reader = internal("READER");
        reader.endpoint = Some(Endpoint {
            host: "192.0.2.1".parse().unwrap(),
            port: 104.try_into().unwrap(),
        });
        configuration.stations = vec![station("PACS", 104), reader];
        set(configuration, "access.require_address", "on");
    });
    let from = |address: [u8; 4], title| Attacker::associate_from(address.into(), service.port, title, FIND);
    assert!(from(STRANGER, "PACS").is_none());
    assert!(from([127, 0, 0, 1], "PACS").is_some());
    assert!(
        from([127, 0, 0, 1], "READER").is_none(),
        "no address is known of it"
    );
    service.log_with("add --from-address 127.0.0.2");
    service.save(|configuration| {
        configuration.stations[1].from_addresses = vec!["127.0.0.1".parse().unwrap()];
    });
    control::reload(&service.env.store(), PATIENCE).unwrap();
    assert!(from([127, 0, 0, 1], "READER").is_some());
    assert!(from(STRANGER, "READER").is_none());
}
