//! A window of hours of the day in which something may be done: `20:00-06:00`.
//!
//! Invariant: its ends differ; one that ends before it begins goes over midnight. Times are local to whoever asks.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use jiff::{Timestamp, ZonedDateTime};

use super::Invalid;

/// From one time of the day up to another, which is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    from: Time,
    to: Time,
}

impl DailyWindow {
    /// Whether `time` lies in it.
    pub fn contains(&self, time: Time) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&time),
            false => time >= self.from || time < self.to,
        }
    }

    /// When it opens next after `now`, in the zone of `now`.
    pub fn next_opening(&self, now: &ZonedDateTime) -> Option<Timestamp> {
        let day = match self.from > now.time() {
            true => now.date(),
            false => now.date().tomorrow().ok()?,
        };
        let opening = day
            .to_datetime(self.from)
            .to_zoned_datetime(now.time_zone().clone());
        Some(opening.ok()?.timestamp())
    }
}

impl FromStr for DailyWindow {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = "it is two different times of the day, like 20:00-06:00";
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
        let ends = text
            .split_once('-')
            .and_then(|(from, to)| Some((time(from)?, time(to)?)));
        match ends {
            Some((from, to)) if from != to => Ok(DailyWindow { from, to }),
            _ => Err(Invalid::new("hours", text, rule)),
        }
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    #[test]
    fn it_may_go_over_midnight() {
        let night: DailyWindow = "20:00-06:00".parse().unwrap();
        for (hour, is_in) in [
            (19, false),
            (20, true),
            (23, true),
            (0, true),
            (5, true),
            (6, false),
        ] {
            assert_eq!(night.contains(time(hour, 0, 0, 0)), is_in, "{hour}");
        }
        let day: DailyWindow = "08:30 - 17:00".parse().unwrap();
        assert!(day.contains(time(8, 30, 0, 0)) && !day.contains(time(17, 0, 0, 0)));
        assert_eq!(day.to_string(), "08:30-17:00");
    }

    #[test]
    fn it_opens_today_or_tomorrow() {
        let night: DailyWindow = "20:00-06:00".parse().unwrap();
        let opening = |now: &str| night.next_opening(&now.parse().unwrap()).unwrap().to_string();
        assert_eq!(opening("2026-03-01T12:00[Europe/Berlin]"), "2026-03-01T19:00:00Z");
        assert_eq!(opening("2026-03-01T21:00[Europe/Berlin]"), "2026-03-02T19:00:00Z");
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in ["", "20:00", "20:00-20:00", "25:00-06:00", "8-17"] {
            assert!(text.parse::<DailyWindow>().is_err(), "{text}");
        }
    }
}
