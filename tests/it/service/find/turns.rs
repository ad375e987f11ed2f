//! Many callers at once: a station is asked over so many associations, and the others wait for their turn.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::brought::{accept, study};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Flood, Step, answer, elements};
use crate::support::service::{Service, set};
use crate::support::sites::{archive, internal};
use crate::support::viewer::Viewer;

fn service_in_turn(pacs: &FakePeer, limit: &str, timeout: Duration) -> Service {
    Service::start_with(|configuration| {
        let mut pacs = archive("PACS", "PACS", pacs.port);
        pacs.timeout = timeout;
        set(configuration, "limits.associations_to_station", limit);
        configuration.stations = vec![pacs, internal("READER")];
    })
}

/// Case: many callers for one station
#[test]
fn callers_wait_their_turn_and_all_are_answered() {
    let pause = Duration::from_millis(200);
    let pacs = FakePeer::start(answer([Step::Pause(pause), study("1.1")]));
    let service = service_in_turn(&pacs, "2", Duration::from_secs(20));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut reader = Viewer::open(service.port, "READER");
                let seen = reader.find(&["StudyInstanceUID"]);
                assert_eq!((seen.status, seen.matches.len()), (0, 1));
            });
        }
    });
    assert!(begun.elapsed() >= pause * 4, "two at once: {:?}", begun.elapsed());
}

/// Case: many callers for one station
#[test]
fn a_turn_that_never_comes_is_not_waited_for() {
    let flood = Step::Matches(Flood {
        count: 1_000_000,
        identifier: |number| elements(&[("StudyInstanceUID", &format!("1.9.{number}"))]),
        heeds_cancel: true,
    });
    let pacs = FakePeer::start(vec![accept(), Step::AwaitRequest, flood, Step::End(0, "")]);
    let service = service_in_turn(&pacs, "1", Duration::from_secs(2));
    let mut holding = Viewer::open(service.port, "READER");
    holding.begin("STUDY", &["StudyInstanceUID"]);
    holding.next();
    let mut other = Viewer::open(service.port, "READER");
    let seen = other.find(&["StudyInstanceUID"]);
    assert_eq!(
        (seen.status, seen.comment.as_str()),
        (0xC001, "1 of 1 sites did not answer: PACS")
    );
    holding.cancel();
    assert_eq!(holding.finish().status, 0xFE00);
    other.begin("STUDY", &["StudyInstanceUID"]);
    other.next();
}
