//! Messages that are not done at once: what they wait for, what a person is told, and what a person can do.

use impaxlink::model::Station;
use impaxlink::model::hl7::AcknowledgmentCode;
use impaxlink::store::{Access, Hl7Arrival, Store};

use super::super::support::dcmqrscp::Dcmqrscp;
use super::super::support::service;
use super::super::support::sites::archive;
use super::super::support::studies::Federation;
use super::*;

#[test]
fn a_study_that_is_not_here_is_waited_for() {
    let env = site();
    let early = order("1", "4711", "A9", "P");
    let run = import(&env, std::slice::from_ref(&early));
    run.exits(3);
    let waiting = &listed(&env, "waiting")[0];
    let reason = waiting["reason"].as_str().unwrap();
    assert!(reason.contains("accession number"), "{reason}");
    assert!(waiting["next_try"].is_string());
    let table = env.impaxlink(&["status"]);
    assert!(
        table.stdout.contains("HL7 messages: 1 waiting, 0 failed"),
        "{table:#?}"
    );
    env.impaxlink(&["hl7", "retry", "1"]).exits(3);
    add_study(&env, 9, "4711", "A9");
    env.impaxlink(&["hl7", "retry", "1"]).success();
    assert_eq!(status(&env, 9), "TRANSCRIBED");
    env.impaxlink(&["hl7", "retry", "1"])
        .fails_with(1, "HL7 message 1 is done already");
    env.impaxlink(&["hl7", "retry", "7"])
        .fails_with(4, "no HL7 message 7");
}

#[test]
fn what_waits_is_done_before_what_came_later_about_the_same() {
    let env = site();
    env.impaxlink(&["config", "set", "hl7.status", "P=TRANSCRIBED,C=DICTATED!"])
        .success();
    import(&env, &[order("1", "4711", "A9", "P")]).exits(3);
    add_study(&env, 9, "4711", "A9");
    // The correction alone would leave another status.
    import(&env, &[order("2", "4711", "A9", "C")]).success();
    assert_eq!(status(&env, 9), "DICTATED");
    let done = listed(&env, "done");
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(|message| message["did"][0]["update"].is_string()));
}

/// Case: an accession number of several studies
#[test]
fn nothing_is_guessed() {
    let env = site();
    add_study(&env, 4, "4711", "A1");
    let several = import(&env, &[order("1", "4711", "A1", "F")]);
    several.exits(1);
    let reason = |number: usize| {
        let mut failed = listed(&env, "failed");
        failed.retain(|message| message["number"] == number);
        failed[0]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(1), "several studies have its accession number");
    // The same accession number of another patient is another study.
    import(&env, &[order("2", "88", "A1", "F")]).exits(3);
    let zds = format!("ZDS|{}", study(1));
    let others = message("ORU^R01", "3", "", &[&pid("88"), &obr("", "F"), &zds]);
    import(&env, &[others]).exits(1);
    assert_eq!(reason(3), "its study is another patient's at the archives");
    let nobody = message("ORM^O01", "4", "", &[&obr("A2", "F")]);
    import(&env, &[nobody]).exits(1);
    assert!(reason(4).contains("names no patient"));
    for number in [1, 2, 4] {
        assert_eq!(status(&env, number), Value::Null);
    }
    env.impaxlink(&["hl7", "drop", "1", "--reason", "CHG1250"])
        .success();
    let dropped = &listed(&env, "dropped")[0];
    assert!(dropped["reason"].as_str().unwrap().ends_with("CHG1250"));
    let audit = env.impaxlink(&["audit", "list"]);
    assert!(audit.success().contains("HL7 message 1 dropped"), "{audit:#?}");
    env.impaxlink(&["audit", "verify"]).success();
    env.impaxlink(&["hl7", "retry", "1"])
        .fails_with(1, "dropped already");
}

/// Case: an accession number of several studies
#[test]
fn the_same_accession_number_of_another_patient_holds_nothing_up() {
    let env = site();
    import(&env, &[order("1", "88", "A1", "P")]).exits(3);
    import(&env, &[order("2", "4711", "A1", "F")]).success();
    assert_eq!(status(&env, 1), "APPROVED");
}

