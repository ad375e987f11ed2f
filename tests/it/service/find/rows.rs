//! What a row holds: the keys that were asked for, at every level of both information models.

use std::collections::BTreeMap;

use dicom_dictionary_std::tags;
use impaxlink::model::Configuration;

use crate::support::service::{Service, set};
use crate::support::sites::{Sites, archive, internal, open_link, station_of};
use crate::support::viewer::{Seen, Viewer, value};

pub(super) fn all_linked(configuration: &mut Configuration) {
    set(configuration, "issuer", "NORTH");
    for (name, issuer) in [("PACS", "NORTH"), ("SITEB", "HARBOUR"), ("SITEC", "VALLEY")] {
        let station = station_of(configuration, name);
        station.issuers = vec![issuer.parse().unwrap()];
        station.links.internal_queries = station.links.cluster_linking;
    }
}

/// Case: several retrieve AE titles
/// Case: answers in another order at each site
#[test]
fn a_row_has_the_keys_of_the_request_and_no_others() {
    let sites = Sites::start(41, all_linked);
    let keys = [
        "QueryRetrieveLevel=STUDY",
        "SpecificCharacterSet",
        "StudyInstanceUID",
        "PatientName",
        "PatientID",
        "StudyDate",
        "ModalitiesInStudy",
        "StudyDescription",
        "PatientComments",
        "NumberOfStudyRelatedInstances",
        "InstanceAvailability",
        "ProcedureCodeSequence",
    ];
    let found = sites.findscu("READER", &["-S"], &keys);
    assert!(found.success, "{}", found.log);
    let known: BTreeMap<_, _> = sites
        .federation
        .sites
        .iter()
        .rev()
        .flat_map(|site| &site.studies)
        .map(|study| (study.uid.clone(), study))
        .collect();
    assert_eq!(found.answers.len(), known.len());
    for row in &found.answers {
        let mut asked: Vec<&str> = keys
            .iter()
            .map(|key| key.split('=').next().unwrap())
            .filter(|key| !["SpecificCharacterSet", "ProcedureCodeSequence"].contains(key))
            .collect();
        asked.push("RetrieveAETitle");
        asked.sort_unstable();
        assert!(row.keys().eq(asked.iter()), "{row:?}");
        assert_eq!(row["RetrieveAETitle"], "IMPAXLINK");
        assert_eq!(row["PatientComments"], "");
        let study = known[&row["StudyInstanceUID"]];
        assert_eq!(row["PatientID"], study.patient.id, "no row mixes two patients");
        assert_eq!(row["StudyDate"], study.date);
    }
}

/// Case: answers in many character sets
#[test]
fn text_is_utf_8_or_as_the_caller_wants_it() {
    let sites = Sites::start(42, |configuration| {
        all_linked(configuration);
        station_of(configuration, "READER").charset = Some("ISO_IR 100".parse().unwrap());
        station_of(configuration, "SITEB").links.external_queries = true;
    });
    let names = |caller: &str| -> BTreeMap<String, (String, Vec<u8>)> {
        let mut viewer = Viewer::open(sites.service.port, caller);
        let seen = viewer.find(&["StudyInstanceUID", "PatientName"]);
        seen.matches
            .iter()
            .map(|row| {
                let charset = value(row, tags::SPECIFIC_CHARACTER_SET).unwrap();
                let name = row.element(tags::PATIENT_NAME).unwrap().trim_ascii_end();
                let uid = value(row, tags::STUDY_INSTANCE_UID).unwrap();
                (uid, (charset, name.to_vec()))
            })
            .collect()
    };
    let (plain, latin) = (names("OUTSIDE"), names("READER"));
    let mut latin_beyond_ascii = 0;
    for study in &sites.federation.site("SITEA").studies {
        let (charset, name) = &plain[&study.uid];
        assert_eq!(charset, "ISO_IR 192");
        assert_eq!(String::from_utf8_lossy(name), study.patient.name);
        let (charset, name) = &latin[&study.uid];
        let as_latin: Option<Vec<u8>> = study
            .patient
            .name
            .chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect();
        match as_latin {
            Some(bytes) => {
                assert_eq!((charset.as_str(), name), ("ISO_IR 100", &bytes));
                latin_beyond_ascii += usize::from(!study.patient.name.is_ascii());
            }
            None => assert_eq!(
                (charset.as_str(), name.as_slice()),
                ("ISO_IR 192", study.patient.name.as_bytes())
            ),
        }
    }
    assert!(latin_beyond_ascii > 0);
}

