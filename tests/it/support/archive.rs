//! The embedded archive in tests: objects made of a few attributes, stored and found again.
//!
//! Invariant: an object has all that places it, and a value of its own for what a test does not say.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use impaxlink::archive::{
    Announced, Archive, ArchiveError, ImportCounts, Incoming, Key, Level, Outcome, Query, Root, Row, Search,
    Value,
};
use impaxlink::dimse::{DataSetBuilder, TransferSyntax};
use tempfile::TempDir;

/// An object to be stored: UTF-8 text by attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(pub BTreeMap<Tag, String>);

impl Object {
    /// An instance by its number, alone in its series and study.
    pub fn new(number: usize) -> Self {
        let uid = |kind: u32| format!("1.2.826.0.1.3680043.2.{kind}.{number}");
        let values = [
            (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192".to_owned()),
            (tags::SOP_CLASS_UID, uids::CT_IMAGE_STORAGE.to_owned()),
            (tags::SOP_INSTANCE_UID, uid(1)),
            (tags::SERIES_INSTANCE_UID, uid(2)),
            (tags::STUDY_INSTANCE_UID, uid(3)),
            (tags::PATIENT_ID, format!("P{number}")),
            (tags::PATIENT_NAME, "DOE^JANE".to_owned()),
            (tags::MODALITY, "CT".to_owned()),
        ];
        Object(values.into_iter().collect())
    }

    /// The same with another value of an attribute.
    pub fn with(mut self, tag: Tag, value: &str) -> Self {
        self.0.insert(tag, value.to_owned());
        self
    }

    /// The value of an attribute.
    pub fn value(&self, tag: Tag) -> &str {
        self.0.get(&tag).map_or("", String::as_str)
    }

    /// Its data set.
    pub fn bytes(&self, syntax: TransferSyntax) -> Vec<u8> {
        let elements = self
            .0
            .iter()
            .fold(DataSetBuilder::new(), |elements, (tag, value)| {
                elements.put(*tag, vr(*tag), value.as_bytes())
            });
        elements.encode(syntax).expect("a data set").bytes().to_vec()
    }

    /// What is announced of it.
    pub fn announced(&self, transfer_syntax_uid: &str) -> Announced {
        Announced {
            sop_class_uid: self.value(tags::SOP_CLASS_UID).parse().expect("a UID"),
            sop_instance_uid: self.value(tags::SOP_INSTANCE_UID).parse().expect("a UID"),
            transfer_syntax_uid: transfer_syntax_uid.parse().expect("a UID"),
            source: Some("CT1".parse().expect("an AE title")),
        }
    }

    /// Stores it as Explicit VR Little Endian.
    pub fn store(&self, archive: &Archive) -> Result<Outcome, ArchiveError> {
        let syntax = TransferSyntax::ExplicitVrLittleEndian;
        receive(archive, self.announced(syntax.uid()), &self.bytes(syntax))?.finish()
    }
}

/// Receives a data set in small pieces, all but the end.
pub fn receive(archive: &Archive, announced: Announced, data_set: &[u8]) -> Result<Incoming, ArchiveError> {
    let mut incoming = archive.receive(announced)?;
    data_set
        .chunks(1000)
        .try_for_each(|piece| incoming.write(piece))?;
    Ok(incoming)
}

/// The value representation of the dictionary.
pub fn vr(tag: Tag) -> VR {
    StandardDataDictionary
        .by_tag(tag)
        .expect("a standard attribute")
        .vr()
        .relaxed()
}

/// A query of the Patient Root model by text.
pub fn query(level: Level, keys: &[(Tag, &str)]) -> Query {
    Query {
        root: Root::Patient,
        level,
        keys: keys.iter().map(|(tag, value)| Key::text(*tag, *value)).collect(),
        combined_datetime: false,
    }
}

/// All rows of a query.
pub fn rows(archive: &Archive, query: &Query) -> Vec<Row> {
    let search = Search::new(query).expect("a query that can be answered");
    let mut rows = Vec::new();
    let given = archive.find(&search, |row| {
        rows.push(row);
        ControlFlow::Continue(())
    });
    assert_eq!(given.expect("an answer"), rows.len() as u64);
    rows
}

/// The sorted values of the first key in all matches.
pub fn found(archive: &Archive, level: Level, keys: &[(Tag, &str)]) -> Vec<String> {
    let rows = rows(archive, &query(level, keys));
    let mut values: Vec<String> = rows.iter().map(|row| row.0.text(keys[0].0).to_owned()).collect();
    values.sort_unstable();
    values
}

/// A row as text by attribute.
pub fn texts(row: &Row) -> BTreeMap<Tag, String> {
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        Value::Items(items) => format!("{items:?}"),
    };
    row.0
        .iter()
        .map(|attribute| (attribute.tag, text(&attribute.value)))
        .collect()
}

/// An empty archive, and the folder it is in.
pub fn new_archive() -> (TempDir, Archive) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Archive::open(&folder.path().join("archive")).expect("an archive");
    (folder, archive)
}

/// All files in a folder and its folders.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let found = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    found.collect()
}

/// Imports a path; the progress tells of each file once.
pub fn import(archive: &Archive, path: &Path) -> ImportCounts {
    let mut heard = 0;
    let counts = archive.import(&[path.to_owned()], false, |_, _, _| {
        heard += 1;
        ControlFlow::Continue(())
    });
    let counts = counts.unwrap();
    let ImportCounts {
        stored,
        already_stored,
        kept_aside,
        not_dicom,
        directories,
        damaged,
        unreachable,
    } = counts;
    assert_eq!(
        heard,
        stored + already_stored + kept_aside + not_dicom + directories + damaged + unreachable
    );
    counts
}

/// The object as a DICOM file.
pub fn dicom_file(object: &Object) -> Vec<u8> {
    let meta = dicom_object::FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(object.value(tags::SOP_CLASS_UID))
        .media_storage_sop_instance_uid(object.value(tags::SOP_INSTANCE_UID))
        .transfer_syntax(TransferSyntax::ExplicitVrLittleEndian.uid());
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    meta.build().unwrap().write(&mut bytes).unwrap();
    bytes.extend(object.bytes(TransferSyntax::ExplicitVrLittleEndian));
    bytes
}
