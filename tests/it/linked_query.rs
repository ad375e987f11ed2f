//! `query` over three real archives with overlaps: what it finds is what findscu finds at each, merged and told truly.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::findscu::find_studies;
use super::support::links::{add_archive, add_linked, item, query, values};
use super::support::orthanc::Orthanc;
use super::support::studies::Federation;

/// The local archive PACS (dcmqrscp) and the linked SITEB (Orthanc) and SITEC (dcmqrscp).
struct Sites {
    env: Env,
    federation: Federation,
    pacs: Dcmqrscp,
    siteb: Orthanc,
    sitec: Dcmqrscp,
}

fn sites(seed: u64, studies_per_site: usize) -> Sites {
    let federation = Federation::new(seed, studies_per_site);
    let pacs = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let siteb = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let sitec = Dcmqrscp::start("SITEC", &federation.site("SITEC").studies);
    let env = Env::new();
    add_archive(&env, "PACS", "SITEA", pacs.port, &["--issuer", "NORTH"]);
    add_linked(
        &env,
        "SITEB",
        "SITEB",
        siteb.port,
        &["--issuer", "HARBOUR", "--charset", "ISO_IR 192"],
    );
    add_linked(&env, "SITEC", "SITEC", sitec.port, &["--issuer", "VALLEY"]);
    Sites {
        env,
        federation,
        pacs,
        siteb,
        sitec,
    }
}

#[test]
fn it_finds_what_findscu_finds_at_each_site() {
    let sites = sites(11, 40);
    let (run, document) = query(&sites.env, &[]);
    run.success();
    assert_eq!(document["complete"], json!(true));
    let mut everywhere = BTreeSet::new();
    for (station, ae_title, port) in [
        ("PACS", "SITEA", sites.pacs.port),
        ("SITEB", "SITEB", sites.siteb.port),
        ("SITEC", "SITEC", sites.sitec.port),
    ] {
        let found = find_studies(ae_title, port, &["PatientID", "PatientName"]);
        assert!(found.success, "{}", found.log);
        let entry = item(&document["ledger"], "station", station);
        assert_eq!(entry["matches"], json!(found.answers.len()), "{entry}");
        everywhere.extend(found.values("StudyInstanceUID").into_iter().map(str::to_owned));
    }
    let studies = values(&document["items"], "study_instance_uid");
    assert!(
        everywhere.iter().map(String::as_str).eq(studies),
        "each study once, none missing"
    );
}

/// Case: answers in another order at each site
/// Case: answers in many character sets
#[test]
fn every_row_has_the_attributes_of_its_own_study() {
    let sites = sites(12, 24);
    let (_, document) = query(&sites.env, &[]);
    let mut known = BTreeMap::new();
    for site in &sites.federation.sites {
        for study in &site.studies {
            known
                .entry(&study.uid)
                .or_insert_with(Vec::new)
                .push((site.ae_title, study));
        }
    }
    for row in document["items"].as_array().unwrap() {
        let copies = &known[&row["study_instance_uid"].as_str().unwrap().to_owned()];
        let (_, study) = copies[0];
        assert_eq!(row["patient_id"], json!(study.patient.id), "{row}");
        assert_eq!(row["issuer_of_patient_id"], json!(study.patient.issuer), "{row}");
        assert_eq!(
            row["patient_name"],
            json!(study.patient.name),
            "UTF-8 whatever the charset: {row}"
        );
        assert_eq!(row["accession_number"], json!(study.accession_number), "{row}");
        assert_eq!(
            row["study_date"].as_str().unwrap().replace('-', ""),
            study.date,
            "{row}"
        );
        assert_eq!(row["issuer_inferred"], json!(false));
    }
}

