//! `--format dicom-json`: the raw data sets of the answers in the JSON model of PS3.18 annex F.
//!
//! Invariant: every answer of every station is written, as it arrives, in one list; only what clusters have stated since
//! is written in place of what came. Text is UTF-8, decoded as everywhere
//! else here, since dicom-object knows fewer character sets.

use std::io::Write;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;

use super::asking::Asked;
use crate::cli::output::Ui;
use crate::dimse::DataSet;
use crate::dimse::charset::Decoder;
use crate::link::Answer;
use crate::model::CharacterSet;

/// Writes the data sets of an answer, at the level that was asked for.
pub fn write(
    ui: &mut Ui,
    answer: &Answer,
    charset: Option<&CharacterSet>,
    asked: &mut Asked,
) -> anyhow::Result<()> {
    let of_study = answer.lower.is_empty().then_some(&answer.data_set);
    let lower = answer.lower.iter().map(|row| &row.data_set);
    for data_set in of_study.into_iter().chain(lower) {
        let Some(mut object) = object(data_set, charset) else {
            asked.unwritable += 1;
            continue;
        };
        for stated in &answer.stated {
            let value = stated.value.text().map(str::to_owned);
            put(&mut object, stated.tag, stated.vr, value.into_iter());
        }
        let separator = if asked.begin_list() { ",\n" } else { "[\n" };
        ui.out().write_all(separator.as_bytes())?;
        dicom_json::to_writer(ui.out(), &object)?;
    }
    Ok(())
}

/// The data set with its text decoded; `None` where dicom-object can't read it.
fn object(data_set: &DataSet, charset: Option<&CharacterSet>) -> Option<InMemDicomObject> {
    let mut object = data_set.to_object().ok()?;
    if !data_set.bytes().is_ascii() {
        let decoder = Decoder::for_answer(data_set.specific_character_set(), charset);
        for element in data_set.elements().filter(|element| !element.value.is_ascii()) {
            let entry = StandardDataDictionary.by_tag(element.tag);
            let vr = element.vr().or_else(|| entry.map(|entry| entry.vr().relaxed()));
            if let Some(vr @ (VR::PN | VR::LO | VR::SH | VR::ST | VR::LT | VR::UC | VR::UT)) = vr {
                let text = decoder.decode(element.value, vr);
                put(&mut object, element.tag, vr, text.split('\\').map(str::to_owned));
            }
        }
    }
    let utf8 = std::iter::once("ISO_IR 192".to_owned());
    put(&mut object, tags::SPECIFIC_CHARACTER_SET, VR::CS, utf8);
    Some(object)
}

fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, values: impl Iterator<Item = String>) {
    object.put_element(DataElement::new(tag, vr, PrimitiveValue::Strs(values.collect())));
}
