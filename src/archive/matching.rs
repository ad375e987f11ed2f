//! Attribute matching (PS3.4 C.2.2.2): keys made into conditions, and values held against them.
//!
//! What is left to an SCP is done so:
//! - PN matches without regard to case and accents ([`fold`](super::fold)). A key without `=` matches the whole name or
//!   any of its component groups; one with `=` the whole. All other text matches to the letter.
//! - Of several values in an attribute one that matches is enough; several values in a key are alternatives, in UI as
//!   the standard has it, in other VRs as peers expect it.
//! - Times with components left out mean their first moment, as the end of a range their last.
//! - IS, DS and binary numbers match by number. Wildcards in them, and in dates and times, are taken as in text.
//! - `""` matches attributes without value (C.2.2.2.7), negotiated or not.

use std::collections::BTreeSet;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use jiff::civil::{Date, DateTime, Time};

use super::attributes::{Encoded, EncodedValue};
use super::catalogue::dictionary_vr;
use super::fold::fold_name;
use super::query::{Key, KeyValue, QueryError};
use super::temporal::{
    self, Span, date_span, datetime_span, parse_date, parse_datetime, parse_time, time_span,
};
use crate::model::{is_universal, wildcard_matches};

/// Attributes that have one value, which the index searches as a whole even where it wrongly has a backslash.
const SINGLE_VALUED: [Tag; 3] = [tags::PATIENT_ID, tags::ACCESSION_NUMBER, tags::STUDY_DATE];

/// How many UIDs of a key are held against a value one by one; more are searched as a set.
const MOST_TESTED_EACH: usize = 16;

