//! The fields of a rule as options: what is not named stays as it is, and `any` takes a demand back.

use std::num::NonZeroU16;
use std::str::FromStr;

use clap::builder::BoolishValueParser;

use crate::cli::value;
use crate::model::{
    Availability, MaxAge, Patterns, PrefetchRule, ReportStatus, Selection, least_availability,
};

/// What a rule may be given.
#[derive(Debug, clap::Args)]
pub struct Fields {
    /// Its place: lower comes first and ranks its priors higher [default: 100 for a new rule, after the shipped ones]
    #[arg(long, value_name = "N")]
    order: Option<u16>,
    /// Modalities of the studies that it is for; 'any' for all
    #[arg(long, value_name = "CODE[,…]", value_parser = value::parsed::<Patterns>,
          help_heading = "For which studies")]
    for_modality: Option<Patterns>,
    /// Body parts of the studies that it is for, with * and ?
    #[arg(long, value_name = "VALUE[,…]", value_parser = value::parsed::<Patterns>,
          help_heading = "For which studies")]
    for_body_part: Option<Patterns>,
    /// Specialties of the studies that it is for, with * and ?
    #[arg(long, value_name = "VALUE[,…]", value_parser = value::parsed::<Patterns>,
          help_heading = "For which studies")]
    for_specialty: Option<Patterns>,
    /// Modalities of the priors; 'same' is the study's own, 'any' takes all
    #[arg(long, value_name = "same|CODE[,…]", value_parser = value::parsed::<Selection>,
          help_heading = "Which priors")]
    modality: Option<Selection>,
    /// Body parts of the priors, with * and ?
    #[arg(long, value_name = "same|VALUE[,…]", value_parser = value::parsed::<Selection>,
          help_heading = "Which priors")]
    body_part: Option<Selection>,
    /// Specialties of the priors, with * and ?
    #[arg(long, value_name = "same|VALUE[,…]", value_parser = value::parsed::<Selection>,
          help_heading = "Which priors")]
    specialty: Option<Selection>,
    /// How old they may be when the study begins: 5y, 18m, 6w, 90d, or 'any'
    #[arg(long, value_name = "AGE", value_parser = or_any::<MaxAge>, help_heading = "Which priors")]
    max_age: Option<OrAny<MaxAge>>,
    /// How many it takes, newest first, or 'any'
    #[arg(long, value_name = "N", value_parser = number, help_heading = "Which priors")]
    max_number: Option<OrAny<NonZeroU16>>,
    /// How far their reports must have come: NEW, DICTATION_STARTED, DICTATED, TRANSCRIBED, APPROVED, or 'any'.
    /// Stations that are asked in strict DICOM tell of no report
    #[arg(long, value_name = "STATUS", value_parser = or_any::<ReportStatus>, help_heading = "Which priors")]
    status: Option<OrAny<ReportStatus>>,
    /// Whether they must be verified
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes",
          value_parser = BoolishValueParser::new(), help_heading = "Which priors")]
    verified: Option<bool>,
    /// The slowest place that they may come from: cache, nearline, offline, or 'any'
    #[arg(long, value_name = "PLACE", value_parser = place, help_heading = "Which priors")]
    availability: Option<OrAny<Availability>>,
}

/// A demand, or none.
#[derive(Debug, Clone, Copy)]
struct OrAny<T>(Option<T>);

fn any_or<T>(raw: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<OrAny<T>, String> {
    match raw.eq_ignore_ascii_case("any") {
        true => Ok(OrAny(None)),
        false => read(raw).map(|value| OrAny(Some(value))),
    }
}

fn or_any<T>(raw: &str) -> Result<OrAny<T>, String>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    any_or(raw, value::parsed)
}

fn number(raw: &str) -> Result<OrAny<NonZeroU16>, String> {
    any_or(raw, |raw| {
        let number = raw.parse();
        number.map_err(|_| format!("invalid number {raw:?}: it is a whole number from 1, or 'any'"))
    })
}

fn place(raw: &str) -> Result<OrAny<Availability>, String> {
    any_or(raw, |raw| {
        least_availability(raw).map_err(|error| error.to_string())
    })
}

impl Fields {
    /// Changes what was named.
    pub fn apply(&self, rule: &mut PrefetchRule) {
        fn take<T: Clone>(field: &mut T, named: &Option<T>) {
            if let Some(value) = named {
                *field = value.clone();
            }
        }
        fn take_or_any<T: Copy>(field: &mut Option<T>, named: &Option<OrAny<T>>) {
            if let Some(OrAny(value)) = named {
                *field = *value;
            }
        }
        take(&mut rule.order, &self.order);
        take(&mut rule.for_modality, &self.for_modality);
        take(&mut rule.for_body_part, &self.for_body_part);
        take(&mut rule.for_specialty, &self.for_specialty);
        take(&mut rule.modality, &self.modality);
        take(&mut rule.body_part, &self.body_part);
        take(&mut rule.specialty, &self.specialty);
        take_or_any(&mut rule.max_age, &self.max_age);
        take_or_any(&mut rule.max_number, &self.max_number);
        take_or_any(&mut rule.status, &self.status);
        take(&mut rule.verified, &self.verified);
        take_or_any(&mut rule.availability, &self.availability);
    }
}
