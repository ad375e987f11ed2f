//! What one sight of an archive says after another: which studies are new, which have grown, and which are to be told.
//!
//! Pure. Invariant: a study is due only when it was seen twice with the same count, which is more than is known of it.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::model::{IssuerDomain, StudyAnswer, StudyPatient, Uid};
use crate::store::{PolledArchive, PolledStudy};

/// A study as an archive lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Whose it is; `None` where nobody elsewhere could tell.
    pub(super) patient: Option<StudyPatient>,
    pub(super) date: Option<Date>,
    /// How many instances it has; `None` where the archive does not say.
    pub(super) instances: Option<u32>,
    /// How many each series has; `None` where that was not asked, or not said.
    pub(super) series: Option<BTreeMap<Uid, u32>>,
}

/// What is to be kept of a sight, and what it brings to light.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) noted: Vec<PolledStudy>,
    /// Those that are out of sight.
    pub(super) forgotten: Vec<Uid>,
    /// Those that have news and have not changed since the sight before.
    pub(super) due: Vec<PolledStudy>,
}

impl Sight {
    /// What an answer tells; of one with its series, listed instances count where the archive does not say how many.
    pub(super) fn of(answer: StudyAnswer) -> Self {
        let count = |listed: usize| u32::try_from(listed).unwrap_or(u32::MAX);
        let of_series = answer.series.iter().map(|series| {
            let listed = (!series.images.is_empty()).then(|| count(series.images.len()));
            Some((series.series_instance_uid.clone(), listed.or(series.instances)?))
        });
        let series: Option<BTreeMap<Uid, u32>> = of_series.collect();
        let series = series.filter(|series| !series.is_empty());
        let listed: usize = answer.series.iter().map(|series| series.images.len()).sum();
        Sight {
            patient: patient(&answer),
            date: answer.study_date,
            instances: match listed {
                0 => answer.instances,
                listed => Some(count(listed)),
            },
            series,
        }
    }

    /// Another answer of the same study: of another patient it makes it nobody's.
    pub(super) fn join(&mut self, other: Sight) {
        if self.patient != other.patient {
            self.patient = None;
        }
        self.instances = self.instances.max(other.instances);
        self.series = None;
    }
}

/// The counts of series by their UIDs.
pub(super) fn counts<'u>(series: impl Iterator<Item = (&'u Uid, usize)>) -> BTreeMap<Uid, u32> {
    let counts = series.map(|(uid, count)| (uid.clone(), u32::try_from(count).unwrap_or(u32::MAX)));
    counts.collect()
}

/// Whether a series of which so many instances are listed may have some that are news.
pub(super) fn has_grown(study: &PolledStudy, series: &Uid, listed: usize) -> bool {
    let known = study
        .series
        .as_ref()
        .map(|known| known.get(series).copied().unwrap_or(0));
    known.is_none_or(|known| listed > known as usize)
}

/// Compares what is seen with what was; `before` is `None` at first sight.
pub(super) fn compare(
    before: Option<&PolledArchive>,
    known: &BTreeMap<Uid, PolledStudy>,
    seen: &BTreeMap<Uid, Sight>,
) -> Compared {
    let mut compared = Compared::default();
    for (study, sight) in seen {
        let instances = sight.instances.unwrap_or(0);
        let noted = match known.get(study) {
            Some(known) if known.instances == instances => {
                if known.has_news() {
                    compared.due.push(known.clone());
                }
                continue;
            }
            // Some were removed: which of those that are left are known can't be told.
            Some(known) if instances < known.known => PolledStudy {
                instances,
                known: instances,
                series: sight.series.clone(),
                ..known.clone()
            },
            Some(known) => PolledStudy {
                instances,
                ..known.clone()
            },
            None => first_noted(before, study, sight, instances),
        };
        compared.noted.push(noted);
    }
    let out_of_sight = known.keys().filter(|study| !seen.contains_key(study));
    compared.forgotten = out_of_sight.cloned().collect();
    compared
}