/// One key, ready to be held against many values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// Any value, or none.
    Universal,
    /// No value.
    Absent,
    /// A value that one of these takes.
    AnyOf(Vec<ValueTest>),
    /// An item that meets all of these.
    Item(Vec<Condition>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueTest {
    /// To the letter.
    Text(String),
    /// Any of these, to the letter: a list of UIDs.
    OneOf(BTreeSet<String>),
    /// With wildcards, to the letter.
    Pattern(String),
    /// A name, folded.
    Name(String),
    /// A name with wildcards, folded.
    NamePattern(String),
    Number(Number),
    Dates(Span<Date>),
    Times(Span<Time>),
    Datetimes(Span<DateTime>),
}

/// A number of a key, equal to all texts of the same number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number(f64);

impl Eq for Number {}

impl Condition {
    /// Makes a condition of a key.
    pub(super) fn new(key: &Key) -> Result<Self, QueryError> {
        let vr = dictionary_vr(key.tag);
        let unmatchable = |value: &str| QueryError::Unmatchable {
            tag: key.tag,
            value: value.to_owned(),
        };
        let test = match &key.value {
            KeyValue::Item(keys) if vr == VR::SQ => item_test(keys)?,
            KeyValue::Item(_) => return Err(unmatchable("a sequence")),
            KeyValue::Text(text) if is_universal(text) => Test::Universal,
            KeyValue::Text(text) if text.trim() == "\"\"" => Test::Absent,
            KeyValue::Text(text) if vr == VR::SQ => return Err(unmatchable(text)),
            KeyValue::Text(text) => text_test(text, vr).ok_or_else(|| unmatchable(text))?,
        };
        Ok(Condition {
            tag: key.tag,
            vr,
            test,
        })
    }

    /// Whether a value meets the condition; `None` is an attribute that is not there.
    pub(super) fn is_met_by(&self, value: Option<EncodedValue<'_>>) -> bool {
        match &self.test {
            Test::Universal => true,
            Test::Absent => value.is_none_or(|value| match value {
                EncodedValue::Text(text) => text.is_empty(),
                EncodedValue::Items(items) => items.is_empty(),
            }),
            Test::AnyOf(tests) => {
                let text = value.map_or("", EncodedValue::text);
                let takes = |value| tests.iter().any(|test| test.takes(value));
                if SINGLE_VALUED.contains(&self.tag) {
                    takes(text)
                } else {
                    values(text, self.vr).any(takes)
                }
            }
            Test::Item(conditions) => {
                let mut items = value.into_iter().flat_map(EncodedValue::items);
                conditions.iter().all(|condition| condition.test.is_universal())
                    || items.any(|item| conditions.iter().all(|condition| condition.is_met_within(item)))
            }
        }
    }

    fn is_met_within(&self, mut item: Encoded<'_>) -> bool {
        self.is_met_by(item.find(|(tag, ..)| *tag == self.tag).map(|(_, _, value)| value))
    }
}

/// The values of a text, one unless the VR has no delimiter.
pub(super) fn values(text: &str, vr: VR) -> impl Iterator<Item = &str> {
    let limit = if has_one_value(vr) { 1 } else { usize::MAX };
    text.splitn(limit, '\\')
}

fn has_one_value(vr: VR) -> bool {
    matches!(vr, VR::ST | VR::LT | VR::UT | VR::UR)
}

impl Test {
    /// Whether it takes everything: only a return key.
    pub(super) fn is_universal(&self) -> bool {
        match self {
            Test::Universal => true,
            Test::Item(conditions) => conditions.iter().all(|condition| condition.test.is_universal()),
            Test::Absent | Test::AnyOf(_) => false,
        }
    }
}

fn item_test(keys: &[Key]) -> Result<Test, QueryError> {
    let mut conditions: Vec<Condition> = keys.iter().map(Condition::new).collect::<Result<_, _>>()?;
    conditions.sort_by_key(|condition| condition.tag);
    Ok(Test::Item(conditions))
}

fn text_test(text: &str, vr: VR) -> Option<Test> {
    let alternatives = values(text, vr).map(|value| value.trim_matches([' ', '\0']));
    let alternatives = alternatives.filter(|value| !value.is_empty());
    let tests: Vec<ValueTest> = alternatives
        .map(|value| value_test(value, vr))
        .collect::<Option<_>>()?;
    Some(if vr == VR::UI && tests.len() > MOST_TESTED_EACH {
        let texts = tests.into_iter().filter_map(|test| match test {
            ValueTest::Text(text) => Some(text),
            _ => None,
        });
        Test::AnyOf(vec![ValueTest::OneOf(texts.collect())])
    } else if tests.is_empty() {
        Test::Universal
    } else {
        Test::AnyOf(tests)
    })
}

fn value_test(value: &str, vr: VR) -> Option<ValueTest> {
    let has_wildcards = value.contains(['*', '?']);
    Some(match vr {
        VR::PN if has_wildcards => ValueTest::NamePattern(fold_name(value)),
        VR::PN => ValueTest::Name(fold_name(value)),
        VR::UI => ValueTest::Text(value.to_owned()),
        _ if has_wildcards => ValueTest::Pattern(value.to_owned()),
        VR::DA => ValueTest::Dates(date_span(value)?),
        VR::TM => ValueTest::Times(time_span(value)?),
        VR::DT => ValueTest::Datetimes(datetime_span(value)?),
        VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD => {
            ValueTest::Number(Number(value.parse().ok()?))
        }
        _ => ValueTest::Text(value.to_owned()),
    })
}

impl ValueTest {
    fn takes(&self, value: &str) -> bool {
        match self {
            ValueTest::Text(wanted) => wanted == value,
            ValueTest::OneOf(wanted) => wanted.contains(value),
            ValueTest::Pattern(pattern) => wildcard_matches(pattern, value),
            ValueTest::Name(wanted) => name_forms(&fold_name(value), wanted).any(|form| form == wanted),
            ValueTest::NamePattern(pattern) => {
                name_forms(&fold_name(value), pattern).any(|form| wildcard_matches(pattern, form))
            }
            ValueTest::Number(Number(wanted)) => value.trim().parse() == Ok(*wanted),
            ValueTest::Dates(span) => parse_date(value).is_some_and(|date| span.contains(&date)),
            ValueTest::Times(span) => parse_time(value).is_some_and(|times| span.contains(times.start())),
            ValueTest::Datetimes(span) => {
                parse_datetime(value).is_some_and(|moments| span.contains(moments.start()))
            }
        }
    }
}

/// The whole name, and each of its component groups where the key does not speak of groups itself.
fn name_forms<'n>(name: &'n str, key: &str) -> impl Iterator<Item = &'n str> {
    let groups = (name.contains('=') && !key.contains('=')).then(|| name.split('='));
    std::iter::once(name).chain(groups.into_iter().flatten().filter(|group| !group.is_empty()))
}

