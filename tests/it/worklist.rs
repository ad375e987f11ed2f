//! The modality worklist, asked at a real SCP.
//!
//! Invariant: what is found is what the SCP's files say.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{DataSetBuilder, TransferSyntax};
use impaxlink::link::tls::LinkTls;
use impaxlink::model::{AeTitle, Configuration, DateRange, Station};
use impaxlink::priors::worklist::{Worklist, WorklistError, WorklistQuestion, ask_worklist};

use crate::support::cluster::local_cluster;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Identifier, Step};
use crate::support::process::free_port;
use crate::support::service::{block_on, set, station};
use crate::support::wlmscpfs::{Scheduled, Wlmscpfs};

fn scheduled(number: u32, patient_id: &str, modality: &'static str, date: &str) -> Scheduled {
    Scheduled {
        uid: format!("1.2.3.{number}"),
        patient_id: patient_id.to_owned(),
        issuer: None,
        patient_name: "Müller^Jürgen",
        character_set: "ISO_IR 192",
        accession_number: format!("A{number}"),
        modality,
        date: date.to_owned(),
        procedure: "CT CHEST",
    }
}

fn ask(worklist: Station, days: &str, modalities: &[&str]) -> Result<Worklist, WorklistError> {
    let mut configuration = Configuration::default();
    set(&mut configuration, "issuer", "NORTH");
    configuration.stations = vec![worklist];
    let question = WorklistQuestion {
        days: DateRange::parse(days, "2026-03-01".parse().unwrap()).unwrap(),
        modalities: modalities.iter().map(|&modality| modality.to_owned()).collect(),
        scheduled_station: None,
    };
    let tls = LinkTls::of(&configuration);
    block_on(ask_worklist(
        &configuration,
        &configuration.stations[0],
        &tls,
        &question,
    ))
}

fn ris(worklist: &Wlmscpfs) -> Station {
    let mut ris = station("RIS", worklist.port);
    ris.ae_title = worklist.ae_title.parse::<AeTitle>().unwrap();
    ris
}

#[test]
fn who_is_scheduled_is_found_by_day_and_modality() {
    let worklist = Wlmscpfs::start(
        "WORKLIST",
        &[
            scheduled(1, "4711", "CT", "20260302"),
            Scheduled {
                issuer: Some("HARBOUR"),
                ..scheduled(2, "88", "MR", "20260302")
            },
            scheduled(3, "4712", "CT", "20260303"),
            scheduled(1, "4711", "MR", "20260302"),
        ],
    );
    let uids = |days, modalities: &[&str]| {
        let found = ask(ris(&worklist), days, modalities).unwrap();
        let mut uids: Vec<_> = found
            .studies
            .iter()
            .map(|study| study.study_instance_uid.to_string())
            .collect();
        uids.sort();
        (uids, found.dropped)
    };
    let owned = |uids: &[&str]| uids.iter().map(|&uid| uid.to_owned()).collect::<Vec<_>>();
    assert_eq!(uids("tomorrow", &[]), (owned(&["1.2.3.1", "1.2.3.2"]), 0));
    assert_eq!(uids("tomorrow", &["CT"]), (owned(&["1.2.3.1"]), 0));
    assert_eq!(uids("2026-03-02..2026-03-03", &["CT", "MR"]).0.len(), 3);
    assert_eq!(uids("2026-03-04", &[]).0.len(), 0);
    let found = ask(ris(&worklist), "tomorrow", &[]).unwrap();
    let study = |uid: &str| {
        let mut studies = found.studies.iter();
        studies
            .find(|study| study.study_instance_uid.as_str() == uid)
            .unwrap()
    };
    let chest = study("1.2.3.1");
    assert_eq!(chest.patient_id.domain.to_string(), "NORTH");
    assert_eq!(chest.patient_name.as_deref(), Some("Müller^Jürgen"));
    assert_eq!(chest.body_part.as_deref(), Some("CHEST"));
    assert_eq!(chest.modalities.len(), 2, "of both steps: {:?}", chest.modalities);
    assert_eq!(study("1.2.3.2").patient_id.domain.to_string(), "HARBOUR");
}

