//! The filters of a query as they are typed.
//!
//! Invariants: each value may stand in a file or on standard input in place of the command line. A filter that was given
//! constrains: an empty one is refused, never taken for all patients. No error shows what may be patient data.

use clap::ValueEnum;
use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use jiff::ZonedDateTime;
use jiff::civil::Date;

use crate::cli::error::{ExitStatus, Problem};
use crate::cli::value::{self, without_value};
use crate::link::keys::check_further;
use crate::model::{DateRange, Level, PatientIdKey, Query, Returned, Uid};

/// What is searched for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
pub struct Filters {
    /// Patient ID; with ^^^ISSUER only the patient of that issuer
    #[arg(long, value_name = "ID[^^^ISSUER]", value_parser = patient_id)]
    patient_id: Option<PatientIdKey>,
    /// The patient ID that is the same in all clusters
    #[arg(long, value_name = "ID", value_parser = filter)]
    global_id: Option<String>,
    /// Patient's name, like 'DOE^JANE' or 'DOE*'
    #[arg(long, value_name = "NAME", value_parser = filter)]
    patient_name: Option<String>,
    /// Patient's date of birth, or a range of them
    #[arg(long, value_name = "DATE", value_parser = birth_date, allow_hyphen_values = true)]
    birth_date: Option<DateRange>,
    /// Study date: 2024-01-31, 2024-01-01..2024-06-30, ..2024-06-30, today, -7d..
    #[arg(long, value_name = "DATE", value_parser = date_range, allow_hyphen_values = true)]
    study_date: Option<DateRange>,
    /// Any of these modalities
    #[arg(long, value_name = "MODALITY[,…]", value_parser = filter)]
    modality: Vec<String>,
    /// Accession number
    #[arg(long, value_name = "NUMBER", value_parser = filter)]
    accession: Option<String>,
    /// Any of these studies
    #[arg(long, value_name = "UID[,…]", value_parser = filter)]
    study_uid: Vec<String>,
    /// Study description, like '*CHEST*'
    #[arg(long, value_name = "TEXT", value_parser = filter)]
    description: Option<String>,
    /// What to list; series and image need --study-uid
    #[arg(long, value_enum, default_value = "study")]
    level: LevelWord,
    /// Any other attribute, by keyword or gggg,eeee; without a value it is only asked for
    #[arg(short, long, value_name = "KEYWORD[=VALUE]", value_parser = further_key)]
    key: Vec<(Tag, String)>,
}

/// The levels of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelWord {
    /// A line a study.
    Study,
    /// A line a series of one study.
    Series,
    /// A line an instance of one study.
    Image,
}

impl Filters {
    /// The query that they make.
    pub fn to_query(&self) -> anyhow::Result<Query> {
        let study_uids = listed(&self.study_uid).map(|uid| uid.parse::<Uid>().map_err(without_value));
        let query = Query {
            level: match self.level {
                LevelWord::Study => Level::Study,
                LevelWord::Series => Level::Series,
                LevelWord::Image => Level::Image,
            },
            patient_id: self.patient_id.clone(),
            meant_issuers: Vec::new(),
            global_id: self.global_id.clone(),
            patient_name: self.patient_name.clone(),
            birth_date: self.birth_date,
            study_date: self.study_date,
            modalities: listed(&self.modality).map(str::to_uppercase).collect(),
            accession_number: self.accession.clone(),
            study_uids: study_uids
                .collect::<Result<_, _>>()
                .map_err(|message| Problem::new(ExitStatus::Usage, message))?,
            study_description: self.description.clone(),
            further_keys: self.key.clone(),
            returned: Returned::Usual,
            character_set: None,
        };
        query.check()?;
        Ok(query)
    }
}

/// The values of an option that takes several, divided by commas or given again.
fn listed(values: &[String]) -> impl Iterator<Item = &str> {
    values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// Reads the text of a filter. A variable that a script forgot to set, or a pipe that brought nothing, is no filter.
pub fn filter(raw: &str) -> Result<String, String> {
    let text = value::text(raw)?;
    if text.trim().is_empty() {
        return Err("it is empty: leave the option out to search for all".to_owned());
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err("backslash and control characters are not allowed (PS3.5 6.2)".to_owned());
    }
    Ok(text)
}

/// Reads a patient ID, and shows none.
pub fn patient_id(raw: &str) -> Result<PatientIdKey, String> {
    value::text(raw)?.parse().map_err(without_value)
}

fn birth_date(raw: &str) -> Result<DateRange, String> {
    DateRange::parse(&value::text(raw)?, today()).map_err(without_value)
}

fn date_range(raw: &str) -> Result<DateRange, String> {
    DateRange::parse(&value::text(raw)?, today()).map_err(|error| error.to_string())
}

fn today() -> Date {
    ZonedDateTime::now().date()
}

fn further_key(raw: &str) -> Result<(Tag, String), String> {
    let (name, given) = raw.split_once('=').unwrap_or((raw, ""));
    let value = value::text(given)?;
    if value.is_empty() && !given.is_empty() {
        return Err(format!("the value of {name} is empty: {name}= only asks for it"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} holds control characters"));
    }
    let tag = tag(name.trim())?;
    check_further(tag, &value).map_err(|error| error.to_string())?;
    Ok((tag, value))
}

/// Reads a keyword of PS3.6, or `gggg,eeee`, also in parentheses.
fn tag(name: &str) -> Result<Tag, String> {
    if let Some(entry) = StandardDataDictionary.by_name(name) {
        return Ok(entry.tag());
    }
    let bare = name.trim_start_matches('(').trim_end_matches(')');
    let number = |text: &str| {
        (text.len() == 4)
            .then(|| u16::from_str_radix(text, 16).ok())
            .flatten()
    };
    let parsed = bare
        .split_once(',')
        .and_then(|(group, element)| Some(Tag(number(group)?, number(element)?)));
    parsed.ok_or_else(|| {
        format!("{name:?} is no attribute: give a keyword of PS3.6 like StudyID, or 0020,0010")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn a_further_key_by_keyword_or_number() {
        assert_eq!(further_key("StudyID=77"), Ok((tags::STUDY_ID, "77".to_owned())));
        assert_eq!(
            further_key("0020,0010=a=b"),
            Ok((tags::STUDY_ID, "a=b".to_owned()))
        );
        assert_eq!(further_key("(0020,0010)"), Ok((tags::STUDY_ID, String::new())));
        for text in ["", "Study ID=1", "20,10=1", "0020,00100=1", "StudyID=a\nb"] {
            assert!(further_key(text).is_err(), "{text}");
        }
    }
}
