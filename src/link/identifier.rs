//! The keys of one C-FIND request, and how they are written for a station.
//!
//! Invariant: SpecificCharacterSet is always asked for. A key that the station's character set can't write is an error,
//! and never sent mangled. Which keys a query becomes is for `keys` to say.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::linked_syntax;
use crate::dimse::charset::{Encoder, Unencodable};
use crate::dimse::{DataSet, DataSetBuilder, EncodeError, TransferSyntax};
use crate::model::CharacterSet;

/// Why keys can't be written for a station.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The value is beyond ASCII, and the station takes nothing else as far as we know.
    #[error("{0} has characters beyond ASCII, and the station's character set is not known (--charset)")]
    CharacterSetUnknown(String),
    /// The station's character set lacks a character of the value.
    #[error("{keyword} can't be written in {charset}, the station's character set")]
    Unwritable {
        /// The attribute.
        keyword: String,
        /// The station's character set.
        charset: CharacterSet,
        /// Which character it is.
        source: Unencodable,
    },
    /// The value does not fit the identifier.
    #[error("the keys can't be encoded")]
    Unencodable(#[source] EncodeError),
}

/// One key of an identifier; without a value it only asks for the attribute's return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The attribute.
    pub tag: Tag,
    /// Its value representation.
    pub vr: VR,
    /// What it must match, in Unicode.
    pub value: String,
}

/// The keys of one C-FIND request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(BTreeMap<Tag, Key>);

impl Keys {
    /// All of them, each tag once, in the order of the tags.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.values()
    }

    /// Writes the identifier in the station's character set. One in ASCII names none: it reads the same in all.
    pub fn encode(
        &self,
        charset: Option<&CharacterSet>,
        syntax: TransferSyntax,
    ) -> Result<DataSet, WriteError> {
        let beyond_ascii = self.0.values().find(|key| !key.value.is_ascii());
        let charset = match (beyond_ascii, charset) {
            (None, _) => None,
            (Some(key), None) => return Err(WriteError::CharacterSetUnknown(describe(key.tag).1)),
            (Some(_), Some(charset)) => Some(charset),
        };
        let named = charset.map_or("", CharacterSet::as_str);
        self.write(named, syntax, |key| match charset {
            Some(charset) => write(key, charset),
            None => Ok(key.value.clone().into_bytes()),
        })
    }

    /// Writes the identifier as the linked syntax wants it, and asks at every level which stations of the cluster did not
    /// answer.
    pub(super) fn encode_in_utf8(&self, syntax: TransferSyntax) -> Result<DataSet, WriteError> {
        let mut keys = self.clone();
        for key in linked_syntax::unanswered_keys() {
            keys.set(key.tag, key.vr, key.value);
        }
        keys.write(linked_syntax::CHARACTER_SET, syntax, |key| {
            Ok(key.value.clone().into_bytes())
        })
    }

    fn write(
        &self,
        character_set: &str,
        syntax: TransferSyntax,
        text: impl Fn(&Key) -> Result<Vec<u8>, WriteError>,
    ) -> Result<DataSet, WriteError> {
        let mut identifier = DataSetBuilder::new().put(tags::SPECIFIC_CHARACTER_SET, VR::CS, character_set);
        for key in self.0.values() {
            identifier = match key.vr {
                VR::SQ => identifier.put_items(key.tag, Vec::new()),
                vr => identifier.put(key.tag, vr, text(key)?),
            };
        }
        identifier.encode(syntax).map_err(WriteError::Unencodable)
    }

    pub(super) fn at(level: &str, returned: &[(Tag, VR)]) -> Self {
        let mut keys = Keys(BTreeMap::new());
        keys.set(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
        for (tag, vr) in returned {
            keys.set(*tag, *vr, "");
        }
        keys
    }

    pub(super) fn set(&mut self, tag: Tag, vr: VR, value: impl Into<String>) {
        let value = value.into();
        match self.0.entry(tag) {
            Entry::Occupied(mut key) => key.get_mut().value = value,
            Entry::Vacant(place) => drop(place.insert(Key { tag, vr, value })),
        }
    }
}

fn write(key: &Key, charset: &CharacterSet) -> Result<Vec<u8>, WriteError> {
    Encoder::for_station(charset)
        .encode(&key.value)
        .map_err(|source| WriteError::Unwritable {
            keyword: describe(key.tag).1,
            charset: charset.clone(),
            source,
        })
}

/// The value representation and keyword of an attribute; private ones pass as text.
pub(super) fn describe(tag: Tag) -> (VR, String) {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => (entry.vr().relaxed(), entry.alias().to_owned()),
        None => (VR::LO, tag.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case: a key beyond ASCII
    #[test]
    fn a_key_beyond_ascii_is_written_in_the_charset_of_the_station_or_not_at_all() {
        let mut keys = Keys::at("STUDY", &[]);
        keys.set(tags::PATIENT_NAME, VR::PN, "MÜLLER*");
        let syntax = TransferSyntax::ExplicitVrLittleEndian;
        let bytes = |charset: &str| {
            let identifier = keys.encode(Some(&charset.parse().unwrap()), syntax)?;
            let charset = identifier.specific_character_set().unwrap().to_vec();
            Ok::<_, WriteError>((charset, identifier.element(tags::PATIENT_NAME).unwrap().to_vec()))
        };
        let latin = (b"ISO_IR 100".to_vec(), b"M\xdcLLER* ".to_vec());
        assert_eq!(bytes("ISO_IR 100"), Ok(latin));
        assert_eq!(bytes("ISO_IR 192").unwrap().1, "MÜLLER*".as_bytes());
        let error = bytes("ISO_IR 144").unwrap_err().to_string();
        assert_eq!(
            error,
            "PatientName can't be written in ISO_IR 144, the station's character set"
        );
        let error = keys.encode(None, syntax).unwrap_err().to_string();
        assert!(error.contains("--charset"), "{error}");
        let ascii = Keys::at("STUDY", &[]).encode(None, syntax).unwrap();
        assert_eq!(
            ascii.specific_character_set(),
            Some(&b""[..]),
            "asked for all the same"
        );
    }
}
