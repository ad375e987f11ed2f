//! The prefetch rules applied to studies: which priors are chosen, in which order, and why another is left out.
//!
//! A rule that is for the study at hand takes its newest `max_number` of the priors that meet all it asks for. Chosen is
//! what any rule takes; its rank is by the first rule that took it, then newest first.
//!
//! Invariants: a pure function of the set of candidates, whatever their order; each has exactly one verdict. No rule
//! takes more than its number. Moments are compared in UTC, so that "newest" does not depend on a site's zone.

mod reason;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::model::{Availability, PrefetchRule, PrefetchRules, ReportStatus, StudyAnswer, Uid, Verification};

pub use reason::{Chosen, Doubt, LeftOut, Shortcoming, Verdict};

/// Objects of these kinds go with images, and don't make two studies alike.
const BESIDE_IMAGES: [&str; 6] = ["AU", "DOC", "KO", "PR", "REG", "SR"];

/// How far the clock on one wall may be from UTC.
const WIDEST_OFFSET: SignedDuration = SignedDuration::from_hours(14);

/// The study for which priors are wanted: one that is there, or one that is only scheduled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// Its UID, where it has one.
    pub study_instance_uid: Option<Uid>,
    /// Its modalities.
    pub modalities: Vec<String>,
    /// Its body part, as the mapping tables give it.
    pub body_part: Option<String>,
    /// Its specialty, as the mapping tables give it.
    pub specialty: Option<String>,
    /// When it began, or is to begin; without a date it is now.
    pub study_date: Option<Date>,
    /// The time of day; without it, the end of the day.
    pub study_time: Option<Time>,
    /// How far the site's clock is from UTC.
    pub utc_offset: Option<Offset>,
}

impl From<&StudyAnswer> for Current {
    fn from(study: &StudyAnswer) -> Self {
        Current {
            study_instance_uid: Some(study.study_instance_uid.clone()),
            modalities: study.modalities.clone(),
            body_part: study.body_part.clone(),
            specialty: study.specialty.clone(),
            study_date: study.study_date,
            study_time: study.study_time,
            utc_offset: study.utc_offset,
        }
    }
}

impl Current {
    /// When it begins, in UTC.
    fn begins(&self, now: Timestamp) -> DateTime {
        let Some(date) = self.study_date else {
            return Offset::UTC.to_datetime(now);
        };
        let time = self.study_time.unwrap_or(Time::MAX);
        let offset = self.utc_offset.unwrap_or(Offset::UTC);
        let local = date.to_datetime(time);
        local
            .checked_sub(SignedDuration::from_secs(offset.seconds().into()))
            .unwrap_or(local)
    }
}

/// A study that may be a prior.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The study.
    pub study: &'a StudyAnswer,
    /// Where its best copy is kept.
    pub availability: Option<Availability>,
    /// What speaks against it whatever the rules say.
    pub doubt: Option<Doubt>,
}

/// A candidate with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its place among the candidates.
    pub candidate: usize,
    /// Chosen, or left out, and why.
    pub verdict: Verdict,
}

