//! `prefetch` against real sources and a real worklist.
//!
//! Invariant: what is in the archive afterwards is asked of the archive itself, not of what the command says.

use std::net::TcpListener;
use std::time::Duration;

use impaxlink::model::{StudyPatient, Uid, Update};
use impaxlink::store::{Access, Received, Store};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::cluster::{
    add_source, add_worklist, chest_ct, expected, held, import, local_cluster, tomorrow,
};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::add_station;
use crate::support::orthanc::Orthanc;
use crate::support::process::free_port;
use crate::support::store::jdoe;
use crate::support::studies::Study;
use crate::support::wlmscpfs::Wlmscpfs;

/// Has SITEB give notice that a person must look at the study.
fn give_notice(env: &Env, study: &Study) {
    let update = Update {
        id: "2.25.99.1".parse().unwrap(),
        study: study.uid.parse().unwrap(),
        patient: StudyPatient {
            id: study.patient.id.clone(),
            issuer: Some("NORTH".parse().unwrap()),
        },
        origin: "2.25.9".parse().unwrap(),
        revision: "0000000000000005.00000000".parse().unwrap(),
        changes: Vec::new(),
        new_objects: None,
        review: Some("split".parse().unwrap()),
    };
    let received = Received {
        update,
        from: "SITEB".parse().unwrap(),
    };
    let store = Store::open(&env.store(), Access::ReadWrite).unwrap();
    store.apply_updates(&jdoe(), &[received]).unwrap();
    let study: Uid = study.uid.parse().unwrap();
    assert_eq!(store.under_review(std::slice::from_ref(&study)).unwrap(), [study]);
}

fn states(document: &Value) -> Vec<&str> {
    let items = document["items"].as_array().unwrap().iter();
    items.map(|item| item["state"].as_str().unwrap()).collect()
}

#[test]
fn who_is_scheduled_tomorrow_finds_their_priors_here() {
    let env = local_cluster();
    let (one, other, here) = (
        chest_ct("4711", 2025, 3),
        chest_ct("4712", 2024, 2),
        chest_ct("4711", 2023, 2),
    );
    let siteb = Dcmqrscp::start("SITEB", [&one]);
    let sitec = Orthanc::start("SITEC", [&other, &here]);
    add_source(&env, "SITEB", siteb.port);
    add_source(&env, "SITEC", sitec.port);
    import(&env, [&here]);
    let worklist = Wlmscpfs::start("WORKLIST", &tomorrow(&["4711", "4712", "4713"]));
    add_worklist(&env, &worklist);

    let plan = env.impaxlink(&["prefetch", "--worklist", "tomorrow", "--dry-run", "--json"]);
    plan.success();
    assert_eq!(states(&plan.json()), ["wanted", "wanted", "here"]);
    assert_eq!(held(&env), expected([&here]), "a dry run fetches nothing");

    let run = env.impaxlink(&["prefetch", "--worklist", "tomorrow"]);
    let line = run.success();
    assert!(
        line.starts_with("prefetch: 3 priors of 3 patients: 2 fetched, 1 already here; "),
        "{run:#?}"
    );
    assert_eq!(held(&env), expected([&one, &other, &here]));

    let again = env.impaxlink(&["-q", "prefetch", "--worklist", "tomorrow"]);
    assert_eq!((again.success(), again.stderr.as_str()), ("", ""));
    let again = env.impaxlink(&["prefetch", "--worklist", "tomorrow", "--json"]);
    again.success();
    let summary = &again.json()["summary"];
    assert_eq!(
        (&summary["fetched"], &summary["already_here"]),
        (&0.into(), &3.into()),
        "{summary}"
    );
}