/// Case: one study UID of two patients
#[test]
fn copies_are_one_row_and_conflicts_are_shown() {
    let sites = sites(13, 12);
    let row = |uid: &str| {
        let (_, document) = query(&sites.env, &["--study-uid", uid]);
        let items = document["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), 1, "{document:#}");
        items[0].clone()
    };
    let copy = row(&sites.federation.full_copy);
    assert_eq!(values(&copy["locations"], "station"), ["PACS", "SITEB"]);
    assert_eq!(
        copy["best_location"]["station"],
        json!("PACS"),
        "local wins among equals"
    );
    assert_eq!(copy["conflicts"], json!([]));
    let partial = row(&sites.federation.partial_copy);
    assert_eq!(values(&partial["locations"], "station"), ["PACS", "SITEB"]);

    let conflict = row(&sites.federation.conflict);
    assert_eq!(values(&conflict["locations"], "station"), ["PACS"]);
    let other = &conflict["conflicts"][0];
    assert_eq!(other["station"], json!("SITEC"));
    assert_ne!(other["patient_id"], conflict["patient_id"]);
    let run = sites
        .env
        .impaxlink(&["query", "--study-uid", &sites.federation.conflict]);
    let shown = run.success();
    for patient in [&conflict["patient_id"], &other["patient_id"]] {
        assert!(
            shown.contains(patient.as_str().unwrap()),
            "both patients are shown: {shown}"
        );
    }
}

/// Case: copies with different counts
#[test]
fn a_partial_copy_here_says_how_much_of_it_is_here() {
    let federation = Federation::new(14, 8);
    let part = Orthanc::start("PART", &federation.site("SITEB").studies);
    let whole = Orthanc::start("WHOLE", &federation.site("SITEA").studies);
    let env = Env::new();
    add_archive(&env, "PACS", "PART", part.port, &["--issuer", "NORTH"]);
    add_linked(&env, "SITEB", "WHOLE", whole.port, &["--issuer", "NORTH"]);
    let uid = &federation.partial_copy;
    let instances = |site: &str| {
        let studies = &federation.site(site).studies;
        studies
            .iter()
            .find(|study| study.uid == *uid)
            .unwrap()
            .instances()
    };
    let (_, document) = query(&env, &["--study-uid", uid]);
    let row = &document["items"][0];
    assert_eq!(
        row["instances"],
        json!(instances("SITEA")),
        "the largest, never the sum"
    );
    assert_eq!(
        row["best_location"],
        json!({"station": "SITEB", "availability": null, "instances": instances("SITEA"), "whole": true})
    );
    assert_eq!(
        item(&row["locations"], "station", "PACS")["instances"],
        json!(instances("SITEB"))
    );
    let run = env.impaxlink(&["query", "--study-uid", uid]);
    let shown = format!("({} of {} here)", instances("SITEB"), instances("SITEA"));
    assert!(run.success().contains(&shown), "{run:#?}");
}

/// Case: one patient ID of three issuers
#[test]
fn the_same_patient_id_of_three_issuers_is_three_patients() {
    let sites = sites(15, 12);
    let id = sites.federation.shared_patient_id;
    let (run, document) = query(&sites.env, &["--patient-id", id]);
    run.success();
    let mut issuers = values(&document["items"], "issuer_of_patient_id");
    issuers.dedup();
    assert_eq!(issuers, ["HARBOUR", "NORTH", "VALLEY"]);
    assert!(
        values(&document["items"], "patient_id")
            .iter()
            .all(|found| *found == id)
    );

    let one = format!("{id}^^^HARBOUR");
    let run = sites
        .env
        .impaxlink_with_stdin(&["query", "--json", "--patient-id", "@-"], &one);
    run.success();
    let document = run.json();
    let mut issuers = values(&document["items"], "issuer_of_patient_id");
    issuers.dedup();
    assert_eq!(issuers, ["HARBOUR"]);
    let entry = item(&document["ledger"], "station", "SITEC");
    assert!(
        entry["filtered"].as_u64().unwrap() > 0,
        "the other patients are counted: {entry}"
    );
    let detail = entry["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("left out here, of another issuer than asked for"),
        "{detail}"
    );
}

/// Case: several values of a key that is no UID
#[test]
fn filters_narrow_as_findscu_would() {
    let sites = sites(16, 24);
    let study = &sites.federation.site("SITEB").studies[4];
    let date = format!("{}-{}-{}", &study.date[..4], &study.date[4..6], &study.date[6..]);
    for arguments in [
        vec!["--accession", &study.accession_number],
        vec!["--study-uid", &study.uid],
        vec!["--study-date", &date, "--accession", &study.accession_number],
        vec!["-k", &format!("AccessionNumber={}", study.accession_number)],
        vec![
            "--patient-id",
            &study.patient.id,
            "--description",
            study.description,
        ],
    ] {
        let (run, document) = query(&sites.env, &arguments);
        run.success();
        let found = values(&document["items"], "study_instance_uid");
        assert!(found.contains(&study.uid.as_str()), "{arguments:?}: {document:#}");
        assert!(
            document["items"].as_array().unwrap().len() <= 3,
            "{arguments:?}: {document:#}"
        );
    }
    let (_, document) = query(&sites.env, &["--from", "SITEB", "--modality", "MR,US"]);
    let mut modalities: Vec<&Value> = Vec::new();
    for row in document["items"].as_array().unwrap() {
        modalities.extend(row["modalities"].as_array().unwrap());
    }
    let found: BTreeSet<&str> = modalities
        .iter()
        .filter_map(|modality| modality.as_str())
        .collect();
    assert_eq!(found, BTreeSet::from(["MR", "US"]));
    let expected = sites.federation.site("SITEB").studies.iter();
    let expected = expected
        .filter(|study| ["MR", "US"].contains(&study.series[0].modality))
        .count();
    assert_eq!(
        document["items"].as_array().unwrap().len(),
        expected,
        "two queries, merged"
    );
}

/// Case: a key beyond ASCII
#[test]
fn a_name_beyond_ascii_is_asked_in_the_stations_charset_or_in_what_may_be_it() {
    let sites = sites(17, 40);
    let (run, document) = query(&sites.env, &["--patient-name", "Żółć*"]);
    run.success();
    let siteb = item(&document["ledger"], "station", "SITEB");
    assert_eq!(
        siteb["outcome"],
        json!("searched"),
        "its charset is known to be ISO_IR 192"
    );
    let names = values(&document["items"], "patient_name");
    assert!(
        !names.is_empty() && names.iter().all(|name| *name == "Żółć^Łucja"),
        "{names:?}"
    );
    let pacs = item(&document["ledger"], "station", "PACS");
    assert_eq!(pacs["outcome"], json!("searched"), "{pacs}");
    assert!(pacs["detail"].as_str().unwrap().contains("--charset"), "{pacs}");
    let set = ["station", "set", "PACS", "--charset", "ISO_IR 144"];
    sites.env.impaxlink(&set).success();
    let (run, document) = query(&sites.env, &["--patient-name", "Żółć*"]);
    run.exits(1);
    let pacs = item(&document["ledger"], "station", "PACS");
    assert_eq!(
        (&pacs["outcome"], &pacs["matches"]),
        (&json!("failed"), &json!(0))
    );
    assert_eq!(
        pacs["detail"],
        json!("PatientName can't be written in ISO_IR 144, the station's character set")
    );
    assert_eq!(pacs["retry_at"], Value::Null, "the link is not at fault");
}

#[test]
fn the_lower_levels_of_one_study() {
    let sites = sites(18, 12);
    for (site, uid) in [
        ("SITEA", &sites.federation.full_copy),
        ("SITEC", &sites.federation.sites[2].studies[3].uid),
    ] {
        let study = sites
            .federation
            .site(site)
            .studies
            .iter()
            .find(|study| study.uid == *uid)
            .unwrap();
        let (run, document) = query(&sites.env, &["--study-uid", uid, "--level", "image"]);
        run.success();
        let series = &document["items"][0]["series"];
        for expected in &study.series {
            let found = item(series, "series_instance_uid", &expected.uid);
            if site == "SITEA" {
                // Orthanc has a copy; dcmqrscp returns no series description.
                assert_eq!(found["series_description"], json!(expected.description));
            }
            assert_eq!(found["modality"], json!(expected.modality));
            let mut instances: Vec<&str> = expected.instances.iter().map(String::as_str).collect();
            instances.sort_unstable();
            assert_eq!(values(&found["images"], "sop_instance_uid"), instances);
        }
        assert_eq!(series.as_array().unwrap().len(), study.series.len());
    }
    let run = sites.env.impaxlink(&["query", "--level", "series"]);
    run.fails_with(2, "--study-uid");
}

#[test]
fn every_format_tells_the_same() {
    let sites = sites(19, 12);
    let (_, document) = query(&sites.env, &[]);
    let expected = values(&document["items"], "study_instance_uid");

    let run = sites.env.impaxlink(&["query", "--format", "ndjson"]);
    run.success();
    let lines = run.ndjson();
    let of_type = |name: &str| Value::from_iter(lines.iter().filter(|line| line["type"] == name).cloned());
    assert_eq!(values(&of_type("study"), "study_instance_uid"), expected);
    assert_eq!(values(&of_type("ledger"), "station"), ["PACS", "SITEB", "SITEC"]);
    assert_eq!(of_type("conflict").as_array().unwrap().len(), 1);
    let locations: usize = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["locations"].as_array().unwrap().len())
        .sum();
    assert_eq!(
        of_type("location").as_array().unwrap().len(),
        locations - expected.len()
    );
    assert_eq!(lines.last().unwrap()["type"], json!("end"));
    assert_eq!(lines.last().unwrap()["complete"], json!(true));

    let run = sites.env.impaxlink(&["query", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(run.success().as_bytes());
    let mut uids: Vec<String> = rows.records().map(|row| row.unwrap()[0].to_owned()).collect();
    uids.sort_unstable();
    assert_eq!(uids, expected);

    let run = sites.env.impaxlink(&["query", "--format", "dicom-json"]);
    run.success();
    let data_sets = run.json();
    let uids = data_sets
        .as_array()
        .unwrap()
        .iter()
        .map(|data_set| data_set["0020000D"]["Value"][0].as_str().unwrap());
    assert_eq!(uids.collect::<BTreeSet<_>>(), expected.iter().copied().collect());
    let names: BTreeSet<&str> = data_sets
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|data_set| data_set["00100010"]["Value"][0]["Alphabetic"].as_str())
        .collect();
    assert!(names.contains("Müller^Jürgen^^Dr."), "{names:?}");
}

#[test]
fn the_record_holds_no_value_of_a_key() {
    let sites = sites(20, 8);
    let (run, _) = query(
        &sites.env,
        &["--patient-id", "SECRET77", "--patient-name", "HIDDEN*"],
    );
    run.success();
    let run = sites.env.impaxlink(&["audit", "list", "--json"]);
    let audit = run.success();
    assert!(
        !audit.contains("SECRET77") && !audit.contains("HIDDEN"),
        "{audit}"
    );
    assert!(
        audit.contains("PatientID") && audit.contains("PatientName"),
        "{audit}"
    );
    let run = sites.env.impaxlink(&["station", "list", "--linked"]);
    assert!(
        run.success().contains("up, "),
        "the health of the links is known now: {run:#?}"
    );
}
