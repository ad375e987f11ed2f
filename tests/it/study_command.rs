//! `study` and `updates` at a shell, and what queries then show and match.

use std::fs;

use dicom_dictionary_std::tags;
use serde_json::{Value, json};

use super::support::archive::{Object, dicom_file};
use super::support::env::{Env, Run};
use super::support::links::{add_station, query, values};

const FIRST: &str = "1.2.826.0.1.3680043.2.3.1";
const SECOND: &str = "1.2.826.0.1.3680043.2.3.2";

/// An environment whose embedded archive has the studies of DOE^JANE and of DOE^JOHN, and that relays to SITEB.
fn two_studies() -> Env {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    let relayed = [
        "--cluster-linking",
        "--link-cluster-updates",
        "--issuer",
        "HARBOUR",
    ];
    add_station(&env, "SITEB", "SITEB", 1, &relayed);
    let folder = env.path().join("incoming");
    fs::create_dir(&folder).unwrap();
    for (number, name) in [(1, "DOE^JANE"), (2, "DOE^JOHN")] {
        let object = Object::new(number)
            .with(tags::PATIENT_NAME, name)
            .with(tags::PATIENT_BIRTH_DATE, "19700131")
            .with(tags::ISSUER_OF_PATIENT_ID, "NORTH");
        fs::write(folder.join(number.to_string()), dicom_file(&object)).unwrap();
    }
    env.impaxlink(&["archive", "import", folder.to_str().unwrap()])
        .success();
    env
}

fn update(env: &Env, study: &str, options: &[&str]) -> Run {
    env.impaxlink(&[&["study", "update", study], options].concat())
}

fn found(env: &Env, filters: &[&str]) -> Vec<String> {
    let (run, document) = query(env, &[&["--local"], filters].concat());
    run.success();
    let names = values(&document["items"], "patient_name");
    names.into_iter().map(str::to_owned).collect()
}

fn study(env: &Env, uid: &str) -> Value {
    let (run, document) = query(env, &["--local", "--study-uid", uid]);
    run.success();
    document["items"][0].clone()
}

fn shown(env: &Env, uid: &str) -> Value {
    env.impaxlink(&["study", "show", uid, "--json"]).json()["study"].clone()
}

#[test]
fn what_was_said_is_shown_in_every_format() {
    let env = two_studies();
    update(
        &env,
        FIRST,
        &[
            "--status",
            "APPROVED",
            "--verified",
            "--location",
            "WARD 3",
            "--comments",
            "see CT",
        ],
    )
    .success();
    let first = study(&env, FIRST);
    assert_eq!(first["interpretation_status"], "APPROVED");
    assert_eq!(first["verified"], true);
    assert_eq!(study(&env, SECOND)["interpretation_status"], Value::Null);
    let table = env.impaxlink(&["query", "--local"]);
    assert!(
        table.success().contains("REPORT") && table.stdout.contains("APPROVED"),
        "{table:#?}"
    );
    let raw = env.impaxlink(&[
        "query",
        "--local",
        "--study-uid",
        FIRST,
        "-k",
        "StudyComments=",
        "--format",
        "dicom-json",
    ]);
    assert!(raw.success().contains("see CT"), "{raw:#?}");
    let state = shown(&env, FIRST);
    assert_eq!(state["states"][0]["patient_id"], "P1");
    assert_eq!(state["states"][0]["issuer_of_patient_id"], "NORTH");
    let fields = values(&state["states"][0]["fields"], "field");
    assert_eq!(
        fields,
        [
            "interpretation_status",
            "patient_location",
            "study_comments",
            "verified_status"
        ]
    );
    assert_eq!(state["relay"][0]["station"], "SITEB");
    assert_eq!(state["relay"][0]["state"], "queued");
}

