//! What a caller's identifier asks (PS3.4 C.4.1.1.3, C.4.1.2, C.6.1 and C.6.2).
//!
//! Invariants: the attributes to be returned are those of the identifier, in no other number. Values to match by pass
//! as they came; one that can't be matched by is only asked for, and the caller is told so by FF01. The unique keys of
//! the levels above are required, because without them nobody can tell whose a row is.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use crate::dimse::charset::Decoder;
use crate::dimse::{Context, DataSet, Element, FindEnd, Status, trim_padding, uids};
use crate::link::MAPPED_KEYS;
use crate::link::linked_syntax::{self, BlockReader, LinkedElement};
use crate::model::{CharacterSet, Level, PatientIdKey, Query, Uid, is_universal};

/// The level of a caller's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AskedLevel {
    /// One row a patient.
    Patient,
    /// As linked queries know them.
    Linked(Level),
}

impl AskedLevel {
    /// The level at which stations are asked: patients are known by their studies.
    fn linked(self) -> Level {
        match self {
            AskedLevel::Patient => Level::Study,
            AskedLevel::Linked(level) => level,
        }
    }

    /// Its value of Query/Retrieve Level.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            AskedLevel::Patient => "PATIENT",
            AskedLevel::Linked(Level::Study) => "STUDY",
            AskedLevel::Linked(Level::Series) => "SERIES",
            AskedLevel::Linked(Level::Image) => "IMAGE",
        }
    }
}

/// A C-FIND as a linked query.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) level: AskedLevel,
    pub(super) query: Query,
    /// What is to be returned, besides what every row has.
    pub(super) returned: Vec<(Tag, VR)>,
    /// The elements of the linked syntax that are to be returned, where that is spoken.
    pub(super) linked: Vec<LinkedElement>,
    /// Whether the caller asks which stations did not answer.
    pub(super) asks_for_unanswered: bool,
    /// The status of its matches: FF00 or FF01.
    pub(super) pending: Status,
}

impl Asked {
    /// Reads an identifier; text by its own character set, else by the `station`'s. The error is the final response.
    pub(super) fn read(
        context: &Context,
        identifier: &DataSet,
        station: Option<&CharacterSet>,
    ) -> Result<Self, FindEnd> {
        let is_linked = context.abstract_syntax == uids::LINKED_CLUSTER_QUERY;
        let is_patient_root = match context.abstract_syntax.as_str() {
            uids::STUDY_ROOT_FIND | uids::LINKED_CLUSTER_QUERY => false,
            uids::PATIENT_ROOT_FIND => true,
            _ => return Err(refused(Status::SOP_CLASS_NOT_SUPPORTED, None, "")),
        };
        let level = level(identifier, is_patient_root)?;
        let declared = identifier.specific_character_set();
        let mut reading = Reading {
            decoder: Decoder::for_answer(declared, station),
            asked: Asked {
                level,
                query: Query {
                    level: level.linked(),
                    ..Query::default()
                },
                returned: Vec::new(),
                linked: Vec::new(),
                asks_for_unanswered: false,
                pending: Status::PENDING,
            },
            block: is_linked.then(BlockReader::default),
            issuer: None,
        };
        for element in identifier.elements() {
            reading.take(element)?;
        }
        let mut asked = reading.finish();
        let text = declared.and_then(|declared| std::str::from_utf8(declared).ok());
        asked.query.character_set = text.and_then(|text| text.parse().ok()).or(station.cloned());
        asked.check(is_patient_root)?;
        Ok(asked)
    }

    /// Whether this attribute is to be returned.
    pub(super) fn asks_for(&self, tag: Tag) -> bool {
        self.returned.iter().any(|(asked, _)| *asked == tag)
    }

    /// Holds the identifier to the unique keys of the levels above.
    fn check(&self, is_patient_root: bool) -> Result<(), FindEnd> {
        let AskedLevel::Linked(level) = self.level else {
            return Ok(());
        };
        let names_patient = self
            .query
            .patient_id
            .as_ref()
            .is_some_and(|key| is_unique(&key.id));
        if is_patient_root && !names_patient {
            let why = "Patient Root needs a patient ID at this level";
            return Err(mismatch(tags::PATIENT_ID, why));
        }
        if level != Level::Study && self.query.study_uids.len() != 1 {
            let why = "one Study Instance UID is needed at this level";
            return Err(mismatch(tags::STUDY_INSTANCE_UID, why));
        }
        Ok(())
    }
}

