//! The update object (`impaxlink-link(7)`): an update as a data set, written and read.
//!
//! Invariants: what is written is read back the same. Of what a peer sends nothing is taken that breaks a rule of its
//! field; elements that we don't know are passed over. No error holds a value: it may be a patient's.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dimse::charset::Decoder;
use crate::dimse::{DataSet, DataSetBuilder, Element, Elements, EncodeError, TransferSyntax, uids};
use crate::link::linked_syntax::{BlockReader, CHARACTER_SET, CREATOR, CREATOR_TAG, LinkedElement};
use crate::model::{
    FieldChange, FieldValue, NewObjects, NewSeries, Revision, Seen, StateField, StudyPatient, Uid, Update,
};

/// The greatest length of a patient ID, in characters (PS3.5 6.2, LO).
const LONGEST_PATIENT_ID: usize = 64;

/// Why a data set is no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableUpdate {
    /// What every update has is not there, or can't be read.
    #[error("it has no {0} that can be read")]
    Lacks(&'static str),
    /// A value breaks a rule of its field.
    #[error("its {0} breaks a rule")]
    Breaks(&'static str),
    /// The object has another identity than its C-STORE says.
    #[error("its SOP Instance UID is not the one of the request")]
    OtherIdentity,
}

/// The update as an object.
pub fn write(update: &Update) -> Result<DataSet, EncodeError> {
    let issuer = update
        .patient
        .issuer
        .as_ref()
        .map_or("", |issuer| issuer.as_str());
    let mut object = DataSetBuilder::new()
        .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
        .put(tags::SOP_CLASS_UID, VR::UI, uids::CLUSTER_UPDATE)
        .put(tags::SOP_INSTANCE_UID, VR::UI, update.id.as_str())
        .put(tags::STUDY_INSTANCE_UID, VR::UI, update.study.as_str())
        .put(tags::PATIENT_ID, VR::LO, update.patient.id.as_str())
        .put(tags::ISSUER_OF_PATIENT_ID, VR::LO, issuer)
        .put(CREATOR_TAG, VR::LO, CREATOR);
    object = put(object, LinkedElement::ClusterUid, update.origin.as_str());
    object = put(object, LinkedElement::Revision, update.revision.to_string());
    if let Some(reason) = &update.review {
        object = put(object, LinkedElement::ReviewReason, reason.as_str());
    }
    let mut known = Vec::new();
    for change in &update.changes {
        let (tag, vr) = attribute(change.field);
        object = object.put(tag, vr, change.value.as_str());
        if change.field == StateField::InterpretationStatus {
            object = put(object, LinkedElement::StatusEpoch, change.epoch.to_le_bytes());
        }
        if !change.known.is_empty() {
            known.push(known_item(change));
        }
    }
    if !known.is_empty() {
        object = object.put_items(LinkedElement::KnownChanges.tag(), known);
    }
    if let Some(new) = &update.new_objects {
        let series = new.series.iter().map(series_item).collect();
        object = object
            .put(tags::RETRIEVE_AE_TITLE, VR::AE, new.retrieve_from.as_str())
            .put_items(tags::REFERENCED_SERIES_SEQUENCE, series);
    }
    object.encode(TransferSyntax::ExplicitVrLittleEndian)
}

fn put(object: DataSetBuilder, element: LinkedElement, value: impl Into<Vec<u8>>) -> DataSetBuilder {
    object.put(element.tag(), element.vr(), value)
}

fn attribute(field: StateField) -> (Tag, VR) {
    field.attribute().unwrap_or_else(|| {
        let element = linked_element(field);
        (element.tag(), element.vr())
    })
}

fn linked_element(field: StateField) -> LinkedElement {
    match field {
        StateField::VerifiedStatus => LinkedElement::VerifiedStatus,
        _ => LinkedElement::InterpretationStatus,
    }
}

/// An item is a data set of its own, and so has its own creator element (PS3.5 7.8.1).
fn known_item(change: &FieldChange) -> DataSetBuilder {
    let clusters: Vec<&str> = change.known.keys().map(Uid::as_str).collect();
    let revisions: Vec<String> = change.known.values().map(Revision::to_string).collect();
    let item = DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR);
    let item = put(item, LinkedElement::ChangedField, change.field.as_str());
    let item = put(item, LinkedElement::ClusterUid, clusters.join("\\"));
    put(item, LinkedElement::Revision, revisions.join("\\"))
}

