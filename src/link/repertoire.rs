//! The character sets in which a key beyond ASCII is written for a station.
//!
//! A station whose character set is configured is asked in that one. Else it is asked in the sets in which it has matched
//! keys before. Where none of those is known, it is asked in UTF-8 and then in the set that its caller used, or the first
//! of the older ones that has the characters: an archive that compares bytes matches in one of them and answers the other
//! with "no match", which looks like a good answer.
//!
//! Invariant: no attempt is left out because another one found nothing.

use std::collections::VecDeque;

use super::conversation::Interrupt;
use super::identifier::Keys;
use crate::dimse::charset::Encoder;
use crate::dimse::{Error, Status, StatusClass};
use crate::model::CharacterSet;

/// UTF-8.
const UNICODE: &str = "ISO_IR 192";
/// The sets that are tried besides, the most common first.
const OLDER: [&str; 14] = [
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 144",
    "ISO_IR 126",
    "ISO_IR 148",
    "ISO_IR 127",
    "ISO_IR 138",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 166",
    "ISO_IR 203",
    "\\ISO 2022 IR 87",
    "\\ISO 2022 IR 149",
    "GB18030",
];

/// What is known of the character sets that a station takes keys in.
#[derive(Debug, Clone, Default)]
pub(super) struct Repertoire {
    /// The one that is configured (`--charset`).
    pub(super) configured: Option<CharacterSet>,
    /// The one in which the caller wrote its keys.
    pub(super) callers: Option<CharacterSet>,
    /// Those in which the station has matched keys.
    pub(super) known: Vec<CharacterSet>,
}

impl Repertoire {
    /// The attempts to make with these keys, in their order.
    pub(super) fn trial(&self, keys: &Keys) -> Trial {
        let texts: Vec<&str> = keys
            .iter()
            .map(|key| key.value.as_str())
            .filter(|text| !text.is_ascii())
            .collect();
        if texts.is_empty() {
            return Trial::in_unicode();
        }
        if let Some(configured) = &self.configured {
            return Trial::of([Attempt::in_set(configured.clone(), false)]);
        }
        let can_write = |set: &CharacterSet| {
            let encoder = Encoder::for_station(set);
            texts.iter().all(|text| encoder.encode(text).is_ok())
        };
        let mut sets: Vec<CharacterSet> = self.known.iter().filter(|set| can_write(set)).cloned().collect();
        let known = sets.len();
        let older = OLDER.iter().filter_map(|set| set.parse().ok());
        let unicode: Option<CharacterSet> = UNICODE.parse().ok();
        let callers = self.callers.iter().cloned();
        let guess = callers
            .filter(|set| Some(set) != unicode.as_ref())
            .chain(older)
            .find(can_write);
        for set in unicode.into_iter().chain(guess) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        let attempts = sets.into_iter().enumerate();
        Trial::of(attempts.map(|(place, set)| Attempt::in_set(set, known > 0 && place >= known)))
    }
}

/// One way to write the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Attempt {
    /// `None` where ASCII will do.
    set: Option<CharacterSet>,
    /// Whether it is made only where those before it were refused.
    is_last_resort: bool,
}

impl Attempt {
    fn in_set(set: CharacterSet, is_last_resort: bool) -> Self {
        Attempt {
            set: Some(set),
            is_last_resort,
        }
    }
}

/// The attempts to put one query to a station.
#[derive(Debug)]
pub(super) struct Trial {
    attempts: VecDeque<Attempt>,
    current: Option<CharacterSet>,
    /// Whether the station was asked in more than one set.
    pub(super) tried: Vec<CharacterSet>,
    /// The sets in which keys were matched.
    pub(super) matched: Vec<CharacterSet>,
    has_answered: bool,
    refusal: Option<Interrupt>,
}

/// What is to be done after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Go on over the same association.
    Next,
    /// The station has ended the association: open another one.
    Reopen,
}

impl Trial {
    /// The one attempt at who takes Unicode.
    pub(super) fn in_unicode() -> Self {
        Trial::of([Attempt::default()])
    }

    fn of(attempts: impl IntoIterator<Item = Attempt>) -> Self {
        Trial {
            attempts: attempts.into_iter().collect(),
            current: None,
            tried: Vec::new(),
            matched: Vec::new(),
            has_answered: false,
            refusal: None,
        }
    }

    /// How many attempts may yet be made.
    pub(super) fn attempts_left(&self) -> usize {
        self.attempts.len()
    }

    /// The set of the next attempt, which is `None` for ASCII; `None` where there is none left to make.
    pub(super) fn next(&mut self) -> Option<Option<CharacterSet>> {
        let attempt = self
            .attempts
            .pop_front()
            .filter(|attempt| !(attempt.is_last_resort && self.has_answered))?;
        self.tried.extend(attempt.set.clone());
        self.current.clone_from(&attempt.set);
        Some(attempt.set)
    }

