//! Input that is large, or slow, or never ends: it is refused politely, costs the other callers nothing, and ends.

use std::thread;
use std::time::{Duration, Instant};

use impaxlink::model::{Configuration, Kind, Station};
use rustix::process::Signal;

use crate::support::attackers::{Attacker, End, FIND, MOVE, at_study_level, element};
use crate::support::brought::study;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Packing, Step, a_match, answer};
use crate::support::service::{Service, set, wait_for};
use crate::support::sites::{archive, internal};
use crate::support::viewer::{Viewer, value};

/// What another caller may wait for an answer meanwhile. The tests share two cores with each other.
const PATIENCE: Duration = Duration::from_secs(3);
/// In what time work ends once its caller has hung up, or the service is told to stop; a machine at rest takes 0.1 s.
const END: Duration = Duration::from_secs(5);
/// What the service may grow to, in KiB.
const MOST_MEMORY: u64 = 256 * 1024;

fn service_of(peer: &FakePeer, change: impl FnOnce(&mut Configuration)) -> Service {
    Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        let attackers = (0..3).map(|number| internal(&format!("ATTACKER{number}")));
        configuration.stations = vec![archive("PACS", "PACS", peer.port), internal("READER")];
        configuration.stations.extend(attackers);
        change(configuration);
    })
}

fn good_peer() -> FakePeer {
    FakePeer::start(answer([study("1.1")]))
}

/// Queries as another caller while `attack` runs, and for a moment at least; checks how long each answer took.
fn while_under(service: &Service, attack: impl FnOnce() + Send) {
    let begun = Instant::now();
    thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut reader = Viewer::open(service.port, "READER");
        while !attack.is_finished() || begun.elapsed() < Duration::from_millis(300) {
            let asked = Instant::now();
            let seen = reader.find(&["StudyInstanceUID", "PatientID"]);
            let (took, status) = (asked.elapsed(), seen.status);
            assert_eq!((status, seen.matches.len()), (0, 1));
            assert!(took < PATIENCE, "another caller waited {took:?}");
            thread::sleep(Duration::from_millis(5));
        }
        reader.release();
    });
    let memory = peak_memory(service);
    assert!(memory < MOST_MEMORY, "{memory} KiB");
}

