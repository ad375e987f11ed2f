//! The fields of a study as options of the command line.
//!
//! Invariant: an option that is not given leaves its field as it is; one with an empty value clears it.

use std::collections::BTreeMap;

use crate::cli::value;
use crate::model::{FieldValue, Invalid, StateField};

/// The values that fields are to have. A value may stand in a file, as @FILE, or on standard input, as @-.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fields (an empty value clears one)")]
pub struct Fields {
    /// The report's status: NEW, DICTATION_STARTED, DICTATED, TRANSCRIBED, APPROVED, or a word of the site's own
    #[arg(long, value_name = "STATUS", value_parser = value::text)]
    status: Option<String>,
    /// Whether the study is verified: VERIFIED (the same as without a value), UNVERIFIED or FAILED
    #[arg(long, value_name = "STATUS", num_args = 0..=1, require_equals = true, default_missing_value = "VERIFIED")]
    verified: Option<String>,
    /// Where the patient is
    #[arg(long, value_name = "TEXT", value_parser = value::text)]
    location: Option<String>,
    /// Comments on the study
    #[arg(long, value_name = "TEXT", value_parser = value::text)]
    comments: Option<String>,
    /// The patient's name, like DOE^JANE
    #[arg(long, value_name = "NAME", value_parser = value::text)]
    patient_name: Option<String>,
    /// The patient's date of birth
    #[arg(long, value_name = "DATE", value_parser = value::text)]
    birth_date: Option<String>,
    /// The patient's sex: M, F or O
    #[arg(long, value_name = "CODE", value_parser = value::text)]
    sex: Option<String>,
    /// The study's description
    #[arg(long, value_name = "TEXT", value_parser = value::text)]
    description: Option<String>,
    /// The accession number
    #[arg(long, value_name = "NUMBER", value_parser = value::text)]
    accession: Option<String>,
    /// The referring physician's name, like HOUSE^GREG
    #[arg(long, value_name = "NAME", value_parser = value::text)]
    referring_physician: Option<String>,
    /// The study's date
    #[arg(long, value_name = "DATE", value_parser = value::text)]
    study_date: Option<String>,
    /// The study's time
    #[arg(long, value_name = "TIME", value_parser = value::text)]
    study_time: Option<String>,
}

impl Fields {
    /// The fields that are given, each with the value it is to have.
    pub fn wanted(&self) -> Result<BTreeMap<StateField, FieldValue>, Invalid> {
        let given = [
            (StateField::InterpretationStatus, &self.status),
            (StateField::VerifiedStatus, &self.verified),
            (StateField::PatientLocation, &self.location),
            (StateField::StudyComments, &self.comments),
            (StateField::PatientName, &self.patient_name),
            (StateField::PatientBirthDate, &self.birth_date),
            (StateField::PatientSex, &self.sex),
            (StateField::StudyDescription, &self.description),
            (StateField::AccessionNumber, &self.accession),
            (StateField::ReferringPhysician, &self.referring_physician),
            (StateField::StudyDate, &self.study_date),
            (StateField::StudyTime, &self.study_time),
        ];
        let given = given
            .into_iter()
            .filter_map(|(field, text)| Some((field, text.as_ref()?)));
        given
            .map(|(field, text)| Ok((field, FieldValue::new(field, text)?)))
            .collect()
    }
}
