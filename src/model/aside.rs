//! Why an archive keeps an object aside instead of storing it.
//!
//! Invariants: `Display` holds no patient data, so that it may be logged; a reason read back from its [code] and what was
//! expected is the same reason.
//!
//! [code]: AsideReason::code

use super::{Issuer, Uid};

/// Why an object is kept aside, with what was expected instead where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AsideReason {
    /// Other data are stored under its SOP Instance UID.
    #[error("its data differ from those stored under its UID")]
    Differs,
    /// It was stored, and another object took its place by an administrator's decision.
    #[error("it was replaced")]
    Replaced,
    /// It names another patient.
    #[error("it names another patient than the one expected")]
    OtherPatient {
        /// The patient that the source named.
        expected: ExpectedPatient,
    },
    /// It names no patient.
    #[error("it has no patient ID")]
    NoPatientId {
        /// The patient that the source named.
        expected: ExpectedPatient,
    },
    /// It is of another study.
    #[error("it belongs to another study than {expected}")]
    OtherStudy {
        /// The study that was requested.
        expected: Uid,
    },
    /// It is of another series than the source listed it in.
    #[error("it belongs to another series than {expected}")]
    OtherSeries {
        /// The series that lists it.
        expected: Uid,
    },
    /// It is another instance than the C-STORE request announced.
    #[error("it is not {expected}, which was announced")]
    OtherInstance {
        /// The SOP instance that was announced.
        expected: Uid,
    },
    /// It is of another SOP class than the C-STORE request announced.
    #[error("it is not of the SOP class {expected}, which was announced")]
    OtherSopClass {
        /// The SOP class that was announced.
        expected: Uid,
    },
    /// Nobody asked the source for it.
    #[error("it was not requested")]
    NotRequested,
    /// It was found aside after a crash, or its entry was lost with the index.
    #[error("the reason was lost")]
    Unknown,
}

/// A patient as the source of an object named it: the ID, and its issuer where one is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExpectedPatient {
    /// The ID, without padding.
    pub id: String,
    /// The issuer, where the answer or the station names one.
    pub issuer: Option<Issuer>,
}

impl AsideReason {
    /// A short name that scripts and indexes may rely on.
    pub fn code(&self) -> &'static str {
        match self {
            AsideReason::Differs => "differs",
            AsideReason::Replaced => "replaced",
            AsideReason::OtherPatient { .. } => "other_patient",
            AsideReason::NoPatientId { .. } => "no_patient_id",
            AsideReason::OtherStudy { .. } => "other_study",
            AsideReason::OtherSeries { .. } => "other_series",
            AsideReason::OtherInstance { .. } => "other_instance",
            AsideReason::OtherSopClass { .. } => "other_sop_class",
            AsideReason::NotRequested => "not_requested",
            AsideReason::Unknown => "unknown",
        }
    }

    /// The UID that was expected.
    pub fn expected_uid(&self) -> Option<&Uid> {
        match self {
            AsideReason::OtherStudy { expected }
            | AsideReason::OtherSeries { expected }
            | AsideReason::OtherInstance { expected }
            | AsideReason::OtherSopClass { expected } => Some(expected),
            _ => None,
        }
    }

    /// The patient that was expected.
    pub fn expected_patient(&self) -> Option<&ExpectedPatient> {
        match self {
            AsideReason::OtherPatient { expected } | AsideReason::NoPatientId { expected } => Some(expected),
            _ => None,
        }
    }

    /// The reason of this code; [`Unknown`](AsideReason::Unknown) where what was expected is not there.
    pub fn read(code: &str, uid: Option<Uid>, patient: Option<ExpectedPatient>) -> Self {
        let read = match (code, uid, patient) {
            ("differs", ..) => Some(AsideReason::Differs),
            ("replaced", ..) => Some(AsideReason::Replaced),
            ("not_requested", ..) => Some(AsideReason::NotRequested),
            ("other_patient", _, Some(expected)) => Some(AsideReason::OtherPatient { expected }),
            ("no_patient_id", _, Some(expected)) => Some(AsideReason::NoPatientId { expected }),
            ("other_study", Some(expected), _) => Some(AsideReason::OtherStudy { expected }),
            ("other_series", Some(expected), _) => Some(AsideReason::OtherSeries { expected }),
            ("other_instance", Some(expected), _) => Some(AsideReason::OtherInstance { expected }),
            ("other_sop_class", Some(expected), _) => Some(AsideReason::OtherSopClass { expected }),
            _ => None,
        };
        read.unwrap_or(AsideReason::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_back_and_shows_no_patient() {
        let uid = || "1.2.3".parse::<Uid>().unwrap();
        let patient = || ExpectedPatient {
            id: "4711".to_owned(),
            issuer: Some("NORTH".parse().unwrap()),
        };
        for reason in [
            AsideReason::Differs,
            AsideReason::Replaced,
            AsideReason::OtherPatient { expected: patient() },
            AsideReason::NoPatientId { expected: patient() },
            AsideReason::OtherStudy { expected: uid() },
            AsideReason::OtherSeries { expected: uid() },
            AsideReason::OtherInstance { expected: uid() },
            AsideReason::OtherSopClass { expected: uid() },
            AsideReason::NotRequested,
            AsideReason::Unknown,
        ] {
            let (uid, patient) = (reason.expected_uid().cloned(), reason.expected_patient().cloned());
            assert_eq!(AsideReason::read(reason.code(), uid, patient), reason);
            assert!(!reason.to_string().contains("4711"), "{reason}");
        }
        assert_eq!(AsideReason::read("other_study", None, None), AsideReason::Unknown);
    }
}
