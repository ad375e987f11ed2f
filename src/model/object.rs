//! Which object a data set is, and whose.

use super::Uid;

/// The identity of an object, as its own data set has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// Patient ID, without padding; empty where it has none.
    pub patient_id: String,
    /// Issuer of Patient ID, without padding; empty where it has none.
    pub issuer: String,
}
