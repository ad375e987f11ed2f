//! DCMTK's `wlmscpfs`, a real modality worklist, with scheduled studies in it.
//!
//! Invariant: it answers when `start` returns.

use std::fs;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use tempfile::TempDir;

use super::process::{Process, bound_to_us, free_port, listens};

/// A study that is scheduled.
#[derive(Debug, Clone)]
pub struct Scheduled {
    pub uid: String,
    pub patient_id: String,
    pub issuer: Option<&'static str>,
    pub patient_name: &'static str,
    pub character_set: &'static str,
    pub accession_number: String,
    pub modality: &'static str,
    /// `YYYYMMDD`
    pub date: String,
    pub procedure: &'static str,
}

/// A running `wlmscpfs`.
pub struct Wlmscpfs {
    pub ae_title: &'static str,
    pub port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Wlmscpfs {
    /// Starts a worklist of this AE title.
    pub fn start(ae_title: &'static str, scheduled: &[Scheduled]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let items = folder.path().join(ae_title);
        fs::create_dir(&items).expect("a folder for the items");
        fs::write(items.join("lockfile"), "").expect("a lock file");
        for (number, study) in scheduled.iter().enumerate() {
            study.write(&items.join(format!("{number}.wl")));
        }
        let port = free_port();
        let mut process = Process::start(
            bound_to_us("wlmscpfs")
                .args(["-v", "-csk", "-dfp"])
                .arg(folder.path())
                .arg(port.to_string())
                .env("TCP_NODELAY", "1"),
            folder.path().join("wlmscpfs.log"),
        );
        process.wait_until("wlmscpfs's port", || listens(port));
        Wlmscpfs {
            ae_title,
            port,
            _process: process,
            _folder: folder,
        }
    }
}

impl Scheduled {
    fn write(&self, path: &std::path::Path) {
        let step = object([
            (tags::MODALITY, VR::CS, self.modality),
            (tags::SCHEDULED_STATION_AE_TITLE, VR::AE, "SCANNER"),
            (tags::SCHEDULED_PROCEDURE_STEP_START_DATE, VR::DA, &self.date),
            (tags::SCHEDULED_PROCEDURE_STEP_START_TIME, VR::TM, "093000"),
            (tags::SCHEDULED_PERFORMING_PHYSICIAN_NAME, VR::PN, ""),
            (tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION, VR::LO, self.procedure),
            (tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, "1"),
        ]);
        let mut item = object([
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, self.character_set),
            (tags::ACCESSION_NUMBER, VR::SH, &self.accession_number),
            (tags::PATIENT_NAME, VR::PN, self.patient_name),
            (tags::PATIENT_ID, VR::LO, &self.patient_id),
            (tags::PATIENT_BIRTH_DATE, VR::DA, "19500101"),
            (tags::PATIENT_SEX, VR::CS, "O"),
            (tags::STUDY_INSTANCE_UID, VR::UI, &self.uid),
            (tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO, self.procedure),
            (tags::REQUESTED_PROCEDURE_ID, VR::SH, "1"),
        ]);
        if let Some(issuer) = self.issuer {
            item.put(DataElement::new(tags::ISSUER_OF_PATIENT_ID, VR::LO, issuer));
        }
        let steps = DataSetSequence::from(vec![step]);
        item.put(DataElement::new(
            tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE,
            VR::SQ,
            steps,
        ));
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(uids::MODALITY_WORKLIST_INFORMATION_MODEL_FIND)
            .media_storage_sop_instance_uid(&self.uid)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = item.with_meta(meta).expect("a complete file meta table");
        file.write_to_file(path).expect("a worklist file");
    }
}

fn object<const N: usize>(values: [(dicom_core::Tag, VR, &str); N]) -> InMemDicomObject {
    let elements = values
        .into_iter()
        .map(|(tag, vr, value)| DataElement::new(tag, vr, PrimitiveValue::from(value)));
    InMemDicomObject::from_element_iter(elements)
}
