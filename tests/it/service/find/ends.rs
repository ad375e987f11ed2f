//! How queries end: in part, by a cancel, by a limit, and in spite of what stations and callers do.

use std::time::{Duration, Instant};

use impaxlink::model::{OnPartial, Station};
use serde_json::Value;

use crate::support::brought::{accept, study};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Flood, Step, a_match, answer, elements};
use crate::support::findscu;
use crate::support::process::free_port;
use crate::support::service::{Service, set, wait_for};
use crate::support::sites::{archive, change_station, internal, open_link};
use crate::support::viewer::Viewer;

fn flood(count: usize) -> Step {
    Step::Matches(Flood {
        count,
        identifier: |number| {
            elements(&[
                ("StudyInstanceUID", &format!("1.9.{number}")),
                ("PatientID", "4711"),
            ])
        },
        heeds_cancel: true,
    })
}

/// The local archive PACS, which has study 1.1, and the linked SITEB, whose port this is.
fn service_with(siteb: u16, change: impl FnOnce(&mut Station)) -> (Service, FakePeer) {
    let pacs = FakePeer::start(answer([study("1.1")]));
    let service = Service::start_with(|configuration| {
        let mut siteb = open_link("SITEB", "SITEB", siteb);
        siteb.timeout = Duration::from_secs(1);
        change(&mut siteb);
        configuration.stations = vec![archive("PACS", "PACS", pacs.port), siteb, internal("READER")];
    });
    (service, pacs)
}

/// Case: a linked cluster did not answer a viewer's query
#[test]
fn a_site_that_is_missing_is_told_as_it_is_set() {
    let (service, _pacs) = service_with(free_port(), |_| ());
    let mut reader = Viewer::open(service.port, "READER");
    let mut ends = || {
        let seen = reader.find(&["StudyInstanceUID"]);
        assert_eq!(
            seen.values("StudyInstanceUID"),
            ["1.1"],
            "what there is, is given"
        );
        (seen.status, seen.comment)
    };
    let comment = "1 of 2 sites did not answer: SITEB".to_owned();
    assert_eq!(ends(), (0, comment.clone()));
    change_station(&service, "READER", |reader| {
        reader.on_partial = Some(OnPartial::Failure)
    });
    assert_eq!(ends(), (0xC001, comment.clone()));
    change_station(&service, "READER", |reader| reader.on_partial = None);
    service.save(|configuration| set(configuration, "query.on_partial", "failure"));
    service.env.impaxlink(&["reload"]).success();
    assert_eq!(ends(), (0xC001, comment));
    change_station(&service, "SITEB", |siteb| siteb.links.internal_queries = false);
    assert_eq!(ends(), (0, String::new()));
}

/// Case: no archive station answers
#[test]
fn without_an_archive_it_is_a_failure() {
    let siteb = FakePeer::start(answer([study("1.2")]));
    let (service, pacs) = service_with(siteb.port, |_| ());
    drop(pacs);
    let mut reader = Viewer::open(service.port, "READER");
    let seen = reader.find(&["StudyInstanceUID"]);
    assert_eq!(seen.status, 0xC001);
    assert_eq!(seen.comment, "1 of 2 sites did not answer: PACS");
    assert_eq!(seen.values("StudyInstanceUID"), ["1.2"]);
}

/// Case: a failure status after matches
/// Case: a peer accepts and then aborts
/// Case: a peer never answers or answers a byte at a time
#[test]
fn a_misbehaving_peer_costs_its_own_answer_alone() {
    let deadline = Duration::from_secs(40);
    for (what, script) in [
        ("aborts", vec![accept(), Step::AwaitRequest, Step::Abort]),
        (
            "resets midway",
            vec![accept(), Step::AwaitRequest, study("1.2"), Step::Reset],
        ),
        (
            "never answers",
            vec![accept(), Step::AwaitRequest, Step::Pause(deadline)],
        ),
        (
            "accepts nothing",
            vec![Step::AwaitAssociation, Step::Pause(deadline)],
        ),
        (
            "fails",
            vec![accept(), Step::AwaitRequest, Step::End(0xC000, "no")],
        ),
        (
            "speaks no DICOM",
            vec![
                Step::AwaitAssociation,
                Step::Raw(b"HTTP/1.1 400\r\n\r\n".to_vec()),
            ],
        ),
        (
            "never ends its identifier",
            vec![accept(), Step::AwaitRequest, Step::EndlessIdentifier(1 << 26)],
        ),
        (
            "answers another",
            vec![accept(), Step::AwaitRequest, Step::AnswerAs(999), study("1.2")],
        ),
    ] {
        let siteb = FakePeer::start(script);
        let (service, _pacs) = service_with(siteb.port, |_| ());
        service.save(|configuration| set(configuration, "timeout.association", "1s"));
        service.env.impaxlink(&["reload"]).success();
        let mut reader = Viewer::open(service.port, "READER");
        let begun = Instant::now();
        let seen = reader.find(&["StudyInstanceUID"]);
        assert_eq!(seen.status, 0, "{what}");
        assert!(
            seen.values("StudyInstanceUID").contains(&"1.1".to_owned()),
            "{what}"
        );
        assert!(
            seen.comment.starts_with("1 of 2 sites ") && seen.comment.ends_with(": SITEB"),
            "{what}: {}",
            seen.comment
        );
        assert!(begun.elapsed() < deadline, "{what}");
        assert_eq!(
            reader.find(&["StudyInstanceUID"]).status,
            0,
            "{what}: the association goes on"
        );
    }
}

