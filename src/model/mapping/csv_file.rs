//! Mapping tables as CSV, the way they are edited in a spreadsheet.
//!
//! Invariant: what `columns` of all rules give under `COLUMNS`, `read` reads back to the same rules. A file with one bad
//! line gives no rules at all. Writing is the caller's.

use std::fmt;
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::MappingTable;
use super::rule::{CodeString, Conditions, MappingRule};
use crate::model::Invalid;

/// The columns, in the order of an export. On import they may come in any order; those of conditions may be missing.
pub const COLUMNS: [&str; 8] = [
    "target",
    "order",
    "value",
    "procedure_code",
    "description",
    "modality",
    "body_part_examined",
    "body_part",
];

/// How many of them a file must have.
const REQUIRED: usize = 3;

/// The most rules of a table: more would be felt in each query.
const MOST_RULES: usize = 10_000;

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number; the first is 1.
    pub line: u64,
    /// Which value breaks which rule.
    pub why: Invalid,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

/// The cells of a rule's line.
pub fn columns(rule: &MappingRule) -> [String; 8] {
    let conditions = rule.conditions();
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let code = |code: &Option<CodeString>| text(code.as_ref().map(CodeString::as_str));
    [
        rule.target().as_str().to_owned(),
        rule.order().to_string(),
        rule.value().to_string(),
        text(conditions.procedure_code.as_ref().map(|code| code.as_str())),
        text(conditions.description.as_ref().map(|pattern| pattern.as_str())),
        code(&conditions.modality),
        code(&conditions.body_part_examined),
        text(conditions.body_part.as_ref().map(|part| part.as_str())),
    ]
}

/// Reads a whole file, comma- or semicolon-separated, with a heading.
///
/// # Errors
/// All bad lines, in order.
pub fn read(text: &str) -> Result<MappingTable, Vec<BadLine>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let heading = text.lines().next().unwrap_or_default();
    let delimiter = if heading.contains(';') { b';' } else { b',' };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let heading = reader.headers().cloned().unwrap_or_default();
    let places = column_places(&heading).map_err(|why| vec![BadLine { line: 1, why }])?;
    let (mut rules, mut bad) = (Vec::new(), Vec::new());
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                match rule(&record, &places) {
                    Ok(rule) => rules.push((line, rule)),
                    Err(why) => bad.push(BadLine { line, why }),
                }
            }
            Err(error) => bad.push(malformed(&error)),
        }
    }
    bad.extend(contradictions(&rules));
    bad.sort_by_key(|bad| bad.line);
    if rules.len() > MOST_RULES {
        let rule = format!("a table has at most {MOST_RULES}");
        let why = Invalid::new("number of rules", &rules.len().to_string(), rule);
        bad.push(BadLine { line: 1, why });
    }
    if !bad.is_empty() {
        return Err(bad);
    }
    MappingTable::new(rules.into_iter().map(|(_, rule)| rule).collect())
        .map_err(|why| vec![BadLine { line: 1, why }])
}

/// Where in a line each of `COLUMNS` is.
fn column_places(heading: &StringRecord) -> Result<[Option<usize>; 8], Invalid> {
    let names: Vec<String> = heading.iter().map(str::to_ascii_lowercase).collect();
    for (place, name) in names.iter().enumerate() {
        let rule = match () {
            () if !COLUMNS.contains(&name.as_str()) => format!("the columns are {}", COLUMNS.join(", ")),
            () if names[..place].contains(name) => "it is there twice".to_owned(),
            () => continue,
        };
        return Err(Invalid::new("column", name, rule));
    }
    let places = COLUMNS.map(|column| names.iter().position(|name| name == column));
    match places[..REQUIRED].iter().position(Option::is_none) {
        Some(missing) => Err(Invalid::new("column", COLUMNS[missing], "it is missing")),
        None => Ok(places),
    }
}

fn rule(record: &StringRecord, places: &[Option<usize>; 8]) -> Result<MappingRule, Invalid> {
    let [
        target,
        order,
        value,
        procedure_code,
        description,
        modality,
        examined,
        body_part,
    ] = places.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
    let number = order.parse().map_err(|_| {
        Invalid::new(
            "order",
            order,
            "it is a whole number from 0 to 9999; lower comes first",
        )
    })?;
    let conditions = Conditions {
        procedure_code: optional("procedure_code", procedure_code)?,
        description: optional("description", description)?,
        modality: optional("modality", modality)?,
        body_part_examined: optional("body_part_examined", examined)?,
        body_part: optional("body_part", body_part)?,
    };
    let value = value.parse().map_err(|error| named("value", error))?;
    MappingRule::new(target.parse()?, number, value, conditions)
}

fn optional<T: FromStr<Err = Invalid>>(column: &'static str, text: &str) -> Result<Option<T>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| named(column, error))
}

/// The error under the column's name.
fn named(column: &'static str, error: Invalid) -> Invalid {
    Invalid {
        field: column,
        ..error
    }
}

fn malformed(error: &csv::Error) -> BadLine {
    let (line, rule) = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => (
            pos.as_ref().map_or(0, csv::Position::line),
            format!("it has {len} columns, the heading has {expected_len}"),
        ),
        _ => (
            error.position().map_or(0, csv::Position::line),
            "it can't be read".to_owned(),
        ),
    };
    BadLine {
        line,
        why: Invalid::new("line", "", rule),
    }
}

/// Lines that repeat the conditions of one before.
fn contradictions(rules: &[(u64, MappingRule)]) -> Vec<BadLine> {
    let mut first = std::collections::HashMap::new();
    let mut bad = Vec::new();
    for (line, rule) in rules {
        match first.entry(rule.key()) {
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(*line)),
            std::collections::hash_map::Entry::Occupied(taken) => bad.push(BadLine {
                line: *line,
                why: Invalid::new(
                    "mapping rule",
                    taken.key(),
                    format!("line {} has the same conditions", taken.get()),
                ),
            }),
        }
    }
    bad
}
