//! The linked syntax as SCU: spoken where the peer takes it, told where it does not, and written as the man page says.

use std::fmt::Write as _;
use std::path::Path;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{DataSet, DataSetBuilder, TransferSyntax, uids};
use impaxlink::link::linked_syntax::{CHARACTER_SET, LinkedAttributes, LinkedElement, UnansweredStation};
use impaxlink::model::{Availability, Outcome, Verification};
use impaxlink::model::{FieldChange, FieldValue, Seen, StateField, StudyPatient, Update};
use impaxlink::updates::object;
use serde_json::json;

use super::support::brought::{Brought, ask, study};
use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::fake_peer::FakePeer;
use super::support::fake_peer::script::{Acceptance, Identifier, Step, a_match, answer};
use super::support::links::{add_linked, item, query};
use super::support::orthanc::Orthanc;
use super::support::studies::Federation;

/// The answer that the man page takes apart.
fn worked_example() -> DataSet {
    let attributes = LinkedAttributes {
        interpretation_status: Some("APPROVED".to_owned()),
        best_study_location: Some(Availability::Nearline),
        specialty: Some("NEURO".to_owned()),
        body_part: Some("SCHÄDEL".to_owned()),
        verification: Some(Verification::Verified),
        cluster_name: Some("North".parse().unwrap()),
        cluster_uid: Some("2.25.4711".parse().unwrap()),
        global_patient_id: None,
    };
    let identifier = DataSetBuilder::new()
        .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put(tags::PATIENT_ID, VR::LO, "88")
        .put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
    let identifier = attributes.put(identifier, &LinkedElement::OF_STUDY);
    identifier.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap()
}

/// Each element of a data set in Explicit VR: what it is, and its bytes below, sixteen a line.
fn dump(data_set: &DataSet) -> String {
    let mut text = String::new();
    let mut rest = data_set.bytes();
    for element in data_set.elements() {
        let vr = element.vr().unwrap();
        let value = String::from_utf8_lossy(element.value);
        let value = value.trim_end_matches([' ', '\0']);
        let is_sequence = vr == VR::SQ;
        let value = if is_sequence { "" } else { value };
        let (tag, length) = (element.tag, element.value.len());
        let line = format!("({:04X},{:04X}) {vr} {length:>3}  {value}", tag.0, tag.1);
        writeln!(text, "{}", line.trim_end()).unwrap();
        let header = if is_sequence { 12 } else { 8 };
        let (bytes, after) = rest.split_at(header + length);
        rest = after;
        for row in bytes.chunks(16) {
            let row: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "    {}", row.join(" ")).unwrap();
        }
    }
    assert!(rest.is_empty());
    text
}

#[test]
fn the_dumps_of_the_man_page_are_what_is_written() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/impaxlink-link.7");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    let update = object::write(&worked_update()).unwrap();
    let examples = [
        ("WORKED EXAMPLE", worked_example()),
        ("PARTIAL ANSWER", worked_partial_answer()),
        ("UPDATE OBJECT", update),
    ];
    for (section, data_set) in examples {
        let expected = dump(&data_set);
        let worked = page.split_once(&format!(".SH {section}\n"));
        let shown = worked.and_then(|(_, section)| section.split_once(".nf\n")?.1.split_once(".fi\n"));
        let shown = shown.map_or("", |(shown, _)| shown);
        assert!(
            shown == expected,
            "{section} has:\n{shown}\nand should have:\n{expected}"
        );
    }
}

/// The last response of a cluster of which one station did not answer.
fn worked_partial_answer() -> DataSet {
    let stations = [UnansweredStation {
        name: "PACS2".to_owned(),
        outcome: Outcome::Failed,
        detail: Some("connection refused (10.0.0.2:104)".to_owned()),
    }];
    let identifier = UnansweredStation::to_builder(&stations);
    identifier.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap()
}

