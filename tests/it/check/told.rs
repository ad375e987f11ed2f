//! What a linked cluster may tell, played by a scripted peer.

use impaxlink::dimse::TransferSyntax;
use impaxlink::link::linked_syntax::{ClusterAnswer, ClusterStation};
use impaxlink::model::{MappingTable, PrefetchRules, Uid};
use impaxlink::store::{Access, Store};
use jiff::{SignedDuration, Timestamp};

use super::{Review, change, cluster, door};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Identifier, Step};
use crate::support::service::Service;

/// What a cluster says that has nothing wrong with it.
fn answer(north: &Service, change: impl FnOnce(&mut ClusterAnswer)) -> Step {
    let us = ClusterStation {
        name: "NORTH".to_owned(),
        ae_title: "NORTH".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: Some(north.port),
    };
    let mut answer = ClusterAnswer {
        name: None,
        uid: "2.25.4711".parse().unwrap(),
        software_version: "0.1.0".to_owned(),
        stations: vec![us],
        vocabulary_digest: MappingTable::shipped().vocabulary_digest(),
        prefetch_rule_digest: PrefetchRules::shipped().digest(),
        clock: Timestamp::now(),
    };
    change(&mut answer);
    let written = answer.to_builder().encode(TransferSyntax::ExplicitVrLittleEndian);
    Step::Match(0xFF00, Identifier::Raw(written.unwrap().bytes().to_vec()))
}

/// Answers C-ECHO, then the cluster's question with `told`, then a query.
fn says(told: Step) -> FakePeer {
    FakePeer::start(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::End(0, ""),
        Step::AwaitRequest,
        told,
        Step::End(0, ""),
        Step::AwaitRequest,
        Step::End(0, ""),
    ])
}

fn review_of(change_answer: impl FnOnce(&mut ClusterAnswer, &Uid)) -> Review {
    let north = cluster("NORTH");
    let ours = Store::open(&north.env.store(), Access::ReadOnly)
        .unwrap()
        .cluster_uid()
        .clone();
    let peer = says(answer(&north, |answer| change_answer(answer, &ours)));
    change(&north, |configuration| {
        configuration.stations.push(door("HARBOUR", peer.port))
    });
    Review::of(&north.env, &[])
}

#[test]
fn a_scripted_cluster_can_be_healthy() {
    let review = review_of(|_, _| {});
    assert_eq!(review.troubles(), [""; 0], "{:#}", review.document);
}

#[test]
fn a_cloned_store() {
    let review = review_of(|answer, ours| answer.uid = ours.clone());
    review.is("HARBOUR cluster fail", "a clone of the other", "--new-identity");
}

#[test]
fn different_prefetch_rules() {
    let review = review_of(|answer, _| answer.prefetch_rule_digest = "0".repeat(64));
    review.is(
        "HARBOUR prefetch_rules warn",
        "are others",
        "impaxlink rule export",
    );
}

#[test]
fn clocks_that_differ() {
    let off = |seconds| review_of(move |answer, _| answer.clock += SignedDuration::from_secs(seconds));
    let hint = "NTP";
    off(-90).is("HARBOUR clock warn", "s behind ours", hint);
    off(3600).is("HARBOUR clock fail", "59 min ahead of ours", hint);
}

#[test]
fn another_cluster_than_it_is_taken_for() {
    let review = review_of(|answer, _| answer.name = Some("Valley".parse().unwrap()));
    review.is(
        "HARBOUR cluster warn",
        "Valley, and here it is HARBOUR",
        "--cluster 'Valley'",
    );
}

#[test]
fn what_is_not_told_is_unknown_and_text_never_steers_the_terminal() {
    let review = review_of(|answer, _| {
        answer.prefetch_rule_digest = String::new();
        answer.stations[0].name = "\u{1b}[31mNORTH".to_owned();
        answer.stations[0].port = Some(1);
    });
    review.tells(
        "HARBOUR prefetch_rules unknown",
        "does not tell",
        "impaxlink rule list",
    );
    assert!(!review.run.stdout.contains('\u{1b}') && !review.run.stdout.contains("u001b"));
}

#[test]
fn two_doors_to_one_cluster_that_is_said_to_be_two() {
    let north = cluster("NORTH");
    let peer = says(answer(&north, |_| {}));
    let other = says(answer(&north, |_| {}));
    change(&north, |configuration| {
        configuration.stations.push(door("HARBOUR", peer.port));
        configuration.stations.push(door("VALLEY", other.port));
    });
    let review = Review::of(&north.env, &[]);
    review.is(
        "VALLEY doors warn",
        "HARBOUR leads to the same cluster",
        "--cluster NAME",
    );
}

#[test]
fn a_peer_that_accepts_and_then_aborts() {
    let north = cluster("NORTH");
    let peer = FakePeer::start(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::Abort,
    ]);
    change(&north, |configuration| {
        configuration.stations.push(door("HARBOUR", peer.port))
    });
    let review = Review::of(&north.env, &[]);
    review.tells(
        "HARBOUR echo fail",
        "aborted by the peer",
        "impaxlink check HARBOUR --handover",
    );
}

#[test]
fn a_cluster_that_answers_nothing_of_itself() {
    let north = cluster("NORTH");
    let peer = says(Step::End(0xC000, "no"));
    change(&north, |configuration| {
        configuration.stations.push(door("HARBOUR", peer.port))
    });
    let review = Review::of(&north.env, &[]);
    review.tells("HARBOUR cluster fail", "says nothing of its cluster", "log");
}
