//! A local cluster with an embedded archive, and studies made for prefetching.
//!
//! Invariant: studies of one patient differ in UIDs and dates alone, unless a test changes them.

use super::env::Env;
use super::links::{add_station, query};
use super::studies::{Patient, Series, Study};
use super::wlmscpfs::{Scheduled, Wlmscpfs};

/// A CT of the chest of that patient, `year` being when, with so many instances in one series.
pub fn chest_ct(patient_id: &str, year: u32, instances: usize) -> Study {
    let number: u128 = patient_id
        .bytes()
        .fold(u128::from(year), |sum, byte| sum * 131 + u128::from(byte));
    Study {
        patient: Patient {
            id: patient_id.to_owned(),
            issuer: "NORTH",
            name: "DOE^JANE",
            character_set: "ISO_IR 100",
            birth_date: "19500101".to_owned(),
            sex: "F",
        },
        uid: format!("2.25.{number}0"),
        date: format!("{year}0302"),
        time: "101500".to_owned(),
        accession_number: format!("A{year}"),
        id: "1".to_owned(),
        description: "CT CHEST",
        referring_physician: "REF^DOCTOR",
        series: vec![Series {
            uid: format!("2.25.{number}1"),
            number: 1,
            modality: "CT",
            description: "LUNG",
            body_part: "CHEST",
            instances: (0..instances)
                .map(|instance| format!("2.25.{number}2{instance:04}"))
                .collect(),
        }],
    }
}

/// A cluster of issuer NORTH with an embedded archive OWN, and no service.
pub fn local_cluster() -> Env {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    env.impaxlink(&["config", "set", "prefetch.retry_after", "10ms"])
        .success();
    env
}

/// Puts studies into the embedded archive of `env`.
pub fn import<'a>(env: &Env, studies: impl IntoIterator<Item = &'a Study>) {
    let folder = tempfile::tempdir_in(env.path()).expect("a folder");
    let count: usize = studies
        .into_iter()
        .map(|study| study.write_files(folder.path()))
        .sum();
    assert!(count > 0);
    let folder = folder.path().to_string_lossy();
    env.impaxlink(&["archive", "import", &folder]).success();
}

/// Registers a station that is linked for prefetching alone.
pub fn add_source(env: &Env, name: &str, port: u16) {
    let links = ["--cluster-linking", "--link-prefetch", "--issuer", "NORTH"];
    add_station(env, name, name, port, &links);
}

/// Chest CTs that are scheduled tomorrow.
pub fn tomorrow(patient_ids: &[&str]) -> Vec<Scheduled> {
    let day = jiff::ZonedDateTime::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let day = day.date().tomorrow().unwrap().strftime("%Y%m%d").to_string();
    let scheduled = patient_ids.iter().enumerate().map(|(number, id)| Scheduled {
        uid: format!("1.2.3.4.{number}"),
        patient_id: (*id).to_owned(),
        issuer: None,
        patient_name: "DOE^JANE",
        character_set: "ISO_IR 100",
        accession_number: format!("W{number}"),
        modality: "CT",
        date: day.clone(),
        procedure: "CT CHEST",
    });
    scheduled.collect()
}

/// Registers the worklist as RIS, and as the one that is asked.
pub fn add_worklist(env: &Env, worklist: &Wlmscpfs) {
    add_station(env, "RIS", worklist.ae_title, worklist.port, &[]);
    env.impaxlink(&["config", "set", "prefetch.worklist.station", "RIS"])
        .success();
}

/// How many instances the archive has of each study, by UID.
pub fn held(env: &Env) -> Vec<(String, u64)> {
    let (_, document) = query(env, &["--local"]);
    let studies = document["items"].as_array().unwrap().iter();
    let mut held: Vec<_> = studies
        .map(|study| {
            let uid = study["study_instance_uid"].as_str().unwrap().to_owned();
            (uid, study["instances"].as_u64().unwrap())
        })
        .collect();
    held.sort();
    held
}

/// How many instances the studies have, as [`held`] gives it.
pub fn expected<'a>(studies: impl IntoIterator<Item = &'a Study>) -> Vec<(String, u64)> {
    let mut expected: Vec<_> = studies
        .into_iter()
        .map(|study| (study.uid.clone(), study.instances() as u64))
        .collect();
    expected.sort();
    expected
}
