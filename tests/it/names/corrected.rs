//! A value that `study update` has changed: every row of the study shows it and is found by it, whichever station answers.

use std::collections::BTreeSet;

use impaxlink::model::StateField;
use serde_json::{Value, json};

use super::study_of;
use crate::support::cluster::{import, local_cluster};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::{add_linked, query};
use crate::support::orthanc::Orthanc;
use crate::support::service::{self, Service, set};
use crate::support::sites::{archive, internal, open_link};
use crate::support::studies::Study;
use crate::support::{findscu, findscu::Found};

fn uids(items: &Value) -> BTreeSet<String> {
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| item["study_instance_uid"].as_str().unwrap().to_owned())
        .collect()
}

fn all(studies: &[&Study]) -> BTreeSet<String> {
    studies.iter().map(|study| study.uid.clone()).collect()
}

fn update(env: &Env, study: &Study, patient: &str, field: &str, value: &str) {
    let update = [
        "study",
        "update",
        &study.uid,
        "--patient-id",
        patient,
        field,
        value,
    ];
    env.impaxlink(&update).success();
}

/// Case: a corrected value and a linked site that has the old one
#[test]
fn a_corrected_name_is_shown_and_found_wherever_the_study_is() {
    let here = study_of("4711", "NORTH", 2020);
    let both = study_of("4711", "NORTH", 2021);
    let there = study_of("4711", "NORTH", 2022);
    let of_another_id = study_of("88", "HARBOUR", 2023);
    let siteb = Orthanc::start("SITEB", [&both, &there]);
    let sitec = Dcmqrscp::start("SITEC", [&of_another_id]);
    let env = local_cluster();
    import(&env, [&here, &both]);
    add_linked(&env, "SITEB", "SITEB", siteb.port, &["--issuer", "NORTH"]);
    add_linked(&env, "SITEC", "SITEC", sitec.port, &["--issuer", "HARBOUR"]);
    for study in [&here, &both, &there] {
        update(&env, study, "4711^^^NORTH", "--patient-name", "ROE^JANE");
    }
    update(&env, &of_another_id, "88^^^HARBOUR", "--patient-name", "ROE^JANE");

    let corrected = all(&[&here, &both, &there, &of_another_id]);
    let (run, found) = query(&env, &["--patient-name", "ROE*"]);
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(uids(&found["items"]), corrected, "{found:#}");
    let (_, by_old_name) = query(&env, &["--patient-name", "DOE*"]);
    assert_eq!(by_old_name["items"], json!([]), "{by_old_name:#}");
    let (_, by_id) = query(&env, &["--study-date", "2020-01-01.."]);
    assert_eq!(uids(&by_id["items"]), corrected);
    for document in [&found, &by_id] {
        for item in document["items"].as_array().unwrap() {
            assert_eq!(item["patient_name"], "ROE^JANE", "{item:#}");
            assert_eq!(item["conflicts"], json!([]), "{item:#}");
        }
    }
    // ndjson gives rows at first sight, before the local ones are there.
    let rows = env.impaxlink(&["query", "--format", "ndjson", "--patient-name", "ROE*"]);
    let rows = rows.ndjson().into_iter();
    let names: Vec<Value> = rows
        .filter(|row| row["type"] == "study")
        .map(|row| row["patient_name"].clone())
        .collect();
    assert_eq!(names, vec![json!("ROE^JANE"); 4]);
}

