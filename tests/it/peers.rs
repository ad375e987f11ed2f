//! Proves the support itself: real peers hold exactly the generated studies, and the fake peer misbehaves as told.

use super::support::dcmqrscp::Dcmqrscp;
use super::support::findscu::{echo, find_studies};
use super::support::orthanc::Orthanc;
use super::support::studies::{Federation, Site};

const KEYS: [&str; 7] = [
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "StudyDate",
    "AccessionNumber",
    "StudyDescription",
];

#[test]
fn the_same_seed_gives_the_same_federation() {
    let (one, two, other) = (
        Federation::new(7, 20),
        Federation::new(7, 20),
        Federation::new(8, 20),
    );
    for (one, two) in one.sites.iter().zip(&two.sites) {
        assert_eq!(one.studies, two.studies);
    }
    assert_ne!(one.full_copy, other.full_copy);
    let bytes = |federation: &Federation| -> Vec<Vec<u8>> {
        let files = federation.sites.iter().flat_map(|site| &site.studies);
        files.flat_map(|study| study.files().map(|file| file.1)).collect()
    };
    assert_eq!(bytes(&one), bytes(&two));
}

#[test]
fn the_sites_overlap_as_they_say() {
    let federation = Federation::new(1, 16);
    let at = |site: &str, uid: &str| {
        let studies = &federation.site(site).studies;
        studies.iter().find(|study| study.uid == uid).cloned()
    };
    let full = at("SITEA", &federation.full_copy).unwrap();
    assert_eq!(at("SITEB", &federation.full_copy).unwrap(), full);
    let whole = at("SITEA", &federation.partial_copy).unwrap();
    let part = at("SITEB", &federation.partial_copy).unwrap();
    assert!(part.instances() < whole.instances());
    let (mine, other) = (
        at("SITEA", &federation.conflict).unwrap(),
        at("SITEC", &federation.conflict).unwrap(),
    );
    assert_eq!(mine.patient.issuer, other.patient.issuer);
    assert_ne!(mine.patient.id, other.patient.id);
    let mut names = Vec::new();
    for site in &federation.sites {
        let patient = site.studies.iter().map(|study| &study.patient);
        let mut patient = patient.filter(|p| p.id == federation.shared_patient_id && p.issuer == site.issuer);
        names.push(patient.next().unwrap().name);
    }
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn dcmqrscp_holds_exactly_the_generated_studies() {
    let federation = Federation::new(2, 40);
    let site = federation.site("SITEA");
    let peer = Dcmqrscp::start("SITEA", &site.studies);
    assert!(echo("SITEA", peer.port).0);
    assert_holds(site, peer.port);
}

#[test]
fn orthanc_holds_exactly_the_generated_studies() {
    let federation = Federation::new(3, 40);
    let site = federation.site("SITEB");
    let peer = Orthanc::start("SITEB", &site.studies);
    assert!(echo("SITEB", peer.port).0);
    assert_holds(site, peer.port);
}

fn assert_holds(site: &Site, port: u16) {
    let found = find_studies(site.ae_title, port, &KEYS);
    assert!(found.success, "{}", found.log);
    let mut rows: Vec<_> = found
        .answers
        .iter()
        .map(|answer| KEYS.map(|key| readable(&answer[key])))
        .collect();
    let expected = site.studies.iter().map(|study| {
        let patient = &study.patient;
        [
            &study.uid,
            patient.name,
            &patient.id,
            patient.issuer,
            &study.date,
            &study.accession_number,
            study.description,
        ]
    });
    let mut expected: Vec<_> = expected.collect();
    rows.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rows, expected);
}

/// dicom-object decodes no code extensions; the one name that is written with them is known by its escapes.
fn readable(name: &str) -> &str {
    match name.contains("\x1b$B;3ED\x1b(B") {
        true => "Yamada^Tarou=山田^太郎=やまだ^たろう",
        false => name,
    }
}
