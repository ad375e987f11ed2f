//! Looking again at what a peer answered, because some ignore a key and return everything.
//!
//! Invariant: never stricter than the peer may have been. An answer is left out only where a key came back with a
//! value that no reasonable matching could have taken for the key's; the rules are the lower bounds of PS3.4 C.2.2.2.
//! A key that did not come back, or came back empty, cannot be verified: the answer stays, and the key is named.
//!
//! Not here: the issuer of a patient ID. A known different issuer is withheld, or shown, by `merge`, which knows the
//! domains.

mod name;
mod rule;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use self::rule::{Rule, is_constraint};
use crate::model::{Query, StudyAnswer, is_universal};

/// The constraints of a query, ready to be held against many answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    keys: Vec<Key>,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'f> {
    /// It matches, or nobody can tell.
    Keep,
    /// It cannot match: the keyword of the key that the peer ignored.
    Drop(&'f str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    keyword: Cow<'static, str>,
    attribute: Attribute,
    rule: Rule,
}

/// Where an answer has the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    StudyInstanceUid,
    PatientId,
    GlobalPatientId,
    PatientName,
    PatientBirthDate,
    StudyDate,
    Modalities,
    AccessionNumber,
    StudyDescription,
    Further(Tag),
}

/// Whether a peer may have matched the patient ID `id` by `key`, which may have wildcards.
pub fn is_same_id(key: &str, id: &str) -> bool {
    Rule::identifier(key).may_match(id)
}

/// Other names of a patient, by which a peer may match too.
const FURTHER_NAMES: [Tag; 2] = [tags::OTHER_PATIENT_NAMES, tags::PATIENT_BIRTH_NAME];

impl Filter {
    /// A filter by every key of the query that constrains.
    pub fn new(query: &Query) -> Self {
        let mut keys = Vec::new();
        let mut add = |tag: Tag, attribute, rule| {
            let keyword = keyword(tag);
            keys.push(Key {
                keyword,
                attribute,
                rule,
            });
        };
        let constraint = |text: &Option<String>| text.clone().filter(|text| is_constraint(text));
        if !query.study_uids.is_empty() {
            let uids = query
                .study_uids
                .iter()
                .map(|uid| uid.as_str().to_owned())
                .collect();
            add(
                tags::STUDY_INSTANCE_UID,
                Attribute::StudyInstanceUid,
                Rule::Uid(uids),
            );
        }
        if let Some(key) = query.patient_id.as_ref().filter(|key| !is_universal(&key.id)) {
            add(tags::PATIENT_ID, Attribute::PatientId, Rule::identifier(&key.id));
        }
        if let Some(range) = query.birth_date {
            let rule = Rule::new(VR::DA, &range.to_string());
            add(tags::PATIENT_BIRTH_DATE, Attribute::PatientBirthDate, rule);
        }
        if let Some(range) = query.study_date {
            add(
                tags::STUDY_DATE,
                Attribute::StudyDate,
                Rule::new(VR::DA, &range.to_string()),
            );
        }
        if query.modalities.iter().any(|modality| is_constraint(modality)) {
            let rule = Rule::new(VR::CS, &query.modalities.join("\\"));
            add(tags::MODALITIES_IN_STUDY, Attribute::Modalities, rule);
        }
        if let Some(key) = constraint(&query.accession_number) {
            add(
                tags::ACCESSION_NUMBER,
                Attribute::AccessionNumber,
                Rule::new(VR::SH, &key),
            );
        }
        if let Some(key) = constraint(&query.study_description) {
            add(
                tags::STUDY_DESCRIPTION,
                Attribute::StudyDescription,
                Rule::new(VR::LO, &key),
            );
        }
        for (tag, key) in query.further_keys.iter().filter(|(_, key)| is_constraint(key)) {
            add(*tag, Attribute::Further(*tag), Rule::new(vr(*tag), key));
        }
        if let Some(key) = constraint(&query.patient_name) {
            add(
                tags::PATIENT_NAME,
                Attribute::PatientName,
                Rule::new(VR::PN, &key),
            );
        }
        if let Some(key) = constraint(&query.global_id) {
            let rule = Rule::identifier(&key);
            keys.push(Key {
                keyword: "GlobalPatientID".into(),
                attribute: Attribute::GlobalPatientId,
                rule,
            });
        }
        Filter { keys }
    }

    /// Judges one answer. `further` gives the decoded value of any other attribute of the answer, `None` where it did
    /// not come back.
    pub fn judge<'v>(
        &self,
        answer: &StudyAnswer,
        further: impl Fn(Tag) -> Option<Cow<'v, str>>,
    ) -> Verdict<'_> {
        let ignored = self.keys.iter().find(|key| !key.may_match(answer, &further));
        ignored.map_or(Verdict::Keep, |key| Verdict::Drop(&key.keyword))
    }

    /// The keywords of the keys that an answer came back without, or with no value that could be read, so that nobody can
    /// tell whether the peer matched by them. The ledger names those of all answers kept, together.
    pub fn unverified_keys<'v>(
        &self,
        answer: &StudyAnswer,
        further: impl Fn(Tag) -> Option<Cow<'v, str>>,
    ) -> impl Iterator<Item = &str> {
        let is_unverified = move |key: &&Key| returned(answer, key.attribute, &further).is_none();
        self.keys
            .iter()
            .filter(is_unverified)
            .map(|key| key.keyword.as_ref())
    }
}

impl Key {
    fn may_match<'v>(&self, answer: &StudyAnswer, further: &impl Fn(Tag) -> Option<Cow<'v, str>>) -> bool {
        let value = |attribute| returned(answer, attribute, further);
        let may_match = |value: Cow<'_, str>| self.rule.may_match(&value);
        value(self.attribute).is_none_or(may_match)
            || (self.attribute == Attribute::PatientName
                && FURTHER_NAMES
                    .into_iter()
                    .map(Attribute::Further)
                    .filter_map(value)
                    .any(may_match))
    }
}

/// The value with which an attribute came back, several with backslashes between; `None` where there is none.
fn returned<'a, 'v: 'a>(
    answer: &'a StudyAnswer,
    attribute: Attribute,
    further: &impl Fn(Tag) -> Option<Cow<'v, str>>,
) -> Option<Cow<'a, str>> {
    let text = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
    let date = |date: Option<jiff::civil::Date>| date.map(|date| date.strftime("%Y%m%d").to_string().into());
    let value = match attribute {
        Attribute::StudyInstanceUid => Some(answer.study_instance_uid.as_str().into()),
        Attribute::PatientId => Some(answer.patient_id.id.as_str().into()),
        Attribute::GlobalPatientId => text(&answer.global_patient_id),
        Attribute::PatientName => text(&answer.patient_name),
        Attribute::PatientBirthDate => date(answer.patient_birth_date),
        Attribute::StudyDate => date(answer.study_date),
        Attribute::Modalities => Some(answer.modalities.join("\\").into()),
        Attribute::AccessionNumber => text(&answer.accession_number),
        Attribute::StudyDescription => text(&answer.study_description),
        Attribute::Further(tag) => further(tag),
    };
    value.filter(|value| !value.trim_matches(['\\', ' ', '\0']).is_empty())
}

fn keyword(tag: Tag) -> Cow<'static, str> {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => entry.alias().into(),
        None => tag.to_string().into(),
    }
}

/// UN, which is not judged, where the dictionary has none.
fn vr(tag: Tag) -> VR {
    StandardDataDictionary
        .by_tag(tag)
        .map_or(VR::UN, |entry| entry.vr().relaxed())
}