fn series_item(series: &NewSeries) -> DataSetBuilder {
    let objects = series.objects.iter().map(|(class, instance)| {
        let class = class.as_ref().map_or("", |class| class.as_str());
        DataSetBuilder::new()
            .put(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class)
            .put(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.as_str())
    });
    DataSetBuilder::new()
        .put(tags::SERIES_INSTANCE_UID, VR::UI, series.series.as_str())
        .put_items(tags::REFERENCED_SOP_SEQUENCE, objects.collect())
}

/// Reads the object of a C-STORE for the SOP instance `id`.
pub fn read(id: &Uid, object: &DataSet) -> Result<Update, UnreadableUpdate> {
    let decoder = Decoder::for_answer(object.specific_character_set(), None);
    let elements = Received::of(object.elements(), &decoder);
    match elements.text(tags::SOP_INSTANCE_UID, VR::UI) {
        Some(own) if own != id.as_str() => return Err(UnreadableUpdate::OtherIdentity),
        _ => {}
    }
    let origin: Uid = elements.linked_value(LinkedElement::ClusterUid, "ClusterUID")?;
    let revision: Revision = elements.linked_value(LinkedElement::Revision, "Revision")?;
    Ok(Update {
        id: id.clone(),
        study: elements
            .text(tags::STUDY_INSTANCE_UID, VR::UI)
            .and_then(|uid| uid.parse().ok())
            .ok_or(UnreadableUpdate::Lacks("Study Instance UID"))?,
        patient: patient(&elements)?,
        changes: changes(&elements, &origin, revision)?,
        new_objects: new_objects(object, &elements)?,
        review: match elements.linked_text(LinkedElement::ReviewReason) {
            None => None,
            Some(reason) if reason.is_empty() => None,
            Some(reason) => Some(
                reason
                    .parse()
                    .map_err(|_| UnreadableUpdate::Breaks("ReviewReason"))?,
            ),
        },
        origin,
        revision,
    })
}

/// The elements of a data set that are looked at.
struct Received<'a> {
    plain: BTreeMap<Tag, Element<'a>>,
    linked: Vec<(LinkedElement, Element<'a>)>,
    decoder: &'a Decoder,
}

impl<'a> Received<'a> {
    fn of(elements: Elements<'a>, decoder: &'a Decoder) -> Self {
        let mut received = Received {
            plain: BTreeMap::new(),
            linked: Vec::new(),
            decoder,
        };
        let mut block = BlockReader::default();
        for element in elements {
            match block.element(&element) {
                Some(known) => received.linked.push((known, element)),
                None => drop(received.plain.entry(element.tag).or_insert(element)),
            }
        }
        received
    }

    fn text(&self, tag: Tag, vr: VR) -> Option<String> {
        let element = self.plain.get(&tag)?;
        Some(match vr {
            // Every cluster must end with the same text.
            VR::LT => self.decoder.decode_paragraphs(element.value, vr),
            _ => self.decoder.decode(element.value, vr).into_owned(),
        })
    }

    fn linked(&self, element: LinkedElement) -> Option<&Element<'a>> {
        let mut found = self.linked.iter().filter(|(known, _)| *known == element);
        found.next().map(|(_, element)| element)
    }

    fn linked_text(&self, element: LinkedElement) -> Option<String> {
        let value = self.linked(element)?.value;
        Some(self.decoder.decode(value, element.vr()).into_owned())
    }

    fn linked_value<T: std::str::FromStr>(
        &self,
        element: LinkedElement,
        name: &'static str,
    ) -> Result<T, UnreadableUpdate> {
        let text = self.linked_text(element).unwrap_or_default();
        text.parse().map_err(|_| UnreadableUpdate::Lacks(name))
    }
}

fn patient(elements: &Received<'_>) -> Result<StudyPatient, UnreadableUpdate> {
    let id = elements.text(tags::PATIENT_ID, VR::LO).unwrap_or_default();
    let is_refused = |c: char| c.is_control() || matches!(c, '\\' | '*' | '?');
    if id.is_empty() || id.chars().count() > LONGEST_PATIENT_ID || id.chars().any(is_refused) {
        return Err(UnreadableUpdate::Lacks("Patient ID"));
    }
    let issuer = elements
        .text(tags::ISSUER_OF_PATIENT_ID, VR::LO)
        .unwrap_or_default();
    let issuer = match issuer.is_empty() {
        true => None,
        false => Some(
            issuer
                .parse()
                .map_err(|_| UnreadableUpdate::Breaks("Issuer of Patient ID"))?,
        ),
    };
    Ok(StudyPatient { id, issuer })
}