#[test]
fn a_source_that_is_down_is_tried_again_and_told() {
    let env = local_cluster();
    let (one, other) = (chest_ct("4711", 2025, 3), chest_ct("4711", 2024, 2));
    let siteb = Dcmqrscp::start("SITEB", [&one]);
    add_source(&env, "SITEB", siteb.port);
    let sitec = Orthanc::start("SITEC", [&other]);
    add_source(&env, "SITEC", sitec.port);
    let queued = env.impaxlink(&["prefetch", "--patient-id", "4711", "--enqueue-only", "--json"]);
    queued.success();
    assert_eq!(states(&queued.json()), ["queued", "queued"]);
    drop(sitec);
    let run = env.impaxlink(&["-q", "prefetch", "run"]);
    run.exits(1);
    assert!(
        run.stdout.is_empty() && run.stderr.lines().count() == 1,
        "{run:#?}"
    );
    // Whether SITEC has the same study UID for another patient can't be known either: nothing moves.
    let told = "prefetch: 2 priors of 1 patient: 2 failed";
    assert!(run.stderr.starts_with(told), "{run:#?}");
    assert!(
        !run.stderr.contains("4711"),
        "no patient data in a cron mail: {run:#?}"
    );
    assert_eq!(held(&env), expected([]));
    let failed = env.impaxlink(&["prefetch", "list", "--state", "failed", "--json"]);
    let failed = failed.json();
    assert_eq!(
        failed["items"][0]["attempts"], 4,
        "the first time and three retries: {failed:#}"
    );
    let status = env.impaxlink(&["status", "--json"]).json();
    assert_eq!(status["queues"]["prefetch"]["failed"], 2, "{status:#}");

    let sitec = Orthanc::start("SITEC", [&other]);
    let port = sitec.port.to_string();
    env.impaxlink(&["station", "set", "SITEC", "--port", &port])
        .success();
    env.impaxlink(&["prefetch", "retry", "--all"]).success();
    env.impaxlink(&["prefetch", "run"]).success();
    assert_eq!(held(&env), expected([&one, &other]));
}

/// Case: the study UID is another patient's elsewhere
#[test]
fn a_site_that_does_not_answer_leaves_a_conflict_unchecked_and_nothing_moves() {
    let env = local_cluster();
    let one = chest_ct("4711", 2025, 2);
    let siteb = Dcmqrscp::start("SITEB", [&one]);
    add_source(&env, "SITEB", siteb.port);
    add_source(&env, "SITEC", free_port());
    let run = env.impaxlink(&["prefetch", "--patient-id", "4711"]);
    run.exits(1);
    let line = &run.stdout;
    assert!(
        line.contains("1 prior of 1 patient: 1 failed")
            && line.contains("SITEB: conflict not checked at SITEC"),
        "{run:#?}"
    );
    assert!(line.contains("INCOMPLETE: SITEC connection refused"), "{run:#?}");
    let unknown = env.impaxlink(&["prefetch", "1.2.3.999"]);
    unknown.fails_with(3, "not all stations answered: SITEC");
    assert_eq!(held(&env), expected([]));
}

#[test]
fn what_is_missing_is_completed_from_the_next_source() {
    let env = local_cluster();
    let whole = chest_ct("4711", 2025, 4);
    let mut part = whole.clone();
    part.series[0].instances.truncate(1);
    let siteb = Orthanc::start("SITEB", [&part]);
    let sitec = Dcmqrscp::start("SITEC", [&whole]);
    add_source(&env, "SITEB", siteb.port);
    add_source(&env, "SITEC", sitec.port);
    env.impaxlink(&["prefetch", "--patient-id", "4711"]).success();
    // dcmqrscp tells no counts: that it has more, nobody can know before.
    env.impaxlink(&["station", "set", "SITEC", "--priority", "5"])
        .success();
    env.impaxlink(&["prefetch", "--patient-id", "4711"]).success();
    assert_eq!(held(&env), expected([&whole]));
}