/// The largest resident set that the service has had, in KiB.
fn peak_memory(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn attack_from(service: &Service, callers: usize, attack: impl Fn(Attacker) + Sync) {
    thread::scope(|scope| {
        for number in 0..callers {
            let attack = &attack;
            scope.spawn(move || {
                let title = format!("ATTACKER{}", number % 3);
                attack(Attacker::associate(service.port, &title, FIND).expect("a slot"));
            });
        }
    });
}

fn keys(count: u16) -> Vec<u8> {
    let keys: Vec<u8> = (0..count)
        .flat_map(|number| element((0x0009, 0x1000 + number), b""))
        .collect();
    at_study_level(&keys)
}

/// Case: an answer row with hundreds of thousands of values
#[test]
fn a_row_of_400_000_values_is_cut_and_freezes_nobody() {
    let modalities: Vec<String> = (0..400_000).map(|number| format!("M{number}")).collect();
    let modalities = modalities.join("\\");
    let row = a_match(&[("StudyInstanceUID", "1.9"), ("ModalitiesInStudy", &modalities)]);
    let implicit = Step::Accept(Acceptance {
        transfer_syntaxes: vec!["1.2.840.10008.1.2"],
        ..Acceptance::default()
    });
    let hostile = FakePeer::start(vec![
        implicit,
        Step::Pack(Packing::FragmentEach(60_000)),
        Step::AwaitRequest,
        row,
        Step::End(0, ""),
    ]);
    let good = good_peer();
    let service = service_of(&good, |configuration| {
        configuration.stations.push(archive("HUGE", "HUGE", hostile.port));
        configuration
            .stations
            .retain(|station| station.name.as_str() != "PACS");
    });
    let asked = Instant::now();
    let mut viewer = Viewer::open(service.port, "READER");
    let attack = thread::spawn(move || viewer.find(&["StudyInstanceUID", "ModalitiesInStudy"]));
    let (is_answered, said) = service.echo("READER", "IMPAXLINK");
    assert!(is_answered, "{said}");
    let seen = attack.join().unwrap();
    let took = asked.elapsed();
    assert_eq!((seen.status, seen.matches.len()), (0, 1));
    let shown = value(&seen.matches[0], dicom_dictionary_std::tags::MODALITIES_IN_STUDY).unwrap();
    assert_eq!(shown.split('\\').count(), 100, "the first of them are shown");
    assert!(took < PATIENCE, "{took:?}");
    assert!(peak_memory(&service) < MOST_MEMORY);
}

/// Case: an identifier with tens of thousands of keys
#[test]
fn too_many_keys_are_refused_and_cost_the_others_nothing() {
    let peer = good_peer();
    let service = service_of(&peer, |_| {});
    let identifier = keys(50_000);
    while_under(&service, || {
        attack_from(&service, 6, |mut attacker| {
            for _ in 0..3 {
                let end = attacker.ask(0x20, &identifier);
                assert_eq!(end, Some(refused("more than 500 keys")));
            }
        });
    });
}

fn refused(comment: &str) -> End {
    End {
        status: 0xA700,
        comment: comment.to_owned(),
    }
}

/// Case: a list of tens of thousands of UIDs
#[test]
fn lists_of_too_many_uids_are_refused_by_find_and_move() {
    let peer = good_peer();
    let service = service_of(&peer, |_| {});
    let list = |count| {
        let mut list = vec!["1.2.840.1"; count].join("\\").into_bytes();
        list.resize(list.len().next_multiple_of(2), 0);
        at_study_level(&element((0x0020, 0x000D), &list))
    };
    while_under(&service, || {
        for (sop_class, field) in [(FIND, 0x20), (MOVE, 0x21)] {
            let mut attacker = Attacker::associate(service.port, "ATTACKER0", sop_class).unwrap();
            let end = attacker.ask(field, &list(64_000));
            assert_eq!(end, Some(refused("more than 10000 UIDs in a key")));
            let end = attacker.ask(field, &list(400_000));
            assert_eq!(end, Some(refused("the identifier has more than 1048576 bytes")));
        }
    });
}

/// Case: unfinished identifiers of many callers
#[test]
fn unfinished_identifiers_take_a_bounded_memory_and_small_ones_still_pass() {
    let peer = good_peer();
    let service = service_of(&peer, |configuration| set(configuration, "timeout.idle", "20s"));
    let part = vec![0; 1_000_000];
    while_under(&service, || {
        let mut held: Vec<Attacker> = (0..90)
            .map(|number| {
                let title = format!("ATTACKER{}", number % 3);
                Attacker::associate(service.port, &title, FIND).expect("a slot")
            })
            .collect();
        for attacker in &mut held {
            assert!(attacker.begin(0x20) && attacker.send_data(&part, false));
        }
        // Which of them found no room depends on the order in which they were read.
        let no_room = refused("too many bytes are being received, try again later");
        let without_room = held.iter_mut().rev().find_map(|attacker| {
            assert!(attacker.send_data(&[0; 2], true));
            let end = attacker.end().expect("an answer");
            (end == no_room).then_some(attacker)
        });
        let small = without_room.expect("one that found no room").ask(0x20, &keys(3));
        assert_eq!(small.map(|end| end.status), Some(0));
        drop(held);
        wait_for("the end of associations whose callers hung up", || {
            service.status().associations <= 1
        });
        let mut again = Attacker::associate(service.port, "ATTACKER0", FIND).unwrap();
        assert!(again.begin(0x20) && again.send_data(&part, true));
        let end = again.end().map(|end| end.status);
        assert_eq!(
            end,
            Some(0xA900),
            "there is room again, and zeros are no identifier"
        );
    });
}

/// Case: a message that comes a byte at a time
#[test]
fn a_message_that_trickles_is_cut_also_while_its_caller_is_never_silent() {
    let peer = good_peer();
    let service = service_of(&peer, |configuration| set(configuration, "timeout.idle", "2s"));
    while_under(&service, || {
        let mut attacker = Attacker::associate(service.port, "ATTACKER0", FIND).unwrap();
        assert!(attacker.begin(0x20));
        let begun = Instant::now();
        while attacker.send_data(&[0], false) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it is never cut");
            thread::sleep(Duration::from_millis(100));
        }
        assert!(begun.elapsed() >= Duration::from_secs(1), "it had no time at all");
    });
}

/// Case: a message that comes a byte at a time
#[test]
fn an_object_that_trickles_is_cut() {
    let peer = good_peer();
    let service = service_of(&peer, |configuration| {
        set(configuration, "timeout.idle", "2s");
        configuration
            .stations
            .retain(|station| station.name.as_str() != "PACS");
        let mut own = Station::new("OWN".parse().unwrap(), "OWN".parse().unwrap(), None);
        own.kind = Kind::Archive;
        configuration.stations.push(own);
    });
    let ct = "1.2.840.10008.5.1.4.1.1.2";
    let mut attacker = Attacker::associate(service.port, "ATTACKER0", ct).unwrap();
    assert!(attacker.begin(0x01));
    let begun = Instant::now();
    while attacker.send_data(&[0], false) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never cut");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "it had no time at all");
}

/// Case: work whose caller hangs up, or whose service is told to stop
#[test]
fn work_ends_with_its_caller_and_with_the_service() {
    let endless = FakePeer::start(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        study("1.1"),
        Step::Pause(Duration::from_secs(60)),
    ]);
    let mut service = service_of(&endless, |configuration| {
        set(configuration, "timeout.drain", "1s")
    });
    let mut attackers: Vec<Attacker> = (0..6)
        .map(|_| Attacker::associate(service.port, "ATTACKER0", FIND).unwrap())
        .collect();
    for attacker in &mut attackers {
        assert!(attacker.begin(0x20) && attacker.send_data(&keys(400), true));
    }
    service.wait_for("the associations", |status| status.associations == 6);
    let hung_up = Instant::now();
    drop(attackers.drain(..3));
    service.wait_for("the end of the work", |status| status.associations == 3);
    assert!(hung_up.elapsed() < END, "{:?}", hung_up.elapsed());
    let mut half = Attacker::associate(service.port, "ATTACKER1", FIND).unwrap();
    assert!(half.begin(0x20) && half.send_data(&[0; 100], false));
    let told = Instant::now();
    service.process.signal(Signal::TERM);
    service.process.wait(END + Duration::from_secs(1));
    eprintln!("ended {:.1?} after SIGTERM", told.elapsed());
}
