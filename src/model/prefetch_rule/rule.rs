//! One prefetch rule: for which studies it is, and which priors it wants of them.
//!
//! Invariant: what `cells` gives, `from_cells` reads back to the same rule; an empty cell asks for nothing.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use jiff::Span;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::model::csv_lines::{cell, optional};
use crate::model::{Availability, Invalid, MAX_LONG_STRING, ReportStatus, RuleName, wildcard_matches};

/// The columns, in the order of an export.
pub const COLUMNS: [&str; 13] = [
    "name",
    "order",
    "for_modality",
    "for_body_part",
    "for_specialty",
    "modality",
    "body_part",
    "specialty",
    "max_age",
    "max_number",
    "status",
    "verified",
    "availability",
];

/// The word that stands for the value of the study at hand.
const SAME: &str = "SAME";

/// The word for what asks for nothing.
const ANY: &str = "ANY";

/// One prefetch rule. What is empty or `None` asks for nothing; all that is named must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefetchRule {
    /// What it is called.
    pub name: RuleName,
    /// Its place: lower comes first, and ranks its priors higher.
    pub order: u16,
    /// A modality of the study at hand.
    pub for_modality: Patterns,
    /// The body part of the study at hand, as the mapping tables give it.
    pub for_body_part: Patterns,
    /// The specialty of the study at hand, as the mapping tables give it.
    pub for_specialty: Patterns,
    /// A modality of the prior.
    pub modality: Selection,
    /// The body part of the prior.
    pub body_part: Selection,
    /// The specialty of the prior.
    pub specialty: Selection,
    /// How old a prior may be when the study at hand begins.
    pub max_age: Option<MaxAge>,
    /// How many it takes, newest first.
    pub max_number: Option<NonZeroU16>,
    /// How far the report must have come.
    pub status: Option<ReportStatus>,
    /// Whether the prior must be verified. One whose verification failed is never wanted.
    pub verified: bool,
    /// The slowest place from which it may have to come.
    pub availability: Option<Availability>,
}

impl PrefetchRule {
    /// A rule for every study that wants every prior.
    pub fn new(name: RuleName, order: u16) -> Self {
        PrefetchRule {
            name,
            order,
            for_modality: Patterns::default(),
            for_body_part: Patterns::default(),
            for_specialty: Patterns::default(),
            modality: Selection::default(),
            body_part: Selection::default(),
            specialty: Selection::default(),
            max_age: None,
            max_number: None,
            status: None,
            verified: false,
            availability: None,
        }
    }

    /// Its line in a CSV file, in the order of [`COLUMNS`].
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        fn shown<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        [
            self.name.to_string(),
            self.order.to_string(),
            self.for_modality.to_string(),
            self.for_body_part.to_string(),
            self.for_specialty.to_string(),
            self.modality.to_string(),
            self.body_part.to_string(),
            self.specialty.to_string(),
            shown(self.max_age),
            shown(self.max_number),
            shown(self.status),
            shown(self.verified.then_some("yes")),
            shown(self.availability.map(Availability::as_str)),
        ]
    }

    /// The rule of a line.
    pub fn from_cells(cells: [&str; COLUMNS.len()]) -> Result<Self, Invalid> {
        let [
            name,
            order,
            for_modality,
            for_body_part,
            for_specialty,
            modality,
            body_part,
            specialty,
            max_age,
            max_number,
            status,
            verified,
            availability,
        ] = cells;
        Ok(PrefetchRule {
            name: cell("name", name)?,
            order: number(
                "order",
                order,
                "it is a whole number from 0 to 65535; lower comes first",
            )?,
            for_modality: cell("for_modality", for_modality)?,
            for_body_part: cell("for_body_part", for_body_part)?,
            for_specialty: cell("for_specialty", for_specialty)?,
            modality: cell("modality", modality)?,
            body_part: cell("body_part", body_part)?,
            specialty: cell("specialty", specialty)?,
            max_age: optional("max_age", max_age)?,
            max_number: match max_number {
                "" => None,
                text => Some(number("max_number", text, "it is a whole number from 1")?),
            },
            status: optional("status", status)?,
            verified: match verified.to_ascii_lowercase().as_str() {
                "" | "no" => false,
                "yes" => true,
                _ => return Err(Invalid::new("verified", verified, "it is 'yes', or empty")),
            },
            availability: match availability {
                "" => None,
                text => Some(least_availability(text)?),
            },
        })
    }

    /// What tells it from any other of its set.
    pub(super) fn key(&self) -> String {
        self.name.as_str().to_lowercase()
    }

    /// Whether that is its name, whatever the case.
    pub(super) fn is_called(&self, name: &RuleName) -> bool {
        self.key() == name.as_str().to_lowercase()
    }
}

