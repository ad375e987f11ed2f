//! Which attributes the index keeps, and of which entity each is (PS3.3 A.1.2, PS3.4 C.6.1.1, C.6.2.1).
//!
//! Invariant: an attribute belongs to one level. Computed attributes are in no file; `find` makes them from columns.

#![allow(deprecated, reason = "archives are full of attributes that are retired")]

use std::collections::HashMap;
use std::sync::LazyLock;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags::*};

/// A level of a query, and of what the index describes (PS3.4 C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One row a patient. Not in the Study Root model.
    Patient,
    /// One row a study.
    Study,
    /// One row a series.
    Series,
    /// One row an instance.
    Image,
}

/// What the index knows of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) level: Level,
    pub(super) vr: VR,
    pub(super) is_computed: bool,
}

/// The entry of an attribute that the index keeps or computes.
pub(super) fn entry(tag: Tag) -> Option<Entry> {
    static ENTRIES: LazyLock<HashMap<Tag, Entry>> = LazyLock::new(entries);
    ENTRIES.get(&tag).copied()
}

/// The value representation of the standard's dictionary; UN for what it does not know.
pub(super) fn dictionary_vr(tag: Tag) -> VR {
    let entry = StandardDataDictionary.by_tag(tag);
    entry.map_or(VR::UN, |entry| entry.vr().relaxed())
}

fn entries() -> HashMap<Tag, Entry> {
    let kept = [
        (Level::Patient, PATIENT),
        (Level::Study, STUDY),
        (Level::Series, SERIES),
        (Level::Image, IMAGE),
    ];
    let computed = [
        (Level::Patient, COMPUTED_OF_PATIENT),
        (Level::Study, COMPUTED_OF_STUDY),
        (Level::Series, COMPUTED_OF_SERIES),
        (Level::Image, COMPUTED_OF_IMAGE),
    ];
    let kept = kept.into_iter().map(|(level, tags)| (level, tags, false));
    let computed = computed.into_iter().map(|(level, tags)| (level, tags, true));
    let entries = kept.chain(computed).flat_map(|(level, tags, is_computed)| {
        tags.iter().map(move |&tag| {
            let vr = dictionary_vr(tag);
            let entry = Entry {
                level,
                vr,
                is_computed,
            };
            (tag, entry)
        })
    });
    entries.collect()
}

const COMPUTED_OF_PATIENT: &[Tag] = &[
    NUMBER_OF_PATIENT_RELATED_STUDIES,
    NUMBER_OF_PATIENT_RELATED_SERIES,
    NUMBER_OF_PATIENT_RELATED_INSTANCES,
];
const COMPUTED_OF_STUDY: &[Tag] = &[
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    NUMBER_OF_STUDY_RELATED_SERIES,
    NUMBER_OF_STUDY_RELATED_INSTANCES,
];
const COMPUTED_OF_SERIES: &[Tag] = &[NUMBER_OF_SERIES_RELATED_INSTANCES];
const COMPUTED_OF_IMAGE: &[Tag] = &[AVAILABLE_TRANSFER_SYNTAX_UID];