/// A report that was approved, with a comment.
fn worked_update() -> Update {
    let change = |field, text| FieldChange {
        field,
        value: FieldValue::new(field, text).unwrap(),
        epoch: 0,
        known: Seen::new(),
    };
    Update {
        id: "2.25.77".parse().unwrap(),
        study: "1.2".parse().unwrap(),
        patient: StudyPatient {
            id: "88".to_owned(),
            issuer: Some("HARBOUR".parse().unwrap()),
        },
        origin: "2.25.4711".parse().unwrap(),
        revision: "0000018f3a2b4c00.00000000".parse().unwrap(),
        changes: vec![
            change(StateField::InterpretationStatus, "APPROVED"),
            change(StateField::StudyComments, "SCHÄDEL: wie 2023"),
        ],
        new_objects: None,
        review: None,
    }
}

#[test]
fn the_man_page_names_what_is_spoken() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/impaxlink-link.7");
    let page = std::fs::read_to_string(page).unwrap();
    for uid in [
        uids::LINKED_CLUSTER_QUERY,
        uids::CLUSTER_UPDATE,
        uids::IMPLEMENTATION_CLASS_UID,
    ] {
        assert!(page.contains(uid), "{uid}");
    }
    for element in LinkedElement::ALL {
        let number = format!("(2711,xx{:02X})", element.tag().1 & 0xFF);
        assert!(page.contains(&number), "{number}");
    }
}

fn speaks_linked(matches: impl IntoIterator<Item = Step>) -> FakePeer {
    FakePeer::start(answer(matches))
}

fn the_example() -> Step {
    Step::Match(0xFF00, Identifier::Raw(worked_example().bytes().to_vec()))
}

fn row(brought: &Brought) -> &serde_json::Value {
    item(&brought.document["items"], "study_instance_uid", "1.2")
}

#[test]
fn what_a_linked_cluster_adds_is_in_the_row() {
    let brought = ask(speaks_linked([the_example()]), &[], &[]);
    brought.is(0, "searched", &["1.1", "1.2"], "");
    assert_eq!(brought.entry()["syntax"], json!("linked"));
    let row = row(&brought);
    for (field, value) in [
        ("interpretation_status", json!("APPROVED")),
        ("specialty", json!("NEURO")),
        ("body_part", json!("SCHÄDEL")),
        ("verified", json!(true)),
        ("global_patient_id", json!(null)),
    ] {
        assert_eq!(row[field], value, "{field}: {row:#}");
    }
    assert_eq!(row["best_location"]["availability"], json!("nearline"));
    let asked = &brought.peer.associations()[0].requests[0];
    assert_eq!(asked.sop_class_uid, uids::LINKED_CLUSTER_QUERY);
    assert_eq!(
        asked.transfer_syntax,
        TransferSyntax::ExplicitVrLittleEndian.uid()
    );
    assert_eq!(asked.keys["PrivateCreator"], "IMPAXLINK LINK 1");
    assert_eq!(asked.keys["SpecificCharacterSet"], "ISO_IR 192");
    for element in LinkedElement::OF_STUDY {
        let tag = element.tag();
        assert_eq!(asked.keys[&format!("{:04x},{:04x}", tag.0, tag.1)], "", "{tag}");
    }
}

#[test]
fn the_archive_and_external_queries_are_strict_dicoms() {
    let brought = ask(
        speaks_linked([the_example()]),
        &["--link-external-queries"],
        &["--as", "external"],
    );
    assert_eq!(
        brought.entry()["syntax"],
        json!("dicom"),
        "{:#}",
        brought.document
    );
    let pacs = item(&brought.document["ledger"], "station", "PACS");
    assert_eq!(pacs["syntax"], json!("dicom"));
    let association = &brought.peer.associations()[0];
    let proposed = |uid: &str| association.proposed.iter().any(|(proposed, _)| proposed == uid);
    assert!(!proposed(uids::LINKED_CLUSTER_QUERY) && proposed(uids::STUDY_ROOT_FIND));
    let asked = &association.requests[0];
    assert!(!asked.keys.keys().any(|key| key.starts_with("2711")), "{asked:?}");
    let linked_alone = ["--link-external-queries", "--syntax", "linked"];
    let refused = ask(
        speaks_linked([the_example()]),
        &linked_alone,
        &["--as", "external"],
    );
    refused.is(3, "failed", &["1.1"], "this query is asked in strict DICOM");
    assert!(refused.peer.associations().is_empty(), "nothing is sent");
}