fn is_unique(id: &str) -> bool {
    !id.is_empty() && !id.contains(['*', '?', '\\'])
}

fn level(identifier: &DataSet, is_patient_root: bool) -> Result<AskedLevel, FindEnd> {
    let value = identifier.element(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default();
    let level = match trim_padding(value) {
        b"PATIENT" if is_patient_root => AskedLevel::Patient,
        b"STUDY" => AskedLevel::Linked(Level::Study),
        b"SERIES" => AskedLevel::Linked(Level::Series),
        b"IMAGE" => AskedLevel::Linked(Level::Image),
        _ => {
            let why = "no Query/Retrieve Level of this information model";
            return Err(mismatch(tags::QUERY_RETRIEVE_LEVEL, why));
        }
    };
    Ok(level)
}

fn mismatch(tag: Tag, why: &str) -> FindEnd {
    refused(Status::DOES_NOT_MATCH_SOP_CLASS, Some(tag), why)
}

fn refused(status: Status, tag: Option<Tag>, why: &str) -> FindEnd {
    FindEnd {
        status,
        comment: (!why.is_empty()).then(|| why.to_owned()),
        offending_elements: tag.into_iter().collect(),
    }
}

/// An identifier being read.
struct Reading {
    decoder: Decoder,
    asked: Asked,
    /// The private block, where the linked syntax is spoken.
    block: Option<BlockReader>,
    issuer: Option<String>,
}

impl Reading {
    fn take(&mut self, element: Element<'_>) -> Result<(), FindEnd> {
        let tag = element.tag;
        let is_of_the_message = tag.group() < 0x0008 || tag.element() == 0;
        if is_of_the_message || matches!(tag, tags::QUERY_RETRIEVE_LEVEL | tags::SPECIFIC_CHARACTER_SET) {
            return Ok(());
        }
        if let Some(block) = self.block.as_mut().filter(|_| linked_syntax::is_of_group(tag)) {
            let known = block.element(&element);
            self.take_linked(known, &element);
            return Ok(());
        }
        let vr = vr_of(&element);
        self.asked.returned.push((tag, vr));
        if self.asked.level == AskedLevel::Patient && tag.group() != 0x0010 {
            // No attribute of a patient: it comes back empty.
            return Ok(());
        }
        let value = match vr {
            _ if element.value.is_empty() || is_about_the_copy(tag) => String::new(),
            vr if !is_text(vr) => {
                self.asked.pending = Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED;
                String::new()
            }
            vr => self.decoder.decode(element.value, vr).into_owned(),
        };
        self.key(tag, value)
    }

    /// Takes an element of the linked syntax. Those that are not known are passed over, and but for the global patient
    /// ID none is a key to match by.
    fn take_linked(&mut self, known: Option<LinkedElement>, element: &Element<'_>) {
        self.asked.asks_for_unanswered |= known == Some(LinkedElement::UnansweredStations);
        let Some(known) = known.filter(|known| LinkedElement::OF_STUDY.contains(known)) else {
            return;
        };
        self.asked.linked.push(known);
        let value = self.decoder.decode(element.value, known.vr());
        match known {
            _ if is_universal(&value) => {}
            LinkedElement::GlobalPatientId => self.asked.query.global_id = Some(value.into_owned()),
            _ => self.asked.pending = Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED,
        }
    }

    fn key(&mut self, tag: Tag, value: String) -> Result<(), FindEnd> {
        let value = match tag {
            tags::PATIENT_ID => patient_ids(&value),
            _ => value,
        };
        let query = &mut self.asked.query;
        match tag {
            _ if is_universal(&value) => query.further_keys.push((tag, String::new())),
            tags::STUDY_INSTANCE_UID => query.study_uids = study_uids(&value)?,
            tags::ISSUER_OF_PATIENT_ID => self.issuer = Some(value),
            tags::PATIENT_ID if !value.contains('\\') => {
                query.patient_id = Some(PatientIdKey {
                    id: value,
                    issuer: None,
                });
            }
            tags::PATIENT_NAME if !value.contains('\\') => query.patient_name = Some(value),
            tags::ACCESSION_NUMBER if !value.contains('\\') => query.accession_number = Some(value),
            _ => query.further_keys.push((tag, value)),
        }
        Ok(())
    }

    fn ask_for_what_is_mapped(&mut self) {
        let is_of_studies = self.asked.level == AskedLevel::Linked(Level::Study);
        let wanted = [LinkedElement::Specialty, LinkedElement::LinkedBodyPart];
        if !is_of_studies || !wanted.iter().any(|element| self.asked.linked.contains(element)) {
            return;
        }
        let further = &mut self.asked.query.further_keys;
        for tag in MAPPED_KEYS {
            if further.iter().all(|(known, _)| *known != tag) {
                further.push((tag, String::new()));
            }
        }
    }

    fn finish(mut self) -> Asked {
        let issuer = self.issuer.take().map(|text| text.parse());
        match (issuer, &mut self.asked.query.patient_id) {
            (Some(Ok(issuer)), Some(key)) => key.issuer = Some(issuer),
            (Some(_), _) => self.asked.pending = Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED,
            (None, _) => {}
        }
        self.ask_for_what_is_mapped();
        self.asked
    }
}

/// The patient IDs of a key, with backslashes between where there are several. One that is empty or `*` in a list asks
/// for nothing: it must not widen the list.
fn patient_ids(value: &str) -> String {
    let ids = value.split('\\').map(str::trim).filter(|id| !is_universal(id));
    ids.collect::<Vec<_>>().join("\\")
}

/// What tells of a copy and not of the study: each station has its own, so that it is no key to match by.
fn is_about_the_copy(tag: Tag) -> bool {
    matches!(
        tag,
        tags::RETRIEVE_AE_TITLE
            | tags::INSTANCE_AVAILABILITY
            | tags::STORAGE_MEDIA_FILE_SET_ID
            | tags::STORAGE_MEDIA_FILE_SET_UID
            | tags::TIMEZONE_OFFSET_FROM_UTC
    )
}

fn study_uids(value: &str) -> Result<Vec<Uid>, FindEnd> {
    let values = value.split('\\').map(str::trim);
    let uids = values.map(|value| value.parse::<Uid>());
    uids.collect::<Result<_, _>>()
        .map_err(|_| mismatch(tags::STUDY_INSTANCE_UID, "not a UID"))
}

/// As the identifier has it, else as the dictionary does; what nobody knows is text.
pub(super) fn vr_of(element: &Element<'_>) -> VR {
    let of_dictionary = || {
        let entry = StandardDataDictionary.by_tag(element.tag);
        entry.map(|entry| entry.vr().relaxed())
    };
    let named = element.vr().filter(|vr| *vr != VR::UN);
    named.or_else(of_dictionary).unwrap_or(VR::LO)
}

fn is_text(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::ST
            | VR::TM
            | VR::UC
            | VR::UI
            | VR::UR
            | VR::UT
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::{DataSetBuilder, TransferSyntax};

    fn read(root: &str, level: &str, keys: &[(Tag, VR, &str)]) -> Result<Asked, FindEnd> {
        let mut builder = DataSetBuilder::new().put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
        for (tag, vr, value) in keys {
            builder = builder.put(*tag, *vr, *value);
        }
        let context = Context {
            id: 1,
            abstract_syntax: root.to_owned(),
            transfer_syntax: TransferSyntax::ImplicitVrLittleEndian,
        };
        let identifier = builder.encode(context.transfer_syntax).unwrap();
        Asked::read(&context, &identifier, None)
    }

    fn study(keys: &[(Tag, VR, &str)]) -> Asked {
        read(uids::STUDY_ROOT_FIND, "STUDY", keys).unwrap()
    }

    #[test]
    fn values_pass_as_they_came() {
        let asked = study(&[
            (tags::STUDY_DATE, VR::DA, "20240101-"),
            (tags::MODALITIES_IN_STUDY, VR::CS, "CT\\MR"),
            (tags::PATIENT_NAME, VR::PN, "DOE^J*"),
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2\\1.3"),
            (tags::STUDY_ID, VR::SH, ""),
        ]);
        assert_eq!(
            asked.query.further_keys,
            [
                (tags::STUDY_DATE, "20240101-".to_owned()),
                (tags::MODALITIES_IN_STUDY, "CT\\MR".to_owned()),
                (tags::STUDY_ID, String::new()),
            ]
        );
        assert_eq!(asked.query.patient_name.as_deref(), Some("DOE^J*"));
        assert_eq!(asked.query.study_uids.len(), 2);
        assert_eq!(asked.returned.len(), 5);
        assert_eq!(asked.pending, Status::PENDING);
    }

    #[test]
    fn an_issuer_qualifies_the_patient_id() {
        let id = (tags::PATIENT_ID, VR::LO, "4711");
        let issuer = |value| (tags::ISSUER_OF_PATIENT_ID, VR::LO, value);
        let key = |keys: &[_]| study(keys).query.patient_id.unwrap();
        assert_eq!(key(&[id, issuer("NORTH")]).issuer.unwrap().as_str(), "NORTH");
        assert_eq!(key(&[id, issuer("")]).issuer, None);
        let alone = study(&[issuer("NORTH")]);
        assert_eq!(alone.pending, Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED);
    }

    #[test]
    fn what_cannot_be_matched_by_is_only_asked_for() {
        let asked = study(&[
            (tags::ROWS, VR::US, "\0\x02"),
            (tags::RETRIEVE_AE_TITLE, VR::AE, "X"),
        ]);
        assert!(asked.query.further_keys.iter().all(|(_, value)| value.is_empty()));
        assert_eq!(asked.pending, Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED);
    }

    #[test]
    fn a_patient_level_asks_for_patients_alone() {
        let keys = [
            (tags::PATIENT_NAME, VR::PN, "DOE*"),
            (tags::STUDY_DATE, VR::DA, "20240101"),
        ];
        let asked = read(uids::PATIENT_ROOT_FIND, "PATIENT", &keys).unwrap();
        assert_eq!(asked.level, AskedLevel::Patient);
        assert!(asked.query.further_keys.is_empty());
        assert_eq!(asked.returned.len(), 2);
    }

    #[test]
    fn stations_are_asked_at_the_callers_level() {
        let keys = [
            (tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
            (tags::PATIENT_ID, VR::LO, "4711"),
        ];
        for (name, level) in [
            ("PATIENT", Level::Study),
            ("STUDY", Level::Study),
            ("SERIES", Level::Series),
            ("IMAGE", Level::Image),
        ] {
            let asked = read(uids::PATIENT_ROOT_FIND, name, &keys).unwrap();
            assert_eq!((asked.query.level, asked.level.as_str()), (level, name));
        }
    }

    #[test]
    fn an_identifier_of_another_model_is_refused() {
        let (study_root, patient_root) = (uids::STUDY_ROOT_FIND, uids::PATIENT_ROOT_FIND);
        let uid = |value| (tags::STUDY_INSTANCE_UID, VR::UI, value);
        let patient = (tags::PATIENT_ID, VR::LO, "4711");
        for (root, level, keys, offending) in [
            (study_root, "PATIENT", &[][..], tags::QUERY_RETRIEVE_LEVEL),
            (study_root, "", &[], tags::QUERY_RETRIEVE_LEVEL),
            (study_root, "SERIES", &[], tags::STUDY_INSTANCE_UID),
            (study_root, "IMAGE", &[uid("1.2\\1.3")], tags::STUDY_INSTANCE_UID),
            (study_root, "STUDY", &[uid("1.2*")], tags::STUDY_INSTANCE_UID),
            (patient_root, "STUDY", &[uid("1.2")], tags::PATIENT_ID),
            (patient_root, "SERIES", &[patient], tags::STUDY_INSTANCE_UID),
        ] {
            let end = read(root, level, keys).unwrap_err();
            assert_eq!(end.status, Status::DOES_NOT_MATCH_SOP_CLASS, "{root} {level}");
            assert_eq!(end.offending_elements, [offending], "{root} {level}");
        }
        assert!(read(study_root, "STUDY", &[uid("*")]).is_ok());
        let end = read(uids::VERIFICATION, "STUDY", &[]).unwrap_err();
        assert_eq!(end.status, Status::SOP_CLASS_NOT_SUPPORTED);
    }
}
