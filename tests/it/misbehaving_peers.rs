//! How peers misbehave in the course of an association: what it costs is their own answer, and what they did is told.

use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::AssociationRJServiceUserReason::{
    CalledAETitleNotRecognized, CallingAETitleNotRecognized,
};
use dicom_ul::pdu::{AssociationRJResult, AssociationRJSource};
use serde_json::{Value, json};

use super::support::brought::{accept, ask, study, with, with_patience};
use super::support::env::Env;
use super::support::fake_peer::script::{Acceptance, Packing, Step, answer};
use super::support::fake_peer::{Ended, FakePeer};
use super::support::links::{add_archive, add_linked, item, query};
use super::support::process::free_port;

/// Case: no match
#[test]
fn no_match_is_a_good_answer() {
    let brought = with(answer([]));
    brought.is(0, "searched", &["1.1"], "");
    assert_eq!(brought.entry()["detail"], Value::Null);
    assert_eq!(brought.peer.ended(1)[0].ended, Ended::Released);
}

/// Case: a failure status after matches
#[test]
fn a_failure_after_matches_keeps_them() {
    let failing = |status, comment| {
        vec![
            accept(),
            Step::AwaitRequest,
            study("1.2"),
            Step::End(status, comment),
        ]
    };
    with(failing(0xC001, "disk on fire")).is(
        3,
        "failed",
        &["1.1", "1.2"],
        "C001 (unable to process); its comment: disk on fire",
    );
    with(failing(0xA900, "")).is(3, "failed", &["1.1", "1.2"], "A900");
    with(failing(0x0122, "")).is(3, "failed", &["1.1", "1.2"], "0122 (SOP class not supported)");
    let truncated = with(failing(0xA700, "too many"));
    truncated.is(3, "truncated", &["1.1", "1.2"], "too many");
    assert_eq!(truncated.entry()["dicom_status"], json!("A700"));
    assert_eq!(
        truncated.entry()["retry_at"],
        Value::Null,
        "the link itself is well"
    );
}

/// Case: a cancel that nobody asked for
#[test]
fn a_cancel_that_nobody_asked_for_is_a_truncated_answer() {
    with(vec![
        accept(),
        Step::AwaitRequest,
        study("1.2"),
        Step::End(0xFE00, ""),
    ])
    .is(3, "truncated", &["1.1", "1.2"], "FE00 (cancelled)");
}

/// Case: a peer accepts and then aborts
#[test]
fn it_aborts_after_it_accepted() {
    let brought = with(vec![accept(), Step::Abort]);
    brought.is(
        3,
        "failed",
        &["1.1"],
        "aborted by the peer, by its application (it may not know IMPAXLINK)",
    );
    assert!(brought.entry()["retry_at"].is_string());
}

/// Case: a peer accepts and then aborts
#[test]
fn it_rejects_by_title() {
    let reject = |reason| {
        vec![Step::Reject(
            AssociationRJResult::Permanent,
            AssociationRJSource::ServiceUser(reason),
        )]
    };
    with(reject(CallingAETitleNotRecognized)).is(
        3,
        "failed",
        &["1.1"],
        "association rejected: calling AE title not recognized (register IMPAXLINK there)",
    );
    with(reject(CalledAETitleNotRecognized)).is(
        3,
        "failed",
        &["1.1"],
        "association rejected: called AE title not recognized (it is not SITEB_QR there)",
    );
}

#[test]
fn nobody_listens() {
    let pacs = FakePeer::start(answer([study("1.1")]));
    let env = Env::new();
    let port = free_port();
    add_archive(&env, "PACS", "PACS", pacs.port, &[]);
    add_linked(&env, "SITEB", "SITEB", port, &[]);
    let (run, document) = query(&env, &[]);
    run.exits(3);
    let entry = item(&document["ledger"], "station", "SITEB");
    assert_eq!(
        entry["detail"],
        json!(format!("connection refused (127.0.0.1:{port})"))
    );
    assert!(
        run.stderr.contains("INCOMPLETE") && run.stderr.contains("SITEB"),
        "{run:#?}"
    );
    let quiet = env.impaxlink(&["-q", "query"]);
    quiet.exits(3);
    assert_eq!(quiet.stderr.lines().count(), 1, "{quiet:#?}");
}