fn changes(
    elements: &Received<'_>,
    origin: &Uid,
    revision: Revision,
) -> Result<Vec<FieldChange>, UnreadableUpdate> {
    let mut known = known(elements)?;
    let mut changes = Vec::new();
    for field in StateField::ALL {
        let text = match field.attribute() {
            Some((tag, vr)) => elements.text(tag, vr),
            None => elements.linked_text(linked_element(field)),
        };
        let Some(text) = text else { continue };
        let breaks = |_| UnreadableUpdate::Breaks(field.as_str());
        let change = FieldChange {
            field,
            value: FieldValue::new(field, &text).map_err(breaks)?,
            epoch: match field {
                StateField::InterpretationStatus => epoch(elements)?,
                _ => 0,
            },
            known: known.remove(&field).unwrap_or_default(),
        };
        change.check(origin, revision).map_err(breaks)?;
        changes.push(change);
    }
    Ok(changes)
}

fn epoch(elements: &Received<'_>) -> Result<u32, UnreadableUpdate> {
    match elements
        .linked(LinkedElement::StatusEpoch)
        .map(|element| element.value)
    {
        None | Some([]) => Ok(0),
        Some(value) => match <[u8; 4]>::try_from(value) {
            Ok(bytes) => Ok(u32::from_le_bytes(bytes)),
            Err(_) => Err(UnreadableUpdate::Breaks("StatusEpoch")),
        },
    }
}

/// In knowledge of what each field was changed. Fields that we don't know are passed over.
fn known(elements: &Received<'_>) -> Result<BTreeMap<StateField, Seen>, UnreadableUpdate> {
    let mut known = BTreeMap::new();
    let Some(sequence) = elements.linked(LinkedElement::KnownChanges) else {
        return Ok(known);
    };
    if sequence.vr() != Some(VR::SQ) {
        return Err(UnreadableUpdate::Breaks("KnownChanges"));
    }
    for item in sequence.items() {
        let item = Received::of(item, elements.decoder);
        let text = |element| item.linked_text(element).unwrap_or_default();
        let Ok(field) = text(LinkedElement::ChangedField).parse() else {
            continue;
        };
        let (clusters, revisions) = (text(LinkedElement::ClusterUid), text(LinkedElement::Revision));
        let (clusters, revisions) = (clusters.split('\\'), revisions.split('\\'));
        if clusters.clone().count() != revisions.clone().count() {
            return Err(UnreadableUpdate::Breaks("KnownChanges"));
        }
        let seen: Option<Seen> = clusters
            .zip(revisions)
            .map(|(cluster, revision)| {
                Some((
                    cluster.trim_end_matches('\0').parse().ok()?,
                    revision.parse().ok()?,
                ))
            })
            .collect();
        known.insert(field, seen.ok_or(UnreadableUpdate::Breaks("KnownChanges"))?);
    }
    Ok(known)
}

fn new_objects(object: &DataSet, elements: &Received<'_>) -> Result<Option<NewObjects>, UnreadableUpdate> {
    let breaks = || UnreadableUpdate::Breaks("Referenced Series Sequence");
    let uid = |item: &Elements<'_>, tag| -> Option<Uid> {
        let value = item.clone().value(tag)?;
        elements.decoder.decode(value, VR::UI).parse().ok()
    };
    let mut series = Vec::new();
    for item in object.items(tags::REFERENCED_SERIES_SEQUENCE) {
        let sequence = item.clone().element(tags::REFERENCED_SOP_SEQUENCE);
        let mut objects = Vec::new();
        for object in sequence.iter().flat_map(Element::items) {
            let instance = uid(&object, tags::REFERENCED_SOP_INSTANCE_UID).ok_or_else(breaks)?;
            objects.push((uid(&object, tags::REFERENCED_SOP_CLASS_UID), instance));
        }
        series.push(NewSeries {
            series: uid(&item, tags::SERIES_INSTANCE_UID).ok_or_else(breaks)?,
            objects,
        });
    }
    if series.is_empty() {
        return Ok(None);
    }
    let title = elements.text(tags::RETRIEVE_AE_TITLE, VR::AE).unwrap_or_default();
    let retrieve_from = title
        .trim()
        .parse()
        .map_err(|_| UnreadableUpdate::Lacks("Retrieve AE Title"))?;
    Ok(Some(NewObjects {
        retrieve_from,
        series,
    }))
}

#[cfg(test)]
mod tests;
