//! The SQL of a search: from which rows the matches are chosen.
//!
//! Invariant: whatever a condition takes is among the rows. All that comes from a caller is a parameter.

use dicom_dictionary_std::tags;

use super::{COLUMNS, Search};
use crate::archive::catalogue::Level;
use crate::archive::matching::{Condition, Test, ValueTest};

impl Search {
    /// The statement and its parameters.
    pub(super) fn statement(&self) -> (String, Vec<String>) {
        let levels = [Level::Patient, Level::Study, Level::Series, Level::Image];
        let levels = levels.iter().filter(|level| **level <= self.level);
        let columns: Vec<&str> = COLUMNS
            .into_iter()
            .zip(levels)
            .map(|(columns, _)| columns)
            .collect();
        let tables = match self.level {
            Level::Patient => "patient",
            Level::Study => "study JOIN patient ON patient.key = study.patient",
            Level::Series => {
                "series JOIN study ON study.key = series.study JOIN patient ON patient.key = study.patient"
            }
            Level::Image => {
                "instance JOIN series ON series.key = instance.series
                 JOIN study ON study.key = series.study JOIN patient ON patient.key = study.patient"
            }
        };
        let mut parameters = Vec::new();
        let narrowed = self
            .conditions
            .iter()
            .filter_map(|condition| narrow(condition, &mut parameters));
        let narrowed: Vec<String> = narrowed.collect();
        let filter = if narrowed.is_empty() {
            "TRUE".to_owned()
        } else {
            narrowed.join(" AND ")
        };
        (
            format!("SELECT {} FROM {tables} WHERE {filter}", columns.join(", ")),
            parameters,
        )
    }
}

fn narrow(condition: &Condition, parameters: &mut Vec<String>) -> Option<String> {
    let Test::AnyOf(tests) = &condition.test else {
        return None;
    };
    match condition.tag {
        tags::PATIENT_NAME => {
            let names = by_text("folded", tests, parameters)?;
            Some(format!(
                "patient.key IN (SELECT patient FROM patient_name WHERE {names})"
            ))
        }
        tags::STUDY_DATE => by_date(tests, parameters),
        tags::PATIENT_ID => by_text("patient.patient_id", tests, parameters),
        tags::ACCESSION_NUMBER => by_text("study.accession_number", tests, parameters),
        tags::STUDY_INSTANCE_UID => by_text("study.uid", tests, parameters),
        tags::SERIES_INSTANCE_UID => by_text("series.uid", tests, parameters),
        tags::SOP_INSTANCE_UID => by_text("instance.uid", tests, parameters),
        _ => None,
    }
}

/// By exact alternatives, or by what stands before the wildcards of a single pattern.
fn by_text(column: &str, tests: &[ValueTest], parameters: &mut Vec<String>) -> Option<String> {
    if let [ValueTest::Pattern(pattern) | ValueTest::NamePattern(pattern)] = tests {
        let beginning = pattern
            .split(['*', '?'])
            .next()
            .filter(|beginning| !beginning.is_empty())?;
        let from = parameter(parameters, beginning.to_owned());
        let to = parameter(parameters, format!("{beginning}{}", char::MAX));
        return Some(format!("{column} BETWEEN {from} AND {to}"));
    }
    if let [ValueTest::OneOf(texts)] = tests {
        let list = parameter(parameters, serde_json::to_string(texts).ok()?);
        return Some(format!("{column} IN (SELECT value FROM json_each({list}))"));
    }
    let exact = tests.iter().map(|test| match test {
        ValueTest::Text(text) | ValueTest::Name(text) => Some(text),
        _ => None,
    });
    let exact: Vec<&String> = exact.collect::<Option<_>>()?;
    match exact[..] {
        [text] => {
            let text = parameter(parameters, text.clone());
            Some(format!("{column} = {text}"))
        }
        // One parameter however many there are: SQLite takes only so many.
        _ => {
            let list = parameter(parameters, serde_json::to_string(&exact).ok()?);
            Some(format!("{column} IN (SELECT value FROM json_each({list}))"))
        }
    }
}

fn by_date(tests: &[ValueTest], parameters: &mut Vec<String>) -> Option<String> {
    let [ValueTest::Dates(span)] = tests else {
        return None;
    };
    let mut bound = |operator: &str, date: Option<jiff::civil::Date>| {
        let date = date?.strftime("%Y%m%d").to_string();
        Some(format!("study.date {operator} {}", parameter(parameters, date)))
    };
    let bounds: Vec<String> = [bound(">=", span.from), bound("<=", span.to)]
        .into_iter()
        .flatten()
        .collect();
    Some(bounds.join(" AND "))
}

fn parameter(parameters: &mut Vec<String>, value: String) -> String {
    parameters.push(value);
    format!("?{}", parameters.len())
}