#[test]
fn queries_match_the_values_as_shown() {
    let env = two_studies();
    assert_eq!(found(&env, &["--patient-name", "ROE*"]), Vec::<String>::new());
    update(
        &env,
        FIRST,
        &["--patient-name", "ROE^JANE", "--description", "Schädel"],
    )
    .success();
    for (filters, expected) in [
        (&["--patient-name", "ROE*"][..], &["ROE^JANE"][..]),
        (&["--patient-name", "roe^jane"], &["ROE^JANE"]),
        (&["--patient-name", "DOE*"], &["DOE^JOHN"]),
        (&["--patient-name", "*JANE"], &["ROE^JANE"]),
        (&["--patient-name", "ROE*", "--patient-id", "P1"], &["ROE^JANE"]),
        (&["--patient-name", "ROE*", "--patient-id", "P2"], &[]),
        (&["--patient-name", "ROE*", "--patient-id", "P1^^^SOUTH"], &[]),
        (
            &["--patient-name", "ROE*", "--birth-date", "1970-01-31"],
            &["ROE^JANE"],
        ),
        (&["--patient-name", "ROE*", "--birth-date", "1970-02-01"], &[]),
        (&["--description", "Schädel"], &["ROE^JANE"]),
        (&["--description", "Schädel", "--patient-name", "DOE*"], &[]),
        (&["--study-uid", SECOND, "--patient-name", "ROE*"], &[]),
    ] {
        assert_eq!(found(&env, filters), expected, "{filters:?}");
    }
    let mut all = found(&env, &[]);
    all.sort();
    assert_eq!(all, ["DOE^JOHN", "ROE^JANE"]);
    let (run, series) = query(&env, &["--local", "--study-uid", FIRST, "--level", "series"]);
    run.success();
    assert_eq!(series["items"][0]["patient_name"], "ROE^JANE");
    update(&env, FIRST, &["--patient-name", ""]).success();
    assert_eq!(study(&env, FIRST)["patient_name"], Value::Null, "it was cleared");
    assert!(
        found(&env, &["--patient-name", "DOE*"])
            .iter()
            .all(|name| name == "DOE^JOHN")
    );
}

#[test]
fn another_patients_correction_is_not_shown() {
    let env = two_studies();
    update(
        &env,
        FIRST,
        &["--patient-name", "EVIL^EVE", "--patient-id", "P9^^^NORTH"],
    )
    .success();
    assert_eq!(study(&env, FIRST)["patient_name"], "DOE^JANE");
    assert_eq!(found(&env, &["--patient-name", "EVIL*"]), Vec::<String>::new());
    assert_eq!(shown(&env, FIRST)["states"][0]["patient_id"], "P9");
}

#[test]
fn a_status_falls_back_only_by_a_correction() {
    let env = two_studies();
    update(&env, FIRST, &["--status", "APPROVED"]).success();
    let again = update(&env, FIRST, &["--status", "APPROVED", "--json"]);
    assert_eq!(again.json()["unchanged"], true);
    let back = update(&env, FIRST, &["--status", "DICTATED"]);
    back.fails_with(1, "the report is APPROVED");
    assert!(back.stderr.contains("--correct"), "{back:#?}");
    update(
        &env,
        FIRST,
        &["--status", "DICTATED", "--correct", "--reason", "CHG1"],
    )
    .success();
    assert_eq!(study(&env, FIRST)["interpretation_status"], "DICTATED");
}