const PATIENT: &[Tag] = &[
    PATIENT_NAME,
    PATIENT_ID,
    ISSUER_OF_PATIENT_ID,
    TYPE_OF_PATIENT_ID,
    ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
    PATIENT_BIRTH_DATE,
    PATIENT_BIRTH_TIME,
    PATIENT_SEX,
    OTHER_PATIENT_I_DS,
    OTHER_PATIENT_I_DS_SEQUENCE,
    OTHER_PATIENT_NAMES,
    PATIENT_BIRTH_NAME,
    PATIENT_MOTHER_BIRTH_NAME,
    ETHNIC_GROUP,
    PATIENT_COMMENTS,
    PATIENT_SPECIES_DESCRIPTION,
    RESPONSIBLE_PERSON,
];
const STUDY: &[Tag] = &[
    STUDY_INSTANCE_UID,
    STUDY_DATE,
    STUDY_TIME,
    TIMEZONE_OFFSET_FROM_UTC,
    ACCESSION_NUMBER,
    ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    STUDY_ID,
    STUDY_DESCRIPTION,
    REFERRING_PHYSICIAN_NAME,
    CONSULTING_PHYSICIAN_NAME,
    PHYSICIANS_OF_RECORD,
    NAME_OF_PHYSICIANS_READING_STUDY,
    REQUESTING_PHYSICIAN,
    REQUESTING_SERVICE,
    REQUESTED_PROCEDURE_DESCRIPTION,
    REQUESTED_PROCEDURE_CODE_SEQUENCE,
    PROCEDURE_CODE_SEQUENCE,
    REASON_FOR_PERFORMED_PROCEDURE_CODE_SEQUENCE,
    ADMITTING_DIAGNOSES_DESCRIPTION,
    ADMITTING_DIAGNOSES_CODE_SEQUENCE,
    REFERENCED_STUDY_SEQUENCE,
    PATIENT_AGE,
    PATIENT_SIZE,
    PATIENT_WEIGHT,
    OCCUPATION,
    ADDITIONAL_PATIENT_HISTORY,
    MEDICAL_ALERTS,
    ALLERGIES,
    PREGNANCY_STATUS,
    ADMISSION_ID,
    SERVICE_EPISODE_ID,
    STUDY_COMMENTS,
    STUDY_STATUS_ID,
    STUDY_PRIORITY_ID,
];
const SERIES: &[Tag] = &[
    MODALITY,
    SERIES_INSTANCE_UID,
    SERIES_NUMBER,
    SERIES_DATE,
    SERIES_TIME,
    SERIES_DESCRIPTION,
    SERIES_DESCRIPTION_CODE_SEQUENCE,
    BODY_PART_EXAMINED,
    LATERALITY,
    PATIENT_POSITION,
    PROTOCOL_NAME,
    OPERATORS_NAME,
    PERFORMING_PHYSICIAN_NAME,
    MANUFACTURER,
    MANUFACTURER_MODEL_NAME,
    DEVICE_SERIAL_NUMBER,
    SOFTWARE_VERSIONS,
    STATION_NAME,
    INSTITUTION_NAME,
    INSTITUTION_ADDRESS,
    INSTITUTIONAL_DEPARTMENT_NAME,
    PRESENTATION_INTENT_TYPE,
    FRAME_OF_REFERENCE_UID,
    PERFORMED_PROCEDURE_STEP_START_DATE,
    PERFORMED_PROCEDURE_STEP_START_TIME,
    PERFORMED_PROCEDURE_STEP_ID,
    PERFORMED_PROCEDURE_STEP_DESCRIPTION,
    PERFORMED_PROTOCOL_CODE_SEQUENCE,
    REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
    REQUEST_ATTRIBUTES_SEQUENCE,
    SCANNING_SEQUENCE,
    SEQUENCE_NAME,
    CONTRAST_BOLUS_AGENT,
];
const IMAGE: &[Tag] = &[
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    INSTANCE_NUMBER,
    IMAGE_TYPE,
    INSTANCE_CREATION_DATE,
    INSTANCE_CREATION_TIME,
    ACQUISITION_DATE,
    ACQUISITION_TIME,
    ACQUISITION_DATE_TIME,
    ACQUISITION_NUMBER,
    CONTENT_DATE,
    CONTENT_TIME,
    OBSERVATION_DATE_TIME,
    CONCEPT_NAME_CODE_SEQUENCE,
    COMPLETION_FLAG,
    VERIFICATION_FLAG,
    VERIFYING_OBSERVER_SEQUENCE,
    REFERENCED_REQUEST_SEQUENCE,
    CONTENT_TEMPLATE_SEQUENCE,
    CONTENT_LABEL,
    CONTENT_DESCRIPTION,
    CONTENT_CREATOR_NAME,
    PRESENTATION_CREATION_DATE,
    PRESENTATION_CREATION_TIME,
    DOCUMENT_TITLE,
    MIME_TYPE_OF_ENCAPSULATED_DOCUMENT,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
    BITS_ALLOCATED,
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC_INTERPRETATION,
    SLICE_LOCATION,
    SLICE_THICKNESS,
    IMAGE_POSITION_PATIENT,
    IMAGE_ORIENTATION_PATIENT,
    IMAGE_COMMENTS,
    VIEW_POSITION,
    IMAGE_LATERALITY,
    LOSSY_IMAGE_COMPRESSION,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_belongs_to_one_level_and_is_in_the_dictionary() {
        let lists = [
            PATIENT,
            STUDY,
            SERIES,
            IMAGE,
            COMPUTED_OF_PATIENT,
            COMPUTED_OF_STUDY,
            COMPUTED_OF_SERIES,
            COMPUTED_OF_IMAGE,
        ];
        let tags: Vec<Tag> = lists.concat();
        assert_eq!(entries().len(), tags.len());
        for tag in tags {
            assert_ne!(entry(tag).unwrap().vr, VR::UN, "{tag}");
        }
    }
}
