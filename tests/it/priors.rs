//! `priors` over real archives: which studies are relevant, why, and who was asked.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{DataSetBuilder, TransferSyntax};
use impaxlink::link::linked_syntax::{CHARACTER_SET, LinkedAttributes, LinkedElement};
use impaxlink::model::Verification;
use serde_json::{Value, json};

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::{Env, Run};
use super::support::fake_peer::FakePeer;
use super::support::fake_peer::script::{Identifier, Step, answer};
use super::support::links::{add_archive, add_station, item, values};
use super::support::orthanc::Orthanc;
use super::support::studies::{Patient, Series, Study};

const CURRENT: &str = "2.25.100";

fn study(uid: &str, id: &str, date: &str, modality: &'static str, description: &'static str) -> Study {
    Study {
        patient: Patient {
            id: id.to_owned(),
            issuer: "",
            name: "DOE^JANE",
            character_set: "ISO_IR 100",
            birth_date: "19700101".to_owned(),
            sex: "F",
        },
        uid: uid.to_owned(),
        date: date.to_owned(),
        time: "101500".to_owned(),
        accession_number: String::new(),
        id: "1".to_owned(),
        description,
        referring_physician: "",
        series: vec![Series {
            uid: format!("{uid}.1"),
            number: 1,
            modality,
            description: "SERIES",
            body_part: "",
            instances: vec![format!("{uid}.1.1"), format!("{uid}.1.2")],
        }],
    }
}

/// The local PACS with the study at hand, SITEB with link prefetching and its own patient IDs, SITEC without. SITEC is of
/// those that don't tell the modalities of a study.
struct Sites {
    env: Env,
    _pacs: Orthanc,
    siteb: Orthanc,
    _sitec: Dcmqrscp,
}

fn sites() -> Sites {
    let pacs = Orthanc::start(
        "PACS",
        &[
            study(CURRENT, "4711", "20260310", "CT", "CT CHEST"),
            study("2.25.102", "4711", "20240310", "CT", "CT THORAX"),
            study("2.25.103", "4711", "20250310", "MR", "MR BRAIN"),
            study("2.25.104", "4711", "20100310", "CT", "CT CHEST"),
            study("2.25.105", "4712", "20250310", "CT", "CT CHEST"),
        ],
    );
    let mut whole = study("2.25.102", "88", "20240310", "CT", "CT THORAX");
    whole.series[0].instances.push("2.25.102.1.3".to_owned());
    let siteb = Orthanc::start(
        "SITEB",
        &[
            whole,
            study("2.25.201", "88", "20251224", "CT", "CT Thorax nativ"),
            study("2.25.202", "4711", "20251224", "CT", "CT CHEST"),
        ],
    );
    let sitec = Dcmqrscp::start(
        "SITEC",
        &[study("2.25.301", "4711", "20250101", "CT", "CT CHEST")],
    );
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &["--issuer", "NORTH"]);
    link(
        &env,
        "SITEB",
        siteb.port,
        &["--issuer", "HARBOUR", "--link-prefetch", "--constrained"],
    );
    link(
        &env,
        "SITEC",
        sitec.port,
        &["--issuer", "NORTH", "--link-internal-queries"],
    );
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&["patient", "link", "4711^^^NORTH", "88^^^HARBOUR"])
        .success();
    Sites {
        env,
        _pacs: pacs,
        siteb,
        _sitec: sitec,
    }
}

fn link(env: &Env, name: &str, port: u16, options: &[&str]) {
    add_station(env, name, name, port, &[&["--cluster-linking"], options].concat());
}

fn priors(env: &Env, arguments: &[&str]) -> (Run, Value) {
    let run = env.impaxlink(&[&["priors", "--json"], arguments].concat());
    let document = run.json();
    (run, document)
}