/// Judges all candidates: first the chosen ones by rank, then the others, newest first.
///
/// Without a current study each candidate is judged as though the study that is to come were of its own kind.
pub fn judge(
    rules: &PrefetchRules,
    current: Option<&Current>,
    candidates: &[Candidate<'_>],
    now: Timestamp,
) -> Vec<Judged> {
    let occasion = Occasion::new(current, now);
    let mut newest_first: Vec<usize> = (0..candidates.len()).collect();
    newest_first.sort_by_key(|place| {
        let study = candidates[*place].study;
        (Reverse(study.began()), study)
    });
    let mut chosen: Vec<(usize, Chosen)> = Vec::new();
    let mut nearest: BTreeMap<usize, LeftOut> = BTreeMap::new();
    for place in &newest_first {
        let cause = occasion.excludes(&candidates[*place]);
        nearest.insert(*place, cause.unwrap_or(LeftOut::NoRule));
    }
    let open: Vec<usize> = newest_first
        .iter()
        .copied()
        .filter(|place| nearest.get(place) == Some(&LeftOut::NoRule))
        .collect();
    for rule in rules.rules() {
        let mut taken = 0;
        for place in &open {
            let candidate = &candidates[*place];
            let Some(fit) = occasion.fit(rule, candidate, taken) else {
                continue;
            };
            match fit {
                Ok(number) => {
                    taken = number;
                    if !chosen.iter().any(|(known, _)| known == place) {
                        let why = Chosen::by(rule, candidate.study, occasion.begins, number);
                        chosen.push((*place, why));
                    }
                }
                Err(shortcoming) => {
                    if let Shortcoming::OneTooMany { number, .. } = shortcoming {
                        taken = number;
                    }
                    reason::keep_nearest(&mut nearest, *place, rule, shortcoming);
                }
            }
        }
    }
    in_order(chosen, nearest, &newest_first)
}

/// Chosen come in the order of rules and, within a rule, newest first already.
fn in_order(
    chosen: Vec<(usize, Chosen)>,
    mut left_out: BTreeMap<usize, LeftOut>,
    newest_first: &[usize],
) -> Vec<Judged> {
    let mut judged = Vec::with_capacity(newest_first.len());
    for (candidate, why) in chosen {
        left_out.remove(&candidate);
        judged.push(Judged {
            candidate,
            verdict: Verdict::Chosen(why),
        });
    }
    for candidate in newest_first {
        if let Some(why) = left_out.remove(candidate) {
            judged.push(Judged {
                candidate: *candidate,
                verdict: Verdict::LeftOut(why),
            });
        }
    }
    judged
}

/// What the candidates are held against.
struct Occasion<'a> {
    current: Option<&'a Current>,
    begins: DateTime,
}

impl<'a> Occasion<'a> {
    fn new(current: Option<&'a Current>, now: Timestamp) -> Self {
        Occasion {
            current,
            begins: current.map_or_else(|| Offset::UTC.to_datetime(now), |current| current.begins(now)),
        }
    }

    /// Why a candidate is no prior whatever the rules say.
    fn excludes(&self, candidate: &Candidate<'_>) -> Option<LeftOut> {
        let study = candidate.study;
        let uid = self
            .current
            .and_then(|current| current.study_instance_uid.as_ref());
        if uid == Some(&study.study_instance_uid) {
            Some(LeftOut::Itself)
        } else if let Some(doubt) = candidate.doubt {
            Some(LeftOut::InDoubt(doubt))
        } else if study.verification == Some(Verification::Failed) {
            Some(LeftOut::VerificationFailed)
        } else if candidate.availability == Some(Availability::Unavailable) {
            Some(LeftOut::Unavailable)
        } else {
            self.is_later(study).then_some(LeftOut::NotEarlier)
        }
    }

    /// Whether the candidate began after the study at hand. Where only one of both sites names its zone, their clocks
    /// may be hours apart without any of them being wrong.
    fn is_later(&self, study: &StudyAnswer) -> bool {
        let names_zone = self
            .current
            .is_none_or(|current| current.utc_offset.is_some() || current.study_date.is_none());
        let doubt = match names_zone == study.utc_offset.is_some() {
            true => SignedDuration::ZERO,
            false => WIDEST_OFFSET,
        };
        let latest = self.begins.checked_add(doubt).unwrap_or(DateTime::MAX);
        study.began().is_some_and(|began| began > latest)
    }

