//! The private block of the linked syntax, written and read (`impaxlink-link(7)`).
//!
//! Invariants: the block's number comes from its creator element, whichever it is (PS3.5 7.8.1); we write the first.
//! Elements of the block that we don't know are passed over, so that versions N and N−1 understand each other. Text
//! is UTF-8 as it is written; as it is read, it is the caller's to decode. What an answer is, is `answer`'s; what a
//! cluster says of itself, `cluster`'s.

mod cluster;
mod unanswered;

use dicom_core::{Tag, VR};

pub use self::cluster::{ClusterAnswer, ClusterStation, LEVEL as CLUSTER_LEVEL, own_cluster_name};
pub(super) use self::unanswered::keys as unanswered_keys;
pub use self::unanswered::{LEVEL as UNANSWERED_LEVEL, UnansweredStation};
use super::identifier::Key;
use crate::dimse::{DataSetBuilder, Element, trim_padding};
use crate::model::{Availability, ClusterName, Uid, Verification};

/// Who the block belongs to: the value of its creator element.
pub const CREATOR: &str = "IMPAXLINK LINK 1";
/// The Specific Character Set of all that is written.
pub const CHARACTER_SET: &str = "ISO_IR 192";

const GROUP: u16 = 0x2711;
const FIRST_BLOCK: u8 = 0x10;
/// The creator element of the block that we write.
pub const CREATOR_TAG: Tag = Tag(GROUP, FIRST_BLOCK as u16);

/// An element of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkedElement {
    /// Report status.
    InterpretationStatus,
    /// Where the answering cluster has its best copy.
    BestStudyLocation,
    /// As the answering cluster computes it.
    Specialty,
    /// As the answering cluster computes it.
    LinkedBodyPart,
    /// Whether the study is verified there.
    VerifiedStatus,
    /// The answering cluster.
    ClusterName,
    /// The answering cluster's identity.
    ClusterUid,
    /// The ID that is the same in all clusters.
    GlobalPatientId,
    /// Of all that the mapping tables can give.
    VocabularyDigest,
    /// Of the prefetch rules.
    PrefetchRuleDigest,
    /// The stations that a cluster knows.
    Stations,
    /// Of one of them.
    StationName,
    /// Of one of them.
    StationHost,
    /// Of one of them.
    StationPort,
    /// In UTC.
    ClusterClock,
    /// Of an update: when it was made.
    Revision,
    /// Of an update: how often the report's status was corrected.
    StatusEpoch,
    /// Of an update: what a person must look at.
    ReviewReason,
    /// Of an update: in knowledge of what its fields were changed.
    KnownChanges,
    /// Of one of these: the field.
    ChangedField,
    /// The stations of a cluster that did not answer a query in full.
    UnansweredStations,
    /// Of one of them: what became of it.
    StationOutcome,
    /// Of one of them: why.
    OutcomeDetail,
}

impl LinkedElement {
    /// All of them.
    pub const ALL: [LinkedElement; 23] = [
        LinkedElement::InterpretationStatus,
        LinkedElement::BestStudyLocation,
        LinkedElement::Specialty,
        LinkedElement::LinkedBodyPart,
        LinkedElement::VerifiedStatus,
        LinkedElement::ClusterName,
        LinkedElement::ClusterUid,
        LinkedElement::GlobalPatientId,
        LinkedElement::VocabularyDigest,
        LinkedElement::PrefetchRuleDigest,
        LinkedElement::Stations,
        LinkedElement::StationName,
        LinkedElement::StationHost,
        LinkedElement::StationPort,
        LinkedElement::ClusterClock,
        LinkedElement::Revision,
        LinkedElement::StatusEpoch,
        LinkedElement::ReviewReason,
        LinkedElement::KnownChanges,
        LinkedElement::ChangedField,
        LinkedElement::UnansweredStations,
        LinkedElement::StationOutcome,
        LinkedElement::OutcomeDetail,
    ];