#[test]
fn a_number_without_issuer_is_not_taken_for_two_patients() {
    let federation = Federation::new(11, 8);
    let mut studies = federation.site("SITEA").studies[3..5].to_vec();
    studies.iter_mut().for_each(|study| study.patient.issuer = "");
    assert_eq!(studies[0].patient.id, studies[1].patient.id);
    let pacs = [
        Dcmqrscp::start("SITEA", &studies[..1]),
        Dcmqrscp::start("SITEB", &studies[1..]),
    ];
    let env = Env::new();
    let stations = [
        archive("PACS", "SITEA", pacs[0].port),
        archive("OTHER", "SITEB", pacs[1].port),
    ];
    let only = |stations: &[Station]| {
        service::save(&env, |configuration| configuration.stations = stations.to_vec());
    };
    let change = |control_id| {
        let named = format!("PID|||{}||ROE^JANE", studies[0].patient.id);
        message("ADT^A08", control_id, "", &[&named])
    };
    only(&stations);
    import(&env, &[change("1")]).exits(1);
    let reason = listed(&env, "failed")[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("archives that name no issuer"), "{reason}");
    only(&stations[..1]);
    import(&env, &[change("2")]).success();
    let did = &listed(&env, "done")[0]["did"];
    assert_eq!(did[0]["study_instance_uid"], studies[0].uid);
}

