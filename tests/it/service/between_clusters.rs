//! What a service gives of studies that are spread over clusters, and to another impaxlink.

use std::collections::BTreeSet;

use impaxlink::model::{Kind, Station};

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::{add_archive, add_linked, query, values};
use crate::support::orthanc::Orthanc;
use crate::support::service::{Service, set, station};
use crate::support::studies::Federation;
use crate::support::viewer::Viewer;

fn archive(name: &str, port: u16) -> Station {
    Station {
        kind: Kind::Archive,
        ..station(name, port)
    }
}

fn reader() -> Station {
    Station {
        kind: Kind::Internal,
        ..station("READER", 104)
    }
}

#[test]
fn series_that_only_a_linked_cluster_has_complete_a_study_that_is_here_in_part() {
    let federation = Federation::new(61, 8);
    let part = Orthanc::start("PART", &federation.site("SITEB").studies);
    let whole = Orthanc::start("WHOLE", &federation.site("SITEA").studies);
    let mut door = station("WHOLE", whole.port);
    door.links.cluster_linking = true;
    door.links.internal_queries = true;
    // Both name no issuer: that the patient is one is seen by the person.
    let service = Service::start(vec![archive("PART", part.port), door, reader()]);
    let study = federation.site("SITEA").studies.iter();
    let study = study
        .clone()
        .find(|study| study.uid == federation.partial_copy)
        .unwrap();
    let uid = format!("StudyInstanceUID={}", study.uid);
    let mut viewer = Viewer::open(service.port, "READER");

    let seen = viewer.find_at("SERIES", &[&uid, "SeriesInstanceUID", "Modality"]);
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
    let mut series: Vec<&str> = study.series.iter().map(|series| series.uid.as_str()).collect();
    series.sort_unstable();
    assert_eq!(
        seen.values("SeriesInstanceUID"),
        series,
        "each once, whoever has it"
    );

    let seen = viewer.find_at("IMAGE", &[&uid, "SOPInstanceUID"]);
    let mut instances: Vec<&String> = study.series.iter().flat_map(|series| &series.instances).collect();
    instances.sort_unstable();
    assert_eq!(
        seen.values("SOPInstanceUID").iter().collect::<Vec<_>>(),
        instances
    );
}

#[test]
fn a_linked_impaxlink_gets_the_patients_of_all_issuers_and_a_viewer_its_own() {
    let federation = Federation::new(62, 8);
    let here = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let there = Dcmqrscp::start("SITEB", &federation.site("SITEB").studies);
    let service = Service::start_with(|configuration| {
        set(configuration, "ae_title", "CLUSTERB");
        set(configuration, "issuer", "HARBOUR");
        let mut north = station("NORTH", 104);
        north.links.cluster_linking = true;
        north.issuers = vec!["NORTH".parse().unwrap()];
        let viewer = Station {
            calling_ae: Some("IMPAXLINK".parse().unwrap()),
            issuers: north.issuers.clone(),
            ..reader()
        };
        configuration.stations = vec![archive("SITEB", there.port), north, viewer];
    });
    let env = Env::new();
    env.impaxlink(&["config", "set", "ae_title", "NORTH"]).success();
    add_archive(&env, "PACS", "SITEA", here.port, &["--issuer", "NORTH"]);
    add_linked(&env, "CLUSTERB", "CLUSTERB", service.port, &[]);
    let id = federation.shared_patient_id;
    let (run, document) = query(&env, &["--patient-id", id]);
    run.success();
    let issuers = values(&document["items"], "issuer_of_patient_id");
    let issuers: BTreeSet<&str> = issuers.into_iter().collect();
    assert_eq!(issuers, BTreeSet::from(["HARBOUR", "NORTH"]), "{document:#}");

    let mut viewer = Viewer::open(service.port, "READER");
    let seen = viewer.find(&[
        &format!("PatientID={id}"),
        "IssuerOfPatientID",
        "StudyInstanceUID",
    ]);
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
    let copies = federation.site("SITEB").studies.iter();
    let mut copies: Vec<&String> = copies
        .filter(|study| (study.patient.id.as_str(), study.patient.issuer) == (id, "NORTH"))
        .map(|study| &study.uid)
        .collect();
    copies.sort_unstable();
    assert_eq!(
        seen.values("StudyInstanceUID").iter().collect::<Vec<_>>(),
        copies,
        "HARBOUR's 4711 is another patient"
    );
}
