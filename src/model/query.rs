//! A linked query as a caller asks it, free of any peer's syntax.
//!
//! Invariant: the lower levels name exactly one study. How it becomes the identifier of a C-FIND-RQ is `link`'s.

use std::str::FromStr;

use dicom_core::Tag;

use super::{CharacterSet, DateRange, Invalid, Issuer, PatientIdKey, Uid};

/// The level of a query (PS3.4 C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// One row a study.
    #[default]
    Study,
    /// One row a series of one study.
    Series,
    /// One row an instance of one study.
    Image,
}

impl Level {
    /// As it is shown and recorded: `study`, `series`, `image`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Study => "study",
            Level::Series => "series",
            Level::Image => "image",
        }
    }
}

impl FromStr for Level {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let levels = [Level::Study, Level::Series, Level::Image];
        let rule = "it is 'study', 'series' or 'image'";
        levels
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| Invalid::new("level", text, rule))
    }
}

/// What is returned of a row, besides its unique key and the further keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returned {
    /// All that a row is known to show.
    #[default]
    Usual,
    /// What tells patients apart.
    Patient,
    /// Nothing. An attribute that an archive does not keep in its index costs it a look at a file for each match.
    Nothing,
}

/// The constraints of a query; what is `None` or empty matches all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// What is asked for.
    pub level: Level,
    /// Patient ID, with or without issuer.
    pub patient_id: Option<PatientIdKey>,
    /// Whose ID it is where it names no issuer; none where nobody knows.
    pub meant_issuers: Vec<Issuer>,
    /// The ID that is the same in all clusters.
    pub global_id: Option<String>,
    /// Patient name, with wildcards.
    pub patient_name: Option<String>,
    /// Date of birth.
    pub birth_date: Option<DateRange>,
    /// Study date.
    pub study_date: Option<DateRange>,
    /// Any of these modalities.
    pub modalities: Vec<String>,
    /// Accession number, with wildcards.
    pub accession_number: Option<String>,
    /// Any of these studies.
    pub study_uids: Vec<Uid>,
    /// Study description, with wildcards.
    pub study_description: Option<String>,
    /// Any further attribute and the value asked for; an empty value only asks for its return.
    pub further_keys: Vec<(Tag, String)>,
    /// What else is returned of each row.
    pub returned: Returned,
    /// In which the caller wrote these, where it has said so: for stations whose own character set is not known.
    pub character_set: Option<CharacterSet>,
}

impl Query {
    /// Holds the query to its invariant.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.level != Level::Study && self.study_uids.len() != 1 {
            let rule = "series and image need exactly one study: give --study-uid";
            return Err(Invalid::new("level", self.level.as_str(), rule));
        }
        Ok(())
    }

    /// Whether its keys are ASCII, so that they read the same in all character sets.
    pub fn is_ascii(&self) -> bool {
        let texts = [
            &self.global_id,
            &self.patient_name,
            &self.accession_number,
            &self.study_description,
        ];
        let id = self.patient_id.iter().map(|key| &key.id);
        let further = self.further_keys.iter().map(|(_, value)| value);
        let mut all = id.chain(texts.into_iter().flatten()).chain(further);
        all.all(|text| text.is_ascii())
    }

    /// Whether it is narrow enough for a constrained station: a patient ID, global patient ID, accession number or study
    /// UID without wildcards, or a patient name of at least three characters before any wildcard.
    pub fn is_narrow(&self) -> bool {
        let exact = |text: &str| !text.is_empty() && !text.contains(['*', '?']);
        let name_is_narrow = |name: &str| name.chars().take_while(|c| !"*?".contains(*c)).count() >= 3;
        self.patient_id.as_ref().is_some_and(|key| exact(&key.id))
            || self.global_id.as_deref().is_some_and(exact)
            || self.accession_number.as_deref().is_some_and(exact)
            || !self.study_uids.is_empty()
            || self.patient_name.as_deref().is_some_and(name_is_narrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_constrained_station_takes() {
        let name = |text: &str| Query {
            patient_name: Some(text.to_owned()),
            ..Query::default()
        };
        let patient = |text: &str| Query {
            patient_id: Some(text.parse().unwrap()),
            ..Query::default()
        };
        assert!(patient("4711").is_narrow());
        assert!(!patient("47*").is_narrow());
        assert!(name("DOE*").is_narrow());
        assert!(!name("DO*").is_narrow());
        assert!(!name("*DOE").is_narrow());
        assert!(
            Query {
                study_uids: vec!["1.2".parse().unwrap()],
                ..Query::default()
            }
            .is_narrow()
        );
        assert!(
            !Query {
                modalities: vec!["CT".to_owned()],
                ..Query::default()
            }
            .is_narrow()
        );
    }

    #[test]
    fn the_lower_levels_need_one_study() {
        let query = Query {
            level: Level::Series,
            ..Query::default()
        };
        assert!(query.check().is_err());
        assert!(
            Query {
                study_uids: vec!["1.2".parse().unwrap()],
                ..query
            }
            .check()
            .is_ok()
        );
    }
}
