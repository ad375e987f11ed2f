//! Moments as people write them: in the past for `--since`, in the future for the end of a suspension.
//!
//! Invariant: what names no zone is in the local one; a time of day without a date is the nearest one on its side of
//! now.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit, ZonedDateTime};

use crate::model::{DateRange, parse_duration};

/// Reads `16:20`, `2026-03-01`, `2026-03-01 16:20`, `2026-03-01T16:20:00Z`, `yesterday`, `-7d`, `-2h`.
pub fn parse_past(text: &str) -> Result<Timestamp, String> {
    let now = ZonedDateTime::now();
    past(text, &now).ok_or_else(|| {
        format!("invalid time {text:?}: it is like 16:20, 2026-03-01, '2026-03-01 16:20', 2026-03-01T16:20:00Z, -7d or -2h")
    })
}

/// Reads `18:00`, `2026-03-01T18:00` with or without a zone, or `2h`.
pub fn parse_future(text: &str) -> Result<Timestamp, String> {
    let now = ZonedDateTime::now();
    let moment = future(text, &now).ok_or_else(|| {
        format!("invalid time {text:?}: it is like 18:00, '2026-03-01 18:00', 2026-03-01T18:00:00Z or 2h")
    })?;
    if moment <= now.timestamp() {
        Err(format!("invalid time {text:?}: it has passed already"))
    } else {
        Ok(to_the_second(moment))
    }
}

/// Nobody means a fraction of a second.
fn to_the_second(moment: Timestamp) -> Timestamp {
    moment.round(Unit::Second).unwrap_or(moment)
}

fn past(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(time) = Time::strptime("%H:%M", text) {
        let today = at(now.date(), time, now)?;
        let is_to_come = today > now.timestamp();
        return if is_to_come {
            at(now.date().yesterday().ok()?, time, now)
        } else {
            Some(today)
        };
    }
    if let Ok(range) = DateRange::parse(text, now.date()) {
        return midnight(range, now.time_zone().clone());
    }
    if let Some(back) = text.strip_prefix('-') {
        let duration = parse_duration(back).ok()?;
        return now.timestamp().checked_sub(duration).ok();
    }
    with_date(text, now)
}

fn future(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(duration) = parse_duration(text) {
        return now.timestamp().checked_add(duration).ok();
    }
    if let Ok(time) = Time::strptime("%H:%M", text) {
        let today = at(now.date(), time, now)?;
        let is_to_come = today > now.timestamp();
        return if is_to_come {
            Some(today)
        } else {
            at(now.date().tomorrow().ok()?, time, now)
        };
    }
    with_date(text, now)
}

/// A date and time, with a zone or in the local one.
fn with_date(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let local = text.parse::<DateTime>().ok()?;
    at(local.date(), local.time(), now)
}

/// That time of that day, in the zone of `now`.
fn at(date: Date, time: Time, now: &ZonedDateTime) -> Option<Timestamp> {
    let zoned = date.to_datetime(time).to_zoned_datetime(now.time_zone().clone());
    Some(zoned.ok()?.timestamp())
}

/// The beginning of the first day.
fn midnight(range: DateRange, zone: TimeZone) -> Option<Timestamp> {
    Some(range.first()?.to_zoned_datetime(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_suspension_is_a_whole_second() {
        assert_eq!(parse_future("2h").unwrap().subsec_nanosecond(), 0);
    }

    #[test]
    fn reads_moments_that_have_passed() {
        let now: ZonedDateTime = "2026-03-01T18:00:00[Europe/Berlin]".parse().unwrap();
        let read = |text| past(text, &now).map(|moment| moment.to_string());
        for (text, expected) in [
            ("16:20", "2026-03-01T15:20:00Z"),
            ("23:50", "2026-02-28T22:50:00Z"),
            ("2026-02-01", "2026-01-31T23:00:00Z"),
            ("2026-02-01 16:20", "2026-02-01T15:20:00Z"),
            ("2026-02-01T16:20:00Z", "2026-02-01T16:20:00Z"),
            ("yesterday", "2026-02-27T23:00:00Z"),
            ("-7d", "2026-02-21T23:00:00Z"),
            ("-2h", "2026-03-01T15:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "soon", "25:00", "-", "..2026-01-01"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn reads_moments_to_come() {
        let now: ZonedDateTime = "2026-03-01T12:00:00[Europe/Berlin]".parse().unwrap();
        let read = |text| future(text, &now).map(|moment| moment.to_string());
        assert_eq!(read("18:00").as_deref(), Some("2026-03-01T17:00:00Z"));
        assert_eq!(read("11:00").as_deref(), Some("2026-03-02T10:00:00Z"));
        assert_eq!(read("2h").as_deref(), Some("2026-03-01T13:00:00Z"));
        assert_eq!(read("2026-03-05T08:00").as_deref(), Some("2026-03-05T07:00:00Z"));
        assert_eq!(
            read("2026-03-05T08:00:00Z").as_deref(),
            Some("2026-03-05T08:00:00Z")
        );
        assert_eq!(read("soon"), None);
    }
}
