//! What is shown of a study whose state is known, and whether that is what a query asks for.
//!
//! Invariant: what was stated is matched exactly (names without case and accents, all else without case), as it is ours
//! to match; what only an archive has is left to the archive, unless it was not asked by it.

use std::borrow::Cow;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::archive::fold_name;
use crate::model::{
    FieldValue, Query, Returned, StateField, StudyAnswer, StudyState, Verification, is_universal,
    wildcard_matches,
};

/// A standard attribute whose value was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedValue {
    /// The attribute.
    pub tag: Tag,
    /// Its value representation.
    pub vr: VR,
    /// Its value; empty where it was cleared.
    pub value: FieldValue,
}

/// Writes what was stated into the answer, and gives the standard attributes among it.
pub(super) fn lay_over(answer: &mut StudyAnswer, state: &StudyState) -> Vec<StatedValue> {
    let mut stated = Vec::new();
    for (field, write) in state.writes() {
        let value = &write.value;
        let text = value.text().map(str::to_owned);
        match field {
            StateField::InterpretationStatus => answer.interpretation_status = text,
            StateField::VerifiedStatus => answer.verification = Verification::from_code(value.as_str()),
            StateField::PatientLocation | StateField::StudyComments => {}
            StateField::PatientName => answer.patient_name = text,
            StateField::PatientBirthDate => answer.patient_birth_date = value.date(),
            StateField::PatientSex => answer.patient_sex = text,
            StateField::StudyDescription => answer.study_description = text,
            StateField::AccessionNumber => answer.accession_number = text,
            StateField::ReferringPhysician => answer.referring_physician = text,
            StateField::StudyDate => answer.study_date = value.date(),
            StateField::StudyTime => answer.study_time = value.time(),
        }
        if let Some((tag, vr)) = field.attribute() {
            let value = value.clone();
            stated.push(StatedValue { tag, vr, value });
        }
    }
    stated
}

/// A key of a query on a field that can be stated.
#[derive(Debug)]
pub(super) struct StatedKey {
    pub(super) field: StateField,
    vr: VR,
    /// Alternatives, in the form in which they are compared.
    values: Vec<String>,
}

impl StatedKey {
    fn new(field: StateField, key: &str) -> Option<Self> {
        let (_, vr) = field.attribute()?;
        if is_universal(key) {
            return None;
        }
        let values = key.split('\\').map(|key| comparable(key.trim(), vr).into_owned());
        Some(StatedKey {
            field,
            vr,
            values: values.collect(),
        })
    }

    /// Whether the key is met by a value.
    pub(super) fn takes(&self, value: &str) -> bool {
        if self.vr == VR::DA {
            return self.values.iter().any(|key| is_within(key, value));
        }
        let value = comparable(value, self.vr);
        let groups = value.split('=').filter(|_| self.vr == VR::PN);
        let forms: Vec<&str> = std::iter::once(&*value).chain(groups).collect();
        self.values
            .iter()
            .any(|key| forms.iter().any(|form| wildcard_matches(key, form)))
    }
}

fn comparable(text: &str, vr: VR) -> Cow<'_, str> {
    match vr {
        VR::PN => fold_name(text).into(),
        VR::DA => text.into(),
        _ => text.to_lowercase().into(),
    }
}

/// Whether a date lies in the range of a key (PS3.4 C.2.2.2.5.1).
fn is_within(key: &str, date: &str) -> bool {
    let (from, to) = key.split_once('-').unwrap_or((key, key));
    !date.is_empty() && (from.is_empty() || from <= date) && (to.is_empty() || date <= to)
}

/// The keys of a query on fields that can be stated.
#[derive(Debug)]
pub(super) struct Keys(Vec<StatedKey>);

impl Keys {
    pub(super) fn of(query: &Query) -> Self {
        let range = |range: Option<crate::model::DateRange>| range.map(|range| range.to_string());
        let of_query = [
            (StateField::PatientName, query.patient_name.clone()),
            (StateField::PatientBirthDate, range(query.birth_date)),
            (StateField::StudyDate, range(query.study_date)),
            (StateField::AccessionNumber, query.accession_number.clone()),
            (StateField::StudyDescription, query.study_description.clone()),
        ];
        let further = query.further_keys.iter();
        let further = further.filter_map(|(tag, key)| Some((field_of(*tag)?, Some(key.clone()))));
        let all = of_query.into_iter().chain(further);
        Keys(
            all.filter_map(|(field, key)| StatedKey::new(field, &key?))
                .collect(),
        )
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &StatedKey> {
        self.0.iter()
    }

    pub(super) fn are_met_by(&self, answer: &StudyAnswer, stated: &[StatedValue], with_all: bool) -> bool {
        self.0.iter().all(|key| {
            let is_stated = stated
                .iter()
                .any(|stated| field_of(stated.tag) == Some(key.field));
            !(is_stated || with_all) || key.takes(&shown(answer, key.field))
        })
    }
}

/// The value of a field that queries match by, in the form of DICOM.
fn shown(answer: &StudyAnswer, field: StateField) -> Cow<'_, str> {
    let text = |text: &'_ Option<String>| Cow::from(text.clone().unwrap_or_default());
    let date = |date: Option<jiff::civil::Date>| {
        date.map_or(Cow::Borrowed(""), |date| {
            date.strftime("%Y%m%d").to_string().into()
        })
    };
    match field {
        StateField::PatientName => text(&answer.patient_name),
        StateField::PatientBirthDate => date(answer.patient_birth_date),
        StateField::PatientSex => text(&answer.patient_sex),
        StateField::StudyDescription => text(&answer.study_description),
        StateField::AccessionNumber => text(&answer.accession_number),
        StateField::ReferringPhysician => text(&answer.referring_physician),
        StateField::StudyDate => date(answer.study_date),
        _ => Cow::Borrowed(""),
    }
}