    /// Those that tell of a study.
    pub const OF_STUDY: [LinkedElement; 8] = [
        LinkedElement::InterpretationStatus,
        LinkedElement::BestStudyLocation,
        LinkedElement::Specialty,
        LinkedElement::LinkedBodyPart,
        LinkedElement::VerifiedStatus,
        LinkedElement::ClusterName,
        LinkedElement::ClusterUid,
        LinkedElement::GlobalPatientId,
    ];

    /// The low byte of its element number.
    fn number(self) -> u8 {
        match self {
            LinkedElement::InterpretationStatus => 0x01,
            LinkedElement::BestStudyLocation => 0x02,
            LinkedElement::Specialty => 0x03,
            LinkedElement::LinkedBodyPart => 0x04,
            LinkedElement::VerifiedStatus => 0x05,
            LinkedElement::ClusterName => 0x06,
            LinkedElement::ClusterUid => 0x07,
            LinkedElement::GlobalPatientId => 0x0A,
            LinkedElement::VocabularyDigest => 0x0B,
            LinkedElement::PrefetchRuleDigest => 0x0C,
            LinkedElement::Stations => 0x0D,
            LinkedElement::StationName => 0x0E,
            LinkedElement::StationHost => 0x0F,
            LinkedElement::StationPort => 0x10,
            LinkedElement::ClusterClock => 0x11,
            LinkedElement::Revision => 0x08,
            LinkedElement::StatusEpoch => 0x09,
            LinkedElement::ReviewReason => 0x12,
            LinkedElement::KnownChanges => 0x13,
            LinkedElement::ChangedField => 0x14,
            LinkedElement::UnansweredStations => 0x15,
            LinkedElement::StationOutcome => 0x16,
            LinkedElement::OutcomeDetail => 0x17,
        }
    }

    /// Its value representation.
    pub fn vr(self) -> VR {
        match self {
            LinkedElement::BestStudyLocation
            | LinkedElement::VerifiedStatus
            | LinkedElement::StationOutcome => VR::CS,
            LinkedElement::OutcomeDetail => VR::ST,
            LinkedElement::ClusterUid => VR::UI,
            LinkedElement::Stations | LinkedElement::KnownChanges | LinkedElement::UnansweredStations => {
                VR::SQ
            }
            LinkedElement::StatusEpoch => VR::UL,
            LinkedElement::StationPort => VR::US,
            LinkedElement::ClusterClock => VR::DT,
            _ => VR::LO,
        }
    }

    /// Its tag in the block that we write.
    pub fn tag(self) -> Tag {
        Tag(GROUP, u16::from_be_bytes([FIRST_BLOCK, self.number()]))
    }
}

/// Whether an attribute is of the group in which the block is.
pub fn is_of_group(tag: Tag) -> bool {
    tag.group() == GROUP
}

/// Finds the elements of the block while a data set is walked in the order of its tags.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockReader {
    block: Option<u8>,
}

impl BlockReader {
    /// Which element of the block this is; `None` for its creator and for all that are not of the block.
    pub fn element(&mut self, element: &Element<'_>) -> Option<LinkedElement> {
        let Tag(GROUP, number) = element.tag else {
            return None;
        };
        let [block, number] = number.to_be_bytes();
        if block == 0 && number >= FIRST_BLOCK && trim_padding(element.value) == CREATOR.as_bytes() {
            self.block.get_or_insert(number);
            return None;
        }
        let mut known = LinkedElement::ALL.into_iter();
        known.find(|known| self.block == Some(block) && known.number() == number)
    }
}

/// What the linked syntax says of a study; what is `None` is not known, and comes as an empty element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkedAttributes {
    /// NEW, DICTATION_STARTED, DICTATED, TRANSCRIBED, APPROVED, UNKNOWN, or any other word.
    pub interpretation_status: Option<String>,
    /// Where the answering cluster has its best copy.
    pub best_study_location: Option<Availability>,
    /// As the answering cluster computes it.
    pub specialty: Option<String>,
    /// As the answering cluster computes it.
    pub body_part: Option<String>,
    /// Whether the study is verified there.
    pub verification: Option<Verification>,
    /// The answering cluster.
    pub cluster_name: Option<ClusterName>,
    /// The answering cluster's identity.
    pub cluster_uid: Option<Uid>,
    /// The ID that is the same in all clusters.
    pub global_patient_id: Option<String>,
}

