//! A search of the index: a query made into a plan, and rows streamed as they are found.
//!
//! Matching is done here, row by row, by the conditions of [`matching`](super::matching); SQL only narrows the rows by
//! what has an index, and never by more than a condition says. Keys of levels above the query's are matched too, as if
//! relational queries were negotiated (PS3.4 C.4.1.2.2.2).
//!
//! Invariant: memory is one row, however many match. All rows of a search are of one moment.

mod narrow;

use std::ops::ControlFlow;

use dicom_core::Tag;
use dicom_dictionary_std::tags::*;
use rusqlite::types::ValueRef;
use rusqlite::{Row as SqlRow, params_from_iter};

use super::attributes::{Attribute, Attributes, Encoded, EncodedValue, Value};
use super::catalogue::{self, Level};
use super::matching::{CombinedRange, Condition, Test};
use super::query::{Query, QueryError, Root};
use super::{Archive, ArchiveError};

/// A query that can be answered.
#[derive(Debug, Clone)]
pub struct Search {
    level: Level,
    /// In tag order.
    conditions: Vec<Condition>,
    combined: Vec<(usize, usize, CombinedRange)>,
    unsupported: Vec<Tag>,
}

/// One match: the attributes that were asked for, in tag order; text is empty where the entity has none. Attributes
/// that the index does not know are not in it ([`Search::unsupported`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub Attributes);

/// What the service says, not the archive.
const ANSWERED_ELSEWHERE: [Tag; 5] = [
    SPECIFIC_CHARACTER_SET,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    STORAGE_MEDIA_FILE_SET_ID,
    INSTANCE_AVAILABILITY,
];

const PAIRS: [(Tag, Tag); 7] = [
    (STUDY_DATE, STUDY_TIME),
    (SERIES_DATE, SERIES_TIME),
    (ACQUISITION_DATE, ACQUISITION_TIME),
    (CONTENT_DATE, CONTENT_TIME),
    (INSTANCE_CREATION_DATE, INSTANCE_CREATION_TIME),
    (
        PERFORMED_PROCEDURE_STEP_START_DATE,
        PERFORMED_PROCEDURE_STEP_START_TIME,
    ),
    (PATIENT_BIRTH_DATE, PATIENT_BIRTH_TIME),
];

impl Search {
    /// Plans a query.
    pub fn new(query: &Query) -> Result<Self, QueryError> {
        if query.root == Root::Study && query.level == Level::Patient {
            return Err(QueryError::NoSuchLevel);
        }
        let (mut conditions, mut unsupported) = (Vec::new(), Vec::new());
        for key in query
            .keys
            .iter()
            .filter(|key| !ANSWERED_ELSEWHERE.contains(&key.tag))
        {
            match catalogue::entry(key.tag) {
                Some(entry) if entry.level <= query.level => conditions.push(Condition::new(key)?),
                _ => unsupported.push(key.tag),
            }
        }
        conditions.sort_by_key(|condition| condition.tag);
        conditions.dedup_by_key(|condition| condition.tag);
        let mut search = Search {
            level: query.level,
            conditions,
            combined: Vec::new(),
            unsupported,
        };
        if query.combined_datetime {
            PAIRS.iter().for_each(|pair| search.combine(*pair));
        }
        Ok(search)
    }

    /// The keys that play no part: attributes that the index does not keep, or of a lower level. Matches carry the status
    /// FF01 where there are any (PS3.4 C.4.1.1.4).
    pub fn unsupported(&self) -> &[Tag] {
        &self.unsupported
    }

    fn combine(&mut self, (date, time): (Tag, Tag)) {
        let (Some(date), Some(time)) = (self.position(date), self.position(time)) else {
            return;
        };
        let (Some(dates), Some(times)) = (self.conditions.get(date), self.conditions.get(time)) else {
            return;
        };
        if let Some(range) = CombinedRange::new(&dates.test, &times.test) {
            self.combined.push((date, time, range));
            // The range of dates still holds, and narrows; that of times is part of the whole.
            if let Some(times) = self.conditions.get_mut(time) {
                times.test = Test::Universal;
            }
        }
    }

    fn position(&self, tag: Tag) -> Option<usize> {
        self.conditions
            .binary_search_by_key(&tag, |condition| condition.tag)
            .ok()
    }