/// The field that is this attribute, of those that queries match by.
fn field_of(tag: Tag) -> Option<StateField> {
    let mut matched = StateField::ALL.into_iter().filter(|field| field.is_matched_by());
    matched.find(|field| field.attribute().is_some_and(|(known, _)| known == tag))
}

/// The query without keys on fields that can be stated; they are asked for, as all that a row shows. By whose ID it is
/// asked is settled already.
pub(super) fn without_stated_keys(query: &Query) -> Query {
    let further = query.further_keys.iter().map(|(tag, key)| match field_of(*tag) {
        Some(_) => (*tag, String::new()),
        None => (*tag, key.clone()),
    });
    Query {
        patient_id: None,
        global_id: None,
        patient_name: None,
        birth_date: None,
        study_date: None,
        accession_number: None,
        study_description: None,
        further_keys: further.chain([(tags::PATIENT_SEX, String::new())]).collect(),
        returned: Returned::Usual,
        ..query.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DateRange, PatientId};

    fn takes(field: StateField, key: &str, value: &str) -> bool {
        StatedKey::new(field, key).is_none_or(|key| key.takes(value))
    }

    #[test]
    fn what_was_stated_is_matched_exactly() {
        for (field, key, value, expected) in [
            (StateField::PatientName, "roe^*", "ROE^JANE", true),
            (StateField::PatientName, "ROE^JANE", "Roé^Jané^^", true),
            (StateField::PatientName, "DOE*", "ROE^JANE", false),
            (StateField::PatientName, "ROE", "ROE^JANE", false),
            (
                StateField::PatientName,
                "山田^太郎",
                "YAMADA^TARO=山田^太郎",
                true,
            ),
            (StateField::AccessionNumber, "A1\\A2", "a2", true),
            (StateField::AccessionNumber, "A1", "A10", false),
            (StateField::PatientBirthDate, "19700101-", "19700131", true),
            (StateField::PatientBirthDate, "-19700101", "19700131", false),
            (StateField::PatientBirthDate, "19700131", "19700131", true),
            (StateField::PatientName, "*", "", true),
        ] {
            assert_eq!(takes(field, key, value), expected, "{key} {value}");
        }
    }

    #[test]
    fn keys_on_what_can_be_stated_are_taken_out_and_asked_for() {
        let query = Query {
            patient_name: Some("ROE".to_owned()),
            modalities: vec!["CT".to_owned()],
            study_date: DateRange::parse("20240101", jiff::civil::date(2024, 1, 1)).ok(),
            further_keys: vec![
                (tags::REFERRING_PHYSICIAN_NAME, "HOUSE".to_owned()),
                (tags::STUDY_ID, "1".to_owned()),
            ],
            returned: Returned::Nothing,
            ..Query::default()
        };
        assert_eq!(Keys::of(&query).iter().count(), 3);
        let bare = without_stated_keys(&query);
        assert_eq!(Keys::of(&bare).iter().count(), 0);
        assert_eq!(bare.modalities, ["CT"]);
        assert!(bare.further_keys.contains(&(tags::STUDY_ID, "1".to_owned())));
        assert!(
            bare.further_keys
                .contains(&(tags::REFERRING_PHYSICIAN_NAME, String::new()))
        );
        assert_eq!(bare.returned, Returned::Usual);
    }

    #[test]
    fn a_key_is_held_against_what_was_stated_or_against_all() {
        let patient = PatientId {
            id: "4711".to_owned(),
            domain: crate::model::IssuerDomain::Named("NORTH".parse().unwrap()),
        };
        let mut answer = StudyAnswer::new("1.2".parse().unwrap(), patient);
        answer.patient_name = Some("ROE^JANE".to_owned());
        answer.study_description = Some("CHEST".to_owned());
        let stated = [StatedValue {
            tag: tags::PATIENT_NAME,
            vr: VR::PN,
            value: FieldValue::new(StateField::PatientName, "ROE^JANE").unwrap(),
        }];
        let keys = Keys::of(&Query {
            patient_name: Some("ROE*".to_owned()),
            study_description: Some("SKULL".to_owned()),
            ..Query::default()
        });
        assert!(
            keys.are_met_by(&answer, &stated, false),
            "the archive has matched the description"
        );
        assert!(!keys.are_met_by(&answer, &stated, true));
    }
}
