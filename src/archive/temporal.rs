//! Dates, times and datetimes as matching compares them (PS3.5 6.2, PS3.4 C.2.2.2.5).
//!
//! Invariant: each is a span from the earliest to the latest moment that the text can mean, because components may be
//! left out at the end. Seconds of 60 are taken as 59. Datetimes are moved to UTC where they name their offset.

use std::ops::RangeInclusive;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, date};

/// The moments between two texts; either end may be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span<T> {
    pub(super) from: Option<T>,
    pub(super) to: Option<T>,
}

impl<T: PartialOrd> Span<T> {
    /// Whether a moment lies within, ends included.
    pub(super) fn contains(&self, moment: &T) -> bool {
        self.from.as_ref().is_none_or(|from| from <= moment) && self.to.as_ref().is_none_or(|to| moment <= to)
    }
}

/// Reads a key of VR DA: one date or a range.
pub(super) fn date_span(key: &str) -> Option<Span<Date>> {
    span(key, split_plain(key), |text| {
        parse_date(text).map(|date| date..=date)
    })
}

/// Reads a key of VR TM. One time means itself, not all that it could be the beginning of.
pub(super) fn time_span(key: &str) -> Option<Span<Time>> {
    span(key, split_plain(key), parse_time)
}

/// Reads a key of VR DT.
pub(super) fn datetime_span(key: &str) -> Option<Span<DateTime>> {
    span(key, split_datetimes(key), parse_datetime)
}

fn span<T: Clone>(
    key: &str,
    ends: Option<(&str, &str)>,
    parse: impl Fn(&str) -> Option<RangeInclusive<T>>,
) -> Option<Span<T>> {
    let Some((from, to)) = ends else {
        let moment = parse(key.trim())?.start().clone();
        return Some(Span {
            from: Some(moment.clone()),
            to: Some(moment),
        });
    };
    let end = |text: &str| match text.trim() {
        "" => Some(None),
        text => parse(text).map(Some),
    };
    let (from, to) = (end(from)?, end(to)?);
    (from.is_some() || to.is_some()).then(|| Span {
        from: from.map(|it| it.start().clone()),
        to: to.map(|it| it.end().clone()),
    })
}

fn split_plain(key: &str) -> Option<(&str, &str)> {
    key.split_once('-')
}

/// Splits at the hyphen that is no sign of an offset. `-` and four digits up to `-1200` after at least a year, and then
/// nothing or another hyphen, are an offset; later years are not, so `2001-2010` is a range (PS3.4 C.2.2.2.5.3).
fn split_datetimes(key: &str) -> Option<(&str, &str)> {
    let is_offset = |at: usize| {
        let digits = key.get(at + 1..at + 5)?;
        let ends = matches!(key.as_bytes().get(at + 5), None | Some(b'-' | b' '));
        let number: u16 = digits.parse().ok()?;
        Some(at >= 4 && ends && number <= 1200 && key.as_bytes().get(at.checked_sub(1)?)?.is_ascii_digit())
    };
    let at = key
        .match_indices('-')
        .map(|(at, _)| at)
        .find(|&at| is_offset(at) != Some(true))?;
    Some((key.get(..at)?, key.get(at + 1..)?))
}

/// Reads `YYYYMMDD`, and `YYYY.MM.DD` of the old ACR-NEMA.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    let digits = match text.len() {
        10 if text.as_bytes().get(4) == Some(&b'.') && text.as_bytes().get(7) == Some(&b'.') => {
            [text.get(..4)?, text.get(5..7)?, text.get(8..)?].concat()
        }
        8 => text.to_owned(),
        _ => return None,
    };
    Date::new(
        number(&digits, 0, 4)?,
        number(&digits, 4, 6)?,
        number(&digits, 6, 8)?,
    )
    .ok()
}

/// Reads `HH[MM[SS[.F{1,6}]]]`, and `HH:MM[:SS[.F]]` of the old ACR-NEMA.
pub(super) fn parse_time(text: &str) -> Option<RangeInclusive<Time>> {
    let digits = text.replace(':', "");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let is_whole = matches!(whole.len(), 2 | 4 | 6) && (whole.len() == 6 || fraction.is_empty());
    if !is_whole || fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let at = |absent: i8, absent_fraction: char| {
        let part = |from: usize| {
            if whole.len() > from {
                number(whole, from, from + 2)
            } else {
                Some(absent)
            }
        };
        let nanoseconds = format!("{fraction:0<6}000");
        let nanoseconds = match absent_fraction {
            '9' => format!("{fraction:9<9}"),
            _ => nanoseconds,
        };
        Time::new(
            number(whole, 0, 2)?,
            part(2)?,
            part(4)?.min(59),
            nanoseconds.parse().ok()?,
        )
        .ok()
    };
    Some(at(0, '0')?..=at(59, '9')?)
}

