//! The attributes of a study that clusters change and relay, and what their values may be.
//!
//! Invariant: a [`FieldValue`] is in the form in which DICOM has it (dates as `YYYYMMDD`), without control characters
//! and padding, and not longer than its value representation allows. An empty one means cleared.

use std::fmt;
use std::str::FromStr;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use super::{Invalid, ReportStatus, Verification};

/// Study Comments. The standard has retired it and named no other for the whole of a study.
pub const STUDY_COMMENTS: Tag = Tag(0x0032, 0x4000);

/// An attribute of a study's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateField {
    /// The report's status (linked syntax).
    InterpretationStatus,
    /// Whether the study is verified (linked syntax).
    VerifiedStatus,
    /// Current Patient Location (0038,0300).
    PatientLocation,
    /// Study Comments (0032,4000).
    StudyComments,
    /// Patient's Name (0010,0010).
    PatientName,
    /// Patient's Birth Date (0010,0030).
    PatientBirthDate,
    /// Patient's Sex (0010,0040).
    PatientSex,
    /// Study Description (0008,1030).
    StudyDescription,
    /// Accession Number (0008,0050).
    AccessionNumber,
    /// Referring Physician's Name (0008,0090).
    ReferringPhysician,
    /// Study Date (0008,0020).
    StudyDate,
    /// Study Time (0008,0030).
    StudyTime,
}

impl StateField {
    /// All of them, in the order in which they are shown.
    pub const ALL: [StateField; 12] = [
        StateField::InterpretationStatus,
        StateField::VerifiedStatus,
        StateField::PatientLocation,
        StateField::StudyComments,
        StateField::PatientName,
        StateField::PatientBirthDate,
        StateField::PatientSex,
        StateField::StudyDescription,
        StateField::AccessionNumber,
        StateField::ReferringPhysician,
        StateField::StudyDate,
        StateField::StudyTime,
    ];

    /// As columns of files, JSON and the store name it.
    pub fn as_str(self) -> &'static str {
        match self {
            StateField::InterpretationStatus => "interpretation_status",
            StateField::VerifiedStatus => "verified_status",
            StateField::PatientLocation => "patient_location",
            StateField::StudyComments => "study_comments",
            StateField::PatientName => "patient_name",
            StateField::PatientBirthDate => "patient_birth_date",
            StateField::PatientSex => "patient_sex",
            StateField::StudyDescription => "study_description",
            StateField::AccessionNumber => "accession_number",
            StateField::ReferringPhysician => "referring_physician",
            StateField::StudyDate => "study_date",
            StateField::StudyTime => "study_time",
        }
    }

    /// The standard attribute it is; `None` for the two that the linked syntax has of its own.
    pub fn attribute(self) -> Option<(Tag, VR)> {
        match self {
            StateField::InterpretationStatus | StateField::VerifiedStatus => None,
            StateField::PatientLocation => Some((tags::CURRENT_PATIENT_LOCATION, VR::LO)),
            StateField::StudyComments => Some((STUDY_COMMENTS, VR::LT)),
            StateField::PatientName => Some((tags::PATIENT_NAME, VR::PN)),
            StateField::PatientBirthDate => Some((tags::PATIENT_BIRTH_DATE, VR::DA)),
            StateField::PatientSex => Some((tags::PATIENT_SEX, VR::CS)),
            StateField::StudyDescription => Some((tags::STUDY_DESCRIPTION, VR::LO)),
            StateField::AccessionNumber => Some((tags::ACCESSION_NUMBER, VR::SH)),
            StateField::ReferringPhysician => Some((tags::REFERRING_PHYSICIAN_NAME, VR::PN)),
            StateField::StudyDate => Some((tags::STUDY_DATE, VR::DA)),
            StateField::StudyTime => Some((tags::STUDY_TIME, VR::TM)),
        }
    }

    /// Whether queries match by it: long texts, places and what only the linked syntax has are none of their keys.
    pub fn is_matched_by(self) -> bool {
        !matches!(
            self,
            StateField::InterpretationStatus
                | StateField::VerifiedStatus
                | StateField::PatientLocation
                | StateField::StudyComments
        )
    }

    /// The greatest length of its value, in characters (PS3.5 6.2; of names: five components of 64).
    fn longest(self) -> usize {
        match self {
            StateField::StudyComments => 10_240,
            StateField::PatientName | StateField::ReferringPhysician => 324,
            StateField::AccessionNumber => 16,
            StateField::VerifiedStatus | StateField::PatientSex => 16,
            _ => super::MAX_LONG_STRING,
        }
    }
}

impl fmt::Display for StateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StateField {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut all = StateField::ALL.into_iter();
        all.find(|field| field.as_str() == text)
            .ok_or_else(|| Invalid::new("field", text, "a study's state has none of this name"))
    }
}

/// A value of a field; empty where it was cleared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldValue(String);

