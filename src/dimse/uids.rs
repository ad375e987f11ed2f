//! The UIDs that this project speaks, standard ones (PS3.6 annex A) and its own (`impaxlink-link(7)`).
//!
//! Invariant: none carries padding. UIDs that come from peers are compared after [`trim_padding`](super::trim_padding).

pub use dicom_dictionary_std::uids::{
    MODALITY_WORKLIST_INFORMATION_MODEL_FIND as MODALITY_WORKLIST_FIND,
    PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND as PATIENT_ROOT_FIND,
    PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET as PATIENT_ROOT_GET,
    PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE as PATIENT_ROOT_MOVE,
    STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND as STUDY_ROOT_FIND,
    STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET as STUDY_ROOT_GET,
    STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE as STUDY_ROOT_MOVE, VERIFICATION,
};

pub use crate::model::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

/// The DICOM application context name (PS3.7 annex A.2.1).
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// C-FIND between two linked clusters: Study Root FIND plus the private attributes of the linked syntax.
pub const LINKED_CLUSTER_QUERY: &str = "2.25.72099473108788562646585864834361050138";

/// C-STORE of an update object between two linked clusters.
pub const CLUSTER_UPDATE: &str = "2.25.68243062009017428454300715932894254280";