fn first_noted(before: Option<&PolledArchive>, study: &Uid, sight: &Sight, instances: u32) -> PolledStudy {
    let was_looked_for = |before: &PolledArchive| sight.date.is_none_or(|date| date >= before.first_day);
    let is_new = before.is_some_and(was_looked_for);
    PolledStudy {
        study: study.clone(),
        instances,
        known: if is_new { 0 } else { instances },
        series: match is_new {
            true => Some(BTreeMap::new()),
            false => sight.series.clone(),
        },
    }
}

fn patient(answer: &StudyAnswer) -> Option<StudyPatient> {
    let patient = &answer.patient_id;
    match &patient.domain {
        IssuerDomain::Named(issuer) if !patient.id.is_empty() => Some(StudyPatient {
            id: patient.id.clone(),
            issuer: Some(issuer.clone()),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn sight(date: &str, instances: u32) -> Sight {
        Sight {
            patient: None,
            date: Some(date.parse().unwrap()),
            instances: Some(instances),
            series: None,
        }
    }

    fn study(instances: u32, known: u32, series: Option<&[(&str, u32)]>) -> PolledStudy {
        let series = series.map(|series| {
            series
                .iter()
                .map(|(series, count)| (uid(series), *count))
                .collect()
        });
        PolledStudy {
            study: uid("1.2"),
            instances,
            known,
            series,
        }
    }

    /// What is made of the study when it is seen so, after it was known so.
    fn compared(before: Option<&str>, known: Option<PolledStudy>, seen: Option<Sight>) -> Compared {
        let before = before.map(|first_day| PolledArchive {
            at: Timestamp::UNIX_EPOCH,
            first_day: first_day.parse().unwrap(),
        });
        let known = known.into_iter().map(|known| (uid("1.2"), known)).collect();
        let seen = seen.into_iter().map(|seen| (uid("1.2"), seen)).collect();
        compare(before.as_ref(), &known, &seen)
    }

    fn noted(study: PolledStudy) -> Compared {
        Compared {
            noted: vec![study],
            ..Compared::default()
        }
    }

    const SINCE: Option<&str> = Some("2026-11-23");

    #[test]
    fn the_first_sight_is_no_news_and_a_later_study_is() {
        let today = || Some(sight("2026-11-24", 5));
        assert_eq!(compared(None, None, today()), noted(study(5, 5, None)));
        assert_eq!(compared(SINCE, None, today()), noted(study(5, 0, Some(&[]))));
        let of_before = Some(sight("2026-11-20", 5));
        assert_eq!(
            compared(SINCE, None, of_before),
            noted(study(5, 5, None)),
            "nobody asked for it before"
        );
    }

    #[test]
    fn what_grows_is_due_when_it_was_the_same_once_more() {
        let series: Option<&[(&str, u32)]> = Some(&[("1.2.1", 3)]);
        let seen = |count| Some(sight("2026-11-24", count));
        let grown = study(5, 3, series);
        assert_eq!(
            compared(SINCE, Some(study(3, 3, series)), seen(5)),
            noted(grown.clone())
        );
        assert_eq!(
            compared(SINCE, Some(grown.clone()), seen(6)),
            noted(study(6, 3, series))
        );
        let due = compared(SINCE, Some(grown.clone()), seen(5));
        assert_eq!((due.due, due.noted), (vec![grown], vec![]));
        assert_eq!(
            compared(SINCE, Some(study(3, 3, series)), seen(3)),
            Compared::default()
        );
    }

    #[test]
    fn what_was_removed_is_no_news_and_what_comes_then_is() {
        let series: Option<&[(&str, u32)]> = Some(&[("1.2.1", 5)]);
        let seen = |count| Some(sight("2026-11-24", count));
        let shrunk = study(2, 2, None);
        assert_eq!(
            compared(SINCE, Some(study(5, 5, series)), seen(2)),
            noted(shrunk.clone())
        );
        assert_eq!(compared(SINCE, Some(shrunk), seen(4)), noted(study(4, 2, None)));
        let gone = compared(SINCE, Some(study(4, 2, None)), None);
        assert_eq!((gone.forgotten, gone.noted), (vec![uid("1.2")], vec![]));
    }
}