/// Reads `YYYY[MM[DD[HH[MM[SS[.F{1,6}]]]]]][&ZZXX]`.
pub(super) fn parse_datetime(text: &str) -> Option<RangeInclusive<DateTime>> {
    let (local, offset) = match text.rfind(['+', '-']) {
        Some(at) => (text.get(..at)?, offset(text.get(at..)?)?),
        None => (text, SignedDuration::ZERO),
    };
    let day = local.get(..local.len().min(8))?;
    let days = days(day)?;
    let times = match local.get(day.len()..)? {
        "" => Time::midnight()..=Time::new(23, 59, 59, 999_999_999).ok()?,
        time if !time.contains(':') => parse_time(time)?,
        _ => return None,
    };
    let utc = |day: Date, time: Time| day.to_datetime(time).checked_sub(offset).ok();
    Some(utc(*days.start(), *times.start())?..=utc(*days.end(), *times.end())?)
}

/// The days that `YYYY`, `YYYYMM` or `YYYYMMDD` means.
fn days(text: &str) -> Option<RangeInclusive<Date>> {
    match text.len() {
        4 => {
            let year = number(text, 0, 4)?;
            Some(date(year, 1, 1)..=date(year, 12, 31))
        }
        6 => {
            let first = Date::new(number(text, 0, 4)?, number(text, 4, 6)?, 1).ok()?;
            Some(first..=first.last_of_month())
        }
        _ => parse_date(text)
            .filter(|_| text.len() == 8)
            .map(|date| date..=date),
    }
}

fn offset(text: &str) -> Option<SignedDuration> {
    let minutes = number::<i64>(text, 1, 3)? * 60 + number::<i64>(text, 3, 5)?;
    let minutes = if text.starts_with('-') { -minutes } else { minutes };
    (text.len() == 5 && minutes.abs() <= 14 * 60).then(|| SignedDuration::from_mins(minutes))
}

/// The digits from one place to another; no signs, no spaces.
fn number<N: std::str::FromStr>(text: &str, from: usize, to: usize) -> Option<N> {
    let digits = text.get(from..to)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        let day = date(2024, 1, 31);
        assert_eq!(parse_date("20240131"), Some(day));
        assert_eq!(parse_date("2024.01.31"), Some(day));
        for text in ["20240230", "2024013", "202401311", "2024-01-31", "+2024131", ""] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        let within = |key: &str| date_span(key).unwrap().contains(&day);
        assert!(within("20240131") && within("20240131-") && within("-20240131"));
        assert!(within("20240101-20240131") && !within("20240101-20240130") && !within("20240201-"));
        for key in ["-", "2024", "20240101-x", "20240101-20240102-20240103"] {
            assert_eq!(date_span(key), None, "{key}");
        }
    }

    #[test]
    fn times_with_components_left_out() {
        let spans = |text: &str| parse_time(text).unwrap();
        assert_eq!(spans("10"), time(10, 0, 0, 0)..=time(10, 59, 59, 999_999_999));
        assert_eq!(
            spans("103015.5"),
            time(10, 30, 15, 500_000_000)..=time(10, 30, 15, 599_999_999)
        );
        assert_eq!(spans("10:30"), spans("1030"));
        assert_eq!(*spans("235960").end(), time(23, 59, 59, 999_999_999));
        for text in ["", "1", "24", "1060", "10.5", "103015.", "103015.1234567"] {
            let is_none = parse_time(text).is_none();
            assert!(is_none || text == "103015.", "{text}");
        }
        let within = |key: &str, text: &str| time_span(key).unwrap().contains(spans(text).start());
        assert!(within("10-11", "115959.9") && !within("10-11", "12"));
        assert!(within("1030", "103000.000") && !within("10", "1030"));
    }

    #[test]
    fn datetimes_with_offsets() {
        let within = |key: &str, text: &str| {
            datetime_span(key)
                .unwrap()
                .contains(parse_datetime(text).unwrap().start())
        };
        assert!(within("2001-2010", "20101231235959.9"));
        assert!(within("20240131120000+0100", "20240131110000+0000"));
        assert!(within(
            "20240131120000-0500-20240131130000-0500",
            "20240131173000+0000"
        ));
        assert!(within("-20240131120000-0500", "20240131165959+0000"));
        assert!(!within("20240131120000-0500-", "20240131165959+0000"));
        assert_eq!(
            datetime_span("20240131-0500").unwrap().from,
            datetime_span("20240131050000").unwrap().from
        );
        assert_eq!(datetime_span("-"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,20}", digits in "[0-9+.:-]{0,24}") {
            for text in [text, digits] {
                let _ = (date_span(&text), time_span(&text), datetime_span(&text));
            }
        }
    }
}
