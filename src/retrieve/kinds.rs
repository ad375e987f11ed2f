//! In which presentation contexts objects are to come: SOP classes and transfer syntaxes.
//!
//! Invariant: a context has one transfer syntax, so that an object can come as its source stores it, without being
//! converted. What does not fit one association makes several lists, the likeliest first.

use std::collections::BTreeSet;

use dicom_dictionary_std::uids;

use super::Instance;
use super::copies::Copy;
use crate::dimse::{MAX_CONTEXTS, ObjectFlow, ProposedObjects, TransferSyntax, is_convertible};
use crate::model::Uid;

/// The kind of an object: SOP class and transfer syntax.
pub type ObjectKind = (Uid, Uid);

/// How many kinds of objects one association has contexts for, beside those of the requests.
pub(super) const MAX_KINDS: usize = MAX_CONTEXTS - OTHERS;
const OTHERS: usize = 4;

/// What archives store in, the likeliest first.
const TRANSFER_SYNTAXES: [&str; 20] = [
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::IMPLICIT_VR_LITTLE_ENDIAN,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG2000_LOSSLESS,
    uids::JPEG_BASELINE8_BIT,
    uids::JPEG2000,
    uids::JPEGLS_LOSSLESS,
    uids::RLE_LOSSLESS,
    uids::JPEG_LOSSLESS,
    uids::JPEG_EXTENDED12_BIT,
    uids::JPEGLS_NEAR_LOSSLESS,
    uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    uids::HTJ2K_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
    uids::HTJ2K,
    uids::MPEG4HP41,
    uids::MPEG4HP41BD,
    uids::MPEG2MPML,
    uids::HEVCMP51,
    // Explicit VR Big Endian, retired: found in old archives.
    "1.2.840.10008.1.2.2",
];

/// The SOP classes that are met where a source does not name them, the likeliest first.
const SOP_CLASSES: [&str; 42] = [
    uids::CT_IMAGE_STORAGE,
    uids::MR_IMAGE_STORAGE,
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::ULTRASOUND_IMAGE_STORAGE,
    uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::BREAST_TOMOSYNTHESIS_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::ENHANCED_MR_IMAGE_STORAGE,
    uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::X_RAY_RADIOFLUOROSCOPIC_IMAGE_STORAGE,
    uids::NUCLEAR_MEDICINE_IMAGE_STORAGE,
    uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::VL_PHOTOGRAPHIC_IMAGE_STORAGE,
    uids::VL_ENDOSCOPIC_IMAGE_STORAGE,
    uids::VL_MICROSCOPIC_IMAGE_STORAGE,
    uids::VIDEO_ENDOSCOPIC_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::OPHTHALMIC_PHOTOGRAPHY8_BIT_IMAGE_STORAGE,
    uids::OPHTHALMIC_TOMOGRAPHY_IMAGE_STORAGE,
    uids::SEGMENTATION_STORAGE,
    uids::SPATIAL_REGISTRATION_STORAGE,
    uids::RAW_DATA_STORAGE,
    uids::RT_IMAGE_STORAGE,
    uids::RT_DOSE_STORAGE,
    uids::RT_STRUCTURE_SET_STORAGE,
    uids::RT_PLAN_STORAGE,
];

/// The kinds of objects that may come from a copy of what is wanted, an association's worth in each list.
pub(super) fn kinds_of(copy: &Copy, wants: impl Fn(&Uid, &Instance) -> bool) -> Vec<Vec<ObjectKind>> {
    let known = copy.instances.iter().filter(|(uid, it)| wants(uid, it));
    let kinds = kinds(known.map(|(_, it)| it), copy.is_whole());
    kinds.chunks(MAX_KINDS).map(<[_]>::to_vec).collect()
}

/// The contexts in which objects of these kinds come from a source.
pub(super) fn received(kinds: Vec<ObjectKind>) -> Vec<ProposedObjects> {
    let contexts = kinds.into_iter();
    let contexts = contexts.map(|(class, syntax)| ProposedObjects::new(class, syntax, ObjectFlow::Received));
    contexts.collect()
}