/// Case: a key beyond ASCII
#[test]
fn a_key_beyond_ascii_passes_in_the_callers_own_character_set() {
    let sites = Sites::start(43, |_| ());
    let study = sites
        .federation
        .site("SITEA")
        .studies
        .iter()
        .find(|study| study.patient.character_set == "ISO_IR 100")
        .expect("a name in Latin-1");
    let found = sites.findscu(
        "READER",
        &["-S"],
        &[
            "QueryRetrieveLevel=STUDY",
            "SpecificCharacterSet=ISO_IR 192",
            "StudyInstanceUID",
            &format!("PatientName={}", study.patient.name),
        ],
    );
    assert!(found.success, "{}", found.log);
    assert!(
        found.values("StudyInstanceUID").contains(&study.uid.as_str()),
        "{}",
        found.log
    );
}

#[test]
fn the_lower_levels_are_those_of_the_study_that_is_given() {
    let sites = Sites::start(44, all_linked);
    let study = &sites.federation.site("SITEB").studies[3];
    let mut reader = Viewer::open(sites.service.port, "READER");
    let uid = format!("StudyInstanceUID={}", study.uid);
    let seen = reader.find_at(
        "SERIES",
        &[
            &uid,
            "SeriesInstanceUID",
            "Modality",
            "SeriesDescription",
            "PatientID",
            "StudyDate",
        ],
    );
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
    assert_eq!(seen.matches.len(), study.series.len());
    for series in &study.series {
        let found = row(&seen, tags::SERIES_INSTANCE_UID, &series.uid);
        assert_eq!(
            value(found, tags::SERIES_DESCRIPTION).unwrap(),
            series.description
        );
        assert_eq!(value(found, tags::MODALITY).unwrap(), series.modality);
        assert_eq!(value(found, tags::PATIENT_ID).unwrap(), study.patient.id);
        assert_eq!(value(found, tags::STUDY_DATE).unwrap(), study.date);
        assert_eq!(value(found, tags::QUERY_RETRIEVE_LEVEL).unwrap(), "SERIES");
    }
    let series = &study.series[1];
    let of_series = format!("SeriesInstanceUID={}", series.uid);
    let keys = [
        uid.as_str(),
        of_series.as_str(),
        "SOPInstanceUID",
        "InstanceNumber",
        "Rows",
        "Modality",
    ];
    let seen = reader.find_at("IMAGE", &keys);
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
    let mut expected = series.instances.clone();
    expected.sort_unstable();
    assert_eq!(seen.values("SOPInstanceUID"), expected);
    assert!(
        seen.values("Modality")
            .iter()
            .all(|modality| modality == series.modality)
    );
}

fn row<'s>(seen: &'s Seen, tag: dicom_core::Tag, wanted: &str) -> &'s impaxlink::dimse::DataSet {
    let mut rows = seen.matches.iter();
    let found = rows.find(|row| value(row, tag).as_deref() == Some(wanted));
    found.unwrap_or_else(|| panic!("no {tag} {wanted}"))
}

#[test]
fn patient_root_begins_with_patients() {
    let sites = Sites::start(45, all_linked);
    let mut reader = Viewer::open_patient_root(sites.service.port, "READER");
    let seen = reader.find_at(
        "PATIENT",
        &["PatientID", "IssuerOfPatientID", "PatientName", "StudyDate"],
    );
    assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
    let mut patients: Vec<(String, String)> = seen
        .matches
        .iter()
        .map(|row| {
            (
                value(row, tags::PATIENT_ID).unwrap(),
                value(row, tags::ISSUER_OF_PATIENT_ID).unwrap(),
            )
        })
        .collect();
    patients.sort_unstable();
    let all = sites.federation.sites.iter().flat_map(|site| &site.studies);
    let mut expected: Vec<(String, String)> = all
        .map(|study| (study.patient.id.clone(), study.patient.issuer.to_owned()))
        .collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(patients, expected, "each patient once, by ID and issuer");
    assert!(seen.values("StudyDate").iter().all(String::is_empty));

    let study = &sites.federation.site("SITEA").studies[4];
    let patient = format!("PatientID={}", study.patient.id);
    let seen = reader.find(&[&patient, "StudyInstanceUID"]);
    assert!(seen.values("StudyInstanceUID").contains(&study.uid));
    let uid = format!("StudyInstanceUID={}", study.uid);
    let seen = reader.find_at("SERIES", &[&patient, &uid, "SeriesInstanceUID"]);
    assert_eq!(seen.matches.len(), study.series.len());
    let seen = reader.find(&["StudyInstanceUID"]);
    assert_eq!(
        (seen.status, &seen.offending[..]),
        (0xA900, &[tags::PATIENT_ID][..])
    );
}

