//! When each link is tried: at once when it is new or changed, every minute while it answers, and while it does not as
//! rarely as `link::health` says.
//!
//! Invariant: pure; time and chance are given. A station is tried by one attempt at a time, suspended ones not at all,
//! and the outcome of an attempt counts only for the station as it was when the attempt began.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::link::health::wait_after;
use crate::model::{Configuration, Kind, Station, StationName};

/// How often a link that answers is tried.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many failures in a row make a link that is left alone.
const KEEPS_FAILING: u32 = 2;

/// The links and when each is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    links: BTreeMap<StationName, Link>,
}

#[derive(Debug)]
struct Link {
    station: Station,
    failures: u32,
    /// `None` while it is being tried.
    due: Option<Instant>,
}

impl Link {
    /// Whether it is left alone until its next attempt has ended. One failure may be chance.
    fn is_resting(&self, now: Instant) -> bool {
        self.failures >= KEEPS_FAILING && self.due.is_none_or(|due| due > now)
    }
}

/// The next attempt of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    /// How long until then.
    pub(super) wait: Duration,
    /// Whether the link answers now and did not before, or the other way round.
    pub(super) is_news: bool,
}

impl Schedule {
    /// Follows `configuration`: links that are new or changed are due at once, others stay as they are.
    pub(super) fn follow(&mut self, configuration: &Configuration, now: Instant) {
        let mut before = std::mem::take(&mut self.links);
        for station in configuration
            .stations
            .iter()
            .filter(|station| is_watched(station))
        {
            let link = match before.remove(&station.name) {
                Some(link) if link.station == *station => link,
                _ => Link {
                    station: station.clone(),
                    failures: 0,
                    due: Some(now),
                },
            };
            self.links.insert(station.name.clone(), link);
        }
    }

    /// Begins with at most `most` of the links that are due; each is tried once before any comes again.
    pub(super) fn begin(&mut self, now: Instant, date: Timestamp, most: usize) -> Vec<Station> {
        let mut due: Vec<(Instant, &mut Link)> = self
            .links
            .values_mut()
            .filter_map(|link| Some((link.due.filter(|due| *due <= now)?, link)))
            .collect();
        due.sort_by_key(|(due, _)| *due);
        let mut begun = Vec::new();
        for (_, link) in due {
            if link.station.is_suspended(date) {
                link.due = Some(now + INTERVAL);
            } else if begun.len() < most {
                link.due = None;
                begun.push(link.station.clone());
            }
        }
        begun
    }

    /// Plans the next attempt after one of `station` has ended. `chance` is from 0 to 1: it parts links that would be
    /// tried at the same moment for ever. `None` for a station that changed or went meanwhile.
    pub(super) fn end(
        &mut self,
        station: &Station,
        answered: bool,
        now: Instant,
        chance: f64,
    ) -> Option<Planned> {
        let link = self.links.get_mut(&station.name)?;
        if link.station != *station {
            return None;
        }
        let failed_before = link.failures > 0;
        link.failures = if answered {
            0
        } else {
            link.failures.saturating_add(1)
        };
        let wait = pause(link.failures).mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0));
        link.due = Some(now + wait);
        Some(Planned {
            wait,
            is_news: failed_before == answered,
        })
    }

    /// Plans by what a query has seen of `station`: `None` where that changes nothing. Queries that fail while the link
    /// waits for its next attempt are no further failures.
    pub(super) fn note(
        &mut self,
        station: &Station,
        answered: bool,
        now: Instant,
        chance: f64,
    ) -> Option<Planned> {
        let link = self.links.get(&station.name)?;
        let is_known = match answered {
            true => link.failures == 0,
            false => link.is_resting(now),
        };
        if is_known {
            return None;
        }
        self.end(station, answered, now, chance)
    }

    /// The links that fail, each with how often in a row and, where it keeps failing, how long it is left alone.
    pub(super) fn failing(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (&StationName, u32, Option<Duration>)> {
        let failing = self.links.iter().filter(|(_, link)| link.failures > 0);
        failing.map(move |(name, link)| {
            let wait = link
                .due
                .map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
            (name, link.failures, link.is_resting(now).then_some(wait))
        })
    }

    /// When the next attempt is due; `None` when there is nothing to wait for but an attempt under way.
    pub(super) fn next(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.due).min()
    }

    /// Each link with the time until it is due, `None` while it is being tried.
    pub(super) fn waits(&self, now: Instant) -> impl Iterator<Item = (&StationName, Option<Duration>)> {
        self.links.iter().map(move |(name, link)| {
            let wait = link.due.map(|due| due.saturating_duration_since(now));
            (name, wait)
        })
    }
}

