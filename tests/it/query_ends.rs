//! What ends a query: limit, Ctrl-C, time, dead stations, a closed pipe; and what of it scripts see.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use impaxlink::link::policy::{Role, Target};
use impaxlink::link::{EmbeddedArchive, Event, LinkedQuery, Request};
use impaxlink::model::{Configuration, Endpoint, Outcome, Query, Settings, Station, parse_port};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::brought::study;
use super::support::env::Env;
use super::support::fake_peer::script::{Acceptance, Flood, Step, a_match, answer, elements};
use super::support::fake_peer::{Ended, FakePeer};
use super::support::links::{add_archive, add_linked, item, query, values};

fn flood(count: usize, heeds_cancel: bool) -> Step {
    Step::Matches(Flood {
        count,
        identifier: |number| elements(&[("StudyInstanceUID", &format!("1.9.{number}")), ("PatientID", "1")]),
        heeds_cancel,
    })
}

fn accept() -> Step {
    Step::Accept(Acceptance::default())
}

fn one_study() -> Step {
    a_match(&[("StudyInstanceUID", "1.1"), ("PatientID", "4711")])
}

/// Case: a limit is reached
#[test]
fn a_limit_cancels_at_the_peer_and_is_no_failure() {
    let peer = FakePeer::start(vec![accept(), Step::AwaitRequest, flood(200_000, true)]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let (run, document) = query(&env, &["--limit", "7"]);
    run.success();
    assert_eq!(document["items"].as_array().unwrap().len(), 7);
    assert_eq!(document["complete"], json!(false));
    assert_eq!(document["ledger"][0]["outcome"], json!("cancelled"));
    assert_eq!(document["ledger"][0]["dicom_status"], json!("FE00"));
    let association = peer.ended(1).remove(0);
    assert_eq!(association.cancelled, [association.requests[0].message_id]);
    assert_eq!(
        association.ended,
        Ended::Released,
        "it ended with FE00, so there is nothing to abort"
    );
}

/// Case: a limit is reached
#[test]
fn an_answer_cut_by_a_limit_is_never_called_complete() {
    let three = ["1.1", "1.2", "1.3"].map(study);
    let peer = FakePeer::start(answer(three));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    for format in ["json", "ndjson"].repeat(5) {
        let run = env.impaxlink(&["query", "--limit", "1", "--format", format]);
        run.success();
        let end = run.ndjson().pop().unwrap();
        assert_eq!(end["complete"], json!(false), "{run:#?}");
    }
    let whole = env.impaxlink(&["query", "--limit", "3", "--json"]);
    assert_eq!(whole.json()["items"].as_array().unwrap().len(), 3);
}

/// Case: a limit is reached
#[test]
fn a_peer_that_ignores_the_cancel_is_aborted_in_time() {
    let peer = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        one_study(),
        Step::Pause(Duration::from_secs(30)),
    ]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let begun = Instant::now();
    let (run, document) = query(&env, &["--limit", "1"]);
    run.success();
    assert_eq!(document["items"].as_array().unwrap().len(), 1);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(2) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let association = peer.ended(1).remove(0);
    assert_eq!(association.ended, Ended::Aborted(0, 0));
}

/// Case: Ctrl-C in a query
#[test]
fn ctrl_c_cancels_at_every_peer_and_keeps_what_has_come() {
    let script = || {
        vec![
            accept(),
            Step::AwaitRequest,
            one_study(),
            Step::AwaitCancel,
            Step::End(0xFE00, ""),
        ]
    };
    let (pacs, siteb) = (FakePeer::start(script()), FakePeer::start(script()));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &[]);
    env.impaxlink(&["config", "set", "query.local_first", "1ms"])
        .success();
    let mut command = env.command(env!("CARGO_BIN_EXE_impaxlink"));
    let mut child = command
        .args(["query", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.contains("\"study\""),
        "a study is printed when it arrives: {first}"
    );
    // Only now both have been asked, so that both are to be told.
    let second = lines.next().unwrap().unwrap();
    assert!(second.contains("\"location\""), "{second}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let rest: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rest.last().unwrap()["complete"], json!(false));
    for peer in [&pacs, &siteb] {
        let association = peer.ended(1).remove(0);
        assert_eq!(
            (association.cancelled.len(), association.ended),
            (1, Ended::Released)
        );
    }
}

/// Case: Ctrl-C in a query
#[test]
fn ctrl_c_names_the_station_that_was_waited_for() {
    let pacs = FakePeer::start(answer([one_study()]));
    let silent = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        Step::AwaitCancel,
        Step::End(0xFE00, ""),
    ]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", silent.port, &[]);
    let mut command = env.command(env!("CARGO_BIN_EXE_impaxlink"));
    let mut child = command
        .args(["query", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"study\""));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    lines.for_each(|line| drop(line.unwrap()));
    let output = child.wait_with_output().unwrap();
    let account = String::from_utf8(output.stderr).unwrap();
    assert!(
        account.starts_with("1 study from 1 of 2 stations. INTERRUPTED:\n"),
        "{account}"
    );
    assert!(account.contains("\nSITEB  cancelled  "), "{account}");
}

