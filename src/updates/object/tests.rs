//! What is written is read back, and what is not an update is refused, whatever it is.

use proptest::prelude::*;

use super::*;

const EXPLICIT: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;

fn uid(number: u32) -> Uid {
    format!("2.25.{}", number + 1).parse().unwrap()
}

fn revision(milliseconds: u32) -> Revision {
    format!("{milliseconds:016x}.00000000").parse().unwrap()
}

fn value(field: StateField, word: &str) -> FieldValue {
    let text = match field {
        StateField::VerifiedStatus => "FAILED",
        StateField::PatientBirthDate | StateField::StudyDate => "19500131",
        StateField::PatientSex => "F",
        StateField::StudyTime => "162030",
        _ => word,
    };
    // What a field can't hold is none of its values.
    FieldValue::new(field, text).unwrap_or_default()
}

fn any_update() -> impl Strategy<Value = Update> {
    let change = (
        prop::sample::select(StateField::ALL.to_vec()),
        prop::option::of(prop_oneof![
            "[A-ZÄ土][a-zé^]{0,10}",
            "\\PC{0,12}",
            "[ -~\n\r\t]{0,12}"
        ]),
        any::<u32>(),
        prop::collection::btree_map(0_u32..20, 0_u32..1000, 0..4),
    );
    let series = prop::collection::vec(
        (
            any::<u32>(),
            prop::collection::vec((any::<bool>(), any::<u32>()), 0..4),
        ),
        1..3,
    );
    let parts = (
        prop::collection::vec(change, 0..6),
        prop::option::of(series),
        prop::option::of("[A-Z]{1,20}"),
        prop::option::of("[A-ZÜ]{1,12}"),
        "[0-9A-Zü]{1,20}",
    );
    parts.prop_map(|(changed, series, review, issuer, id)| {
        let changes: BTreeMap<StateField, FieldChange> = changed
            .into_iter()
            .map(|(field, word, epoch, known)| {
                let change = FieldChange {
                    field,
                    value: word.map_or(FieldValue::default(), |word| value(field, &word)),
                    epoch: if field == StateField::InterpretationStatus {
                        epoch
                    } else {
                        0
                    },
                    known: known
                        .into_iter()
                        .map(|(cluster, at)| (uid(cluster), revision(at)))
                        .collect(),
                };
                (field, change)
            })
            .collect();
        let new_series = |(series, objects): (u32, Vec<(bool, u32)>)| NewSeries {
            series: uid(series / 2),
            objects: objects
                .into_iter()
                .map(|(has_class, number)| (has_class.then(|| uid(7)), uid(number / 2)))
                .collect(),
        };
        Update {
            id: uid(1),
            study: uid(2),
            patient: StudyPatient {
                id,
                issuer: issuer.map(|issuer| issuer.parse().unwrap()),
            },
            origin: uid(3),
            revision: revision(1000),
            changes: changes.into_values().collect(),
            new_objects: series.map(|series| NewObjects {
                retrieve_from: "PACS".parse().unwrap(),
                series: series.into_iter().map(new_series).collect(),
            }),
            review: review.map(|review| review.parse().unwrap()),
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(update in any_update()) {
        let object = write(&update).unwrap();
        prop_assert_eq!(read(&update.id, &object), Ok(update));
    }

    #[test]
    fn damaged_objects_are_read_or_refused(update in any_update(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = write(&update).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(object) = DataSet::parse(bytes, EXPLICIT) {
            let _ = read(&update.id, &object);
        }
    }
}

/// The smallest update there is, with other elements.
fn minimal(change: impl FnOnce(DataSetBuilder) -> DataSetBuilder) -> Result<Update, UnreadableUpdate> {
    let object = DataSetBuilder::new()
        .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
        .put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2")
        .put(tags::PATIENT_ID, VR::LO, "4711")
        .put(tags::ISSUER_OF_PATIENT_ID, VR::LO, "NORTH")
        .put(CREATOR_TAG, VR::LO, CREATOR);
    let object = put(object, LinkedElement::ClusterUid, "2.25.9");
    let object = put(object, LinkedElement::Revision, revision(5).to_string());
    read(&uid(1), &change(object).encode(EXPLICIT).unwrap())
}

#[test]
fn elements_of_a_later_version_are_passed_over() {
    let plain = minimal(|object| object).unwrap();
    let later = minimal(|object| {
        let item = DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR);
        let item = put(item, LinkedElement::ChangedField, "of_a_later_version");
        object
            .put(Tag(0x2711, 0x10F0), VR::LO, "LATER")
            .put_items(LinkedElement::KnownChanges.tag(), vec![item])
            .put(tags::SERIES_DESCRIPTION, VR::LO, "nothing of a study's")
    });
    assert_eq!(later, Ok(plain));
}

#[test]
fn what_breaks_a_rule_is_refused_and_not_repeated() {
    use UnreadableUpdate::{Breaks, Lacks, OtherIdentity};
    let element = LinkedElement::StatusEpoch;
    let status = LinkedElement::InterpretationStatus;
    let refusals = [
        (
            minimal(|object| object.put(tags::SOP_INSTANCE_UID, VR::UI, "1.9")),
            OtherIdentity,
        ),
        (
            minimal(|object| object.put(tags::PATIENT_ID, VR::LO, "47*")),
            Lacks("Patient ID"),
        ),
        (
            minimal(|object| object.put_empty(tags::PATIENT_ID, VR::LO)),
            Lacks("Patient ID"),
        ),
        (
            minimal(|object| object.put_empty(tags::STUDY_INSTANCE_UID, VR::UI)),
            Lacks("Study Instance UID"),
        ),
        (
            minimal(|object| put(object, LinkedElement::Revision, "soon")),
            Lacks("Revision"),
        ),
        (
            minimal(|object| put(object, LinkedElement::ClusterUid, "x")),
            Lacks("ClusterUID"),
        ),
        (
            minimal(|object| object.put(tags::PATIENT_SEX, VR::CS, "X")),
            Breaks("patient_sex"),
        ),
        (
            minimal(|object| object.put(tags::STUDY_DATE, VR::DA, "20241399")),
            Breaks("study_date"),
        ),
        (
            minimal(|object| put(object, status, "NEW").put(element.tag(), VR::UN, [1_u8, 2])),
            Breaks("StatusEpoch"),
        ),
        (
            minimal(|object| object.put(LinkedElement::KnownChanges.tag(), VR::LO, "none")),
            Breaks("KnownChanges"),
        ),
    ];
    for (read, refusal) in refusals {
        assert_eq!(read, Err(refusal));
    }
}

#[test]
fn a_change_cannot_know_of_later_ones() {
    let read = minimal(|object| {
        let item = DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR);
        let item = put(item, LinkedElement::ChangedField, "patient_sex");
        let item = put(item, LinkedElement::ClusterUid, "2.25.8");
        let item = put(item, LinkedElement::Revision, revision(6).to_string());
        object
            .put(tags::PATIENT_SEX, VR::CS, "F")
            .put_items(LinkedElement::KnownChanges.tag(), vec![item])
    });
    assert_eq!(read, Err(UnreadableUpdate::Breaks("patient_sex")));
}
