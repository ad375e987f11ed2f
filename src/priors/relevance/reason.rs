//! Verdicts about candidates, and how they are told to people.
//!
//! Invariant: of all rules that a prior falls short of, the one that it came nearest to is told.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Unit;
use jiff::civil::{Date, DateTime};

use crate::model::{Availability, PrefetchRule, ReportStatus, RuleName, StudyAnswer};

/// Chosen, or left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is a relevant prior.
    Chosen(Chosen),
    /// It is none.
    LeftOut(LeftOut),
}

/// Why a prior is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The first rule that took it.
    pub rule: RuleName,
    /// What it met, for a person.
    pub reason: String,
}

impl Chosen {
    /// The rule's `number`-th prior, newest first.
    pub(super) fn by(rule: &PrefetchRule, study: &StudyAnswer, begins: DateTime, number: usize) -> Self {
        let named = |is_any: bool, what: &str, value: Option<String>| {
            let value = value.filter(|_| !is_any)?;
            Some(format!("{what}{value}"))
        };
        let status = study.interpretation_status.clone();
        let most = rule
            .max_number
            .map(|most| format!("{} of at most {most}", newest(number)));
        let parts = [
            named(rule.modality.is_any(), "", Some(study.modalities.join(","))),
            named(rule.body_part.is_any(), "", study.body_part.clone()),
            named(rule.specialty.is_any(), "", study.specialty.clone()),
            named(rule.status.is_none(), "report ", status),
            rule.verified.then(|| "verified".to_owned()),
            study
                .began()
                .map(|began| format!("{} old", show_age(began.date(), begins.date()))),
            most,
        ];
        Chosen {
            rule: rule.name.clone(),
            reason: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        }
    }
}

/// What speaks against a study whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is not known to be this patient's.
    OtherPatient,
    /// Its UID stands for different patients at different stations.
    Conflict,
    /// A person has yet to look at a change elsewhere.
    UnderReview,
}

/// Why a study is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// It is the study at hand.
    Itself,
    /// See there.
    InDoubt(Doubt),
    /// Its verification failed.
    VerificationFailed,
    /// No copy of it is to be had.
    Unavailable,
    /// It began after the study at hand.
    NotEarlier,
    /// No rule is for such a study.
    NoRule,
    /// All rules want something else; this is the one that it came nearest to.
    FallsShort {
        /// The rule.
        rule: RuleName,
        /// What it lacks there.
        of: Shortcoming,
    },
}

/// What a prior lacks of a rule, in the order in which that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortcoming {
    /// Its body part is another, or not known.
    BodyPart(Option<String>),
    /// Its modalities are others.
    Modality(String),
    /// Its specialty is another, or not known.
    Specialty(Option<String>),
    /// Its best copy takes too long.
    Slow(Availability),
    /// It is not verified.
    Unverified,
    /// Its report is not far enough, or nobody says how far it is.
    Report {
        /// How far it is.
        status: Option<String>,
        /// How far it should be.
        least: ReportStatus,
    },
    /// Its date is not known.
    Undated,
    /// It is too old, by so much.
    TooOld(String),
    /// So many newer ones are there that the rule has its number.
    OneTooMany {
        /// Which it would be.
        number: usize,
        /// How many the rule takes.
        most: usize,
    },
}

impl Shortcoming {
    /// How far the prior came with the rule.
    fn nearness(&self) -> u8 {
        match self {
            Shortcoming::BodyPart(_) => 0,
            Shortcoming::Modality(_) => 1,
            Shortcoming::Specialty(_) => 2,
            Shortcoming::Slow(_) => 3,
            Shortcoming::Unverified => 4,
            Shortcoming::Report { .. } => 5,
            Shortcoming::Undated | Shortcoming::TooOld(_) => 6,
            Shortcoming::OneTooMany { .. } => 7,
        }
    }
}

/// Keeps what a prior lacks of `rule` where it came nearer to that rule than to those before.
pub(super) fn keep_nearest(
    nearest: &mut BTreeMap<usize, LeftOut>,
    place: usize,
    rule: &PrefetchRule,
    shortcoming: Shortcoming,
) {
    let is_as_near = matches!(
        nearest.get(&place),
        Some(LeftOut::FallsShort { of, .. }) if of.nearness() >= shortcoming.nearness()
    );
    if !is_as_near {
        let rule = rule.name.clone();
        nearest.insert(
            place,
            LeftOut::FallsShort {
                rule,
                of: shortcoming,
            },
        );
    }
}

/// `2 y 3 mo`, `5 mo`, `12 d`.
pub(super) fn show_age(from: Date, to: Date) -> String {
    let Ok(span) = from.min(to).until((Unit::Year, to)) else {
        return "very".to_owned();
    };
    match (span.get_years(), span.get_months(), span.get_days()) {
        (0, 0, days) => format!("{days} d"),
        (0, months, _) => format!("{months} mo"),
        (years, 0, _) => format!("{years} y"),
        (years, months, _) => format!("{years} y {months} mo"),
    }
}

fn newest(number: usize) -> String {
    match number {
        1 => "newest".to_owned(),
        2 => "2nd newest".to_owned(),
        3 => "3rd newest".to_owned(),
        number => format!("{number}th newest"),
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::OtherPatient => "not known to be this patient's",
            Doubt::Conflict => "in conflict: its UID stands for different patients",
            Doubt::UnderReview => "under review",
        })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::Itself => f.write_str("the study itself"),
            LeftOut::InDoubt(doubt) => doubt.fmt(f),
            LeftOut::VerificationFailed => f.write_str("its verification failed"),
            LeftOut::Unavailable => f.write_str("no copy is to be had"),
            LeftOut::NotEarlier => f.write_str("not earlier than the study"),
            LeftOut::NoRule => f.write_str("no rule is for such a study"),
            LeftOut::FallsShort { of, .. } => of.fmt(f),
        }
    }
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortcoming::BodyPart(Some(part)) => write!(f, "other body part ({part})"),
            Shortcoming::BodyPart(None) => f.write_str("its body part is not known"),
            Shortcoming::Modality(modalities) if modalities.is_empty() => {
                f.write_str("its modality is not known")
            }
            Shortcoming::Modality(modalities) => write!(f, "other modality ({modalities})"),
            Shortcoming::Specialty(Some(specialty)) => write!(f, "other specialty ({specialty})"),
            Shortcoming::Specialty(None) => f.write_str("its specialty is not known"),
            Shortcoming::Slow(place) => f.write_str(place.as_str()),
            Shortcoming::Unverified => f.write_str("not verified"),
            Shortcoming::Report {
                status: Some(status),
                least,
            } => write!(f, "report {status}, below {least}"),
            Shortcoming::Report { status: None, least } => {
                write!(f, "its report status is not known, at least {least} is wanted")
            }
            Shortcoming::Undated => f.write_str("its date is not known"),
            Shortcoming::TooOld(by) => write!(f, "too old by {by}"),
            Shortcoming::OneTooMany { number, most } => write!(f, "{} of at most {most}", newest(*number)),
        }
    }
}
