//! Specialty and body part of a study, as the mapping tables give them for a station's answer.
//!
//! Invariant: what is computed depends on the attributes alone, not on which station sent them.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dimse::DataSet;
use crate::dimse::charset::Decoder;
use crate::model::{Mapped, MappingTable, StudyAnswer, StudyFacts};

/// What the mapping tables look at besides what every query asks for.
pub const MAPPED_KEYS: [Tag; 2] = [tags::BODY_PART_EXAMINED, tags::PROCEDURE_CODE_SEQUENCE];

/// The most values of an attribute that the tables are asked about. Studies have a handful.
const MAX_VALUES: usize = 100;

/// What the tables give for a study that came as `data_set`, whose text `decoder` reads.
pub fn mapped<'t>(
    tables: &'t MappingTable,
    study: &StudyAnswer,
    data_set: &DataSet,
    decoder: &Decoder,
) -> Mapped<'t> {
    let text = |value: &[u8], vr| decoder.decode(value, vr).into_owned();
    let codes = data_set.items(tags::PROCEDURE_CODE_SEQUENCE);
    let procedure_codes: Vec<String> = codes
        .take(MAX_VALUES)
        .filter_map(|item| item.value(tags::CODE_VALUE))
        .map(|value| text(value, VR::SH))
        .collect();
    let body_parts = data_set.element(tags::BODY_PART_EXAMINED).unwrap_or_default();
    let body_parts: Vec<String> = body_parts
        .split(|byte| *byte == b'\\')
        .take(MAX_VALUES)
        .map(|value| text(value, VR::CS))
        .filter(|value| !value.is_empty())
        .collect();
    tables.compute(&StudyFacts {
        procedure_codes: &procedure_codes,
        description: study.study_description.as_deref(),
        modalities: &study.modalities,
        body_parts_examined: &body_parts,
    })
}