/// Case: a viewer cancels its query
#[test]
fn a_cancel_reaches_every_peer() {
    let pacs = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        flood(1_000_000),
        Step::End(0, ""),
    ]);
    let siteb = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        study("1.2"),
        Step::AwaitCancel,
        Step::End(0xFE00, ""),
    ]);
    let service = Service::start_with(|configuration| {
        set(configuration, "query.local_first", "100ms");
        configuration.stations = vec![
            archive("PACS", "PACS", pacs.port),
            open_link("SITEB", "SITEB", siteb.port),
            internal("READER"),
        ];
    });
    let mut reader = Viewer::open(service.port, "READER");
    reader.begin("STUDY", &["StudyInstanceUID"]);
    for _ in 0..10 {
        reader.next();
    }
    let asked = |count: usize| {
        let peer = siteb.associations();
        let requests = peer.iter().flat_map(|association| &association.requests);
        requests.filter(|request| request.command == 0x0020).count() == count
    };
    wait_for("the query at SITEB", || asked(1));
    reader.cancel();
    let seen = reader.finish();
    assert_eq!(seen.status, 0xFE00);
    let were_cancelled = |peer: &FakePeer, count: usize| {
        let cancelled = || {
            peer.associations()
                .iter()
                .filter(|it| !it.cancelled.is_empty())
                .count()
        };
        wait_for("the C-CANCEL", || cancelled() == count);
    };
    were_cancelled(&pacs, 1);
    were_cancelled(&siteb, 1);
    // The association serves the next query, and a late C-CANCEL does nothing.
    reader.cancel();
    reader.begin("STUDY", &["StudyInstanceUID"]);
    reader.next();
    wait_for("the query at SITEB", || asked(2));
    reader.vanish();
    were_cancelled(&pacs, 2);
    were_cancelled(&siteb, 2);
    let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID"];
    let found = findscu::find(
        "READER",
        "IMPAXLINK",
        service.port,
        &["-S", "--cancel", "5"],
        &keys,
    );
    assert!(found.log.contains("Cancel"), "{}", found.log);
    assert!(!found.success && found.answers.len() >= 5, "{}", found.log);
    were_cancelled(&pacs, 3);
}

/// Case: a viewer cancels its query
#[test]
fn a_limit_of_ours_is_no_cancel() {
    let pacs = FakePeer::start(vec![accept(), Step::AwaitRequest, flood(1000), Step::End(0, "")]);
    let service = Service::start_with(|configuration| {
        set(configuration, "limits.studies", "20");
        configuration.stations = vec![archive("PACS", "PACS", pacs.port), internal("READER")];
    });
    let mut reader = Viewer::open(service.port, "READER");
    let seen = reader.find(&["StudyInstanceUID"]);
    assert_eq!((seen.status, seen.matches.len()), (0xA700, 20));
    assert_eq!(seen.comment, "more than 20 studies (limits.studies)");
}

/// More than the buffers of all sockets between hold.
const MANY: usize = 60_000;

/// Case: our caller reads slowly
#[test]
fn a_slow_caller_costs_nobody_anything() {
    let pacs = FakePeer::start(vec![accept(), Step::AwaitRequest, flood(MANY), Step::End(0, "")]);
    let service = Service::start_with(|configuration| {
        let mut pacs = archive("PACS", "PACS", pacs.port);
        pacs.timeout = Duration::from_secs(2);
        configuration.stations = vec![pacs, internal("READER")];
    });
    let mut slow = Viewer::open(service.port, "READER");
    slow.begin("STUDY", &["StudyInstanceUID", "PatientName", "StudyDescription"]);
    slow.next();
    let waiting = Instant::now();
    while waiting.elapsed() < Duration::from_secs(3) {
        let mut other = Viewer::open(service.port, "READER");
        other.begin("STUDY", &["StudyInstanceUID"]);
        let begun = Instant::now();
        other.next();
        assert!(begun.elapsed() < Duration::from_secs(20));
        other.cancel();
        assert_eq!(other.finish().status, 0xFE00);
    }
    let seen = slow.finish();
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""), "PACS was not slow");
    assert_eq!(seen.matches.len(), MANY - 1);
}