impl LinkedAttributes {
    /// The value of an element of a study, in Unicode.
    pub fn value(&self, element: LinkedElement) -> Option<&str> {
        match element {
            LinkedElement::InterpretationStatus => self.interpretation_status.as_deref(),
            LinkedElement::BestStudyLocation => self.best_study_location.map(location_code),
            LinkedElement::Specialty => self.specialty.as_deref(),
            LinkedElement::LinkedBodyPart => self.body_part.as_deref(),
            LinkedElement::VerifiedStatus => self.verification.map(Verification::as_str),
            LinkedElement::ClusterName => self.cluster_name.as_ref().map(ClusterName::as_str),
            LinkedElement::ClusterUid => self.cluster_uid.as_ref().map(Uid::as_str),
            LinkedElement::GlobalPatientId => self.global_patient_id.as_deref(),
            _ => None,
        }
    }

    /// Takes the value of an element of a study; one that has no meaning there is not known.
    pub fn learn(&mut self, element: LinkedElement, value: String) {
        match element {
            LinkedElement::InterpretationStatus => self.interpretation_status = Some(value),
            LinkedElement::BestStudyLocation => self.best_study_location = Availability::from_code(&value),
            LinkedElement::Specialty => self.specialty = Some(value),
            LinkedElement::LinkedBodyPart => self.body_part = Some(value),
            LinkedElement::VerifiedStatus => self.verification = Verification::from_code(&value),
            LinkedElement::ClusterName => self.cluster_name = value.parse().ok(),
            LinkedElement::ClusterUid => self.cluster_uid = value.parse().ok(),
            LinkedElement::GlobalPatientId => self.global_patient_id = Some(value),
            _ => {}
        }
    }

    /// Adds the block with those elements of a study to an identifier that is written in [`CHARACTER_SET`].
    pub fn put(&self, identifier: DataSetBuilder, elements: &[LinkedElement]) -> DataSetBuilder {
        let with_creator = identifier.put(CREATOR_TAG, VR::LO, CREATOR);
        elements.iter().fold(with_creator, |identifier, element| {
            let value = self.value(*element).unwrap_or_default();
            identifier.put(element.tag(), element.vr(), value)
        })
    }
}

/// The keys of the block: all elements are asked for, and matched by the global patient ID where one is given.
pub(super) fn keys(global_id: Option<&str>) -> impl Iterator<Item = Key> {
    let creator = Key {
        tag: CREATOR_TAG,
        vr: VR::LO,
        value: CREATOR.to_owned(),
    };
    let elements = LinkedElement::OF_STUDY.into_iter().map(move |element| Key {
        tag: element.tag(),
        vr: element.vr(),
        value: match element {
            LinkedElement::GlobalPatientId => global_id.unwrap_or_default().to_owned(),
            _ => String::new(),
        },
    });
    std::iter::once(creator).chain(elements)
}