/// Case: a peer closes after each query
/// Case: several values of a key that is no UID
#[test]
fn it_closes_after_each_find_and_is_called_again() {
    let turn = |uid| {
        vec![
            accept(),
            Step::AwaitRequest,
            study(uid),
            Step::End(0, ""),
            Step::Close,
        ]
    };
    let peer = FakePeer::in_turn(vec![turn("1.2"), turn("1.3")]);
    let brought = ask(peer, &[], &["--modality", "CT,MR"]);
    brought.is(0, "searched", &["1.1", "1.2", "1.3"], "");
    let asked: Vec<String> = brought
        .peer
        .ended(2)
        .iter()
        .map(|it| it.requests[0].keys["ModalitiesInStudy"].clone())
        .collect();
    assert_eq!(asked, ["CT", "MR"]);
}

/// Case: a peer never answers or answers a byte at a time
#[test]
fn it_never_answers() {
    let silent = with_patience(vec![
        accept(),
        Step::AwaitRequest,
        Step::Pause(Duration::from_secs(30)),
    ]);
    silent.is(
        3,
        "failed",
        &["1.1"],
        "no answer within 3s, waiting for a response",
    );
    assert!(silent.took < Duration::from_secs(20), "{:?}", silent.took);
    let midway = with_patience(vec![
        accept(),
        Step::AwaitRequest,
        study("1.2"),
        Step::Pause(Duration::from_secs(30)),
    ]);
    midway.is(3, "failed", &["1.1", "1.2"], "no answer within 3s");
}

/// Case: a peer never answers or answers a byte at a time
#[test]
fn it_answers_a_byte_at_a_time() {
    let script = vec![
        accept(),
        Step::AwaitRequest,
        study("1.2"),
        Step::Slowly(Duration::from_millis(100)),
        study("1.3"),
    ];
    let brought = with_patience(script);
    brought.is(3, "failed", &["1.1", "1.2"], "no answer within 3s");
    assert!(brought.took < Duration::from_secs(20), "{:?}", brought.took);
}

/// Case: a peer resets the connection midway
#[test]
fn it_resets_or_closes_midway() {
    for end in [Step::Reset, Step::Close] {
        let brought = with(vec![
            accept(),
            Step::AwaitRequest,
            study("1.2"),
            Step::Pause(Duration::from_millis(50)),
            end,
        ]);
        assert_eq!(brought.entry()["outcome"], json!("failed"), "{}", brought.entry());
        assert_eq!(brought.uids(), ["1.1", "1.2"]);
    }
}

/// Case: messages packed in odd ways
#[test]
fn every_packing_of_messages_is_read() {
    for packing in [
        Packing::OnePdu,
        Packing::FragmentEach(8),
        Packing::FragmentsInOnePdu(8),
        Packing::ZeroLengthPdvs,
    ] {
        with(answer([Step::Pack(packing), study("1.2")])).is(0, "searched", &["1.1", "1.2"], "");
    }
    for max_pdu in [0, 128] {
        let acceptance = Acceptance {
            max_pdu,
            ..Acceptance::default()
        };
        let script = vec![
            Step::Accept(acceptance),
            Step::AwaitRequest,
            study("1.2"),
            Step::End(0, ""),
        ];
        with(script).is(0, "searched", &["1.1", "1.2"], "");
    }
}

/// Case: a peer that takes Implicit VR alone or nothing
#[test]
fn it_accepts_implicit_vr_alone_or_nothing() {
    let accepting = |transfer_syntaxes| {
        let acceptance = Acceptance {
            transfer_syntaxes,
            ..Acceptance::default()
        };
        vec![
            Step::Accept(acceptance),
            Step::AwaitRequest,
            study("1.2"),
            Step::End(0, ""),
        ]
    };
    let implicit = with(accepting(vec![uids::IMPLICIT_VR_LITTLE_ENDIAN]));
    implicit.is(0, "searched", &["1.1", "1.2"], "");
    assert_eq!(
        implicit.peer.ended(1)[0].requests[0].transfer_syntax,
        uids::IMPLICIT_VR_LITTLE_ENDIAN
    );
    with(accepting(vec![])).is(
        3,
        "failed",
        &["1.1"],
        "not accepted: transfer syntaxes not supported",
    );
}

#[test]
fn a_response_to_another_request_is_refused() {
    let stale = with(vec![
        accept(),
        Step::AwaitRequest,
        Step::AnswerAs(77),
        study("1.2"),
    ]);
    stale.is(3, "failed", &["1.1"], "was not asked");
}
