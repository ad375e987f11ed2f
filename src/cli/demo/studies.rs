//! The made-up studies of the demo: two sites, one patient that both know, copies whole and in part, and a conflict.
//!
//! Invariant: always the same studies, and nobody's. Each instance is a DICOM file with a picture of four pixels.

use std::fs;
use std::io;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// A study as one site has it.
pub struct DemoStudy {
    /// The last component of its UID.
    number: u32,
    /// Patient ID, issuer, name and date of birth.
    patient: [&'static str; 4],
    date: &'static str,
    modality: &'static str,
    body_part: &'static str,
    description: &'static str,
    instances: u32,
}

const JANE: [&str; 4] = ["4711", "NORTH", "DOE^JANE", "19700311"];
const JANE_AT_HARBOUR: [&str; 4] = ["88", "HARBOUR", "DOE^JANE", "19700311"];
const OTHER_4711: [&str; 4] = ["4711", "HARBOUR", "Müller^Jürgen", "19520702"];
const MARIA: [&str; 4] = ["4712", "NORTH", "ROSSI^MARIA", "19881224"];

const fn study(
    number: u32,
    patient: [&'static str; 4],
    date: &'static str,
    modality: &'static str,
    (body_part, description): (&'static str, &'static str),
    instances: u32,
) -> DemoStudy {
    DemoStudy {
        number,
        patient,
        date,
        modality,
        body_part,
        description,
        instances,
    }
}

/// What the archive of North holds.
pub static NORTH: [DemoStudy; 4] = [
    study(1, JANE, "20240302", "CT", ("CHEST", "CT CHEST"), 12),
    study(2, JANE, "20231120", "MR", ("BRAIN", "MR BRAIN"), 3),
    study(3, MARIA, "20240115", "CR", ("HAND", "HAND LEFT"), 2),
    study(4, JANE, "20210609", "CT", ("ABDOMEN", "CT ABDOMEN"), 8),
];

/// What the archive of Harbour holds: study 1 whole, study 2 with more images than North has, and number 3 for somebody
/// else, as it comes about where UIDs are made badly.
pub static HARBOUR: [DemoStudy; 5] = [
    study(1, JANE, "20240302", "CT", ("CHEST", "CT CHEST"), 12),
    study(2, JANE, "20231120", "MR", ("BRAIN", "MR BRAIN"), 20),
    study(3, OTHER_4711, "20240115", "CR", ("HAND", "HAND LEFT"), 2),
    study(5, JANE_AT_HARBOUR, "20190822", "CT", ("CHEST", "CT THORAX"), 10),
    study(6, OTHER_4711, "20220930", "CR", ("CHEST", "CHEST PA/LAT"), 2),
];

/// An arm of UIDs that no site uses (PS3.5 B.2).
const ROOT: &str = "2.25.205513401236117350442109832178554412";

/// Writes all instances of `studies` into `folder`.
pub fn write(studies: &[DemoStudy], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for study in studies {
        for number in 1..=study.instances {
            let path = folder.join(format!("{}-{number}.dcm", study.number));
            study.write(number, &path)?;
        }
    }
    Ok(())
}

/// The UID of a study.
pub fn uid(number: u32) -> String {
    format!("{ROOT}.{number}")
}

impl DemoStudy {
    fn write(&self, number: u32, path: &Path) -> io::Result<()> {
        let sop_class = match self.modality {
            "CT" => uids::CT_IMAGE_STORAGE,
            "MR" => uids::MR_IMAGE_STORAGE,
            _ => uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
        };
        let study = uid(self.number);
        let (series, instance) = (format!("{study}.1"), format!("{study}.1.{number}"));
        let [id, issuer, name, birth_date] = self.patient;
        let mut object = InMemDicomObject::new_empty();
        let values: [(Tag, VR, &str); 19] = [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
            (tags::SOP_CLASS_UID, VR::UI, sop_class),
            (tags::SOP_INSTANCE_UID, VR::UI, &instance),
            (tags::STUDY_DATE, VR::DA, self.date),
            (tags::STUDY_TIME, VR::TM, "083000"),
            (
                tags::ACCESSION_NUMBER,
                VR::SH,
                &format!("{issuer}{:04}", self.number),
            ),
            (tags::MODALITY, VR::CS, self.modality),
            (tags::STUDY_DESCRIPTION, VR::LO, self.description),
            (tags::BODY_PART_EXAMINED, VR::CS, self.body_part),
            (tags::PATIENT_NAME, VR::PN, name),
            (tags::PATIENT_ID, VR::LO, id),
            (tags::ISSUER_OF_PATIENT_ID, VR::LO, issuer),
            (tags::PATIENT_BIRTH_DATE, VR::DA, birth_date),
            (tags::STUDY_INSTANCE_UID, VR::UI, &study),
            (tags::SERIES_INSTANCE_UID, VR::UI, &series),
            (tags::STUDY_ID, VR::SH, &self.number.to_string()),
            (tags::SERIES_NUMBER, VR::IS, "1"),
            (tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        ];
        for (tag, vr, value) in values {
            object.put(DataElement::new(tag, vr, value));
        }
        put_picture(&mut object);
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(sop_class)
            .media_storage_sop_instance_uid(&instance)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object.with_meta(meta).map_err(io::Error::other)?;
        file.write_to_file(path).map_err(io::Error::other)
    }
}

fn put_picture(object: &mut InMemDicomObject) {
    for (tag, value) in [
        (tags::SAMPLES_PER_PIXEL, 1_u16),
        (tags::ROWS, 2),
        (tags::COLUMNS, 2),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let pixels: Vec<u8> = vec![0, 85, 170, 255];
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PrimitiveValue::U8(pixels.into()),
    ));
}