/// Archive stations and doors to linked clusters.
fn is_watched(station: &Station) -> bool {
    let matters = station.is_linked() || station.kind == Kind::Archive;
    matters && !station.is_embedded()
}

fn pause(failures: u32) -> Duration {
    if failures == 0 {
        INTERVAL
    } else {
        wait_after(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Suspension;
    use crate::service::examples::{configuration, station};

    fn linked(name: &str) -> Station {
        let mut door = station(name, name, "10.0.0.1");
        door.links.cluster_linking = true;
        door
    }

    fn names(stations: &[Station]) -> Vec<&str> {
        stations.iter().map(|station| station.name.as_str()).collect()
    }

    fn date() -> Timestamp {
        "2024-01-31T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn only_links_and_archives_are_tried_a_few_at_once() {
        let archive = Station {
            kind: Kind::Archive,
            ..station("C", "C", "10.0.0.1")
        };
        let known = vec![linked("A"), linked("B"), archive, station("D", "D", "10.0.0.1")];
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&configuration(known), now);
        assert_eq!(names(&schedule.begin(now, date(), 2)), ["A", "B"]);
        assert_eq!(names(&schedule.begin(now, date(), 2)), ["C"]);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_failing_link_is_tried_ever_more_rarely_up_to_ten_minutes() {
        let door = linked("A");
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&configuration(vec![door.clone()]), now);
        let mut end = |answered| {
            let planned = schedule.end(&door, answered, now, 0.5).unwrap();
            (planned.wait.as_secs(), planned.is_news)
        };
        let failures: Vec<_> = [false; 6].into_iter().map(&mut end).collect();
        let waits = failures.iter().map(|(wait, _)| *wait);
        assert_eq!(waits.collect::<Vec<_>>(), [30, 60, 120, 240, 480, 600]);
        let news = failures.iter().map(|(_, is_news)| *is_news);
        assert_eq!(
            news.collect::<Vec<_>>(),
            [true, false, false, false, false, false]
        );
        assert_eq!(
            [end(true), end(true), end(false)],
            [(60, true), (60, false), (30, true)]
        );
    }

    #[test]
    fn chance_moves_an_attempt_by_a_tenth() {
        let door = linked("A");
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&configuration(vec![door.clone()]), now);
        assert_eq!(schedule.end(&door, true, now, 0.0).unwrap().wait.as_secs(), 54);
        assert_eq!(schedule.end(&door, true, now, 1.0).unwrap().wait.as_secs(), 66);
    }

    #[test]
    fn what_changed_is_due_at_once_and_what_did_not_stays() {
        let (same, mut other) = (linked("A"), linked("B"));
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(
            &configuration(vec![same.clone(), other.clone(), linked("C")]),
            now,
        );
        assert_eq!(schedule.begin(now, date(), 9).len(), 3);
        schedule.end(&same, true, now, 0.5);
        let as_it_was = other.clone();
        other.priority = 7;
        schedule.follow(&configuration(vec![same, other]), now);
        assert_eq!(schedule.end(&as_it_was, false, now, 0.5), None);
        assert_eq!(names(&schedule.begin(now, date(), 9)), ["B"]);
        assert_eq!(schedule.waits(now).count(), 2);
    }

    #[test]
    fn a_suspended_link_is_not_tried_until_it_is_resumed() {
        let suspended = Station {
            suspended: Some(Suspension::Until(date())),
            ..linked("A")
        };
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&configuration(vec![suspended]), now);
        let before = date() - Duration::from_secs(1);
        assert!(schedule.begin(now, before, 9).is_empty());
        assert_eq!(schedule.next(), Some(now + INTERVAL));
        assert_eq!(schedule.begin(now + INTERVAL, date(), 9).len(), 1);
    }
}