#[test]
fn a_timeout_of_the_whole_query() {
    let peer = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        one_study(),
        Step::Pause(Duration::from_secs(30)),
    ]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let begun = Instant::now();
    let (run, document) = query(&env, &["--timeout", "3s"]);
    run.exits(3);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(document["ledger"][0]["outcome"], json!("truncated"));
    assert_eq!(
        document["ledger"][0]["detail"],
        json!("not at its end within 3s (--timeout)")
    );
    assert_eq!(document["items"].as_array().unwrap().len(), 1);
}

/// Case: many stations are down at once
#[test]
fn many_dead_stations_take_one_timeout_and_not_the_sum() {
    let pacs = FakePeer::start(answer([one_study()]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    env.impaxlink(&["config", "set", "timeout.association", "1s"])
        .success();
    // They accept connections, by their backlog, and never say a word.
    let dead: Vec<TcpListener> = (0..16)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    for (number, listener) in dead.iter().enumerate() {
        let name = format!("DEAD{number}");
        add_linked(&env, &name, &name, listener.local_addr().unwrap().port(), &[]);
    }
    let begun = Instant::now();
    let (run, document) = query(&env, &[]);
    let took = begun.elapsed();
    run.exits(3);
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(12),
        "{took:?}"
    );
    assert_eq!(values(&document["items"], "study_instance_uid"), ["1.1"]);
    let entry = item(&document["ledger"], "station", "DEAD15");
    assert!(
        entry["detail"]
            .as_str()
            .unwrap()
            .starts_with("no answer within 1s"),
        "{entry}"
    );
    let first: jiff::Timestamp = entry["retry_at"].as_str().unwrap().parse().unwrap();
    let (_, document) = query(&env, &["--from", "DEAD15"]);
    let entry = item(&document["ledger"], "station", "DEAD15");
    let second: jiff::Timestamp = entry["retry_at"].as_str().unwrap().parse().unwrap();
    assert!(
        second.duration_since(first).as_secs() > 20,
        "the wait doubles: {first} {second}"
    );
}

#[test]
fn a_linked_cluster_holds_up_the_end_only_so_long() {
    let pacs = FakePeer::start(answer([one_study()]));
    let slow = FakePeer::start(vec![
        accept(),
        Step::AwaitRequest,
        Step::Pause(Duration::from_secs(30)),
    ]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", slow.port, &[]);
    env.impaxlink(&["config", "set", "query.deadline", "700ms"])
        .success();
    let begun = Instant::now();
    let (run, document) = query(&env, &[]);
    run.exits(3);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let entry = item(&document["ledger"], "station", "SITEB");
    assert_eq!(
        entry["detail"],
        json!("held up the end for 700ms after the others (query.deadline)")
    );
}

#[test]
fn linked_rows_wait_for_local_ones_but_not_for_ever() {
    let study = |uid: &'static str| a_match(&[("StudyInstanceUID", uid), ("PatientID", "4711")]);
    let late = vec![
        accept(),
        Step::AwaitRequest,
        Step::Pause(Duration::from_secs(3)),
        study("1.1"),
        Step::End(0, ""),
    ];
    let order = |local_first: &str| {
        let (pacs, siteb) = (
            FakePeer::start(late.clone()),
            FakePeer::start(answer([study("1.2")])),
        );
        let env = Env::new();
        add_archive(&env, "PACS", "PACS", pacs.port, &[]);
        add_linked(&env, "SITEB", "SITEB", siteb.port, &[]);
        env.impaxlink(&["config", "set", "query.local_first", local_first])
            .success();
        let run = env.impaxlink(&["query", "--format", "ndjson"]);
        run.success();
        let studies = run.ndjson().into_iter().filter(|line| line["type"] == "study");
        studies
            .map(|line| line["study_instance_uid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(order("20s"), ["1.1", "1.2"]);
    assert_eq!(order("10ms"), ["1.2", "1.1"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let peer = FakePeer::start(answer([flood(50_000, false)]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let mut command = env.command(env!("CARGO_BIN_EXE_impaxlink"));
    let command = command
        .args(["query", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

/// Case: no archive station answers
#[test]
fn no_archive_station_answering_is_a_failure() {
    let siteb = FakePeer::start(answer([one_study()]));
    let dead = FakePeer::start(vec![accept(), Step::Abort]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", dead.port, &[]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &[]);
    let (run, document) = query(&env, &[]);
    run.exits(1);
    assert_eq!(
        values(&document["items"], "study_instance_uid"),
        ["1.1"],
        "what there is, is shown"
    );
    let (run, _) = query(&env, &["--from", "SITEB"]);
    run.success();
}

/// Case: an open query and a constrained station
#[test]
fn skips_are_named_with_their_flag_and_suspensions_leave_the_answer_partial() {
    let pacs = FakePeer::start(answer([one_study()]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", pacs.port, &["--constrained"]);
    let (run, document) = query(&env, &[]);
    run.success();
    let entry = item(&document["ledger"], "station", "SITEB");
    assert_eq!(entry["outcome"], json!("skipped"));
    assert!(
        entry["detail"].as_str().unwrap().starts_with("constrained"),
        "{entry}"
    );
    assert_eq!(document["complete"], json!(true));
    let run = env.impaxlink(&["query"]);
    run.success();
    assert!(run.stderr.contains("SITEB  skipped  constrained"), "{run:#?}");

    env.impaxlink(&["station", "set", "SITEB", "--no-link-internal-queries"])
        .success();
    let run = env.impaxlink(&["query", "--patient-id", "4711", "--from", "SITEB", "PACS"]);
    run.success();
    assert!(run.stderr.contains("--link-internal-queries is off"), "{run:#?}");
    let (_, document) = query(&env, &["--patient-id", "4711", "--from", "SITEB", "--regardless"]);
    assert_eq!(document["ledger"][0]["outcome"], json!("searched"));

    env.impaxlink(&["station", "suspend", "PACS", "--reason", "CHG1190"])
        .success();
    let (run, document) = query(&env, &["--from", "PACS"]);
    run.exits(1);
    assert_eq!(document["complete"], json!(false));
    assert!(
        document["ledger"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("CHG1190"),
        "{document:#}"
    );
}

#[test]
fn the_account_follows_the_rows_where_both_go_to_one_place() {
    let peer = FakePeer::start(answer([one_study()]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &["--issuer", "NORTH"]);
    let mut shell = env.command("sh");
    let program = env!("CARGO_BIN_EXE_impaxlink");
    let output = shell
        .args(["-c", &format!("{program} query 2>&1")])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let expected = "DATE  MOD  STUDY  PATIENT  ID (ISSUER)   IMAGES  BEST\n\
                    -     -    -      -        4711 (NORTH)       -  PACS\n\
                    1 study from 1 station.\n";
    assert_eq!(shown, expected);
}

#[test]
fn nobody_to_ask_is_said() {
    let env = Env::new();
    env.impaxlink(&["query"]).fails_with(1, "no station to ask");
    let peer = FakePeer::start(answer([one_study()]));
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    env.impaxlink(&["query", "--from", "PACZ"])
        .fails_with(4, "did you mean PACS");
}

/// Time in which we do not read is not counted against the station.
/// Case: our caller reads slowly
#[test]
fn a_caller_that_reads_slowly_fails_no_station() {
    const MATCHES: usize = 3000;
    let peer = FakePeer::start(answer([flood(MATCHES, false)]));
    let endpoint = Endpoint {
        host: "127.0.0.1".parse().unwrap(),
        port: parse_port(&peer.port.to_string()).unwrap(),
    };
    let mut station = Station::new("SITEB".parse().unwrap(), "SITEB".parse().unwrap(), Some(endpoint));
    station.timeout = Duration::from_secs(1);
    station.links.cluster_linking = true;
    let mut settings = Settings::default();
    settings.set("query.deadline", "1s").unwrap();
    let request = Request {
        configuration: Arc::new(Configuration {
            settings,
            stations: vec![station],
            ..Configuration::default()
        }),
        query: Arc::new(Query::default()),
        cross_reference: Arc::default(),
        targets: vec![Target {
            station: 0,
            role: Role::Linked,
            may_speak_linked: true,
            skip: None,
        }],
        tls: impaxlink::link::tls::LinkTls::default(),
        archive: EmbeddedArchive::of_store(Path::new("no store")),
        states: None,
        health: BTreeMap::new(),
        timeout: None,
        resting: BTreeMap::new(),
        turns: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (answers, entry) = runtime.block_on(async {
        let mut query = LinkedQuery::start(request);
        let mut answers = 0;
        loop {
            match query.next().await.expect("the end of the station") {
                Event::Answer(_) => answers += 1,
                Event::Ended(ended) => return (answers, ended.entry),
            }
            if answers == 10 {
                tokio::time::sleep(Duration::from_millis(2500)).await;
            }
        }
    });
    assert_eq!(
        (entry.outcome, answers),
        (Outcome::Searched, MATCHES),
        "{entry:?}"
    );
}