    /// The row that a row of SQL makes, if it matches.
    fn examine(&self, sql: &SqlRow<'_>) -> rusqlite::Result<Option<Row>> {
        let numbers = self.numbers(sql)?;
        let mut values: Vec<Option<EncodedValue<'_>>> = vec![None; self.conditions.len()];
        for (place, text) in &numbers {
            values[*place] = Some(EncodedValue::Text(text));
        }
        for &(tag, column, level) in COMPUTED_TEXTS {
            if level <= self.level
                && let Some(place) = self.position(tag)
            {
                values[place] = Some(EncodedValue::Text(sql.get_ref(column)?.as_str()?));
            }
        }
        for &(column, level) in ATTRIBUTES {
            if level > self.level {
                break;
            }
            for (tag, _, value) in Encoded(sql.get_ref(column)?.as_blob()?) {
                if let Some(place) = self.position(tag) {
                    values[place] = Some(value);
                }
            }
        }
        let is_met =
            |(condition, value): (&Condition, &Option<EncodedValue<'_>>)| condition.is_met_by(*value);
        let text = |place: usize| {
            values
                .get(place)
                .copied()
                .flatten()
                .map_or("", EncodedValue::text)
        };
        let matches = self.conditions.iter().zip(&values).all(is_met)
            && self
                .combined
                .iter()
                .all(|(date, time, range)| range.takes(text(*date), text(*time)));
        Ok(matches.then(|| Row(row_of(&self.conditions, &values))))
    }

    fn numbers(&self, sql: &SqlRow<'_>) -> rusqlite::Result<Vec<(usize, String)>> {
        let mut numbers = Vec::new();
        for &(tag, column, level) in COMPUTED_NUMBERS {
            if level <= self.level
                && let Some(place) = self.position(tag)
            {
                match sql.get_ref(column)? {
                    ValueRef::Integer(number) => numbers.push((place, number.to_string())),
                    _ => numbers.push((place, String::new())),
                }
            }
        }
        Ok(numbers)
    }
}

// The columns of every search, each level's after those of the level above.
const COLUMNS: [&str; 4] = [
    "patient.attributes, patient.studies, patient.series, patient.instances",
    "study.attributes, study.modalities, study.sop_classes, study.series, study.instances",
    "series.attributes, series.instances",
    "instance.attributes, instance.transfer_syntax_uid",
];
const ATTRIBUTES: &[(usize, Level)] = &[
    (0, Level::Patient),
    (4, Level::Study),
    (9, Level::Series),
    (11, Level::Image),
];
const COMPUTED_NUMBERS: &[(Tag, usize, Level)] = &[
    (NUMBER_OF_PATIENT_RELATED_STUDIES, 1, Level::Patient),
    (NUMBER_OF_PATIENT_RELATED_SERIES, 2, Level::Patient),
    (NUMBER_OF_PATIENT_RELATED_INSTANCES, 3, Level::Patient),
    (NUMBER_OF_STUDY_RELATED_SERIES, 7, Level::Study),
    (NUMBER_OF_STUDY_RELATED_INSTANCES, 8, Level::Study),
    (NUMBER_OF_SERIES_RELATED_INSTANCES, 10, Level::Series),
];
const COMPUTED_TEXTS: &[(Tag, usize, Level)] = &[
    (MODALITIES_IN_STUDY, 5, Level::Study),
    (SOP_CLASSES_IN_STUDY, 6, Level::Study),
    (AVAILABLE_TRANSFER_SYNTAX_UID, 12, Level::Image),
];

fn row_of(conditions: &[Condition], values: &[Option<EncodedValue<'_>>]) -> Attributes {
    let attributes = conditions.iter().zip(values).map(|(condition, value)| Attribute {
        tag: condition.tag,
        vr: condition.vr,
        value: match (&condition.test, value) {
            (Test::Item(keys), value) => Value::Items(
                value
                    .iter()
                    .flat_map(|value| value.items())
                    .map(|item| item_of(keys, item))
                    .collect(),
            ),
            (_, value) => Value::Text(value.map_or("", EncodedValue::text).to_owned()),
        },
    });
    attributes.collect()
}

/// The attributes of an item that were asked for; all where none was named.
fn item_of(keys: &[Condition], item: Encoded<'_>) -> Attributes {
    if !keys.is_empty() {
        let value = |key: &Condition| {
            item.clone()
                .find(|(tag, ..)| *tag == key.tag)
                .map(|(_, _, value)| value)
        };
        let values: Vec<Option<EncodedValue<'_>>> = keys.iter().map(value).collect();
        return row_of(keys, &values);
    }
    let attributes = item.map(|(tag, vr, value)| Attribute {
        tag,
        vr,
        value: match value {
            EncodedValue::Text(text) => Value::Text(text.to_owned()),
            items => Value::Items(items.items().map(|item| item_of(&[], item)).collect()),
        },
    });
    attributes.collect()
}

impl Archive {
    /// Gives each match to `take`, until that breaks off, and returns how many were given.
    ///
    /// Blocks: for a thread of its own. While `take` waits the index can't be tidied, so a caller bounds that wait.
    pub fn find(
        &self,
        search: &Search,
        take: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<u64, ArchiveError> {
        self.find_while(search, || true, take)
    }

    /// The same, and ends early once `is_wanted` says no: also where nothing matches among a million rows.
    pub fn find_while(
        &self,
        search: &Search,
        is_wanted: impl Fn() -> bool,
        mut take: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<u64, ArchiveError> {
        let (sql, parameters) = search.statement();
        self.0.readers.with(|index| {
            let mut statement = index.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            let (mut given, mut examined) = (0, 0_u64);
            while let Some(sql_row) = rows.next()? {
                examined += 1;
                if examined.is_multiple_of(256) && !is_wanted() {
                    break;
                }
                if let Some(row) = search.examine(sql_row)? {
                    given += 1;
                    if take(row).is_break() {
                        break;
                    }
                }
            }
            Ok(given)
        })
    }
}