/// Case: a reload in the middle of a query
#[test]
fn a_reload_lets_a_query_end_as_it_began() {
    let pacs = FakePeer::start(vec![accept(), Step::AwaitRequest, flood(MANY), Step::End(0, "")]);
    let service = Service::start(vec![archive("PACS", "PACS", pacs.port), internal("READER")]);
    let mut reader = Viewer::open(service.port, "READER");
    reader.begin("STUDY", &["StudyInstanceUID", "PatientName", "StudyDescription"]);
    reader.next();
    service.save(|configuration| {
        configuration
            .stations
            .retain(|station| station.name.as_str() == "READER")
    });
    service.env.impaxlink(&["reload"]).success();
    let seen = reader.finish();
    assert_eq!(
        (seen.status, seen.matches.len()),
        (0, MANY - 1),
        "{}",
        seen.comment
    );
    let next = reader.find(&["StudyInstanceUID"]);
    assert_eq!(
        (next.status, next.comment.as_str()),
        (0xC001, "there is no archive station")
    );
}

/// Case: a link keeps failing
#[test]
fn a_link_that_keeps_failing_is_left_alone_by_the_service_and_not_by_a_command() {
    let (service, _pacs) = service_with(free_port(), |_| ());
    let mut reader = Viewer::open(service.port, "READER");
    for _ in 0..3 {
        let seen = reader.find(&["StudyInstanceUID"]);
        assert_eq!(
            (seen.status, seen.comment.as_str()),
            (0, "1 of 2 sites did not answer: SITEB")
        );
    }
    let list = || service.env.impaxlink(&["ledger", "list", "--json"]).json();
    wait_for("the ledgers", || {
        list()["items"].as_array().is_some_and(|it| it.len() == 3)
    });
    let id = list()["items"][0]["id"].as_str().unwrap().to_owned();
    let shown = service.env.impaxlink(&["ledger", "show", &id, "--json"]).json();
    let entry = find_entry(&shown).expect("an entry of SITEB");
    assert_eq!(entry["outcome"], "failed", "{entry}");
    assert!(entry["retry_at"].is_string(), "{entry}");
    assert_eq!(entry["detail"], "it keeps failing, and was not asked");
    let run = service.env.impaxlink(&["query", "--json"]);
    let document = run.json();
    let entry = find_entry(&document).expect("an entry of SITEB");
    assert!(
        entry["detail"].as_str().unwrap().contains("connection refused"),
        "{entry}"
    );
}

/// The object of SITEB's entry, wherever in the document it is.
fn find_entry(document: &Value) -> Option<&Value> {
    match document {
        Value::Object(fields) if fields.get("station").is_some_and(|name| name == "SITEB") => Some(document),
        Value::Object(fields) => fields.values().find_map(find_entry),
        Value::Array(items) => items.iter().find_map(find_entry),
        _ => None,
    }
}

/// Case: many stations are down at once
#[test]
fn many_links_down_at_once_take_one_timeout() {
    let silent: Vec<FakePeer> = (0..20)
        .map(|_| FakePeer::start(vec![Step::AwaitAssociation, Step::Pause(Duration::from_secs(60))]))
        .collect();
    let pacs = FakePeer::start(answer([a_match(&[("StudyInstanceUID", "1.1")])]));
    let service = Service::start_with(|configuration| {
        set(configuration, "timeout.association", "2s");
        configuration.stations = vec![archive("PACS", "PACS", pacs.port), internal("READER")];
        let links = silent.iter().enumerate();
        let links =
            links.map(|(number, peer)| open_link(&format!("S{number}"), &format!("S{number}"), peer.port));
        configuration.stations.extend(links);
    });
    let mut reader = Viewer::open(service.port, "READER");
    let begun = Instant::now();
    let seen = reader.find(&["StudyInstanceUID"]);
    assert!(
        seen.comment.starts_with("20 of 21 sites did not answer: S0, S1"),
        "{}",
        seen.comment
    );
    assert_eq!(seen.matches.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