/// `UID rank rule` of each study that is listed.
fn listed(document: &Value) -> Vec<String> {
    let items = document["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    items
        .map(|item| {
            format!(
                "{} {} {}",
                text(&item["study_instance_uid"]),
                item["rank"],
                text(&item["rule"])
            )
        })
        .collect()
}

#[test]
fn local_and_linked_priors_are_ranked_each_with_its_reason() {
    let sites = sites();
    let (run, document) = priors(&sites.env, &[CURRENT]);
    run.success();
    assert_eq!(
        listed(&document),
        ["2.25.201 1 same-examination", "2.25.102 2 same-examination"]
    );
    assert_eq!(document["complete"], json!(true));
    assert_eq!(document["study"]["body_part"], json!("CHEST"));
    let first = &document["items"][0];
    assert_eq!(first["reason"], json!("CT, CHEST, 2 mo old, newest of at most 3"));
    assert_eq!(
        (&first["here"], &first["patient_id"]),
        (&json!("none"), &json!("88"))
    );
    let second = &document["items"][1];
    assert_eq!(
        (&second["here"], &second["instances"]),
        (&json!("part"), &json!(3))
    );
    assert_eq!(
        second["locations"][0]["station"],
        json!("SITEB"),
        "complete before partial"
    );

    let (_, explained) = priors(&sites.env, &[CURRENT, "--explain"]);
    let reason = |uid: &str| item(&explained["items"], "study_instance_uid", uid)["reason"].clone();
    assert_eq!(reason(CURRENT), json!("the study itself"));
    assert_eq!(reason("2.25.103"), json!("other modality (MR)"));
    assert_eq!(reason("2.25.104"), json!("too old by 11 y"));
    let uids = values(&explained["items"], "study_instance_uid");
    assert_eq!(
        uids,
        [CURRENT, "2.25.102", "2.25.103", "2.25.104", "2.25.201"],
        "the same ID of another issuer is another patient's"
    );
    assert_eq!(listed(&explained)[..2], listed(&document)[..]);

    let table = sites.env.impaxlink(&["priors", CURRENT, "--limit", "1"]);
    assert!(table.success().contains("2025-12-24"), "{table:#?}");
    assert_eq!(table.stdout.lines().count(), 2, "{table:#?}");
    assert!(
        table.stderr.contains("2 relevant of 5 studies from 2 stations."),
        "{table:#?}"
    );
}

#[test]
fn only_stations_with_link_prefetching_are_asked_and_the_ledger_names_the_others() {
    let sites = sites();
    let (_, document) = priors(&sites.env, &[CURRENT]);
    let entry = |station| item(&document["ledger"], "station", station).clone();
    assert_eq!(entry("SITEB")["outcome"], json!("searched"));
    assert_eq!(entry("SITEC")["outcome"], json!("skipped"));
    assert_eq!(entry("SITEC")["detail"], json!("--link-prefetch is off"));
    sites
        .env
        .impaxlink(&["station", "set", "SITEC", "--link-prefetch"])
        .success();
    let (_, document) = priors(&sites.env, &[CURRENT]);
    assert_eq!(
        listed(&document),
        [
            "2.25.201 1 same-examination",
            "2.25.102 2 same-examination",
            "2.25.301 3 same-body-part"
        ]
    );
    let ledgers = sites.env.impaxlink(&["ledger", "list", "--json"]).json();
    assert_eq!(
        ledgers["items"].as_array().unwrap().len(),
        2,
        "each search leaves its ledger"
    );
    sites.env.impaxlink(&["station", "suspend", "SITEC"]).success();
    let (run, document) = priors(&sites.env, &[CURRENT]);
    run.exits(3);
    assert_eq!(document["complete"], json!(false));
    let audit = sites
        .env
        .impaxlink(&["audit", "list", "--json"])
        .success()
        .to_owned();
    assert!(
        audit.contains("impaxlink priors") && audit.contains("PatientID"),
        "{audit}"
    );
    assert!(!audit.contains("4711\""), "no value of a key");
}

#[test]
fn a_site_that_is_down_costs_its_own_priors_alone() {
    let Sites {
        env,
        _pacs,
        siteb,
        _sitec,
    } = sites();
    drop(siteb);
    let (run, document) = priors(&env, &[CURRENT]);
    run.exits(3);
    assert_eq!(listed(&document), ["2.25.102 1 same-examination"]);
    assert_eq!(
        item(&document["ledger"], "station", "SITEB")["outcome"],
        json!("failed")
    );
    let quiet = env.impaxlink(&["priors", CURRENT, "-q"]);
    quiet.exits(3);
    assert!(quiet.stderr.contains("SITEB failed"), "{quiet:#?}");
}

#[test]
fn a_patients_priors_are_for_the_study_that_is_to_come() {
    let sites = sites();
    let ask = |more: &[&str]| {
        let run = sites.env.impaxlink_with_stdin(
            &[&["priors", "--patient-id", "@-", "--json"], more].concat(),
            "4711\n",
        );
        run.success();
        listed(&run.json())
    };
    let chest = ask(&[
        "--modality",
        "cr",
        "--body-part",
        "CHEST",
        "--study-date",
        "2026-04-01",
    ]);
    assert_eq!(
        chest,
        [
            format!("{CURRENT} 1 chest-ct-of-radiograph"),
            "2.25.201 2 same-body-part".to_owned(),
            "2.25.102 3 same-body-part".to_owned(),
        ]
    );
    let brain = ask(&[
        "--modality",
        "MR",
        "--body-part",
        "HEAD",
        "--study-date",
        "2026-04-01",
    ]);
    assert_eq!(brain, ["2.25.103 1 same-examination"]);
    let rules = sites.env.path().join("try.csv");
    std::fs::write(&rules, "name,order,max_number\nnewest,1,1\n").unwrap();
    let tried = ask(&["--rules", rules.to_str().unwrap()]);
    assert_eq!(tried, [format!("{CURRENT} 1 newest")]);
}

#[test]
fn a_study_that_nobody_has_is_not_found() {
    let sites = sites();
    let none = sites.env.impaxlink(&["priors", "2.25.999"]);
    none.fails_with(4, "no study 2.25.999");
    sites.env.impaxlink(&["priors"]).fails_with(2, "");
    sites
        .env
        .impaxlink(&["priors", CURRENT, "--patient-id", "1"])
        .fails_with(2, "");
    let streamed = sites.env.impaxlink(&["priors", CURRENT, "--format", "ndjson"]);
    streamed.success();
    let types: Vec<Value> = streamed
        .ndjson()
        .iter()
        .map(|line| line["type"].clone())
        .collect();
    assert_eq!(types, ["prior", "prior", "ledger", "ledger", "ledger", "end"]);
    let csv = sites.env.impaxlink(&["priors", CURRENT, "--format", "csv"]);
    assert!(
        csv.success()
            .starts_with("rank,verdict,rule,reason,here,study_instance_uid,"),
        "{csv:#?}"
    );
}

/// A linked cluster's answer about a prior of patient 4711.
fn linked_prior(uid: &str, status: &str, verification: Verification) -> Step {
    let attributes = LinkedAttributes {
        interpretation_status: Some(status.to_owned()),
        body_part: Some("CHEST".to_owned()),
        verification: Some(verification),
        ..LinkedAttributes::default()
    };
    let identifier = DataSetBuilder::new()
        .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
        .put(tags::STUDY_DATE, VR::DA, "20260101")
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put(tags::MODALITIES_IN_STUDY, VR::CS, "CT")
        .put(tags::PATIENT_ID, VR::LO, "4711")
        .put(tags::STUDY_INSTANCE_UID, VR::UI, uid);
    let identifier = attributes.put(identifier, &LinkedElement::OF_STUDY);
    let identifier = identifier.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
    Step::Match(0xFF00, Identifier::Raw(identifier.bytes().to_vec()))
}

#[test]
fn report_and_verification_come_from_the_linked_syntax() {
    let pacs = Dcmqrscp::start("PACS", &[study(CURRENT, "4711", "20260310", "CT", "CT CHEST")]);
    let siteb = FakePeer::start(answer([
        linked_prior("2.25.401", "APPROVED", Verification::Verified),
        linked_prior("2.25.402", "NEW", Verification::Verified),
        linked_prior("2.25.403", "APPROVED", Verification::Failed),
        linked_prior("2.25.404", "APPROVED", Verification::Unverified),
    ]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", pacs.port, &["--issuer", "NORTH"]);
    link(
        &env,
        "SITEB",
        siteb.port,
        &["--issuer", "NORTH", "--link-prefetch"],
    );
    let rules = env.path().join("rules.csv");
    std::fs::write(
        &rules,
        "name,order,body_part,status,verified\nreported,1,same,DICTATED,yes\n",
    )
    .unwrap();
    env.impaxlink(&["rule", "import", rules.to_str().unwrap()])
        .success();
    let (run, document) = priors(&env, &[CURRENT, "--explain"]);
    run.success();
    let reason = |uid: &str| item(&document["items"], "study_instance_uid", uid)["reason"].clone();
    assert_eq!(
        reason("2.25.401"),
        json!("CHEST, report APPROVED, verified, 2 mo old")
    );
    assert_eq!(reason("2.25.402"), json!("report NEW, below DICTATED"));
    assert_eq!(reason("2.25.403"), json!("its verification failed"));
    assert_eq!(reason("2.25.404"), json!("not verified"));
    assert_eq!(
        item(&document["ledger"], "station", "SITEB")["syntax"],
        json!("linked")
    );
}