#[test]
fn two_persons_are_not_made_one() {
    let env = site();
    for (patient, global_id) in [("4711", "G1"), ("88", "G2")] {
        let id = format!("{patient}^^^NORTH");
        env.impaxlink(&["patient", "link", &id, "--global-id", global_id])
            .success();
    }
    let merge = message("ADT^A40", "1", "", &[&pid("4711"), "MRG|88^^^NORTH"]);
    import(&env, &[merge]).exits(1);
    let failed = &listed(&env, "failed")[0];
    assert!(failed["reason"].as_str().unwrap().contains("global patient IDs"));
    assert!(
        env.impaxlink(&["study", "review", "--json"]).json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_message_is_done_once_however_often_it_comes() {
    let env = site();
    let first = report("1", 1, "P");
    import(&env, &[first.clone(), first.clone()]).success();
    let again = import(&env, &[first]);
    again.success();
    assert!(again.stderr.contains("1 had come before"), "{again:#?}");
    assert_eq!(listed(&env, "done").len(), 1);
    // The same control ID with other content is another message.
    import(&env, &[report("1", 1, "F")]).success();
    assert_eq!(listed(&env, "done").len(), 2);
    assert_eq!(status(&env, 1), "APPROVED");
}

#[test]
fn what_cannot_be_read_is_kept_and_shown_without_control_characters() {
    let env = site();
    let run = import(
        &env,
        &[
            "MSH|^~\\&|RIS|NORTH|||20240131||ADT^A08|1|P|2.3\rno \x1b[31msegment\r".to_owned(),
            message("ADT^A18", "2", "", &[&pid("4711")]),
            message("ORU^R01", "3", "", &[&pid("4711"), &obr("A1", "?")]),
        ],
    );
    run.exits(1);
    let failed = listed(&env, "failed");
    let answers: Vec<&str> = failed
        .iter()
        .rev()
        .map(|message| message["answer"].as_str().unwrap())
        .collect();
    assert_eq!(answers, ["AE", "AR", "AE"]);
    assert!(failed.iter().all(|message| message["reason"].is_string()));
    let shown = env.impaxlink(&["hl7", "show", "1"]);
    let text = shown.success();
    assert!(
        text.contains("no \u{fffd}[31msegment") && !text.contains('\x1b'),
        "{text}"
    );
    // Nor does a code that is tried again.
    import(
        &env,
        &[message(
            "ORU^R01",
            "4",
            "",
            &[&pid("4711"), &obr("A1", "\x1b[31mQ")],
        )],
    )
    .exits(1);
    env.impaxlink(&["hl7", "retry", "4"]).exits(1);
    let code = listed(&env, "failed")[0]["reason"].as_str().unwrap().to_owned();
    assert!(code.contains("[31mQ") && !code.contains('\x1b'), "{code}");
    env.impaxlink(&["hl7", "drop", "4"]).success();
    let shown = env.impaxlink(&["hl7", "show", "2", "--json"]).json();
    assert!(shown["message"]["text"][1].as_str().unwrap().contains("DOE^JANE"));
    assert!(!env.impaxlink(&["hl7", "list", "--json"]).stdout.contains("DOE"));
    let status = env.impaxlink(&["status", "--json"]).json();
    assert_eq!(status["queues"]["hl7"]["failed"], 3);
    env.impaxlink(&["hl7", "drop", "--failed"]).success();
    assert!(listed(&env, "failed").is_empty());
    let audit = env.impaxlink(&["audit", "list", "--json", "--limit", "0"]);
    assert!(audit.stdout.contains("hl7 show") && !audit.stdout.contains("DOE"));
}

#[test]
fn an_archive_that_does_not_answer_is_waited_for() {
    let env = site();
    let port = super::super::support::process::free_port().to_string();
    env.impaxlink(&[
        "station",
        "add",
        "PACS",
        "--kind",
        "archive",
        "--ae-title",
        "PACS",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ])
    .success();
    // The study that a UID names is found all the same.
    import(&env, &[report("1", 1, "F")]).success();
    import(&env, &[order("2", "4711", "A2", "F")]).exits(3);
    let reason = listed(&env, "waiting")[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("PACS does not answer"), "{reason}");
    env.impaxlink(&["station", "remove", "PACS", "--yes"]).success();
    env.impaxlink(&["hl7", "retry", "2"]).success();
    assert_eq!(status(&env, 2), "APPROVED");
}

#[test]
fn old_messages_go_once_they_are_done() {
    let env = site();
    import(&env, &[report("1", 1, "F"), order("2", "4711", "A9", "F")]).exits(3);
    import(&env, &[order("3", "4711", "A2", "?")]).exits(1);
    let store = Store::open(&env.store(), Access::ReadWrite).unwrap();
    let arrival = Hl7Arrival {
        body: b"MSH|".to_vec(),
        source: "file".to_owned(),
        sender: String::new(),
        control_id: String::new(),
        kind: String::new(),
        answer: AcknowledgmentCode::Error,
        refused: Some("it is none".to_owned()),
        subjects: Vec::new(),
    };
    store.keep_hl7(&arrival, 1).unwrap();
    assert_eq!(listed(&env, "done").len(), 1);
    store.keep_hl7(&arrival, 0).unwrap();
    assert!(listed(&env, "done").is_empty());
    assert_eq!(
        (listed(&env, "waiting").len(), listed(&env, "failed").len()),
        (1, 2)
    );
}

#[test]
fn what_was_refused_is_taken_when_it_is_understood() {
    let env = site();
    let odd = order("1", "4711", "A1", "Q");
    import(&env, std::slice::from_ref(&odd)).exits(1);
    env.impaxlink(&["config", "set", "hl7.status", "Q=DICTATED"])
        .success();
    import(&env, std::slice::from_ref(&odd)).success();
    assert_eq!(status(&env, 1), "DICTATED");
    // What was taken once is not refused when it comes again.
    env.impaxlink(&["config", "unset", "hl7.status"]).success();
    let again = import(&env, &[odd]);
    again.success();
    assert_eq!(again.json()["items"][0]["answer"], "AA");
    assert_eq!(listed(&env, "done").len(), 1);
}

#[test]
fn what_is_given_up_holds_nothing_up() {
    let env = site();
    import(
        &env,
        &[order("1", "4711", "A9", "P"), order("2", "4711", "A9", "F")],
    )
    .exits(3);
    let tried = |number: usize| {
        let waiting = listed(&env, "waiting");
        let found = waiting.iter().find(|message| message["number"] == number);
        found.map(|message| message["attempts"].as_u64().unwrap())
    };
    assert_eq!((tried(1), tried(2)), (Some(1), Some(0)));
    env.impaxlink(&["hl7", "retry", "2"]).exits(3);
    assert_eq!(tried(2), Some(0));
    add_study(&env, 9, "4711", "A9");
    env.impaxlink(&["hl7", "drop", "1"]).success();
    env.impaxlink(&["hl7", "retry", "2"]).success();
    assert_eq!(status(&env, 9), "APPROVED");
}

#[test]
fn a_study_that_never_comes_wants_a_person() {
    let env = site();
    env.impaxlink(&["config", "set", "hl7.wait", "1ms"]).success();
    import(&env, &[order("1", "4711", "A9", "P")]).exits(1);
    let reason = listed(&env, "failed")[0]["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, "no archive here has a study of its accession number");
}

#[test]
fn several_who_work_at_once_do_each_message_once() {
    let env = site();
    let messages: Vec<String> = (0..30)
        .map(|number| {
            let name = format!("PID|||4711^^^NORTH||NAME^{number}");
            message("ADT^A08", &number.to_string(), "", &[&name])
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| import(&env, &messages));
        }
    });
    env.impaxlink_with_stdin(&["hl7", "import", "-"], &messages[0])
        .success();
    assert_eq!(listed(&env, "done").len(), 30);
    for number in [1, 2] {
        assert_eq!(value(&env, number, "patient_name"), "NAME^29");
        let logged = Store::open(&env.store(), Access::ReadOnly).unwrap();
        let logged = logged.logged_updates(&study(number).parse().unwrap()).unwrap();
        assert_eq!(logged.len(), 30);
    }
}