#[test]
fn a_global_patient_id_is_asked_in_the_linked_syntax_alone() {
    let linked = ask(
        speaks_linked([the_example()]),
        &[],
        &["--from", "SITEB", "--global-id", "G 1"],
    );
    assert_eq!(linked.status, Some(0), "{:#}", linked.document);
    let asked = &linked.peer.associations()[0].requests[0];
    assert_eq!(asked.keys["2711,100a"], "G 1");
    // It came back without, so that nobody can tell.
    assert_eq!(linked.entry()["unverified_keys"], json!(["GlobalPatientID"]));
    let strict = FakePeer::start(vec![Step::Accept(strict_alone())]);
    let strict = ask(strict, &[], &["--from", "SITEB", "--global-id", "G1"]);
    assert_eq!(strict.status, Some(1));
    let detail = strict.entry()["detail"].as_str().unwrap();
    assert!(detail.contains("only be asked in linked syntax"), "{detail}");
    assert!(strict.peer.associations()[0].requests.is_empty());
}

fn strict_alone() -> Acceptance {
    Acceptance {
        abstract_syntaxes: Some(vec![uids::STUDY_ROOT_FIND]),
        ..Acceptance::default()
    }
}

#[test]
fn a_peer_without_it_is_asked_in_strict_dicom_or_not_at_all() {
    let script = || {
        vec![
            Step::Accept(strict_alone()),
            Step::AwaitRequest,
            study("1.2"),
            Step::End(0, ""),
        ]
    };
    let fallen_back = ask(FakePeer::start(script()), &[], &[]);
    fallen_back.is(0, "searched", &["1.1", "1.2"], "");
    assert_eq!(fallen_back.entry()["syntax"], json!("dicom"));
    let linked_alone = ask(FakePeer::start(script()), &["--syntax", "linked"], &[]);
    linked_alone.is(3, "failed", &["1.1"], "it does not take the linked syntax");
    assert_eq!(linked_alone.entry()["syntax"], json!(null));
    let dicom_alone = ask(speaks_linked([study("1.2")]), &["--syntax", "dicom"], &[]);
    dicom_alone.is(0, "searched", &["1.1", "1.2"], "");
    assert_eq!(dicom_alone.entry()["syntax"], json!("dicom"));
}

#[test]
fn real_archives_are_asked_in_strict_dicom_and_what_they_speak_is_remembered() {
    let federation = Federation::new(31, 4);
    let siteb = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let sitec = Dcmqrscp::start("SITEC", &federation.site("SITEC").studies);
    let linked = speaks_linked([a_match(&[("StudyInstanceUID", "1.2"), ("PatientID", "4711")])]);
    let env = Env::new();
    let updates = ["--link-cluster-updates"];
    add_linked(&env, "SITEB", "SITEB", siteb.port, &updates);
    add_linked(&env, "SITEC", "SITEC", sitec.port, &updates);
    add_linked(&env, "SITED", "SITED", linked.port, &updates);
    let (run, document) = query(&env, &[]);
    run.success();
    for (station, syntax) in [("SITEB", "dicom"), ("SITEC", "dicom"), ("SITED", "linked")] {
        let entry = item(&document["ledger"], "station", station);
        assert_eq!(
            (&entry["outcome"], &entry["syntax"]),
            (&json!("searched"), &json!(syntax)),
            "{entry}"
        );
        assert_ne!(entry["matches"], json!(0), "{entry}");
    }
    let list = env.impaxlink(&["station", "list", "--linked"]).stdout;
    let line = |station: &str| list.lines().find(|line| line.starts_with(station)).unwrap();
    assert!(line("SITED").ends_with(", linked"), "{list}");
    assert!(
        line("SITEB").contains("on*") && !line("SITEB").ends_with("linked"),
        "{list}"
    );
    assert!(line("SITEC").contains("on*"), "{list}");
}