#[test]
fn a_dry_run_changes_nothing_and_no_value_is_in_the_audit() {
    let env = two_studies();
    let dry = update(
        &env,
        FIRST,
        &["--patient-name", "ROE^JANE", "--dry-run", "--json"],
    )
    .json();
    assert_eq!(
        (&dry["dry_run"], &dry["relayed_to"]),
        (&json!(true), &json!(["SITEB"]))
    );
    assert_eq!(study(&env, FIRST)["patient_name"], "DOE^JANE");
    update(&env, FIRST, &["--patient-name", "ROE^JANE", "--reason", "CHG7"]).success();
    let audit = env.impaxlink(&["audit", "list", "--json"]);
    assert!(!audit.success().contains("ROE"), "{audit:#?}");
    let record = &audit.json()["items"][0];
    assert_eq!(
        (&record["kind"], &record["reason"]),
        (&json!("update"), &json!("CHG7"))
    );
    assert_eq!(record["detail"]["changed"], json!(["patient_name"]));
    env.impaxlink(&["audit", "verify"]).success();
    env.impaxlink(&["study", "show", FIRST]).success();
    let audit = env.impaxlink(&["audit", "list", "--limit", "1"]);
    assert!(
        audit.success().contains("asked the store by StudyInstanceUID"),
        "{audit:#?}"
    );
}

#[test]
fn a_wrong_or_unknown_change_is_refused() {
    let env = two_studies();
    update(&env, FIRST, &["--birth-date", "soon"]).fails_with(2, "patient_birth_date");
    update(&env, FIRST, &[]).fails_with(2, "nothing to change");
    update(&env, "1.2.3", &["--status", "NEW"]).fails_with(4, "no archive");
    update(
        &env,
        "1.2.3",
        &["--status", "NEW", "--patient-id", "88^^^HARBOUR"],
    )
    .success();
    update(&env, "1.2.3", &["--status", "DICTATED"]).success();
    env.impaxlink(&["study", "show", "1.2.4"])
        .fails_with(4, "nothing was said");
}