/// The value that a field is changed to, the option of `study update`, and the filter of `query` with the new and the old
/// value; no filter where queries don't match by the field.
fn changes(field: StateField) -> (&'static str, &'static str, Option<[&'static str; 3]>) {
    match field {
        StateField::InterpretationStatus => ("--status", "APPROVED", None),
        StateField::VerifiedStatus => ("--verified", "", None),
        StateField::PatientLocation => ("--location", "WARD 3", None),
        StateField::StudyComments => ("--comments", "seen", None),
        StateField::PatientName => (
            "--patient-name",
            "ROE^JANE",
            Some(["--patient-name", "ROE*", "DOE*"]),
        ),
        StateField::PatientBirthDate => (
            "--birth-date",
            "1951-02-03",
            Some(["--birth-date", "1951-02-03", "1950-01-01"]),
        ),
        StateField::PatientSex => ("--sex", "O", Some(["-k", "PatientSex=O", "PatientSex=F"])),
        StateField::StudyDescription => (
            "--description",
            "THORAX",
            Some(["--description", "THORAX", "CT CHEST"]),
        ),
        StateField::AccessionNumber => ("--accession", "B7", Some(["--accession", "B7", "A2022"])),
        StateField::ReferringPhysician => (
            "--referring-physician",
            "GREY^M",
            Some([
                "-k",
                "ReferringPhysicianName=GREY*",
                "ReferringPhysicianName=REF*",
            ]),
        ),
        StateField::StudyDate => (
            "--study-date",
            "2019-05-06",
            Some(["--study-date", "2019-05-06", "2022-03-02"]),
        ),
        StateField::StudyTime => ("--study-time", "08:09:10", None),
    }
}

/// Case: a corrected value and a linked site that has the old one
#[test]
fn every_field_that_can_be_changed_is_shown_and_matched_at_a_linked_site() {
    let study = study_of("4711", "NORTH", 2022);
    let siteb = Orthanc::start("SITEB", [&study]);
    for field in StateField::ALL {
        let env = local_cluster();
        add_linked(&env, "SITEB", "SITEB", siteb.port, &["--issuer", "NORTH"]);
        let (option, value, filter) = changes(field);
        let mut change = vec![
            "study",
            "update",
            &study.uid,
            "--patient-id",
            "4711^^^NORTH",
            option,
        ];
        change.extend(Some(value).filter(|value| !value.is_empty()));
        env.impaxlink(&change).success();
        let (_, document) = query(&env, &["--study-uid", &study.uid]);
        let item = &document["items"][0];
        let shown = match field {
            StateField::InterpretationStatus => Some(("interpretation_status", json!("APPROVED"))),
            StateField::VerifiedStatus => Some(("verified", json!(true))),
            StateField::PatientName => Some(("patient_name", json!("ROE^JANE"))),
            StateField::PatientBirthDate => Some(("patient_birth_date", json!("1951-02-03"))),
            StateField::PatientSex => Some(("patient_sex", json!("O"))),
            StateField::StudyDescription => Some(("study_description", json!("THORAX"))),
            StateField::AccessionNumber => Some(("accession_number", json!("B7"))),
            StateField::ReferringPhysician => Some(("referring_physician", json!("GREY^M"))),
            StateField::StudyDate => Some(("study_date", json!("2019-05-06"))),
            StateField::StudyTime => Some(("study_time", json!("08:09:10"))),
            StateField::PatientLocation | StateField::StudyComments => None,
        };
        if let Some((name, value)) = shown {
            assert_eq!(item[name], value, "{field}: {item:#}");
        }
        if let Some([option, new, old]) = filter {
            let (_, by_new) = query(&env, &[option, new]);
            assert_eq!(uids(&by_new["items"]), all(&[&study]), "{field}: {by_new:#}");
            let (_, by_old) = query(&env, &[option, old]);
            assert_eq!(by_old["items"], json!([]), "{field}: {by_old:#}");
        }
    }
}

/// Case: a correction and another patient of the same study UID
#[test]
fn a_correction_of_one_patient_changes_no_other() {
    let theirs = study_of("4711", "HARBOUR", 2022);
    let siteb = Orthanc::start("SITEB", [&theirs]);
    let env = local_cluster();
    add_linked(&env, "SITEB", "SITEB", siteb.port, &["--issuer", "HARBOUR"]);
    update(&env, &theirs, "4711^^^NORTH", "--patient-name", "ROE^JANE");
    let (_, by_old_name) = query(&env, &["--patient-name", "DOE*"]);
    assert_eq!(uids(&by_old_name["items"]), all(&[&theirs]));
    let (_, by_new_name) = query(&env, &["--patient-name", "ROE*"]);
    assert_eq!(by_new_name["items"], json!([]));
}

fn ask(port: u16, key: &str) -> Found {
    let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID", key];
    findscu::find("READER", "IMPAXLINK", port, &["-S"], &keys)
}

/// Case: a corrected value and a linked site that has the old one
#[test]
fn a_viewer_finds_it_by_the_new_name_before_and_after_the_relay() {
    let there = study_of("4711", "NORTH", 2022);
    let at_b = Dcmqrscp::start("SITEB", [&there]);
    let b = Service::start_with(|configuration| {
        set(configuration, "ae_title", "SITEB_L");
        set(configuration, "issuer", "NORTH");
        configuration.stations = vec![
            archive("PACS", "SITEB", at_b.port),
            open_link("NORTHBOUND", "IMPAXLINK", 104),
        ];
    });
    let a = Service::start_with(|configuration| {
        set(configuration, "issuer", "NORTH");
        configuration.stations = vec![internal("READER"), open_link("SITEB", "SITEB_L", b.port)];
    });
    update(&a.env, &there, "4711^^^NORTH", "--patient-name", "ROE^JANE");
    let shows_the_new_name = || {
        let found = ask(a.port, "PatientName=ROE*");
        assert_eq!(
            found.values("StudyInstanceUID"),
            [there.uid.as_str()],
            "{}",
            found.log
        );
        assert_eq!(found.values("PatientName"), ["ROE^JANE"]);
        let found = ask(a.port, "PatientName=DOE*");
        assert_eq!(found.values("StudyInstanceUID"), [""; 0], "{}", found.log);
    };
    shows_the_new_name();
    // What the relay brings there in the end.
    update(&b.env, &there, "4711^^^NORTH", "--patient-name", "ROE^JANE");
    service::wait_for("the new name at B", || {
        let found = findscu::find(
            "IMPAXLINK",
            "SITEB_L",
            b.port,
            &["-S"],
            &["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName=ROE*"],
        );
        found.values("StudyInstanceUID") == [there.uid.as_str()]
    });
    shows_the_new_name();
}