    /// Takes note of an attempt that brought so many rows that are `new`. A failure that says nothing about the character
    /// set, or that leaves nothing to try, is given back.
    pub(super) fn note(&mut self, ended: Result<(), Interrupt>, new: u64) -> Result<After, Interrupt> {
        match ended {
            Ok(()) => {
                self.has_answered = true;
                if new > 0 {
                    self.matched.extend(self.current.take());
                }
                Ok(After::Next)
            }
            Err(interrupt) if new > 0 || !is_refusal(&interrupt) => Err(interrupt),
            Err(interrupt) if self.attempts.is_empty() && !self.has_answered => {
                Err(self.refusal.take().unwrap_or(interrupt))
            }
            Err(interrupt) => {
                let after = match &interrupt {
                    Interrupt::Peer(_) => After::Reopen,
                    _ => After::Next,
                };
                self.refusal.get_or_insert(interrupt);
                Ok(after)
            }
        }
    }
}

/// Whether a station may have failed because of how the keys were written: it ended the query with a failure that is not
/// for lack of resources, or hung up.
fn is_refusal(interrupt: &Interrupt) -> bool {
    match interrupt {
        Interrupt::Ended(end) => {
            end.status.class() == StatusClass::Failure && !matches!(end.status, Status(0xA700..=0xA7FF))
        }
        Interrupt::Peer(error) => is_hang_up(error),
        _ => false,
    }
}

/// Whether the peer ended the association.
pub(super) fn is_hang_up(error: &Error) -> bool {
    matches!(
        error,
        Error::Closed(_) | Error::Aborted(_) | Error::Released(_) | Error::Ended | Error::Io { .. }
    )
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;
    use dicom_dictionary_std::tags;

    use super::*;
    use crate::dimse::FindEnd;

    fn set(text: &str) -> CharacterSet {
        text.parse().unwrap()
    }

    fn trial(name: &str, repertoire: &Repertoire) -> Trial {
        let mut keys = Keys::at("STUDY", &[]);
        keys.set(tags::PATIENT_NAME, VR::PN, name);
        repertoire.trial(&keys)
    }

    fn sets(name: &str, repertoire: &Repertoire) -> Vec<String> {
        let mut trial = trial(name, repertoire);
        let sets = std::iter::from_fn(|| trial.next());
        sets.map(|set| set.map_or_else(String::new, |set| set.to_string()))
            .collect()
    }

    fn refused(status: u16) -> Result<(), Interrupt> {
        Err(Interrupt::Ended(FindEnd {
            status: Status(status),
            comment: None,
            offending_elements: Vec::new(),
        }))
    }

    /// Case: a key beyond ASCII
    #[test]
    fn an_unknown_station_is_asked_in_utf_8_and_in_the_older_set_that_has_the_characters() {
        let unknown = Repertoire::default();
        assert_eq!(sets("MULLER*", &unknown), [""]);
        assert_eq!(sets("MÜLLER*", &unknown), ["ISO_IR 192", "ISO_IR 100"]);
        assert_eq!(sets("Wiśniewski*", &unknown), ["ISO_IR 192", "ISO_IR 101"]);
        assert_eq!(sets("Αντωνίου*", &unknown), ["ISO_IR 192", "ISO_IR 126"]);
        assert_eq!(sets("山田*", &unknown), ["ISO_IR 192", "\\ISO 2022 IR 87"]);
        let by_caller = Repertoire {
            callers: Some(set("ISO_IR 101")),
            ..Repertoire::default()
        };
        assert_eq!(sets("MÜLLER*", &by_caller), ["ISO_IR 192", "ISO_IR 101"]);
        let configured = Repertoire {
            configured: Some(set("ISO_IR 100")),
            ..by_caller
        };
        assert_eq!(sets("MÜLLER*", &configured), ["ISO_IR 100"]);
    }

    #[test]
    fn what_is_known_is_enough_unless_it_is_refused_or_lacks_a_character() {
        let known = Repertoire {
            known: vec![set("ISO_IR 100")],
            ..Repertoire::default()
        };
        let mut answered = trial("MÜLLER*", &known);
        assert_eq!(answered.next(), Some(Some(set("ISO_IR 100"))));
        answered.note(Ok(()), 0).unwrap();
        assert_eq!(answered.next(), None, "no match is a good answer");
        let mut again = trial("MÜLLER*", &known);
        again.next();
        again.note(refused(0xC001), 0).unwrap();
        assert_eq!(again.next(), Some(Some(set("ISO_IR 192"))));
        assert_eq!(sets("山田*", &known), ["ISO_IR 192", "\\ISO 2022 IR 87"]);
    }

    #[test]
    fn a_refusal_is_told_where_no_attempt_was_answered() {
        let unknown = Repertoire::default();
        let mut all_refused = trial("MÜLLER*", &unknown);
        all_refused.next();
        all_refused.note(refused(0xA900), 0).unwrap();
        all_refused.next();
        let told = all_refused.note(refused(0xC001), 0).unwrap_err();
        assert!(matches!(told, Interrupt::Ended(end) if end.status == Status(0xA900)));
        let mut first_refused = trial("MÜLLER*", &unknown);
        first_refused.next();
        first_refused.note(refused(0xA900), 0).unwrap();
        first_refused.next();
        first_refused.note(Ok(()), 2).unwrap();
        assert_eq!(first_refused.matched, [set("ISO_IR 100")]);
        let mut overloaded = trial("MÜLLER*", &unknown);
        overloaded.next();
        assert!(
            overloaded.note(refused(0xA700), 0).is_err(),
            "lack of resources says nothing of the character set"
        );
    }
}