#[test]
fn a_study_that_is_given_two_patients_is_one_patients() {
    let items = [
        scheduled(1, "4711", "CT", "20260302"),
        scheduled(1, "4712", "MR", "20260302"),
    ];
    let worklist = Wlmscpfs::start("WORKLIST", &items);
    let found = ask(ris(&worklist), "tomorrow", &[]).unwrap();
    let [study] = &found.studies[..] else {
        panic!("{found:#?}")
    };
    assert_eq!((study.modalities.len(), found.dropped), (1, 1), "{found:#?}");
}

#[test]
fn a_worklist_that_is_down_or_none_says_so() {
    let nobody = ask(station("RIS", free_port()), "today", &[])
        .unwrap_err()
        .to_string();
    assert!(
        nobody.starts_with("the worklist of RIS failed: connection refused"),
        "{nobody}"
    );
    let archive = crate::support::dcmqrscp::Dcmqrscp::start("SITEB", []);
    let mut siteb = station("SITEB", archive.port);
    siteb.ae_title = "SITEB".parse().unwrap();
    let rejected = ask(siteb, "today", &[]).unwrap_err().to_string();
    assert!(rejected.contains("the worklist of SITEB failed"), "{rejected}");
}

/// A worklist that gives one item of today, and then ends so.
fn one_item_and(end: Vec<Step>) -> FakePeer {
    let today = jiff::ZonedDateTime::now().strftime("%Y%m%d").to_string();
    let step = DataSetBuilder::new().put(tags::MODALITY, VR::CS, "CT").put(
        tags::SCHEDULED_PROCEDURE_STEP_START_DATE,
        VR::DA,
        today,
    );
    let item = DataSetBuilder::new()
        .put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.1")
        .put(tags::PATIENT_ID, VR::LO, "4711")
        .put_items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE, vec![step]);
    let item = item.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
    let mut script = vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::Match(0xFF00, Identifier::Raw(item.bytes().to_vec())),
    ];
    script.extend(end);
    FakePeer::start(script)
}

/// Case: a worklist fails after some of its items
#[test]
fn what_a_worklist_gave_before_it_failed_is_used_and_called_a_part() {
    for (end, why) in [
        (Step::End(0xA700, "DOE^JANE"), Some("ended with A700")),
        (Step::End(0xFE00, ""), Some("ended with FE00")),
        (Step::Abort, Some("abort")),
        (Step::End(0xB000, ""), Some("ended with B000")),
        (Step::End(0, "well done"), None),
    ] {
        let worklist = one_item_and(vec![end]);
        let configuration = Configuration {
            stations: vec![station("RIS", worklist.port)],
            ..Configuration::default()
        };
        let question = WorklistQuestion {
            days: DateRange::parse("today", jiff::ZonedDateTime::now().date()).unwrap(),
            modalities: Vec::new(),
            scheduled_station: None,
        };
        let tls = LinkTls::of(&configuration);
        let asked = ask_worklist(&configuration, &configuration.stations[0], &tls, &question);
        let found = block_on(asked).unwrap();
        assert_eq!(found.studies.len(), 1, "{found:#?}");
        match (&found.partial, why) {
            (Some(told), Some(why)) => assert!(told.contains(why) && !told.contains("DOE"), "{told}"),
            (told, why) => assert_eq!(told.as_deref(), why),
        }
    }
}

/// Case: a worklist fails after some of its items
#[test]
fn a_prefetch_by_a_worklist_that_failed_is_partial() {
    let worklist = one_item_and(vec![Step::End(0xA700, "")]);
    let env = local_cluster();
    let port = worklist.port.to_string();
    env.impaxlink(&[
        "station",
        "add",
        "RIS",
        "--ae-title",
        "RIS",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ])
    .success();
    let run = env.impaxlink(&[
        "prefetch",
        "--worklist",
        "today",
        "--worklist-station",
        "RIS",
        "-q",
    ]);
    run.exits(3);
    assert!(
        run.stderr
            .contains("the worklist of RIS may lack items: ended with A700"),
        "{run:#?}"
    );
    assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
}
