//! A cluster with an archive, and studies to be brought to it.
//!
//! Invariant: what a retrieve brought is asked of the archive itself, not of the retrieve.

use serde_json::Value;

use super::env::{Env, Run};
use super::fake_peer::script::{Acceptance, Step, a_match};
use super::studies::{Federation, Study};

/// A cluster whose archive station PACS is the one that impaxlink keeps.
pub fn embedded() -> Env {
    let env = Env::new();
    let add = ["station", "add", "PACS", "--kind", "archive", "--embedded"];
    env.impaxlink(&add).success();
    env
}

/// A study of two series, with so many instances in each.
pub fn study(instances_per_series: usize) -> Study {
    let mut study = Federation::new(77, 4).sites[0].studies[0].clone();
    for series in &mut study.series {
        series.instances = (1..=instances_per_series)
            .map(|number| format!("{}.{number}", series.uid))
            .collect();
    }
    study
}

/// A study of one CT series of three instances.
pub fn one_series() -> Study {
    let mut study = study(3);
    study.series.truncate(1);
    study
}

/// The steps of a source that answers a C-FIND at each level with a study of one series: with so many of its instances, and
/// with that count of all of them.
pub fn listing(study: &Study, instances: usize, count: &str) -> Vec<Step> {
    let series = &study.series[0];
    let of_study = a_match(&[
        ("QueryRetrieveLevel", "STUDY"),
        ("StudyInstanceUID", &study.uid),
        ("PatientID", &study.patient.id),
        ("IssuerOfPatientID", study.patient.issuer),
        ("NumberOfStudyRelatedInstances", count),
    ]);
    let of_series = a_match(&[("SeriesInstanceUID", &series.uid)]);
    let images = series.instances.iter().take(instances).map(|uid| {
        a_match(&[
            ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
            ("SOPInstanceUID", uid),
        ])
    });
    let mut script = vec![Step::Accept(Acceptance::default())];
    for matches in [vec![of_study], vec![of_series], images.collect()] {
        script.push(Step::AwaitRequest);
        script.extend(matches);
        script.push(Step::End(0, ""));
    }
    script
}

/// The study with only some of its instances, by their place in their series.
pub fn part(study: &Study, takes: impl Fn(usize) -> bool) -> Study {
    let mut part = study.clone();
    for series in &mut part.series {
        let kept = series
            .instances
            .iter()
            .enumerate()
            .filter(|(place, _)| takes(*place));
        series.instances = kept.map(|(_, uid)| uid.clone()).collect();
    }
    part
}

/// The data sets of the study's instances, by UID, as they travel in Explicit VR Little Endian.
pub fn data_sets(study: &Study) -> Vec<(String, Vec<u8>)> {
    let data_set = |file: Vec<u8>| {
        // Preamble, prefix, then the group length of the meta information with its value.
        let length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
        file[144 + length..].to_vec()
    };
    study
        .files()
        .map(|(uid, file)| (uid.to_owned(), data_set(file)))
        .collect()
}

/// Retrieves with `--json`; the run, and what it says of the one study.
#[track_caller]
pub fn retrieve(env: &Env, arguments: &[&str]) -> (Run, Value) {
    let run = env.impaxlink(&[&["retrieve", "--json"], arguments].concat());
    let item = run.json()["items"][0].clone();
    (run, item)
}

/// How many instances of the study the archive of the cluster lists.
#[track_caller]
pub fn there(env: &Env, study: &Study) -> usize {
    let asked = [
        "query",
        "--local",
        "--study-uid",
        &study.uid,
        "--level",
        "image",
        "--json",
    ];
    let document = env.impaxlink(&asked).json();
    let Some(series) = document["items"][0]["series"].as_array() else {
        return 0;
    };
    let images = |series: &Value| series["images"].as_array().map_or(0, Vec::len);
    series.iter().map(images).sum()
}
