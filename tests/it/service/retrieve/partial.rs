//! The final status and the comment of a retrieve where stations did not answer, or not in full.

use impaxlink::dimse::uids;

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step, answer};
use crate::support::process::free_port;
use crate::support::retrieve::{data_sets, listing, one_series};
use crate::support::retrievers::{Retrieved, movescu};
use crate::support::service::{Service, station};
use crate::support::sites::{archive, internal, open_link};
use crate::support::storescp::Storescp;
use crate::support::studies::Study;

/// A service with these stations besides a reader and the destination STORE.
fn service(store: &Storescp, mut stations: Vec<impaxlink::model::Station>) -> Service {
    stations.push(internal("READER"));
    stations.push(station("STORE", store.port));
    Service::start(stations)
}

fn moved(service: &Service, study: &Study) -> Retrieved {
    let uid = format!("StudyInstanceUID={}", study.uid);
    let keys = ["QueryRetrieveLevel=STUDY", uid.as_str()];
    movescu(service.port, "READER", "STORE", &[], &keys)
}

/// Case: no archive station answers while a linked site has the study
#[test]
fn a_move_without_an_answer_of_the_archive_fails_whatever_a_linked_site_gave() {
    let study = one_series();
    let siteb = Dcmqrscp::start("SITEB", [&study]);
    let store = Storescp::start("STORE", &[]);
    let stations = vec![
        archive("PACS", "PACS", free_port()),
        open_link("SITEB", "SITEB", siteb.port),
    ];
    let moved = moved(&service(&store, stations), &study);
    moved.assert_ended("c000", [-1, 3, 0, 0]);
    assert!(
        moved.log.contains("1 of 2 sites did not answer: PACS"),
        "{}",
        moved.log
    );
}

/// Case: a slow site is not waited for when the local archive has the study
#[test]
fn a_site_that_was_not_waited_for_is_named() {
    let study = one_series();
    let pacs = Dcmqrscp::start("PACS", [&study]);
    let slow = FakePeer::start(vec![Step::AwaitAssociation]);
    let store = Storescp::start("STORE", &[]);
    let stations = vec![
        archive("PACS", "PACS", pacs.port),
        open_link("SITEB", "SITEB", slow.port),
    ];
    let moved = moved(&service(&store, stations), &study);
    moved.assert_ended("0000", [-1, 3, 0, 0]);
    assert!(
        moved.log.contains("1 of 2 sites not waited for: SITEB"),
        "{}",
        moved.log
    );
}

/// Case: a source says beside success that what it sent is not all
#[test]
fn what_a_source_of_our_kind_calls_partial_is_passed_on_and_its_comment_is_not_logged() {
    let study = one_series();
    for (status, told) in [(0, "0000"), (0xA702, "a702")] {
        let ours = Acceptance {
            implementation_class_uid: uids::IMPLEMENTATION_CLASS_UID,
            ..Acceptance::default()
        };
        let mut sending = vec![Step::Accept(ours), Step::AwaitRequest];
        if status == 0 {
            let objects = data_sets(&study).into_iter();
            sending.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
        }
        sending.push(Step::End(status, "DOE^JANE is not complete"));
        let source = FakePeer::in_turn(vec![answer([]), listing(&study, 3, "3"), sending]);
        let store = Storescp::start("STORE", &[]);
        let service = service(&store, vec![archive("PACS", "PACS", source.port)]);
        source.ended(1);
        let moved = moved(&service, &study);
        assert_eq!(moved.status, told, "{}", moved.log);
        let is_partial = moved.log.contains("1 of 1 sites answered in part: PACS");
        assert_eq!(is_partial, status == 0, "{}", moved.log);
        let log = service.log_with("PACS as a source: ");
        assert!(!log.contains("DOE^JANE"), "{log}");
    }
}
