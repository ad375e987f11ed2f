//! Whose a study is, as the archives of the local cluster say.
//!
//! Invariant: never guessed. A study that the archives give two patients is nobody's here until a person says whose.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::link::EmbeddedArchive;
use crate::link::merge::MergedStudy;
use crate::link::tls::LinkTls;
use crate::model::{Configuration, PatientIdKey, Query, Settings, StudyPatient, Uid};
use crate::store::Store;
use crate::updates::local_studies::{self, LocalStudies};

/// How many studies are asked for at once.
const MOST_AT_ONCE: usize = 1000;

/// Whose the studies are: those that the archives have, else those of whose state only one patient is known.
pub fn patients_of(ui: &Ui, store: &Store, studies: &[Uid]) -> anyhow::Result<HashMap<Uid, StudyPatient>> {
    let configuration = Arc::new(store.configuration()?);
    let mut patients = HashMap::new();
    for studies in studies.chunks(MOST_AT_ONCE) {
        for stated in store.study_states(studies)? {
            patients
                .entry(stated.study)
                .and_modify(|known| *known = None)
                .or_insert(Some(stated.patient));
        }
        for study in ask(ui, store, &configuration, studies)? {
            let patient = study
                .conflicts
                .is_empty()
                .then(|| local_studies::patient_of(&study));
            patients.insert(study.study.study_instance_uid, patient);
        }
    }
    let known = patients.into_iter();
    Ok(known
        .filter_map(|(study, patient)| Some((study, patient?)))
        .collect())
}

/// Whose the study is: as `key` says, else as [`patients_of`] does.
pub fn patient_of(
    ui: &Ui,
    store: &Store,
    study: &Uid,
    key: Option<&PatientIdKey>,
) -> anyhow::Result<StudyPatient> {
    if let Some(key) = key {
        return patient_of_key(key, &store.configuration()?.settings);
    }
    let mut known = patients_of(ui, store, std::slice::from_ref(study))?;
    Ok(known.remove(study).ok_or_else(|| unknown(study))?)
}

/// The patient of a key; a bare ID is of the local cluster's issuer.
pub fn patient_of_key(key: &PatientIdKey, settings: &Settings) -> anyhow::Result<StudyPatient> {
    if key.id.contains(['*', '?']) {
        let message = "--patient-id names one patient here, without wildcards";
        return Err(Problem::new(ExitStatus::Usage, message).into());
    }
    Ok(StudyPatient {
        id: key.id.clone(),
        issuer: key.issuer.clone().or_else(|| settings.issuer()),
    })
}

/// What to say of a study whose patient is not known.
pub fn unknown(study: &Uid) -> Problem {
    let message = format!("study {study}: no archive of the local cluster has it as one patient's");
    Problem::new(ExitStatus::NotFound, message).hint("--patient-id ID^^^ISSUER says whose it is")
}

fn ask(
    ui: &Ui,
    store: &Store,
    configuration: &Arc<Configuration>,
    studies: &[Uid],
) -> anyhow::Result<Vec<MergedStudy>> {
    let archives = LocalStudies {
        configuration: Arc::clone(configuration),
        cross_reference: Arc::new(store.cross_reference()?.0),
        tls: LinkTls::of(configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        turns: None,
    };
    let query = Query {
        study_uids: studies.to_vec(),
        ..Query::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(archives.find(query));
    runtime.shutdown_background();
    for (station, why) in found.missing {
        ui.notice(&format!("{station} did not say whose studies are: {why}"));
    }
    Ok(found.studies)
}