#[test]
fn an_identifier_of_no_sense_is_refused_and_the_association_goes_on() {
    let service = Service::start(vec![internal("READER")]);
    let mut reader = Viewer::open(service.port, "READER");
    for (level, offending) in [
        ("PATIENT", tags::QUERY_RETRIEVE_LEVEL),
        ("SERIES", tags::STUDY_INSTANCE_UID),
    ] {
        let seen = reader.find_at(level, &["PatientName"]);
        assert_eq!(
            (seen.status, &seen.offending[..]),
            (0xA900, &[offending][..]),
            "{}",
            seen.comment
        );
    }
    reader.send_request(&[0xFF; 20]);
    assert_eq!(reader.finish().status, 0xA900);
    let seen = reader.find(&["PatientName"]);
    assert_eq!(
        (seen.status, seen.comment.as_str()),
        (0xC001, "there is no archive station")
    );
    reader.release();
}

/// Case: one patient ID of three issuers
#[test]
fn a_bare_patient_id_is_the_local_clusters_own() {
    let sites = Sites::start(46, all_linked);
    let shared = format!("PatientID={}", sites.federation.shared_patient_id);
    let mut reader = Viewer::open(sites.service.port, "READER");
    let mut issuers = |keys: &[&str]| {
        let seen = reader.find(&[&["StudyInstanceUID", "IssuerOfPatientID"], keys].concat());
        assert_eq!(seen.status, 0, "{}", seen.comment);
        let mut issuers = seen.values("IssuerOfPatientID");
        issuers.dedup();
        issuers
    };
    assert_eq!(issuers(&[&shared]), ["NORTH"]);
    assert_eq!(issuers(&[&shared, "IssuerOfPatientID=HARBOUR"]), ["HARBOUR"]);
    assert_eq!(
        issuers(&[]),
        ["HARBOUR", "NORTH", "VALLEY"],
        "no ID is given to be mistaken"
    );
    sites.change("READER", |station| {
        station.issuers = vec!["VALLEY".parse().unwrap()]
    });
    assert_eq!(issuers(&[&shared]), ["VALLEY"]);
    let log = sites.service.log_with("withheld: patients of another issuer");
    assert!(!log.contains(sites.federation.shared_patient_id), "{log}");
}

/// Case: one study UID of two patients
#[test]
fn a_conflict_is_given_once_and_counted() {
    let sites = Sites::start(47, all_linked);
    let mut reader = Viewer::open(sites.service.port, "READER");
    let uid = format!("StudyInstanceUID={}", sites.federation.conflict);
    for _ in 0..2 {
        let seen = reader.find(&[&uid, "PatientID"]);
        assert_eq!((seen.status, seen.matches.len()), (0, 1));
        let local = &sites.federation.site("SITEA").studies[2];
        assert_eq!(local.uid, sites.federation.conflict);
        assert_eq!(
            seen.values("PatientID"),
            [local.patient.id.as_str()],
            "as the local cluster has it"
        );
    }
    sites.service.wait_for_conflicts(1);
    let listed = sites
        .service
        .env
        .impaxlink(&["study", "conflicts", "list", "--json"])
        .json();
    let conflict = &listed["items"][0];
    assert_eq!(conflict["study_instance_uid"], sites.federation.conflict.as_str());
    assert_eq!(
        (&conflict["first_path"], &conflict["last_path"]),
        (&"c-find".into(), &"c-find".into())
    );
    let stations: Vec<&str> = conflict["parties"]
        .as_array()
        .unwrap()
        .iter()
        .map(|party| party["station"].as_str().unwrap())
        .collect();
    assert_eq!(stations, ["PACS", "SITEC"], "{conflict:#}");
}

#[test]
fn every_answer_leaves_its_ledger() {
    let sites = Sites::start(48, |configuration| {
        all_linked(configuration);
        configuration.stations.push(archive("OLD", "OLD", 1));
        configuration.stations.push(open_link("SITED", "SITED", 1));
    });
    let mut reader = Viewer::open(sites.service.port, "READER");
    let seen = reader.find(&["StudyInstanceUID", "PatientName=*SECRETNAME*"]);
    assert_eq!(
        (seen.status, seen.comment.as_str()),
        (0, "2 of 5 sites did not answer: OLD, SITED")
    );
    let list = || sites.service.env.impaxlink(&["ledger", "list", "--json"]).json();
    crate::support::service::wait_for("the ledger", || {
        list()["items"].as_array().is_some_and(|it| it.len() == 1)
    });
    let ledger = list();
    assert!(!ledger.to_string().contains("SECRETNAME"));
    let id = ledger["items"][0]["id"].as_str().unwrap().to_owned();
    let shown = sites.service.env.impaxlink(&["ledger", "show", &id]);
    let shown = shown.success();
    for words in ["READER@127.0.0.1", "SITED", "failed", "PatientName"] {
        assert!(shown.contains(words), "no {words} in {shown}");
    }
}
