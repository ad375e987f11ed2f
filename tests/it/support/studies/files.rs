//! A study as DICOM files: Explicit VR Little Endian, with a picture of four pixels.
//!
//! Invariant: one file an instance, named by its SOP Instance UID; the same study always gives the same bytes.

use std::fs;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::names::{JAPANESE_EXTENSIONS, YAMADA};
use super::{Series, Study};

/// The bytes of `YAMADA` under `JAPANESE_EXTENSIONS`, all of seven bits (PS3.5 H.3.1).
const YAMADA_WRITTEN: &str =
    "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";

impl Study {
    /// Writes each instance into `folder` and returns how many there are.
    pub fn write_files(&self, folder: &Path) -> usize {
        for (uid, bytes) in self.files() {
            let path = folder.join(format!("{uid}.dcm"));
            fs::write(&path, bytes)
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        }
        self.instances()
    }

    /// SOP Instance UID and file of each instance.
    pub fn files(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        self.series.iter().flat_map(move |series| {
            let numbered = series.instances.iter().zip(1..);
            numbered.map(move |(uid, number)| (uid.as_str(), self.file(series, uid, number)))
        })
    }

    /// What a C-FIND at study level answers of it.
    pub fn identifier(&self) -> InMemDicomObject {
        let mut modalities: Vec<&str> = self.series.iter().map(|series| series.modality).collect();
        modalities.dedup();
        let mut object = self.study_attributes();
        for (tag, vr, value) in [
            (tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY"),
            (tags::MODALITIES_IN_STUDY, VR::CS, &modalities.join("\\")),
            (
                tags::NUMBER_OF_STUDY_RELATED_SERIES,
                VR::IS,
                &self.series.len().to_string(),
            ),
            (
                tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
                VR::IS,
                &self.instances().to_string(),
            ),
        ] {
            object.put(DataElement::new(tag, vr, value));
        }
        object
    }

    fn file(&self, series: &Series, sop_instance_uid: &str, number: u32) -> Vec<u8> {
        let sop_class_uid = match series.modality {
            "CT" => uids::CT_IMAGE_STORAGE,
            "MR" => uids::MR_IMAGE_STORAGE,
            _ => uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        };
        let mut object = self.study_attributes();
        let image_type =
            PrimitiveValue::Strs(["DERIVED", "SECONDARY"].map(str::to_owned).into_iter().collect());
        object.put(DataElement::new(tags::IMAGE_TYPE, VR::CS, image_type));
        for (tag, vr, value) in [
            (tags::SOP_CLASS_UID, VR::UI, sop_class_uid),
            (tags::SOP_INSTANCE_UID, VR::UI, sop_instance_uid),
            (tags::MODALITY, VR::CS, series.modality),
            (tags::SERIES_DESCRIPTION, VR::LO, series.description),
            (tags::BODY_PART_EXAMINED, VR::CS, series.body_part),
            (tags::SERIES_INSTANCE_UID, VR::UI, &series.uid),
            (tags::SERIES_NUMBER, VR::IS, &series.number.to_string()),
            (tags::INSTANCE_NUMBER, VR::IS, &number.to_string()),
        ] {
            object.put(DataElement::new(tag, vr, value));
        }
        put_picture(&mut object);
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(sop_class_uid)
            .media_storage_sop_instance_uid(sop_instance_uid)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = object.with_meta(meta).expect("a complete file meta table");
        let mut bytes = Vec::with_capacity(2048);
        file.write_all(&mut bytes)
            .expect("a data set that can be written");
        bytes
    }

    fn study_attributes(&self) -> InMemDicomObject {
        let patient = &self.patient;
        let name = match patient.character_set {
            JAPANESE_EXTENSIONS => {
                assert_eq!(patient.name, YAMADA);
                YAMADA_WRITTEN
            }
            _ => patient.name,
        };
        let values: [(Tag, VR, &str); 13] = [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, patient.character_set),
            (tags::STUDY_DATE, VR::DA, &self.date),
            (tags::STUDY_TIME, VR::TM, &self.time),
            (tags::ACCESSION_NUMBER, VR::SH, &self.accession_number),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN, self.referring_physician),
            (tags::STUDY_DESCRIPTION, VR::LO, self.description),
            (tags::PATIENT_NAME, VR::PN, name),
            (tags::PATIENT_ID, VR::LO, &patient.id),
            (tags::ISSUER_OF_PATIENT_ID, VR::LO, patient.issuer),
            (tags::PATIENT_BIRTH_DATE, VR::DA, &patient.birth_date),
            (tags::PATIENT_SEX, VR::CS, patient.sex),
            (tags::STUDY_INSTANCE_UID, VR::UI, &self.uid),
            (tags::STUDY_ID, VR::SH, &self.id),
        ];
        // Values are split at the backslash, as PS3.5 6.4 has it.
        InMemDicomObject::from_element_iter(values.into_iter().map(|(tag, vr, value)| {
            let values = value.split('\\').map(str::to_owned).collect();
            DataElement::new(tag, vr, PrimitiveValue::Strs(values))
        }))
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
    object.put(DataElement::new(
        tags::PHOTOMETRIC_INTERPRETATION,
        VR::CS,
        "MONOCHROME2",
    ));
    let pixels = PrimitiveValue::U8([0, 85, 170, 255].into_iter().collect());
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
}
