//! Attacks on the service: while they run, it keeps answering the others, in bounded memory.
//!
//! Each attack runs for a moment from many connections at once; a well-behaved viewer queries meanwhile, on its held
//! association and on new ones, and what it waited and what the service's memory grew to is printed and bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::brought::study;
use crate::support::fake_peer::script::answer;
use crate::support::fake_peer::{FakePeer, bombs};
use crate::support::raw_association::association_request;
use crate::support::service::{Service, set};
use crate::support::sites::{archive, internal};
use crate::support::stop_on_drop::StopOnDrop;
use crate::support::viewer::Viewer;

/// How long each attack goes on.
const LENGTH: Duration = Duration::from_millis(1500);
/// From how many connections at once.
const ATTACKERS: usize = 60;
/// What a viewer may wait for an answer meanwhile, or for an association. The tests share two cores with each other, and
/// where a flood fills the queue of the listening socket, the kernel tries the viewer's connection again after 1, 3 and
/// 7 seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the service may grow to, in KiB.
const MOST_MEMORY: u64 = 256 * 1024;

fn service(pacs: &FakePeer) -> Service {
    Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        set(configuration, "timeout.artim", "1s");
        set(configuration, "timeout.idle", "5s");
        configuration.stations = vec![
            archive("PACS", "PACS", pacs.port),
            internal("READER"),
            internal("ATTACKER"),
        ];
    })
}

/// Runs `attack` from many connections until its time is up, with a viewer beside it.
fn under(name: &str, attack: impl Fn(&Service, &AtomicBool) + Sync) {
    let pacs = FakePeer::start(answer([study("1.1")]));
    let service = service(&pacs);
    let done = AtomicBool::new(false);
    let mut waits = thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    attack(&service, &done);
                }
            });
        }
        // Also where a query fails: the attackers would go on for ever.
        let _stop = StopOnDrop(&done);
        query_for(&service, LENGTH)
    });
    waits.sort_unstable();
    let memory = peak_memory(service.process.id());
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    eprintln!(
        "{name}: {} queries, median {median:.1?}, longest {longest:.1?}; {memory} KiB",
        waits.len()
    );
    assert!(longest < PATIENCE, "{name}: a viewer waited {longest:?}");
    assert!(memory < MOST_MEMORY, "{name}: {memory} KiB");
}

/// Queries without pause, each time on the held association and on a new one, at least once; how long each answer and
/// each association took.
fn query_for(service: &Service, length: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut held = Viewer::open(service.port, "READER");
    let mut waits = vec![begun.elapsed()];
    let end = Instant::now() + length;
    loop {
        let mut ask = |viewer: &mut Viewer| {
            let begun = Instant::now();
            let seen = viewer.find(&["StudyInstanceUID", "PatientID"]);
            assert_eq!((seen.status, seen.matches.len()), (0, 1));
            waits.push(begun.elapsed());
        };
        ask(&mut held);
        let begun = Instant::now();
        let mut fresh = Viewer::open(service.port, "READER");
        ask(&mut fresh);
        fresh.release();
        waits.push(begun.elapsed());
        if Instant::now() >= end {
            held.release();
            return waits;
        }
    }
}

/// The largest resident set that a process has had, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A connection; `None` where the service has no room, which is as it should be.
fn connect(service: &Service) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", service.port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(2))).ok()?;
    Some(stream)
}

/// Sends, and reads what comes until the service has enough. Whether it takes it is its own affair.
fn send(service: &Service, bytes: &[u8]) {
    if let Some(mut stream) = connect(service) {
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// The request of an attacker who is registered, and may query.
fn request_to_find() -> Vec<u8> {
    association_request("ATTACKER", "1.2.840.10008.5.1.4.1.2.2.1")
}

/// Associates, and sends what a registered station should not.
fn send_associated(service: &Service, bytes: &[u8]) {
    let Some(mut stream) = connect(service) else {
        return;
    };
    let mut answer = [0; 6];
    let is_accepted = stream.write_all(&request_to_find()).is_ok() && stream.read_exact(&mut answer).is_ok();
    if is_accepted && answer[0] == 2 {
        let _ = stream.write_all(bytes);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// A C-FIND-RQ in one PDU whose identifier is `identifier`.
fn find_request(identifier: &[u8]) -> Vec<u8> {
    fn element(number: u16, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_le_bytes();
        [&0_u16.to_le_bytes()[..], &number.to_le_bytes(), &length, value].concat()
    }
    let command = [
        element(0x0002, b"1.2.840.10008.5.1.4.1.2.2.1\0"),
        element(0x0100, &0x20_u16.to_le_bytes()),
        element(0x0110, &1_u16.to_le_bytes()),
        element(0x0700, &0_u16.to_le_bytes()),
        element(0x0800, &1_u16.to_le_bytes()),
    ]
    .concat();
    let value = |control: u8, bytes: &[u8]| {
        let length = u32::try_from(bytes.len() + 2).unwrap().to_be_bytes();
        [&length[..], &[1, control], bytes].concat()
    };
    let values = [value(3, &command), value(2, identifier)].concat();
    let length = u32::try_from(values.len()).unwrap().to_be_bytes();
    [&[4, 0], &length[..], &values].concat()
}

#[test]
fn slow_loris() {
    under("slow-loris", |service, done| {
        let Some(mut stream) = connect(service) else {
            return;
        };
        for byte in request_to_find() {
            if done.load(Ordering::Relaxed) || stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(40));
        }
    });
}

#[test]
fn half_open_connections() {
    under("half-open", |service, done| {
        let held: Vec<TcpStream> = (0..10).filter_map(|_| connect(service)).collect();
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until && !done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        drop(held);
    });
}

#[test]
fn a_flood_of_connections() {
    under("flood of connections", |service, _| drop(connect(service)));
}

#[test]
fn a_flood_of_associations() {
    under("flood of associations", |service, _| {
        send_associated(service, &[5, 0, 0, 0, 0, 4, 0, 0, 0, 0])
    });
}

#[test]
fn garbage_and_declared_lengths() {
    let attacks = [bombs::garbage(), bombs::huge_pdu(), bombs::overlong_pdv()];
    under("garbage", |service, _| {
        for attack in &attacks {
            send(service, attack);
            send_associated(service, attack);
        }
    });
}

#[test]
fn identifiers_that_are_bombs() {
    let attacks = [bombs::deep_nesting(2000), bombs::declared_4_gib()].map(|bomb| find_request(&bomb));
    under("identifier bombs", |service, _| {
        for attack in &attacks {
            send_associated(service, attack);
        }
    });
}

#[test]
fn half_a_message_and_then_silence() {
    let half = [4, 0, 0, 0, 60, 0, 0, 0, 0, 30, 1, 3, 0, 0];
    under("half a message", |service, _| send_associated(service, &half));
}