/// The kinds of objects that may come, the likeliest first: of the SOP classes of these instances, and of the usual ones
/// unless all of those are named and `are_all` that there may be.
fn kinds<'i>(instances: impl Iterator<Item = &'i Instance>, are_all: bool) -> Vec<ObjectKind> {
    let classes: BTreeSet<Option<Uid>> = instances.map(|it| it.sop_class_uid.clone()).collect();
    let all_are_known = are_all && !classes.contains(&None);
    let mut classes: Vec<Uid> = classes.into_iter().flatten().collect();
    if !all_are_known {
        let usual = SOP_CLASSES.iter().filter_map(|uid| uid.parse().ok());
        let unnamed: Vec<Uid> = usual.filter(|uid| !classes.contains(uid)).collect();
        classes.extend(unnamed);
    }
    let syntaxes = TRANSFER_SYNTAXES.iter().filter_map(|uid| uid.parse::<Uid>().ok());
    let of_syntax = |syntax: Uid| {
        let kind = move |class: &Uid| (class.clone(), syntax.clone());
        classes.iter().map(kind).collect::<Vec<_>>()
    };
    syntaxes.flat_map(of_syntax).collect()
}

/// The kinds as they are stored, and each SOP class in the transfer syntaxes that every peer should take.
pub(super) fn proposed_kinds(stored: &BTreeSet<&ObjectKind>) -> Vec<ObjectKind> {
    let classes: BTreeSet<&Uid> = stored.iter().map(|(class, _)| class).collect();
    let others = classes.into_iter().flat_map(|class| {
        let syntaxes = TransferSyntax::ALL
            .iter()
            .filter_map(|syntax| syntax.uid().parse().ok());
        syntaxes.map(|syntax| (class.clone(), syntax))
    });
    let others = others.filter(|kind| !stored.contains(kind));
    stored.iter().copied().cloned().chain(others).collect()
}

/// In which of the accepted kinds an object is sent: as it is stored, or converted. The error says why in none.
pub(super) fn sent_kind(stored: &ObjectKind, accepted: &[ObjectKind]) -> Result<ObjectKind, &'static str> {
    if accepted.contains(stored) {
        return Ok(stored.clone());
    }
    let (class, syntax) = stored;
    let mut targets = TransferSyntax::ALL
        .iter()
        .filter(|_| is_convertible(syntax.as_str()));
    let of_class = || accepted.iter().filter(|(it, _)| it == class);
    let target = targets.find_map(|target| of_class().find(|(_, it)| it.as_str() == target.uid()));
    target.cloned().ok_or(match of_class().next() {
        Some(_) => "transfer syntax not accepted by the destination",
        None => "SOP class not accepted by the destination",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::retrieve::copies::Listing;

    #[test]
    fn the_classes_of_what_is_lacking_are_proposed_else_all_that_are_usual() {
        let uid = |text: &str| text.parse::<Uid>().unwrap();
        let instance = |class: Option<&str>| Instance {
            series: uid("1"),
            sop_class_uid: class.map(uid),
        };
        let listed = BTreeMap::from([
            (uid("1.1"), instance(Some(uids::CT_IMAGE_STORAGE))),
            (uid("1.2"), instance(None)),
        ]);
        let mut copy = Copy::example(listed);
        let of = |copy: &Copy, lacking: &[&str]| {
            let lacking: BTreeSet<Uid> = lacking.iter().map(|it| uid(it)).collect();
            kinds_of(copy, |uid, _| lacking.contains(uid))
        };
        let one = of(&copy, &["1.1"]);
        assert_eq!(one.len(), 1);
        assert!(
            one[0]
                .iter()
                .all(|(class, _)| class.as_str() == uids::CT_IMAGE_STORAGE)
        );
        assert_eq!(one[0].len(), TRANSFER_SYNTAXES.len());
        let all = of(&copy, &["1.1", "1.2"]);
        assert_eq!(all.concat().len(), SOP_CLASSES.len() * TRANSFER_SYNTAXES.len());
        assert!(all.iter().all(|list| list.len() + OTHERS <= MAX_CONTEXTS));
        copy.listing = Listing::Short;
        assert_eq!(of(&copy, &["1.1"]).len(), all.len());
    }
}
