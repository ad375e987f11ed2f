//! What object the first bytes of a data set belong to, and whose it is.
//!
//! Invariant: an object is identified when its elements have passed Series Instance UID, as elements come in the order of
//! their tags (PS3.5 7.1); what comes out of order after that is not looked at. Memory is bounded as the scanner's.

use dicom_dictionary_std::tags;

use super::description::Description;
use super::scanner::{Scanner, Unreadable};
use super::{ArchiveError, NoPlace};
use crate::model::ObjectIdentity;

/// Reads the identity of an object from its data set while it streams in.
#[derive(Debug)]
pub struct HeadReader {
    scanner: Scanner,
    transfer_syntax_uid: String,
}

impl HeadReader {
    /// A reader for an object in this transfer syntax.
    pub fn new(transfer_syntax_uid: &str) -> Self {
        HeadReader {
            scanner: Scanner::new(transfer_syntax_uid),
            transfer_syntax_uid: transfer_syntax_uid.to_owned(),
        }
    }

    /// Takes the next bytes; the identity as soon as it is known.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<ObjectIdentity>, ArchiveError> {
        self.scanner.feed(bytes).map_err(ArchiveError::Unreadable)?;
        if self.scanner.is_past(tags::SERIES_INSTANCE_UID) {
            return self.identity().map(Some).map_err(ArchiveError::NoPlace);
        }
        Ok(None)
    }

    /// The identity of an object that has ended.
    pub fn finish(self) -> Result<ObjectIdentity, ArchiveError> {
        match self.scanner.is_whole() {
            true => self.identity().map_err(ArchiveError::NoPlace),
            false => Err(ArchiveError::Unreadable(Unreadable::Truncated)),
        }
    }

    fn identity(&self) -> Result<ObjectIdentity, NoPlace> {
        let description = Description::read(self.scanner.kept(), &self.transfer_syntax_uid)?;
        Ok(description.identity())
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::{Tag, VR};

    use super::*;

    fn element(tag: Tag, vr: VR, value: &str) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(vr.to_bytes());
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value.as_bytes());
        bytes
    }

    fn object(patient_id: &str) -> Vec<u8> {
        let elements = [
            (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2\0"),
            (tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.41"),
            (tags::PATIENT_ID, VR::LO, patient_id),
            (tags::ISSUER_OF_PATIENT_ID, VR::LO, "NORTH "),
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.42"),
            (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.43"),
            (tags::INSTANCE_NUMBER, VR::IS, "1 "),
        ];
        elements
            .iter()
            .flat_map(|(tag, vr, value)| element(*tag, *vr, value))
            .collect()
    }

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    #[test]
    fn an_object_is_identified_before_its_end_whatever_the_pieces() {
        let object = object("4711");
        for piece in [1, 7, object.len()] {
            let mut reader = HeadReader::new(EXPLICIT);
            let mut pieces = object.chunks(piece);
            let identity = pieces.find_map(|bytes| reader.feed(bytes).unwrap()).unwrap();
            assert_eq!(identity.patient_id, "4711");
            assert_eq!(identity.issuer, "NORTH");
            assert_eq!(identity.series_instance_uid.as_str(), "1.2.3.43");
        }
    }

    #[test]
    fn an_object_that_ends_after_its_series_is_identified_at_its_end() {
        let object = object("");
        let mut reader = HeadReader::new(EXPLICIT);
        assert_eq!(reader.feed(&object[..object.len() - 10]).unwrap(), None);
        assert_eq!(reader.finish().unwrap().patient_id, "");
    }

    #[test]
    fn an_object_without_its_study_has_no_identity() {
        let mut reader = HeadReader::new(EXPLICIT);
        let bytes = element(tags::INSTANCE_NUMBER, VR::IS, "1 ");
        assert!(reader.feed(&bytes).is_err());
    }
}