#[test]
fn a_file_is_taken_line_by_line() {
    let env = two_studies();
    let file = env.path().join("status.csv");
    let lines = format!(
        "study_instance_uid,interpretation_status,patient_name,patient_id,issuer_of_patient_id\n\
         {FIRST},DICTATED,,,\n\
         {SECOND},,ROE^JOHN,,\n\
         1.2.x,NEW,,,\n\
         1.2.9,NEW,,,\n\
         1.2.10,NEW,,88,HARBOUR\n"
    );
    fs::write(&file, lines).unwrap();
    let run = env.impaxlink(&["study", "update", "--from", file.to_str().unwrap(), "--json"]);
    run.exits(1);
    let outcome = run.json();
    assert_eq!(
        (&outcome["updated"], &outcome["unchanged"]),
        (&json!(3), &json!(0)),
        "{run:#?}"
    );
    let failed: Vec<i64> = outcome["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| bad["line"].as_i64().unwrap())
        .collect();
    assert_eq!(failed.len(), 2, "{run:#?}");
    assert!(
        run.stderr.contains("line 4") && run.stderr.contains("line 5"),
        "{run:#?}"
    );
    assert_eq!(study(&env, FIRST)["interpretation_status"], "DICTATED");
    assert_eq!(study(&env, SECOND)["patient_name"], "ROE^JOHN");

    let ndjson = env.path().join("more.ndjson");
    let lines = format!(
        "{{\"study_instance_uid\":\"{SECOND}\",\"patient_name\":\"\",\"study_comments\":null}}\n\n{{}}x\n\
         {{\"study_instance_uid\":\"{FIRST}\",\"interpretation_status\":\"NEW\",\"correct\":true}}\n"
    );
    fs::write(&ndjson, lines).unwrap();
    let run = env.impaxlink(&["study", "update", "--from", ndjson.to_str().unwrap()]);
    run.exits(1);
    assert!(
        run.stderr.contains("2 changed, 0 unchanged, 1 bad lines") && run.stderr.contains("line 3"),
        "{run:#?}"
    );
    assert_eq!(study(&env, SECOND)["patient_name"], Value::Null);
    assert_eq!(study(&env, FIRST)["interpretation_status"], "NEW");
}

#[test]
fn a_bad_line_is_named_without_its_values() {
    let env = two_studies();
    let feed = |name: &str, content: &[u8]| {
        let file = env.path().join(name);
        fs::write(&file, content).unwrap();
        let run = env.impaxlink(&["study", "update", "--from", file.to_str().unwrap()]);
        run.exits(1);
        run.stderr
    };
    let heading = "study_instance_uid,patient_id,patient_name,patient_sex";
    let csv = format!("{heading}\n{FIRST},,DOE\\JANE,\n{FIRST},47\\11,,F\n{FIRST},,,DOE\n{FIRST},,\u{ff},");
    let mut csv = csv.into_bytes();
    let odd = csv.iter().rposition(|byte| *byte == 0xc3).unwrap();
    csv.remove(odd);
    let told = feed("values.csv", &csv);
    let numbers = ["line 2: ", "line 3: ", "line 4: ", "line 5: "];
    assert!(numbers.iter().all(|number| told.contains(number)), "{told}");
    assert!(!told.contains("DOE") && !told.contains("47"), "{told}");
    let told = feed("values.ndjson", b"\"DOE^JANE\"\n");
    assert!(told.contains("line 1: ") && !told.contains("DOE"), "{told}");
    for option in ["--patient-id=47\\11", "--sex=DOE"] {
        let run = update(&env, FIRST, &["--status", "NEW", option]);
        run.exits(2);
        assert!(
            !run.stderr.contains("47") && !run.stderr.contains("DOE"),
            "{run:#?}"
        );
    }
}

#[test]
fn a_file_that_can_not_be_read_ends() {
    let env = two_studies();
    let folder = env.path().join("folder.ndjson");
    fs::create_dir(&folder).unwrap();
    let run = env.impaxlink(&["study", "update", "--from", folder.to_str().unwrap()]);
    run.fails_with(1, "line 1: ");
}

#[test]
fn reviews_are_given_listed_and_acknowledged() {
    let env = two_studies();
    let given = env.impaxlink(&["study", "review", FIRST, "--reason", "deleted: wrong patient"]);
    given.success();
    assert!(given.stderr.contains("SITEB"), "{given:#?}");
    let notices = env.impaxlink(&["study", "review", FIRST, "--json"]).json();
    assert_eq!(notices["items"][0]["reason"], "deleted: wrong patient");
    assert_ne!(
        notices["items"][0]["acknowledged_by"],
        Value::Null,
        "who gives it has seen it"
    );
    let open = env.impaxlink(&["study", "review"]);
    assert!(open.success().is_empty(), "{open:#?}");
    env.impaxlink(&["study", "review", FIRST, "--acknowledge"])
        .success();
    env.impaxlink(&["study", "review", SECOND, "--acknowledge"])
        .fails_with(4, "no review notice");
}

#[test]
fn the_relay_is_listed_retried_and_dropped() {
    let env = two_studies();
    update(&env, FIRST, &["--status", "NEW"]).success();
    update(&env, SECOND, &["--status", "NEW"]).success();
    let list = env.impaxlink(&["updates", "list", "--json"]).json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    let id = list["items"][0]["update"].as_str().unwrap();
    let one = env.impaxlink(&["updates", "show", id, "--json"]).json();
    assert_eq!(one["update"]["study_instance_uid"], SECOND);
    assert_eq!(one["relay"][0]["state"], "queued");
    let retried = env
        .impaxlink(&["updates", "retry", "--station", "SITEB", "--json"])
        .json();
    assert_eq!(retried["rows"], 2);
    let dropped = env
        .impaxlink(&["updates", "drop", id, "--reason", "CHG9", "--json"])
        .json();
    assert_eq!(dropped["rows"], 1);
    env.impaxlink(&["updates", "drop", "2.25.1"])
        .fails_with(4, "no update");
    let audit = env.impaxlink(&["audit", "list"]);
    assert!(audit.success().contains("not sent to SITEB"), "{audit:#?}");
    assert_eq!(
        study(&env, SECOND)["interpretation_status"],
        "NEW",
        "what it says stays"
    );
    let left = env.impaxlink(&["updates", "list"]);
    assert_eq!(left.success().lines().count(), 2, "{left:#?}");
}
