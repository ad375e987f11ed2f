//! A moment in the past as people write it, for `--since` and `--until`.
//!
//! Invariant: what names no zone is in the local one; a time of day without a date is the last one that has passed.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::model::{DateRange, parse_duration};

/// Reads `16:20`, `2026-03-01`, `2026-03-01 16:20`, `2026-03-01T16:20:00Z`, `yesterday`, `-7d`, `-2h`.
pub fn parse_past(text: &str) -> Result<Timestamp, String> {
    let now = ZonedDateTime::now();
    past(text, &now).ok_or_else(|| {
        format!("invalid time {text:?}: it is like 16:20, 2026-03-01, '2026-03-01 16:20', 2026-03-01T16:20:00Z, -7d or -2h")
    })
}

fn past(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let zone = now.time_zone().clone();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Ok(time) = Time::strptime("%H:%M", text) {
        let at = |date: jiff::civil::Date| date.to_datetime(time).to_zoned_datetime(zone.clone()).ok();
        let today = at(now.date())?;
        let last = if today > *now {
            at(now.date().yesterday().ok()?)?
        } else {
            today
        };
        return Some(last.timestamp());
    }
    if let Ok(range) = DateRange::parse(text, now.date()) {
        return midnight(range, zone);
    }
    if let Some(back) = text.strip_prefix('-') {
        let duration = parse_duration(back).ok()?;
        return now.timestamp().checked_sub(duration).ok();
    }
    let local = text.parse::<DateTime>().ok()?;
    Some(local.to_zoned_datetime(zone).ok()?.timestamp())
}

/// The beginning of the first day.
fn midnight(range: DateRange, zone: TimeZone) -> Option<Timestamp> {
    Some(range.first()?.to_zoned_datetime(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_people_write_them() {
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
}
