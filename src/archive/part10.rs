//! DICOM files (PS3.10 7.1): the preamble and group 0002 before a data set, written and read.
//!
//! Invariant: reading looks at no more than [`MAX_META`] bytes, and allocates nothing by a declared length.

use std::io::{self, Read};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::FileMetaTableBuilder;

use super::encoding::Encoding;
use crate::model::{AeTitle, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Uid};

/// Preamble and group 0002 are taken up to this size, in bytes.
const MAX_META: usize = 64 * 1024;
const PREAMBLE: usize = 128;
const MAGIC: &[u8; 4] = b"DICM";

/// What a file says of the data set in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// As the file has it, which the data set may contradict.
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
    pub(super) transfer_syntax_uid: String,
    /// Who wrote the file.
    pub(super) implementation_class_uid: String,
    /// From whom its writer had the object; empty where that is not said.
    pub(super) source_ae_title: String,
    /// Where the data set begins, in bytes from the start of the file.
    pub(super) data_set_offset: u64,
}

/// The bytes before the data set of an object that comes over the network.
pub(super) fn opening(
    sop_class_uid: &Uid,
    sop_instance_uid: &Uid,
    transfer_syntax_uid: &Uid,
    source: Option<&AeTitle>,
) -> io::Result<Vec<u8>> {
    let mut meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class_uid.as_str())
        .media_storage_sop_instance_uid(sop_instance_uid.as_str())
        .transfer_syntax(transfer_syntax_uid.as_str())
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME);
    if let Some(source) = source {
        meta = meta.source_application_entity_title(source.as_str());
    }
    let mut bytes = vec![0; PREAMBLE];
    bytes.extend_from_slice(MAGIC);
    meta.build()
        .map_err(io::Error::other)?
        .write(&mut bytes)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

/// Reads what is before the data set; `None` where the file is no DICOM file.
pub(super) fn read_meta(file: impl Read) -> io::Result<Option<Meta>> {
    let mut start = Vec::with_capacity(4096);
    let mut file = file.take(MAX_META as u64);
    file.by_ref().take(4096).read_to_end(&mut start)?;
    if start.get(PREAMBLE..PREAMBLE + MAGIC.len()) != Some(MAGIC) {
        return Ok(None);
    }
    if let Some(meta) = parse(&start) {
        return Ok(Some(meta));
    }
    file.read_to_end(&mut start)?;
    Ok(parse(&start))
}

fn parse(start: &[u8]) -> Option<Meta> {
    let mut at = PREAMBLE + MAGIC.len();
    let mut values = [
        tags::MEDIA_STORAGE_SOP_CLASS_UID,
        tags::MEDIA_STORAGE_SOP_INSTANCE_UID,
        tags::TRANSFER_SYNTAX_UID,
        tags::IMPLEMENTATION_CLASS_UID,
        tags::SOURCE_APPLICATION_ENTITY_TITLE,
    ]
    .map(|tag: Tag| (tag, String::new()));
    // The data set may be in any encoding, so only the group is looked at before its header is read.
    while start.get(at..at + 2)? == [2, 0] {
        let header = Encoding::ExplicitLittle.header(start.get(at..)?)?;
        let value = at + header.size;
        at = value.checked_add(header.length as usize)?;
        let value = start.get(value..at)?;
        if let Some((_, text)) = values.iter_mut().find(|(tag, _)| *tag == header.tag) {
            *text = String::from_utf8_lossy(value)
                .trim_matches([' ', '\0'])
                .to_owned();
        }
    }
    let [
        (_, sop_class_uid),
        (_, sop_instance_uid),
        (_, transfer_syntax_uid),
        (_, implementation_class_uid),
        (_, source_ae_title),
    ] = values;
    (!transfer_syntax_uid.is_empty()).then_some(Meta {
        sop_class_uid,
        sop_instance_uid,
        transfer_syntax_uid,
        implementation_class_uid,
        source_ae_title,
        data_set_offset: at as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let uid = |text: &str| text.parse::<Uid>().unwrap();
        let source: AeTitle = "CT1".parse().unwrap();
        let written = opening(
            &uid("1.2"),
            &uid("1.2.3"),
            &uid("1.2.840.10008.1.2"),
            Some(&source),
        )
        .unwrap();
        let file = [&written[..], b"\x08\0\x05\0"].concat();
        let meta = read_meta(&file[..]).unwrap().unwrap();
        assert_eq!(meta.sop_class_uid, "1.2");
        assert_eq!(meta.sop_instance_uid, "1.2.3");
        assert_eq!(meta.transfer_syntax_uid, "1.2.840.10008.1.2");
        assert_eq!(meta.implementation_class_uid, IMPLEMENTATION_CLASS_UID);
        assert_eq!(meta.source_ae_title, "CT1");
        assert_eq!(meta.data_set_offset, written.len() as u64);
        assert_eq!(read_meta(&b"no DICOM at all"[..]).unwrap(), None);
    }

    proptest! {
        #[test]
        fn other_bytes_are_no_panic(bytes: Vec<u8>) {
            let file = [&[0; PREAMBLE][..], MAGIC, &[2, 0], &bytes].concat();
            let _ = read_meta(&file[..]);
        }
    }
}