/// Reads the slowest place a prior may come from: `cache`, `nearline` or `offline`.
pub fn least_availability(text: &str) -> Result<Availability, Invalid> {
    let places = [Availability::Cache, Availability::Nearline, Availability::Offline];
    places
        .into_iter()
        .find(|place| place.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| Invalid::new("availability", text, "it is 'cache', 'nearline' or 'offline'"))
}

fn number<T: FromStr>(column: &'static str, text: &str, rule: &str) -> Result<T, Invalid> {
    text.parse().map_err(|_| Invalid::new(column, text, rule))
}

/// Values of which one must be there, with the wildcards `*` and `?`, whatever the case; none means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Whether any value will do, also none.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the values is wanted.
    pub fn admit<'v>(&self, values: impl IntoIterator<Item = &'v str>) -> bool {
        self.is_any() || self.name_one_of(values)
    }

    fn name_one_of<'v>(&self, values: impl IntoIterator<Item = &'v str>) -> bool {
        values.into_iter().any(|value| {
            let value = value.trim().to_uppercase();
            self.0.iter().any(|pattern| wildcard_matches(pattern, &value))
        })
    }
}

impl FromStr for Patterns {
    type Err = Invalid;

    /// Reads values with `|` or `,` between them.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let selection: Selection = text.parse()?;
        match selection.same {
            true => Err(Invalid::new("values", text, "'same' is for the prior's columns")),
            false => Ok(selection.patterns),
        }
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("|"))
    }
}

impl TryFrom<String> for Patterns {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Patterns> for String {
    fn from(patterns: Patterns) -> String {
        patterns.to_string()
    }
}

/// Values as [`Patterns`] name them, or the study's own by the word `same`; none means any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selection {
    same: bool,
    patterns: Patterns,
}

impl Selection {
    /// Whether any value will do, also none.
    pub fn is_any(&self) -> bool {
        !self.same && self.patterns.is_any()
    }

    /// Whether one of the prior's values is wanted, `same` being those of the study at hand.
    pub fn admits(&self, of_study: &[&str], of_prior: &[&str]) -> bool {
        let is_same = |value: &&str| of_study.iter().any(|same| same.eq_ignore_ascii_case(value));
        self.is_any()
            || self.same && of_prior.iter().any(is_same)
            || self.patterns.name_one_of(of_prior.iter().copied())
    }
}

impl FromStr for Selection {
    type Err = Invalid;

    /// Reads values with `|` or `,` between them; the word `any` adds nothing to them.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut values: Vec<String> = text
            .split(['|', ','])
            .map(|value| value.trim().to_uppercase())
            .filter(|value| !value.is_empty() && value != ANY)
            .collect();
        values.sort_unstable();
        values.dedup();
        let is_broken = |value: &&String| {
            value.chars().count() > MAX_LONG_STRING || value.chars().any(|c| c.is_control() || c == '\\')
        };
        if let Some(broken) = values.iter().find(is_broken) {
            let rule = "a value has at most 64 characters, no backslash and no control characters";
            return Err(Invalid::new("values", broken, rule));
        }
        let same = values.iter().any(|value| value == SAME);
        values.retain(|value| value != SAME);
        Ok(Selection {
            same,
            patterns: Patterns(values),
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.same, self.patterns.is_any()) {
            (false, _) => self.patterns.fmt(f),
            (true, true) => f.write_str("same"),
            (true, false) => write!(f, "same|{}", self.patterns),
        }
    }
}

impl TryFrom<String> for Selection {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Selection> for String {
    fn from(selection: Selection) -> String {
        selection.to_string()
    }
}

/// A length of time as the calendar counts it: `5y`, `18m`, `6w`, `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaxAge {
    count: u16,
    unit: char,
}

impl MaxAge {
    /// The earliest date that is not too old on `day`.
    pub fn before(self, day: Date) -> Date {
        let count = i64::from(self.count);
        let span = match self.unit {
            'y' => Span::new().try_years(count),
            'm' => Span::new().try_months(count),
            'w' => Span::new().try_weeks(count),
            _ => Span::new().try_days(count),
        };
        span.and_then(|span| day.checked_sub(span)).unwrap_or(Date::MIN)
    }
}

impl FromStr for MaxAge {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = "it is a number of years, months, weeks or days, like 5y, 18m, 6w or 90d";
        let broken = || Invalid::new("age", text, rule);
        let unit = text
            .chars()
            .last()
            .filter(|unit| "ymwd".contains(*unit))
            .ok_or_else(broken)?;
        let count = text[..text.len() - 1].parse().ok().filter(|count| *count > 0);
        Ok(MaxAge {
            count: count.ok_or_else(broken)?,
            unit,
        })
    }
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit)
    }
}

impl TryFrom<String> for MaxAge {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<MaxAge> for String {
    fn from(age: MaxAge) -> String {
        age.to_string()
    }
}
