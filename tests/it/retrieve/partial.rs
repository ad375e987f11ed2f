//! Retrieves of which a source or the destination says something odd: a comment, a row that can't be used, a conflict.

use impaxlink::dimse::uids;
use serde_json::{Value, json};

use crate::support::cluster::{chest_ct, import, local_cluster};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::{Env, Run};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step, a_match, answer};
use crate::support::links::{add_archive, add_linked};
use crate::support::retrieve::{data_sets, embedded, listing, one_series, retrieve, there};

const COMMENT: &str = "DOE^JANE: 1 of 2 sites did not answer";

/// Retrieves from a source of that implementation that sends all it lists, or nothing, and ends so.
fn ended_with(status: u16, implementation: &'static str, options: &[&str]) -> (Run, Value) {
    let study = one_series();
    let acceptance = Acceptance {
        implementation_class_uid: implementation,
        ..Acceptance::default()
    };
    let mut sending = vec![Step::Accept(acceptance), Step::AwaitRequest];
    if status == 0 {
        let objects = data_sets(&study).into_iter();
        sending.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
    }
    sending.push(Step::End(status, COMMENT));
    let peer = FakePeer::in_turn(vec![listing(&study, 3, "3"), sending]);
    let env = embedded();
    let link = [&["--syntax", "dicom", "--timeout", "1s"], options].concat();
    add_linked(&env, "SITEA", "SITEA", peer.port, &link);
    let (run, item) = retrieve(&env, &[&study.uid, "--method", "get"]);
    assert_eq!(there(&env, &study), if status == 0 { 3 } else { 0 });
    (run, item)
}

/// Case: a source says beside success that what it sent is not all
#[test]
fn a_comment_beside_the_success_of_a_get_is_partial_from_one_of_our_kind() {
    let ours = ended_with(0, uids::IMPLEMENTATION_CLASS_UID, &[]);
    let known = ended_with(0, "2.25.1", &["--success-comment", "partial"]);
    for (run, item) in [ours, known] {
        run.exits(3);
        let state = (&item["complete"], &item["instances"]);
        assert_eq!(state, (&json!(false), &json!(3)), "{item:#}");
        let unanswered = &item["unanswered"][0];
        assert_eq!(unanswered["station"], json!("SITEA"), "{item:#}");
        assert_eq!(unanswered["answered_in_part"], json!(true), "{item:#}");
        assert!(run.stderr.contains(COMMENT), "{run:#?}");
    }
    let (run, item) = ended_with(0, "2.25.1", &[]);
    run.exits(0);
    assert_eq!(item["complete"], json!(true), "{item:#}");
}

#[test]
fn the_comment_of_a_source_that_failed_is_shown() {
    let (run, item) = ended_with(0xA702, "2.25.1", &[]);
    run.exits(1);
    let detail = item["sources"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("ended with A702") && detail.ends_with(&format!("its comment: {COMMENT}")),
        "{detail}"
    );
}

#[test]
fn a_get_that_brought_all_there_is_is_not_followed_by_a_move() {
    let study = one_series();
    let mut sending = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
    let objects = data_sets(&study).into_iter();
    sending.extend(objects.map(|(uid, data_set)| Step::Object(uid, data_set)));
    sending.push(Step::End(0, ""));
    let unknown = vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::End(0xA801, ""),
    ];
    let peer = FakePeer::in_turn(vec![listing(&study, 0, "100"), sending, unknown]);
    let env = embedded();
    import(&env, [&study]);
    let options = ["--syntax", "dicom", "--timeout", "1s"];
    add_linked(&env, "SITEA", "SITEA", peer.port, &options);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.exits(3);
    assert_eq!(item["sources"][0]["method"], json!("get"), "{item:#}");
    assert!(!run.stderr.contains("move"), "{run:#?}");
}

/// Case: the archive that a study goes to gives a row that can't be used
#[test]
fn a_row_of_no_use_from_the_destination_refuses_no_retrieve() {
    let study = one_series();
    let odd = a_match(&[("QueryRetrieveLevel", "STUDY"), ("PatientID", "4711")]);
    let pacs = FakePeer::start(answer([odd]));
    let source = Dcmqrscp::start("SITEA", [&study]);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &["--timeout", "2s"]);
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let (run, item) = retrieve(&env, &[&study.uid, "--dry-run"]);
    run.exits(0);
    assert_eq!(item["fetched"], json!(3), "{item:#}");
    // The source does not know PACS: what is there is looked at again all the same.
    let (run, item) = retrieve(&env, &[&study.uid, "--method", "move"]);
    run.exits(1);
    assert!(run.stderr.contains("hint: register at SITEA"), "{run:#?}");
    assert_eq!(item["missing"], json!(3), "{item:#}");
}

#[test]
fn a_dry_run_says_why_nothing_would_be_fetched() {
    let env = local_cluster();
    let study = chest_ct("4711", 2025, 2);
    let source = Dcmqrscp::start("SITEB", [&study]);
    add_linked(&env, "SITEB", "SITEB", source.port, &["--issuer", "NORTH"]);
    let mut other = study.clone();
    other.patient.id = "99".to_owned();
    other.series[0].instances.truncate(1);
    import(&env, [&other]);
    for (options, reason) in [
        (&[][..], "its UID stands for another patient at "),
        (&["--from", "SITEB"], "another patient's study under this UID"),
    ] {
        let dry = env.impaxlink(&[&["retrieve", &study.uid, "--dry-run"], options].concat());
        assert!(dry.stderr.contains(reason), "{dry:#?}");
    }
    let nowhere = env.impaxlink(&["retrieve", "1.2.3", "--dry-run"]);
    nowhere.exits(4);
    assert!(
        nowhere.stderr.contains("no station that answered has it"),
        "{nowhere:#?}"
    );
}
