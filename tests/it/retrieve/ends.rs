//! How a retrieve ends: killed and gone on with, interrupted, with a source that dies, with nothing found, in conflict.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::{add_archive, add_linked};
use crate::support::orthanc::Orthanc;
use crate::support::process::{Process, free_port};
use crate::support::retrieve::{embedded, retrieve, study, there};
use crate::support::studies::Study;

/// Enough to be in the middle of it for a while.
const MANY: usize = 400;

/// How many files the embedded archive holds.
fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map_or(0, |entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => 1,
        })
    };
    entries.map(count).sum()
}

/// Starts a retrieve, and gives it when a part of the study has come.
fn begun(env: &Env, study: &Study) -> Process {
    let mut process = env.start(&["retrieve", &study.uid, "--json"]);
    let archive = env.store().with_file_name("archive");
    process.wait_until("the first objects", || files(&archive) > 30);
    process
}

#[test]
fn a_retrieve_that_was_killed_goes_on_where_it_was() {
    let study = study(MANY);
    let source = Orthanc::start("SITEA", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let mut process = begun(&env, &study);
    process.signal(Signal::KILL);
    process.wait(Duration::from_secs(20));
    let came = there(&env, &study);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.success();
    assert!(came > 0 && came < 2 * MANY, "{came}");
    assert_eq!(item["already_there"], json!(came), "{item:#}");
    assert_eq!(item["fetched"], json!(2 * MANY - came));
    assert_eq!(there(&env, &study), 2 * MANY);
}

#[test]
fn an_interrupted_retrieve_keeps_what_came_and_says_so() {
    let study = study(MANY);
    let source = Orthanc::start("SITEA", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let mut process = begun(&env, &study);
    process.signal(Signal::INT);
    let status = process.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(130), "{}", process.output());
    assert!(
        process.output().contains("what came stays"),
        "{}",
        process.output()
    );
    let came = there(&env, &study);
    assert!(came > 0 && came < 2 * MANY, "{came}");
}

#[test]
fn a_source_that_dies_is_followed_by_the_next() {
    let study = study(MANY);
    let first = Orthanc::start("SITEA", [&study]);
    let second = Dcmqrscp::start("SITEB", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", first.port, &["--priority", "1"]);
    add_linked(&env, "SITEB", "SITEB", second.port, &[]);
    let mut process = begun(&env, &study);
    drop(first);
    let status = process.wait(Duration::from_secs(40));
    let output = process.output();
    assert_eq!(status.code(), Some(0), "{output}");
    let document = output
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("a document");
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let sources = &document["items"][0]["sources"];
    let names = [&sources[0]["station"], &sources[1]["station"]];
    assert_eq!(names, ["SITEA", "SITEB"], "{document:#}");
    assert!(sources[0]["detail"].is_string(), "{document:#}");
    let came = sources[0]["instances"].as_u64().unwrap() + sources[1]["instances"].as_u64().unwrap();
    assert_eq!(came as usize, 2 * MANY, "{document:#}");
    assert_eq!(there(&env, &study), 2 * MANY);
}

#[test]
fn a_study_that_nobody_has_is_not_found_unless_somebody_did_not_answer() {
    let source = Orthanc::start("SITEA", []);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let (run, item) = retrieve(&env, &["1.2.3"]);
    run.exits(4);
    assert!(run.stderr.contains("no station that answered has it"), "{run:#?}");
    assert_eq!(
        (&item["complete"], &item["instances"]),
        (&json!(false), &json!(0))
    );
    add_linked(&env, "SITEB", "SITEB", free_port(), &[]);
    let (run, item) = retrieve(&env, &["1.2.3"]);
    run.exits(3);
    assert_eq!(item["unanswered"][0]["station"], json!("SITEB"), "{item:#}");
}

/// Case: a site that may hold more of a study is down when it is retrieved
#[test]
fn a_retrieve_is_partial_while_a_site_that_may_hold_more_does_not_answer() {
    let study = study(1);
    let source = Orthanc::start("SITEA", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    add_linked(&env, "SITEB", "SITEB", free_port(), &[]);
    let dry = env.impaxlink(&["retrieve", &study.uid, "--dry-run", "-q"]);
    dry.exits(3);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.exits(3);
    let state = (&item["complete"], &item["instances"], &item["missing"]);
    assert_eq!(state, (&json!(false), &json!(2), &json!(0)), "{item:#}");
    assert_eq!(item["unanswered"][0]["station"], json!("SITEB"), "{item:#}");
    assert_eq!(
        item["unanswered"][0]["answered_in_part"],
        json!(false),
        "{item:#}"
    );
    let quiet = env.impaxlink(&["retrieve", &study.uid, "-q"]);
    quiet.exits(3);
    assert_eq!(quiet.stderr.lines().count(), 1, "{quiet:#?}");
    let told = "INCOMPLETE at PACS: 2 instances there, 0 missing; SITEB did not answer (connection refused";
    assert!(quiet.stderr.contains(told), "{quiet:#?}");
    env.impaxlink(&["station", "suspend", "SITEB"]).success();
    let suspended = env.impaxlink(&["retrieve", &study.uid, "-q"]);
    suspended.exits(3);
    assert!(
        suspended.stderr.contains("SITEB did not answer (suspended"),
        "{suspended:#?}"
    );
    env.impaxlink(&["station", "remove", "SITEB"]).success();
    assert_eq!(env.impaxlink(&["retrieve", &study.uid, "-q"]).success(), "");
}

#[test]
fn several_studies_come_by_a_list_and_quietly() {
    let (one, other) = (
        study(1),
        crate::support::studies::Federation::new(79, 4).sites[0].studies[1].clone(),
    );
    let source = Dcmqrscp::start("SITEA", [&one, &other]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let list = format!("{}\n\n{}\n", one.uid, other.uid);
    let run = env.impaxlink_with_stdin(&["retrieve", "@-", "-q"], &list);
    assert_eq!((run.success(), run.stderr.as_str()), ("", ""));
    assert_eq!(
        (there(&env, &one), there(&env, &other)),
        (one.instances(), other.instances())
    );
    let run = env.impaxlink(&["retrieve", &one.uid, "1.2.3", "-q"]);
    run.exits(3);
    assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
    let run = env.impaxlink(&["retrieve", &one.uid, &other.uid, "--series", "1.2"]);
    run.fails_with(2, "--series and --instance are of one study");
}

#[test]
fn a_study_in_conflict_is_fetched_only_from_a_source_that_is_named() {
    let study = study(2);
    let mut of_another = study.clone();
    of_another.patient.id = "OTHER".to_owned();
    let one = Orthanc::start("SITEA", [&study]);
    let other = Dcmqrscp::start("SITEB", [&of_another]);
    let env = embedded();
    add_linked(
        &env,
        "SITEA",
        "SITEA",
        one.port,
        &["--issuer", "NORTH", "--priority", "1"],
    );
    add_linked(&env, "SITEB", "SITEB", other.port, &["--issuer", "NORTH"]);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.exits(1);
    assert_eq!(
        (&item["conflicts"], &item["fetched"]),
        (&json!(["SITEB"]), &json!(0)),
        "{item:#}"
    );
    let (run, item) = retrieve(&env, &[&study.uid, "--from", "SITEA"]);
    run.success();
    assert_eq!(item["fetched"], json!(4), "{item:#}");
}

#[test]
fn without_an_archive_there_is_nowhere_to_bring_it() {
    let env = Env::new();
    add_linked(&env, "SITEA", "SITEA", free_port(), &[]);
    env.impaxlink(&["retrieve", "1.2"])
        .fails_with(1, "no archive station to bring studies to");
    add_archive(&env, "PACS", "PACS", free_port(), &[]);
    env.impaxlink(&["retrieve", "1.2"])
        .fails_with(1, "PACS does not say what it has: connection refused");
    env.impaxlink(&["retrieve", "1.2", "--to", "SITEA"])
        .fails_with(2, "SITEA is no archive station");
}
