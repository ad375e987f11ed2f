//! When a change was made, so that all clusters put changes in the same order: a hybrid logical clock.
//!
//! Invariants: revisions sort as their text does (16 lowercase hex digits of Unix milliseconds, `.`, 8 of a counter). A
//! [`Clock`] gives revisions that are later than all it has given or seen, except those further ahead of the time
//! than its bound: a machine's clock that was a day ahead does not drag it along. Where the last revision is kept is `store`'s.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// A moment of the hybrid logical clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    milliseconds: u64,
    counter: u32,
}

impl Revision {
    /// When it was given by its clock; `None` where it is beyond all calendars.
    pub fn at(self) -> Option<Timestamp> {
        Timestamp::from_millisecond(i64::try_from(self.milliseconds).ok()?).ok()
    }

    /// Whether it is further in the future of `now` than a clock may be ahead.
    pub fn is_too_far_ahead(self, now: Timestamp, limit: Duration) -> bool {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.milliseconds > unix_milliseconds(now).saturating_add(limit)
    }

    /// How far it is in the future of `now`; zero where it is not.
    pub fn ahead_of(self, now: Timestamp) -> Duration {
        Duration::from_millis(self.milliseconds.saturating_sub(unix_milliseconds(now)))
    }

    fn next(self) -> Self {
        match self.counter.checked_add(1) {
            Some(counter) => Revision { counter, ..self },
            None => Revision {
                milliseconds: self.milliseconds.saturating_add(1),
                counter: 0,
            },
        }
    }
}

fn unix_milliseconds(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millisecond()).unwrap_or_default()
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{:08x}", self.milliseconds, self.counter)
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            let rule = "it is 16 lowercase hexadecimal digits, a dot, and 8 more";
            Invalid::new("revision", text, rule)
        };
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        let part = |part: &str, length: usize| part.len() == length && part.chars().all(is_digit);
        let (milliseconds, counter) = text.split_once('.').ok_or_else(invalid)?;
        if !part(milliseconds, 16) || !part(counter, 8) {
            return Err(invalid());
        }
        Ok(Revision {
            milliseconds: u64::from_str_radix(milliseconds, 16).map_err(|_| invalid())?,
            counter: u32::from_str_radix(counter, 16).map_err(|_| invalid())?,
        })
    }
}

impl TryFrom<String> for Revision {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.to_string()
    }
}

/// Gives revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    last: Option<Revision>,
    max_ahead: Duration,
}

impl Clock {
    /// A clock that goes on after the last revision given or seen, `None` where there was none yet, unless that is further
    /// ahead of the time than `max_ahead`.
    pub fn resume(last: Option<Revision>, max_ahead: Duration) -> Self {
        Clock { last, max_ahead }
    }

    /// The last revision given or seen, to be kept for the next start.
    pub fn last(&self) -> Option<Revision> {
        self.last
    }

    /// The next revision, for a change that knows of `known`: it is later than that, however far ahead that is.
    pub fn tick(&mut self, now: Timestamp, known: Option<Revision>) -> Revision {
        let of_machine = Revision {
            milliseconds: unix_milliseconds(now),
            counter: 0,
        };
        let last = self
            .last
            .filter(|last| !last.is_too_far_ahead(now, self.max_ahead));
        let next = match last {
            Some(last) if last >= of_machine => last.next(),
            _ => of_machine,
        };
        self.last = Some(next);
        match known {
            Some(known) if known >= next => {
                self.observe(known.next(), now);
                known.next()
            }
            _ => next,
        }
    }

    /// Takes note of a revision: what is given next is later, unless it is too far ahead.
    pub fn observe(&mut self, revision: Revision, now: Timestamp) {
        if !revision.is_too_far_ahead(now, self.max_ahead) {
            self.last = self.last.max(Some(revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUND: Duration = Duration::from_secs(300);

    fn moment(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    proptest! {
        #[test]
        fn revisions_sort_as_their_text(a: (u64, u32), b: (u64, u32)) {
            let of = |(milliseconds, counter)| Revision { milliseconds, counter };
            let (a, b) = (of(a), of(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse::<Revision>().unwrap(), a);
        }

        #[test]
        fn a_clock_only_goes_forward(steps in prop::collection::vec((0_i64..1_000, any::<bool>()), 1..50)) {
            let mut clock = Clock::resume(None, BOUND);
            let mut last = None;
            for (at, restarts) in steps {
                if restarts {
                    clock = Clock::resume(clock.last(), BOUND);
                }
                let given = clock.tick(moment(at), None);
                prop_assert!(Some(given) > last);
                last = Some(given);
            }
        }
    }

    #[test]
    fn what_was_seen_is_followed() {
        let mut clock = Clock::resume(None, Duration::MAX);
        let seen: Revision = "00000000000f4240.ffffffff".parse().unwrap();
        clock.observe(seen, moment(0));
        let next = clock.tick(moment(0), None);
        assert_eq!(next.to_string(), "00000000000f4241.00000000");
        clock.observe(seen, moment(0));
        assert!(clock.tick(moment(0), None) > next);
    }

    /// Case: the clock jumped ahead and back
    #[test]
    fn what_is_too_far_ahead_is_followed_by_those_alone_that_know_of_it() {
        let day = 86_400_000;
        let mut clock = Clock::resume(None, BOUND);
        let ahead = clock.tick(moment(day), None);
        let mut clock = Clock::resume(clock.last(), BOUND);
        let back = clock.tick(moment(5), None);
        assert_eq!(back.at(), Some(moment(5)));
        let knowing = clock.tick(moment(6), Some(ahead));
        assert!(knowing > ahead);
        assert_eq!(
            knowing.ahead_of(moment(6)).as_millis(),
            u128::try_from(day - 6).unwrap()
        );
        let other = clock.tick(moment(6), None);
        assert!(other > back && other < ahead);
    }

    #[test]
    fn a_clock_may_be_a_little_ahead() {
        let revision: Revision = "00000000000493e0.00000000".parse().unwrap();
        assert!(!revision.is_too_far_ahead(moment(0), Duration::from_secs(300)));
        assert!(revision.is_too_far_ahead(moment(0), Duration::from_secs(299)));
        let absurd: Revision = "ffffffffffffffff.ffffffff".parse().unwrap();
        assert!(absurd.is_too_far_ahead(moment(0), Duration::MAX) || absurd.at().is_none());
    }

    #[test]
    fn what_is_no_revision_is_refused() {
        for text in [
            "",
            ".",
            "0.0",
            "00000000000493E0.00000000",
            "00000000000493e0.000000000",
            "+0000000000493e0.00000000",
        ] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
