//! Answers that are odd, incomplete, hostile or not what was asked for: each is taken for what it is worth.

use dicom_dictionary_std::uids;
use serde_json::{Value, json};

use super::support::brought::{accept, ask, study, with};
use super::support::fake_peer::script::{Acceptance, Flood, Identifier, Step, a_match, answer, elements};
use super::support::fake_peer::{FakePeer, bombs};
use super::support::links::{item, values};

const JANE: [(&str, &str); 5] = [
    ("QueryRetrieveLevel", "STUDY"),
    ("PatientID", "4711"),
    ("PatientName", "DOE^JANE"),
    ("StudyDate", "20240302"),
    ("StudyInstanceUID", "1.2.3"),
];

/// Case: an answer without a study UID
/// Case: answers in many character sets
/// Case: any date
#[test]
fn what_is_always_asked_for() {
    let brought = ask(
        FakePeer::start(answer([])),
        &["--syntax", "dicom"],
        &["-k", "StudyDate=*"],
    );
    let asked = &brought.peer.ended(1)[0].requests[0];
    assert_eq!(
        asked.sop_class_uid,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
    );
    for keyword in [
        "SpecificCharacterSet",
        "StudyInstanceUID",
        "IssuerOfPatientID",
        "RetrieveAETitle",
        "StudyDate",
    ] {
        assert_eq!(asked.keys[keyword], "", "{keyword}");
    }
    assert_eq!(asked.keys["QueryRetrieveLevel"], "STUDY");
}

/// Case: exactly a hundred matches
#[test]
fn a_usual_limit_is_told() {
    let hundred = Step::Matches(Flood {
        count: 100,
        identifier: |number| elements(&[("StudyInstanceUID", &format!("1.9.{number}")), ("PatientID", "1")]),
        heeds_cancel: false,
    });
    let brought = with(answer([hundred]));
    assert_eq!(brought.status, Some(0));
    let detail = brought.entry()["detail"].as_str().unwrap();
    assert_eq!(detail, "exactly 100 matches: there may be more");
}