#[test]
fn a_study_names_its_patient_and_is_no_prior_of_its_own() {
    let env = local_cluster();
    let (at_hand, prior) = (chest_ct("4711", 2026, 2), chest_ct("4711", 2025, 2));
    let siteb = Dcmqrscp::start("SITEB", [&at_hand, &prior]);
    add_source(&env, "SITEB", siteb.port);
    import(&env, [&at_hand]);
    let run = env.impaxlink(&["prefetch", &at_hand.uid, "--json"]);
    run.success();
    let document = run.json();
    assert_eq!(
        document["items"][0]["study_instance_uid"],
        prior.uid.as_str(),
        "{document:#}"
    );
    assert_eq!(document["items"][0]["wanted_for"], at_hand.uid.as_str());
    let ledgers = env.impaxlink(&["ledger", "list", "--json"]).json();
    let id = ledgers["items"][0]["id"].as_str().unwrap();
    let ledger = env.impaxlink(&["ledger", "show", id, "--json"]).json();
    let keywords = &ledger["query"]["keywords"];
    assert_eq!(*keywords, json!(["StudyInstanceUID", "PatientID"]), "{ledger:#}");
    assert_eq!(held(&env), expected([&at_hand, &prior]));
    let unknown = env.impaxlink(&["prefetch", "1.2.3.999"]);
    unknown.fails_with(4, "no station has the study 1.2.3.999");
}

#[test]
fn a_prior_under_review_takes_no_others_place() {
    let env = local_cluster();
    let (newest, older) = (chest_ct("4711", 2025, 2), chest_ct("4711", 2024, 2));
    let siteb = Dcmqrscp::start("SITEB", [&newest, &older]);
    add_source(&env, "SITEB", siteb.port);
    let rules = env.path().join("rules.csv");
    std::fs::write(&rules, "name,order,max_number\nnewest,10,1\n").unwrap();
    env.impaxlink(&["rule", "import", &rules.to_string_lossy()])
        .success();
    env.impaxlink(&[
        "station",
        "set",
        "SITEB",
        "--link-cluster-updates",
        "--issuer",
        "NORTH",
    ])
    .success();
    give_notice(&env, &newest);
    let chosen = |arguments: &[&str]| {
        let run = env.impaxlink(arguments);
        run.success();
        run.json()["items"][0]["study_instance_uid"].clone()
    };
    assert_eq!(
        chosen(&["priors", "--patient-id", "4711", "--json"]),
        older.uid.as_str()
    );
    assert_eq!(
        chosen(&["prefetch", "--patient-id", "4711", "--dry-run", "--json"]),
        older.uid.as_str()
    );
}

#[test]
fn outside_its_hours_it_is_queued_and_left() {
    let env = local_cluster();
    let one = chest_ct("4711", 2025, 2);
    let siteb = Dcmqrscp::start("SITEB", [&one]);
    add_source(&env, "SITEB", siteb.port);
    let now = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let hour = |ahead: i8| (now.hour() + ahead) % 24;
    let hours = format!("{:02}:00-{:02}:00", hour(2), hour(3));
    env.impaxlink(&["config", "set", "prefetch.hours", &hours])
        .success();
    let run = env.impaxlink(&["prefetch", "--patient-id", "4711"]);
    let line = run.success();
    assert!(
        line.contains("1 queued until") && line.contains("(prefetch.hours)"),
        "{run:#?}"
    );
    assert_eq!(held(&env), []);
    env.impaxlink(&["prefetch", "run", "--now"]).success();
    assert_eq!(held(&env), expected([&one]));
}

#[test]
fn the_worklist_must_be_named_and_answer() {
    let env = local_cluster();
    let run = env.impaxlink(&["prefetch", "--worklist", "today"]);
    run.fails_with(2, "no worklist station is named");
    add_station(&env, "RIS", "RIS", free_port(), &[]);
    let run = env.impaxlink(&["prefetch", "--worklist", "today", "--worklist-station", "RIS"]);
    run.fails_with(1, "the worklist of RIS failed: connection refused");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    env.impaxlink(&["station", "set", "RIS", "--port", &port])
        .success();
    let mut waiting = env.start(&["prefetch", "--worklist", "today", "--worklist-station", "RIS"]);
    let _asked = silent.accept().unwrap();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.wait(Duration::from_secs(5)).code(), Some(130));
    env.impaxlink(&["prefetch"]).exits(2);
    env.impaxlink(&["prefetch", "drop", "7"])
        .fails_with(4, "none of these jobs");
}
