//! A study as one station answers with it, and what is known of its copy there.
//!
//! Invariant: a `StudyAnswer` has a study UID and a patient with a domain; text is UTF-8 without control characters.
//! How the answers of several stations become one row is `link`'s.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

use super::{AeTitle, PatientId, Uid};

/// Where a copy is kept at its station; the order is the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// At once (standard ONLINE).
    Cache,
    /// After a robot or a slower store.
    Nearline,
    /// After a person.
    Offline,
    /// Not to be had from there: listed, but no source.
    Unavailable,
}

impl Availability {
    /// Reads Instance Availability (0008,0056) or BestStudyLocation.
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "ONLINE" | "CACHE" => Some(Availability::Cache),
            "NEARLINE" => Some(Availability::Nearline),
            "OFFLINE" => Some(Availability::Offline),
            "UNAVAILABLE" => Some(Availability::Unavailable),
            _ => None,
        }
    }

    /// As it is shown: `cache`, `nearline`, `offline`, `unavailable`.
    pub fn as_str(self) -> &'static str {
        match self {
            Availability::Cache => "cache",
            Availability::Nearline => "nearline",
            Availability::Offline => "offline",
            Availability::Unavailable => "unavailable",
        }
    }
}

/// What came of the verification of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verification {
    /// It is what it says.
    Verified,
    /// Nobody has looked yet.
    Unverified,
    /// It is not.
    Failed,
}

impl Verification {
    /// Reads VerifiedStatus of the linked syntax.
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "VERIFIED" => Some(Verification::Verified),
            "UNVERIFIED" => Some(Verification::Unverified),
            "FAILED" => Some(Verification::Failed),
            _ => None,
        }
    }

    /// As the linked syntax writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verification::Verified => "VERIFIED",
            Verification::Unverified => "UNVERIFIED",
            Verification::Failed => "FAILED",
        }
    }
}

/// One station's answer about one study.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StudyAnswer {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Whose study it is.
    pub patient_id: PatientId,
    /// The ID that is the same in all clusters.
    pub global_patient_id: Option<String>,
    /// Patient's name, as the peer has it.
    pub patient_name: Option<String>,
    /// Date of birth.
    pub patient_birth_date: Option<Date>,
    /// Patient's sex.
    pub patient_sex: Option<String>,
    /// Study date.
    pub study_date: Option<Date>,
    /// Study time.
    pub study_time: Option<Time>,
    /// How far the answering site's clock is from UTC (TimezoneOffsetFromUTC), where it says so.
    pub utc_offset: Option<Offset>,
    /// Accession number.
    pub accession_number: Option<String>,
    /// Modalities in study.
    pub modalities: Vec<String>,
    /// Study description.
    pub study_description: Option<String>,
    /// Referring physician's name.
    pub referring_physician: Option<String>,
    /// Number of instances at this station.
    pub instances: Option<u32>,
    /// Report status (linked syntax).
    pub interpretation_status: Option<String>,
    /// Specialty as the answering cluster computes it.
    pub specialty: Option<String>,
    /// Body part as the answering cluster computes it.
    pub body_part: Option<String>,
    /// Whether the study is verified there.
    pub verification: Option<Verification>,
    /// Where the copy is kept.
    pub availability: Option<Availability>,
    /// From where the peer says it can be retrieved.
    pub retrieve_ae_titles: Vec<AeTitle>,
    /// Its series, where the query asked for a lower level.
    pub series: Vec<SeriesAnswer>,
}

impl StudyAnswer {
    /// What is known of a study before its attributes are.
    pub fn new(study_instance_uid: Uid, patient_id: PatientId) -> Self {
        StudyAnswer {
            study_instance_uid,
            patient_id,
            global_patient_id: None,
            patient_name: None,
            patient_birth_date: None,
            patient_sex: None,
            study_date: None,
            study_time: None,
            utc_offset: None,
            accession_number: None,
            modalities: Vec::new(),
            study_description: None,
            referring_physician: None,
            instances: None,
            interpretation_status: None,
            specialty: None,
            body_part: None,
            verification: None,
            availability: None,
            retrieve_ae_titles: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Whether it is verified there; `None` where nobody says.
    pub fn is_verified(&self) -> Option<bool> {
        self.verification.map(|known| known == Verification::Verified)
    }

    /// When the study began, in UTC, so that studies of sites in different zones can be put in order. A site that does
    /// not name its offset is taken to be at UTC; a date without a time is not moved.
    pub fn began(&self) -> Option<DateTime> {
        let date = self.study_date?;
        let Some(time) = self.study_time else {
            return Some(date.to_datetime(Time::midnight()));
        };
        let local = date.to_datetime(time);
        let offset = self.utc_offset.unwrap_or(Offset::UTC);
        Some(
            local
                .checked_sub(SignedDuration::from_secs(offset.seconds().into()))
                .unwrap_or(local),
        )
    }
}

/// One station's answer about one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesAnswer {
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// Modality.
    pub modality: Option<String>,
    /// Series number.
    pub series_number: Option<i32>,
    /// Series description.
    pub series_description: Option<String>,
    /// Body Part Examined.
    pub body_part_examined: Option<String>,
    /// Number of instances at this station.
    pub instances: Option<u32>,
    /// Its instances, where the query asked for them.
    pub images: Vec<ImageAnswer>,
}

/// One station's answer about one instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageAnswer {
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Option<Uid>,
    /// Instance number.
    pub instance_number: Option<i32>,
}