/// Case: a row without the patient ID that was asked for
#[test]
fn a_row_without_the_id_that_was_asked_for_is_shown_and_counted() {
    let of = |uid, id| {
        a_match(&[
            ("StudyInstanceUID", uid),
            ("PatientID", id),
            ("PatientName", "DOE^JANE"),
        ])
    };
    let rows = [of("1.1", ""), of("1.2", "4711\\88"), of("1.3", "4711 ")];
    let brought = ask(FakePeer::start(answer(rows)), &[], &["--patient-id", "4711"]);
    let told = "2 answers with no patient ID, or several: the patient may be another";
    let detail = brought.entry()["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(told), "{:#}", brought.document);
    assert_eq!(brought.uids(), ["1.1", "1.2", "1.3"]);
    let items = brought.document["items"].as_array().unwrap();
    let same = items
        .iter()
        .find(|study| study["study_instance_uid"] == "1.1")
        .unwrap();
    assert_eq!(same["patient_id"], "4711", "{same:#}");
    assert_eq!(
        same["locations"].as_array().unwrap().len(),
        1,
        "never merged as the patient's"
    );
}

/// Case: a match with an optional key not supported
#[test]
fn optional_keys_not_supported_is_a_match_all_the_same() {
    let optional = Step::Match(0xFF01, Identifier::Elements(elements(&JANE)));
    with(answer([optional])).is(0, "searched", &["1.1", "1.2.3"], "");
}

/// Case: a peer that knows Patient Root alone
#[test]
fn patient_root_is_asked_by_patient() {
    let patient = a_match(&[
        ("PatientID", "4711"),
        ("PatientName", "DOE^JANE"),
        ("PatientSex", "F"),
    ]);
    let script = || {
        let acceptance = Acceptance {
            abstract_syntaxes: Some(vec![uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND]),
            ..Acceptance::default()
        };
        vec![
            Step::Accept(acceptance),
            Step::AwaitRequest,
            patient.clone(),
            Step::End(0, ""),
            Step::AwaitRequest,
            a_match(&[("StudyInstanceUID", "1.2"), ("StudyDescription", "CHEST")]),
            Step::End(0, ""),
        ]
    };
    let brought = ask(FakePeer::start(script()), &[], &["--patient-name", "DOE*"]);
    brought.is(0, "searched", &["1.1", "1.2"], "");
    let row = item(&brought.document["items"], "study_instance_uid", "1.2");
    assert_eq!(
        (&row["patient_id"], &row["patient_name"]),
        (&json!("4711"), &json!("DOE^JANE"))
    );
    let requests = brought.peer.ended(1).remove(0).requests;
    assert_eq!(requests[0].keys["QueryRetrieveLevel"], "PATIENT");
    assert_eq!(
        (
            requests[1].keys["QueryRetrieveLevel"].as_str(),
            requests[1].keys["PatientID"].as_str()
        ),
        ("STUDY", "4711")
    );

    let open = ask(FakePeer::start(script()), &[], &["--accession", "A1"]);
    assert!(
        open.entry()["detail"].as_str().unwrap().contains("Patient Root"),
        "{}",
        open.entry()
    );
}

#[test]
fn a_bomb_costs_that_answer_and_nothing_else() {
    for bomb in [bombs::deep_nesting(2000), bombs::declared_4_gib()] {
        let bomb = Step::Match(0xFF00, Identifier::Raw(bomb));
        let brought = with(answer([study("1.2"), bomb, study("1.3")]));
        brought.is(
            3,
            "truncated",
            &["1.1", "1.2", "1.3"],
            "1 answer could not be used",
        );
        assert_eq!(brought.entry()["dropped"], json!(1));
    }
    for garbage in [bombs::huge_pdu(), bombs::overlong_pdv(), bombs::garbage()] {
        let brought = with(vec![
            accept(),
            Step::AwaitRequest,
            study("1.2"),
            Step::Raw(garbage),
        ]);
        brought.is(3, "failed", &["1.1", "1.2"], "");
    }
    let endless = with(vec![
        accept(),
        Step::AwaitRequest,
        study("1.2"),
        Step::EndlessIdentifier(64 << 20),
    ]);
    endless.is(3, "failed", &["1.1", "1.2"], "more than");
}

/// Case: an answer without a study UID
#[test]
fn answers_of_no_use_are_dropped_and_counted() {
    let nameless = a_match(&[("PatientID", "4711"), ("PatientName", "DOE^JANE")]);
    let brought = with(answer([nameless, study("1.2")]));
    brought.is(3, "truncated", &["1.1", "1.2"], "1 answer could not be used");
    assert_eq!(
        (&brought.entry()["matches"], &brought.entry()["dropped"]),
        (&json!(1), &json!(1))
    );
}

/// Case: a UID with padding
#[test]
fn a_padded_uid_is_the_same_study() {
    let padded = b"\x20\x00\x0d\x00UI\x04\x001.1 \x10\x00\x20\x00LO\x04\x004711".to_vec();
    let brought = with(answer([Step::Match(0xFF00, Identifier::Raw(padded))]));
    brought.is(0, "searched", &["1.1"], "");
    let row = item(&brought.document["items"], "study_instance_uid", "1.1");
    assert_eq!(values(&row["locations"], "station"), ["PACS", "SITEB"]);
    assert_eq!(row["conflicts"], json!([]));
}

/// Case: several retrieve AE titles
#[test]
fn the_retrieve_titles_of_a_peer_are_kept() {
    let elsewhere = a_match(&[
        ("StudyInstanceUID", "1.2"),
        ("PatientID", "4711"),
        ("RetrieveAETitle", "SITEB_QR\\VAULT"),
    ]);
    let brought = with(answer([elsewhere]));
    let row = item(&brought.document["items"], "study_instance_uid", "1.2");
    let location = item(&row["locations"], "station", "SITEB");
    assert_eq!(location["retrieve_ae_titles"], json!(["SITEB_QR", "VAULT"]));
}

/// Case: a peer ignores a key
/// Case: a key does not come back
#[test]
fn an_ignored_key_is_filtered_here_and_a_missing_one_is_named() {
    let script = answer([
        study("1.2"),
        a_match(&[("StudyInstanceUID", "1.3"), ("PatientID", "9")]),
    ]);
    let brought = ask(
        FakePeer::start(script),
        &[],
        &["--patient-id", "4711", "--accession", "A1"],
    );
    assert_eq!(brought.uids(), ["1.1", "1.2"]);
    let entry = brought.entry();
    assert_eq!((&entry["matches"], &entry["filtered"]), (&json!(1), &json!(1)));
    assert_eq!(entry["unverified_keys"], json!(["AccessionNumber"]));
    assert!(
        entry["detail"].as_str().unwrap().contains("ignored PatientID"),
        "{entry}"
    );
}

/// Case: an answer without a character set
#[test]
fn text_of_unknown_charset_is_latin_1_with_a_notice() {
    let latin = b"\x20\x00\x0d\x00UI\x04\x001.2\0\x10\x00\x10\x00PN\x06\x00M\xfcller".to_vec();
    let nameless = |options: &[&str]| {
        let script = answer([Step::Match(0xFF00, Identifier::Raw(latin.clone()))]);
        ask(FakePeer::start(script), options, &[])
    };
    let brought = nameless(&[]);
    brought.is(0, "searched", &["1.1", "1.2"], "read as Latin-1 (--charset)");
    let row = item(&brought.document["items"], "study_instance_uid", "1.2");
    assert_eq!(row["patient_name"], json!("Müller"));
    let brought = nameless(&["--charset", "ISO_IR 100"]);
    assert_eq!(brought.entry()["detail"], Value::Null);
}