/// A range of dates and the range of times beside it, as one range of moments (PS3.4 C.2.2.2.5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CombinedRange(Span<DateTime>);

impl CombinedRange {
    /// Combines the tests of a date and a time; `None` where they are not one range each.
    pub(super) fn new(date: &Test, time: &Test) -> Option<Self> {
        let (Test::AnyOf(dates), Test::AnyOf(times)) = (date, time) else {
            return None;
        };
        let ([ValueTest::Dates(dates)], [ValueTest::Times(times)]) = (&dates[..], &times[..]) else {
            return None;
        };
        let end = |date: Option<Date>, time: Option<Time>, open: Time| {
            date.map(|date| date.to_datetime(time.unwrap_or(open)))
        };
        Some(CombinedRange(Span {
            from: end(dates.from, times.from, Time::midnight()),
            to: end(dates.to, times.to, Time::MAX),
        }))
    }

    /// Whether a date and a time lie within. A date without time may be any moment of its day.
    pub(super) fn takes(&self, date: &str, time: &str) -> bool {
        let Some(date) = temporal::parse_date(date) else {
            return false;
        };
        match parse_time(time) {
            Some(times) => self.0.contains(&date.to_datetime(*times.start())),
            None => {
                let (first, last) = (date.to_datetime(Time::midnight()), date.to_datetime(Time::MAX));
                self.0.from.is_none_or(|from| from <= last) && self.0.to.is_none_or(|to| first <= to)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::attributes::{Attribute, Attributes, Value};

    #[track_caller]
    fn check(tag: Tag, key: &str, taken: &[&str], not_taken: &[&str]) {
        let condition = Condition::new(&Key::text(tag, key)).unwrap();
        let takes = |value: &str| condition.is_met_by(Some(EncodedValue::Text(value)));
        for value in taken {
            assert!(takes(value), "{key} takes {value}");
        }
        for value in not_taken {
            assert!(!takes(value), "{key} does not take {value}");
        }
    }

    #[test]
    fn names_by_component_group_without_case_and_accents() {
        let yamada = "Yamada^Tarou=山田^太郎=やまだ^たろう";
        check(
            tags::PATIENT_NAME,
            "MULLER*",
            &["Müller^Jürgen", "muller"],
            &["Mueller"],
        );
        check(
            tags::PATIENT_NAME,
            "doe^jane",
            &["DOE^JANE^^", "Doe^Jane="],
            &["DOE^JANET", "DOE^JANE^M"],
        );
        check(tags::PATIENT_NAME, "山田^太郎", &[yamada], &["Yamada^Tarou"]);
        check(tags::PATIENT_NAME, "yamada*", &[yamada], &["山田^太郎"]);
        check(tags::PATIENT_NAME, "*=山田*", &[yamada], &["山田^太郎"]);
        check(
            tags::OTHER_PATIENT_NAMES,
            "ROSSI*",
            &["DOE^J\\Rossi^M"],
            &["DOE^J"],
        );
    }

    #[test]
    fn long_lists_of_uids_match_as_short_ones() {
        let list: Vec<String> = (0..100).map(|number| format!("1.2.{number}")).collect();
        check(
            tags::STUDY_INSTANCE_UID,
            &list.join("\\"),
            &["1.2.0", "1.2.99"],
            &["1.2.100", ""],
        );
    }

    #[test]
    fn text_to_the_letter() {
        check(
            tags::STUDY_DESCRIPTION,
            "CHEST",
            &["CHEST"],
            &["Chest", "CHEST PA", ""],
        );
        check(
            tags::STUDY_DESCRIPTION,
            "CH?ST*",
            &["CHEST", "CHEST PA"],
            &["CHST", "chest"],
        );
        check(tags::STUDY_DESCRIPTION, " CHEST ", &["CHEST"], &[]);
        check(tags::STUDY_DESCRIPTION, "**", &["", "CHEST"], &[]);
        check(tags::STUDY_DESCRIPTION, "?*", &["CHEST"], &[""]);
        check(tags::STUDY_DESCRIPTION, "\"\"", &[""], &["CHEST"]);
        check(tags::PATIENT_COMMENTS, "a\\b", &["a\\b"], &["a", "b"]);
    }

    #[test]
    fn lists_and_numbers() {
        check(tags::STUDY_INSTANCE_UID, "1.2\\1.3", &["1.2", "1.3"], &["1", ""]);
        check(tags::STUDY_INSTANCE_UID, "1.*", &["1.*"], &["1.2"]);
        check(
            tags::MODALITIES_IN_STUDY,
            "CT\\MR",
            &["CT", "CT\\SR", "US\\MR"],
            &["US", ""],
        );
        check(tags::INSTANCE_NUMBER, "1", &["1", "01", "+1"], &["11", ""]);
        check(tags::SLICE_THICKNESS, "1.50", &["1.5"], &["1.55"]);
    }

    #[test]
    fn what_is_no_value_of_its_kind_is_named() {
        for (tag, value) in [
            (tags::STUDY_DATE, "yesterday"),
            (tags::STUDY_TIME, "25"),
            (tags::ROWS, "many"),
        ] {
            let error = Condition::new(&Key::text(tag, value)).unwrap_err();
            let value = value.to_owned();
            assert_eq!(error, QueryError::Unmatchable { tag, value });
        }
    }

    #[test]
    fn one_item_must_meet_all_keys_of_a_sequence() {
        let code = |value: &str, scheme: &str| -> Attributes {
            let text = |tag, text: &str| Attribute {
                tag,
                vr: VR::SH,
                value: Value::Text(text.to_owned()),
            };
            [
                text(tags::CODE_VALUE, value),
                text(tags::CODING_SCHEME_DESIGNATOR, scheme),
            ]
            .into_iter()
            .collect()
        };
        let attributes: Attributes = [Attribute {
            tag: tags::PROCEDURE_CODE_SEQUENCE,
            vr: VR::SQ,
            value: Value::Items(vec![code("A", "DCM"), code("B", "SRT")]),
        }]
        .into_iter()
        .collect();
        let encoded = attributes.encode();
        let matches = |value: &str, scheme: &str| {
            let keys = vec![
                Key::text(tags::CODE_VALUE, value),
                Key::text(tags::CODING_SCHEME_DESIGNATOR, scheme),
            ];
            let condition = Condition::new(&Key::item(tags::PROCEDURE_CODE_SEQUENCE, keys)).unwrap();
            condition.is_met_within(Encoded(&encoded))
        };
        assert!(matches("A", "DCM") && matches("B", "") && matches("", "S*"));
        assert!(!matches("A", "SRT") && !matches("C", ""));
        let universal = Key::item(
            tags::PROCEDURE_CODE_SEQUENCE,
            vec![Key::text(tags::CODE_VALUE, "")],
        );
        assert!(Condition::new(&universal).unwrap().is_met_by(None));
    }

    #[test]
    fn a_range_of_moments() {
        let range = |date: &str, time: &str| {
            let test = |tag, value: &str| Condition::new(&Key::text(tag, value)).unwrap().test;
            CombinedRange::new(&test(tags::STUDY_DATE, date), &test(tags::STUDY_TIME, time)).unwrap()
        };
        let nights = range("20240101-20240103", "2200-06");
        assert!(nights.takes("20240102", "12") && nights.takes("20240101", "22"));
        assert!(nights.takes("20240103", "0659") && nights.takes("20240101", ""));
        assert!(!nights.takes("20240101", "2159") && !nights.takes("20240103", "0700"));
        assert!(range("20240101-", "10-12").takes("20300101", "23"));
        assert!(!range("-20240101", "-12").takes("20240101", "13"));
    }
}
