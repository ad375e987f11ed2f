//! Moments and ages as people read them, in the local time zone.
//!
//! Invariant: the time zone is looked up only where a moment is shown: finding it can cost more than a whole command.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `2026-03-01 14:02:31`.
pub fn local_time(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// `14:02`, with the date where that is not the day of `now`.
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let at = at.to_zoned_datetime(zone.clone());
    let is_today = at.date() == now.to_zoned_datetime(zone).date();
    let format = if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(format).to_string()
}

/// How long ago `since` was, in its two largest units.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(since).max(SignedDuration::ZERO).as_mins();
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "< 1 min".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let ago = |minutes: i64| age(now - SignedDuration::from_mins(minutes), now);
        assert_eq!(ago(0), "< 1 min");
        assert_eq!(ago(134), "2 h 14 m");
        assert_eq!(ago(60 * 24 * 41 + 61), "41 d 1 h");
    }
}
