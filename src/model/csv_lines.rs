//! Lists of rules as CSV, the way they are edited in a spreadsheet: comma- or semicolon-separated, with a heading.
//!
//! Invariant: a file with one bad line gives nothing at all, and all its bad lines are named. What a line means is its
//! shape's; writing is the caller's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::Invalid;

/// The most rules of a list: more would be felt in each query.
const MOST_RULES: usize = 10_000;

/// How a line of a file becomes a rule.
pub(super) struct CsvShape<T, const N: usize> {
    /// The columns, in the order of an export. On import they may come in any order.
    pub(super) columns: [&'static str; N],
    /// How many of them, from the first, a file must have.
    pub(super) required: usize,
    /// What a line is.
    pub(super) subject: &'static str,
    /// What no two lines may share.
    pub(super) key_is: &'static str,
    /// The rule of a line's cells; a column that is missing is empty.
    pub(super) rule: fn([&str; N]) -> Result<T, Invalid>,
    /// What tells a rule from any other.
    pub(super) key: fn(&T) -> String,
}

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

impl<T, const N: usize> CsvShape<T, N> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// All bad lines, in order.
    pub(super) fn read(&self, text: &str) -> Result<Vec<T>, Vec<BadLine>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let heading = text.lines().next().unwrap_or_default();
        let delimiter = if heading.contains(';') { b';' } else { b',' };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
        let heading = reader.headers().cloned().unwrap_or_default();
        let places = self
            .places(&heading)
            .map_err(|why| vec![BadLine { line: 1, why }])?;
        let (mut rules, mut bad) = (Vec::new(), Vec::new());
        for record in reader.records() {
            match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    let cell = |place: Option<usize>| place.and_then(|place| record.get(place));
                    match (self.rule)(places.map(|place| cell(place).unwrap_or_default())) {
                        Ok(rule) => rules.push((line, rule)),
                        Err(why) => bad.push(BadLine { line, why }),
                    }
                }
                Err(error) => bad.push(malformed(&error)),
            }
        }
        bad.extend(self.repetitions(&rules));
        bad.sort_by_key(|bad| bad.line);
        if rules.len() > MOST_RULES {
            let rule = format!("a table has at most {MOST_RULES}");
            let why = Invalid::new("number of rules", &rules.len().to_string(), rule);
            bad.push(BadLine { line: 1, why });
        }
        match bad.is_empty() {
            true => Ok(rules.into_iter().map(|(_, rule)| rule).collect()),
            false => Err(bad),
        }
    }

    /// Where in a line each of the columns is.
    fn places(&self, heading: &StringRecord) -> Result<[Option<usize>; N], Invalid> {
        let names: Vec<String> = heading.iter().map(str::to_ascii_lowercase).collect();
        for (place, name) in names.iter().enumerate() {
            let rule = match () {
                () if !self.columns.contains(&name.as_str()) => {
                    format!("the columns are {}", self.columns.join(", "))
                }
                () if names[..place].contains(name) => "it is there twice".to_owned(),
                () => continue,
            };
            return Err(Invalid::new("column", name, rule));
        }
        let places = self
            .columns
            .map(|column| names.iter().position(|name| name == column));
        match places[..self.required].iter().position(Option::is_none) {
            Some(missing) => Err(Invalid::new("column", self.columns[missing], "it is missing")),
            None => Ok(places),
        }
    }

    /// Lines with the key of one before.
    fn repetitions(&self, rules: &[(u64, T)]) -> Vec<BadLine> {
        let mut first = HashMap::new();
        let mut bad = Vec::new();
        for (line, rule) in rules {
            match first.entry((self.key)(rule)) {
                Entry::Vacant(free) => drop(free.insert(*line)),
                Entry::Occupied(taken) => {
                    let rule = format!("line {} has the same {}", taken.get(), self.key_is);
                    bad.push(BadLine {
                        line: *line,
                        why: Invalid::new(self.subject, taken.key(), rule),
                    });
                }
            }
        }
        bad
    }
}

/// The value of a cell, its error under the column's name.
pub(super) fn cell<T: FromStr<Err = Invalid>>(column: &'static str, text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|error: Invalid| Invalid {
        field: column,
        ..error
    })
}

/// The same, where an empty cell is none.
pub(super) fn optional<T: FromStr<Err = Invalid>>(
    column: &'static str,
    text: &str,
) -> Result<Option<T>, Invalid> {
    match text.is_empty() {
        true => Ok(None),
        false => cell(column, text).map(Some),
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
