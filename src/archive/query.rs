//! A query as the archive takes it: what a C-FIND identifier says, free of its encoding (PS3.4 C.4.1.1.3).
//!
//! Invariant: none; `find` says what of it can be answered.

use dicom_core::Tag;

pub use super::catalogue::Level;

/// An information model of Query/Retrieve (PS3.4 C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Patient Root.
    Patient,
    /// Study Root: the attributes of the patient are attributes of the study.
    Study,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The information model.
    pub root: Root,
    /// The level of the rows.
    pub level: Level,
    /// What must match, and what is wanted back; each key is also a return key.
    pub keys: Vec<Key>,
    /// Whether a range of dates and the range of times beside it are one range of moments (PS3.4 C.2.2.2.5.4). By the
    /// standard only where both sides have negotiated it.
    pub combined_datetime: bool,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The attribute.
    pub tag: Tag,
    /// What it must be.
    pub value: KeyValue,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// In Unicode; empty for universal matching, `""` (two quotation marks) for attributes that have no value.
    Text(String),
    /// The one item of a sequence; without keys for universal matching.
    Item(Vec<Key>),
}

/// Why a query cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Patient level in the Study Root model.
    #[error("the Study Root model has no patient level")]
    NoSuchLevel,
    /// The text is no value, list, range or pattern of the attribute's value representation.
    #[error("the key {tag} cannot be matched: {value:?}")]
    Unmatchable {
        /// The attribute.
        tag: Tag,
        /// The text.
        value: String,
    },
}

impl Key {
    /// A key by text.
    pub fn text(tag: Tag, value: impl Into<String>) -> Self {
        Key {
            tag,
            value: KeyValue::Text(value.into()),
        }
    }

    /// A key by the attributes of an item.
    pub fn item(tag: Tag, keys: Vec<Key>) -> Self {
        Key {
            tag,
            value: KeyValue::Item(keys),
        }
    }
}
