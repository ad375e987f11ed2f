//! The embedded archive as a station of linked queries, without any service.

use std::fs;

use dicom_dictionary_std::tags;
use serde_json::json;

use super::support::archive::{Object, dicom_file};
use super::support::env::Env;
use super::support::links::{item, query, values};

fn study(number: usize, name: &str, date: &str, modality: &str) -> Object {
    Object::new(number)
        .with(tags::PATIENT_NAME, name)
        .with(tags::STUDY_DATE, date)
        .with(tags::MODALITY, modality)
        .with(tags::ISSUER_OF_PATIENT_ID, "NORTH")
}

/// An environment whose embedded archive has three studies, one of them of two series.
fn three_studies() -> Env {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    let second_series = study(1, "Müller^Jürgen", "20240302", "SR")
        .with(tags::SOP_INSTANCE_UID, "1.2.826.0.1.3680043.2.1.1.2")
        .with(tags::SERIES_INSTANCE_UID, "1.2.826.0.1.3680043.2.2.1.2");
    let objects = [
        study(1, "Müller^Jürgen", "20240302", "CT"),
        second_series,
        study(2, "DOE^JANE", "20240303", "MR"),
        study(3, "DOE^JOHN", "20230101", "CT"),
    ];
    let folder = env.path().join("incoming");
    fs::create_dir(&folder).unwrap();
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.join(number.to_string()), dicom_file(object)).unwrap();
    }
    env.impaxlink(&["archive", "import", folder.to_str().unwrap()])
        .success();
    env
}

fn patients(env: &Env, filters: &[&str]) -> Vec<String> {
    let (run, document) = query(env, filters);
    run.success();
    assert_eq!(document["complete"], true, "{run:#?}");
    let found = values(&document["items"], "patient_id");
    found.into_iter().map(str::to_owned).collect()
}

#[test]
fn its_studies_are_found_by_every_filter() {
    let env = three_studies();
    for (filters, expected) in [
        (&[][..], &["P1", "P2", "P3"][..]),
        (&["--patient-name", "DOE*"], &["P2", "P3"]),
        (&["--patient-name", "Müller*"], &["P1"]),
        (&["--patient-id", "P3^^^NORTH"], &["P3"]),
        (&["--patient-id", "P3^^^SOUTH"], &[]),
        (&["--study-date", "2024-01-01..2024-03-02"], &["P1"]),
        (&["--modality", "SR"], &["P1"]),
        (&["--modality", "SR", "--modality", "MR"], &["P1", "P2"]),
        (&["--study-uid", "1.2.826.0.1.3680043.2.3.2"], &["P2"]),
    ] {
        assert_eq!(patients(&env, filters), expected, "{filters:?}");
    }
}

#[test]
fn a_study_is_told_whole_and_the_ledger_says_who_was_asked() {
    let env = three_studies();
    let (run, document) = query(&env, &["--patient-id", "P1"]);
    run.success();
    let study = &document["items"][0];
    assert_eq!(study["patient_name"], "Müller^Jürgen");
    assert_eq!(study["study_date"], "2024-03-02");
    assert_eq!(study["instances"], 2);
    let modalities = &study["modalities"];
    assert!(
        [json!(["CT", "SR"]), json!(["SR", "CT"])].contains(modalities),
        "{modalities}"
    );
    assert_eq!(study["issuer_of_patient_id"], "NORTH");
    let location = &study["locations"][0];
    assert_eq!(location["station"], "OWN");
    assert_eq!(location["retrieve_ae_titles"], json!(["IMPAXLINK"]));
    let entry = item(&document["ledger"], "station", "OWN");
    assert_eq!(entry["outcome"], "searched");
    assert_eq!(entry["matches"], 1);
    let ledger = env.impaxlink(&["ledger", "list", "--json"]).json();
    assert_eq!(ledger["items"][0]["ledger"][0]["station"], "OWN", "{ledger}");
}

#[test]
fn series_and_images_are_found_below_a_study() {
    let env = three_studies();
    let uid = ["--study-uid", "1.2.826.0.1.3680043.2.3.1"];
    let (run, document) = query(&env, &[&uid[..], &["--level", "image"]].concat());
    run.success();
    let series = &document["items"][0]["series"];
    assert_eq!(values(series, "modality"), ["CT", "SR"]);
    assert_eq!(series[0]["images"].as_array().map(Vec::len), Some(1), "{series}");
}

#[test]
fn what_it_cannot_answer_is_a_failure_without_the_value() {
    let env = three_studies();
    let (run, document) = query(&env, &["-k", "StudyTime=noon"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let entry = item(&document["ledger"], "station", "OWN");
    assert_eq!(entry["outcome"], "failed");
    assert_eq!(
        entry["detail"],
        "the value asked for in StudyTime can't be matched"
    );

    let index = env.store().with_file_name("archive").join("index.db");
    fs::write(&index, "no database").unwrap();
    let (run, document) = query(&env, &[]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let entry = item(&document["ledger"], "station", "OWN");
    assert!(
        entry["detail"]
            .as_str()
            .unwrap()
            .starts_with("the index cannot be read"),
        "{entry}"
    );
    env.impaxlink(&["archive", "reindex"]).success();
    assert_eq!(patients(&env, &[]).len(), 3);
}