fn location_code(availability: Availability) -> &'static str {
    match availability {
        Availability::Cache => "CACHE",
        Availability::Nearline => "NEARLINE",
        Availability::Offline => "OFFLINE",
        Availability::Unavailable => "UNAVAILABLE",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dimse::charset::Decoder;
    use crate::dimse::{DataSet, TransferSyntax};

    const EXPLICIT: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;

    fn read(data_set: &DataSet) -> LinkedAttributes {
        let decoder = Decoder::for_answer(Some(CHARACTER_SET.as_bytes()), None);
        let (mut block, mut attributes) = (BlockReader::default(), LinkedAttributes::default());
        for element in data_set.elements() {
            let known = block.element(&element).filter(|_| !element.value.is_empty());
            if let Some(known) = known {
                attributes.learn(known, decoder.decode(element.value, known.vr()).into_owned());
            }
        }
        attributes
    }

    fn any_attributes() -> impl Strategy<Value = LinkedAttributes> {
        let text = || prop::option::of("[A-Z][a-zäßÉ土 _]{0,20}[A-Z]");
        let location = prop::sample::select(vec![
            Availability::Cache,
            Availability::Nearline,
            Availability::Offline,
            Availability::Unavailable,
        ]);
        let parts = (
            text(),
            prop::option::of(location),
            text(),
            text(),
            prop::option::of(prop::sample::select(vec![
                Verification::Verified,
                Verification::Unverified,
                Verification::Failed,
            ])),
            text(),
            prop::option::of("2\\.25\\.[1-9][0-9]{0,30}"),
            text(),
        );
        parts.prop_map(
            |(status, location, specialty, part, verification, name, uid, global)| LinkedAttributes {
                interpretation_status: status,
                best_study_location: location,
                specialty,
                body_part: part,
                verification,
                cluster_name: name.map(|name| name.parse().unwrap()),
                cluster_uid: uid.map(|uid| uid.parse().unwrap()),
                global_patient_id: global,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(attributes in any_attributes()) {
            let written = attributes.put(DataSetBuilder::new(), &LinkedElement::OF_STUDY).encode(EXPLICIT).unwrap();
            prop_assert_eq!(read(&written), attributes);
        }

        #[test]
        fn the_block_is_where_its_creator_says(ours in 0x11_u8..=0xFE, value in "[A-Z]{1,16}") {
            let creator = |block: u8| Tag(GROUP, block.into());
            let status = |block: u8| Tag(GROUP, u16::from_be_bytes([block, 0x01]));
            let data_set = DataSetBuilder::new()
                .put(creator(0x10), VR::LO, "SOMEBODY ELSE")
                .put(status(0x10), VR::LO, "NOT OURS")
                .put(creator(ours), VR::LO, CREATOR)
                .put(status(ours), VR::LO, value.as_str())
                .put(creator(0xFF), VR::LO, "SOMEBODY")
                .put(status(0xFF), VR::LO, "NOT OURS")
                .encode(EXPLICIT)
                .unwrap();
            let expected = LinkedAttributes { interpretation_status: Some(value), ..LinkedAttributes::default() };
            prop_assert_eq!(read(&data_set), expected);
        }

        #[test]
        fn any_bytes_in_the_group_are_read_or_passed_over(
            elements in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..20)), 0..12)
        ) {
            let data_set = elements.iter().fold(
                DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR),
                |builder, (number, value)| builder.put(Tag(GROUP, *number), VR::LO, value.as_slice()),
            );
            let _ = read(&data_set.encode(EXPLICIT).unwrap());
        }
    }

    #[test]
    fn without_a_creator_there_is_no_block() {
        let status = LinkedElement::InterpretationStatus;
        let data_set = DataSetBuilder::new().put(status.tag(), status.vr(), "APPROVED");
        assert_eq!(
            read(&data_set.encode(EXPLICIT).unwrap()),
            LinkedAttributes::default()
        );
    }

    #[test]
    fn unknown_elements_and_words_of_no_meaning_are_passed_over() {
        let data_set = LinkedAttributes::default()
            .put(DataSetBuilder::new(), &[])
            .put(Tag(GROUP, 0x10F0), VR::LO, "OF A LATER VERSION")
            .put(
                LinkedElement::InterpretationStatus.tag(),
                VR::LO,
                "Vorab befundet",
            )
            .put(LinkedElement::BestStudyLocation.tag(), VR::CS, "ONLINE")
            .put(LinkedElement::VerifiedStatus.tag(), VR::CS, "PERHAPS")
            .encode(EXPLICIT)
            .unwrap();
        let expected = LinkedAttributes {
            interpretation_status: Some("Vorab befundet".to_owned()),
            best_study_location: Some(Availability::Cache),
            ..LinkedAttributes::default()
        };
        assert_eq!(read(&data_set), expected);
    }
}