    /// Which of a rule's priors a candidate is, counted from 1, where the rule has `taken` newer ones; or why it is none.
    /// `None` where the rule is not for the study at hand.
    fn fit(
        &self,
        rule: &PrefetchRule,
        candidate: &Candidate<'_>,
        taken: usize,
    ) -> Option<Result<usize, Shortcoming>> {
        let study = candidate.study;
        let prior = Kind::new(&study.modalities, &study.body_part, &study.specialty);
        let at_hand = self.current.map_or_else(
            || Kind::new(&study.modalities, &study.body_part, &study.specialty),
            |current| Kind::new(&current.modalities, &current.body_part, &current.specialty),
        );
        let is_for = rule.for_modality.admit(at_hand.modalities.iter().copied())
            && rule.for_body_part.admit(at_hand.body_part)
            && rule.for_specialty.admit(at_hand.specialty);
        if !is_for {
            return None;
        }
        let shortcoming = of_kind(rule, &at_hand, &prior)
            .or_else(|| of_state(rule, candidate))
            .or_else(|| self.of_age(rule, study));
        let number = taken + 1;
        let most = rule.max_number.map(|most| usize::from(most.get()));
        Some(match (shortcoming, most) {
            (Some(shortcoming), _) => Err(shortcoming),
            (None, Some(most)) if number > most => Err(Shortcoming::OneTooMany { number, most }),
            (None, _) => Ok(number),
        })
    }

    fn of_age(&self, rule: &PrefetchRule, study: &StudyAnswer) -> Option<Shortcoming> {
        let earliest = rule.max_age?.before(self.begins.date());
        let Some(began) = study.began() else {
            return Some(Shortcoming::Undated);
        };
        let date = began.date();
        (date < earliest).then(|| Shortcoming::TooOld(reason::show_age(date, earliest)))
    }
}

/// Of what kind a study is.
struct Kind<'a> {
    modalities: Vec<&'a str>,
    body_part: Option<&'a str>,
    specialty: Option<&'a str>,
}

impl<'a> Kind<'a> {
    fn new(modalities: &'a [String], body_part: &'a Option<String>, specialty: &'a Option<String>) -> Self {
        Kind {
            modalities: image_modalities(modalities),
            body_part: body_part.as_deref(),
            specialty: specialty.as_deref(),
        }
    }
}

/// What a study is made by; where it has nothing but what goes with images, that.
fn image_modalities(modalities: &[String]) -> Vec<&str> {
    let all = || modalities.iter().map(|modality| modality.trim());
    let images: Vec<&str> = all()
        .filter(|modality| !BESIDE_IMAGES.contains(modality))
        .collect();
    match images.is_empty() {
        true => all().collect(),
        false => images,
    }
}

fn of_kind(rule: &PrefetchRule, at_hand: &Kind<'_>, prior: &Kind<'_>) -> Option<Shortcoming> {
    let listed = |value: Option<&str>| value.map(str::to_owned);
    if !rule
        .body_part
        .admits(at_hand.body_part.as_slice(), prior.body_part.as_slice())
    {
        Some(Shortcoming::BodyPart(listed(prior.body_part)))
    } else if !rule.modality.admits(&at_hand.modalities, &prior.modalities) {
        Some(Shortcoming::Modality(prior.modalities.join(",")))
    } else if !rule
        .specialty
        .admits(at_hand.specialty.as_slice(), prior.specialty.as_slice())
    {
        Some(Shortcoming::Specialty(listed(prior.specialty)))
    } else {
        None
    }
}

fn of_state(rule: &PrefetchRule, candidate: &Candidate<'_>) -> Option<Shortcoming> {
    let study = candidate.study;
    if let Some(slowest) = rule.availability
        && candidate.availability.is_some_and(|place| place > slowest)
    {
        return candidate.availability.map(Shortcoming::Slow);
    }
    if rule.verified && study.is_verified() != Some(true) {
        return Some(Shortcoming::Unverified);
    }
    let least = rule.status?;
    let status = study.interpretation_status.as_deref();
    let rank: Option<ReportStatus> = status.and_then(|status| status.parse().ok());
    (rank < Some(least)).then(|| Shortcoming::Report {
        status: status.map(str::to_owned),
        least,
    })
}