impl FieldValue {
    /// Holds `text` to the rules of the field. Dates are taken as `2024-01-31` and `20240131`, times as `16:20`, `16:20:30`
    /// and without colons.
    pub fn new(field: StateField, text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let invalid = |rule: &str| Invalid::new(field.as_str(), text, rule);
        if text.is_empty() {
            return Ok(FieldValue::default());
        }
        let is_refused = |c: char| match field {
            StateField::StudyComments => is_not_carried(c) && !matches!(c, '\n' | '\r' | '\t'),
            _ => is_not_carried(c) || c == '\\',
        };
        if text.chars().any(is_refused) {
            return Err(invalid(
                "control characters and backslashes are not allowed (PS3.5 6.2)",
            ));
        }
        if text.chars().count() > field.longest() {
            return Err(invalid(&format!(
                "at most {} characters are allowed",
                field.longest()
            )));
        }
        let value = match field {
            StateField::VerifiedStatus if Verification::from_code(text).is_none() => {
                return Err(invalid("it is VERIFIED, UNVERIFIED or FAILED"));
            }
            StateField::PatientSex if !["M", "F", "O"].contains(&text) => {
                return Err(invalid("it is M, F or O (PS3.3 C.7.1.1)"));
            }
            StateField::PatientBirthDate | StateField::StudyDate => date(text)
                .ok_or_else(|| invalid("it is a date like 2024-01-31"))?
                .strftime("%Y%m%d")
                .to_string(),
            StateField::StudyTime => {
                time(text).ok_or_else(|| invalid("it is a time like 16:20 or 16:20:30"))?
            }
            _ => text.to_owned(),
        };
        Ok(FieldValue(value))
    }

    /// The text; empty where it was cleared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text; `None` where it was cleared.
    pub fn text(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }

    /// The value of a date.
    pub fn date(&self) -> Option<Date> {
        date(&self.0)
    }

    /// The value of a time.
    pub fn time(&self) -> Option<Time> {
        Time::strptime("%H%M%S", &self.0).ok()
    }

    /// The rank of a report's status. A site's own word is later than all but APPROVED, so that it neither undoes an
    /// approval nor is lost among the steps before; UNKNOWN and a cleared status are earlier than all.
    pub fn status_rank(&self) -> u8 {
        match (self.0.as_str(), self.0.parse()) {
            ("" | "UNKNOWN", _) => 0,
            (_, Ok(ReportStatus::New)) => 1,
            (_, Ok(ReportStatus::DictationStarted)) => 2,
            (_, Ok(ReportStatus::Dictated)) => 3,
            (_, Ok(ReportStatus::Transcribed)) => 4,
            (_, Err(_)) => 5,
            (_, Ok(ReportStatus::Approved)) => 6,
        }
    }
}

/// What reading takes out of a text, since a terminal would obey it or a reader be deceived by it: a value that had it would
/// be another one in other clusters.
fn is_not_carried(c: char) -> bool {
    let reorders = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

fn date(text: &str) -> Option<Date> {
    let format = match text.len() {
        8 => "%Y%m%d",
        10 => "%Y-%m-%d",
        _ => return None,
    };
    Date::strptime(format, text).ok()
}

fn time(text: &str) -> Option<String> {
    let formats = ["%H:%M:%S", "%H:%M", "%H%M%S", "%H%M"];
    // Fractions of a second tell nothing of a study.
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let read = |format: &&str| Time::strptime(format, whole).ok();
    let time = formats.iter().find_map(read)?;
    Some(time.strftime("%H%M%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(field: StateField, text: &str) -> Option<String> {
        FieldValue::new(field, text)
            .ok()
            .map(|value| value.as_str().to_owned())
    }

    #[test]
    fn values_are_kept_as_dicom_has_them() {
        for (field, text, kept) in [
            (StateField::PatientBirthDate, "1970-01-31", "19700131"),
            (StateField::StudyTime, "16:20", "162000"),
            (StateField::StudyTime, "162030.5", "162030"),
            (
                StateField::InterpretationStatus,
                " Vorab befundet ",
                "Vorab befundet",
            ),
            (StateField::StudyComments, "two\nlines", "two\nlines"),
            (StateField::PatientName, "", ""),
        ] {
            assert_eq!(value(field, text).as_deref(), Some(kept), "{field} {text:?}");
        }
        for (field, text) in [
            (StateField::PatientBirthDate, "1970-02-30"),
            (StateField::PatientSex, "X"),
            (StateField::VerifiedStatus, "verified"),
            (StateField::PatientName, "DOE\\JANE"),
            (StateField::PatientName, "DOE\u{1b}"),
            (StateField::StudyDescription, "\u{202e}TSEHC"),
            (StateField::StudyComments, "one\u{2028}two"),
            (StateField::AccessionNumber, "A0123456789012345"),
            (StateField::StudyTime, "25:00"),
        ] {
            assert_eq!(value(field, text), None, "{field} {text:?}");
        }
    }

    #[test]
    fn every_field_is_read_by_its_name() {
        for field in StateField::ALL {
            assert_eq!(field.as_str().parse::<StateField>().unwrap(), field);
            assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
        }
    }
}
