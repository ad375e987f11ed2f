//! A date or range of dates as an administrator types it, and as a C-FIND key says it (PS3.4 C.2.2.2.5.1).
//!
//! Invariant: where both ends are given, the first is not after the last. Relative dates are resolved against a
//! `today` that the caller passes in.

use std::fmt;

use jiff::civil::Date;
use jiff::{Span, ToSpan};

use super::Invalid;

/// A range of dates, either end open, never both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    from: Option<Date>,
    to: Option<Date>,
}

const RULE: &str =
    "it is a date like 2024-01-31, today, yesterday or -7d, or a range like 2024-01-01..2024-06-30 or -7d..";

impl DateRange {
    /// Reads `2024-01-31`, `20240131`, `2024-01-01..2024-06-30`, `..2024-06-30`, `today`, `yesterday`, `-7d..`.
    pub fn parse(text: &str, today: Date) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("date", text, RULE);
        let end = |part: &str| match part.trim() {
            "" => Ok(None),
            part => parse_date(part, today).map(Some).ok_or_else(invalid),
        };
        let range = match text.split_once("..") {
            Some((from, to)) => DateRange {
                from: end(from)?,
                to: end(to)?,
            },
            None => DateRange {
                from: end(text)?,
                to: end(text)?,
            },
        };
        match range {
            DateRange { from: None, to: None } => Err(invalid()),
            DateRange {
                from: Some(from),
                to: Some(to),
            } if from > to => Err(Invalid::new("date range", text, "it ends before it begins")),
            range => Ok(range),
        }
    }

    /// The first day, where the range has one.
    pub fn first(&self) -> Option<Date> {
        self.from
    }

    /// Whether `date` lies in the range.
    pub fn contains(&self, date: Date) -> bool {
        self.from.is_none_or(|from| from <= date) && self.to.is_none_or(|to| date <= to)
    }
}

impl fmt::Display for DateRange {
    /// The matching key of VR DA: `20240131`, `20240101-20240630`, `-20240630`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            |date: Option<Date>| date.map_or(String::new(), |date| date.strftime("%Y%m%d").to_string());
        if self.from == self.to {
            f.write_str(&text(self.from))
        } else {
            write!(f, "{}-{}", text(self.from), text(self.to))
        }
    }
}

fn parse_date(text: &str, today: Date) -> Option<Date> {
    match text {
        "today" => return Some(today),
        "yesterday" => return today.yesterday().ok(),
        "tomorrow" => return today.tomorrow().ok(),
        _ => {}
    }
    if let Some(back) = text.strip_prefix('-') {
        return today.checked_sub(parse_span(back)?).ok();
    }
    let format = if text.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
    let well_formed = matches!((text.contains('-'), text.len()), (true, 10) | (false, 8));
    well_formed.then(|| Date::strptime(format, text).ok()).flatten()
}

/// Reads `7d`, `2w`, `6m`, `1y`.
fn parse_span(text: &str) -> Option<Span> {
    let unit = text.chars().last()?;
    let count: i32 = text
        .strip_suffix(unit)?
        .parse()
        .ok()
        .filter(|count| (0..=100_000).contains(count))?;
    match unit {
        'd' => Some(count.days()),
        'w' => count.checked_mul(7).map(|days| days.days()),
        'm' if count <= 12_000 => Some(count.months()),
        'y' if count <= 1_000 => Some(count.years()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn key(text: &str) -> String {
        DateRange::parse(text, date(2024, 3, 10)).unwrap().to_string()
    }

    #[test]
    fn reads_every_documented_form() {
        assert_eq!(key("2024-01-31"), "20240131");
        assert_eq!(key("20240131"), "20240131");
        assert_eq!(key("2024-01-01..2024-06-30"), "20240101-20240630");
        assert_eq!(key("..2024-06-30"), "-20240630");
        assert_eq!(key("-7d.."), "20240303-");
        assert_eq!(key("today"), "20240310");
        assert_eq!(key("yesterday..today"), "20240309-20240310");
        assert_eq!(key("-1y..today"), "20230310-20240310");
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "..",
            "2024-02-30",
            "31.01.2024",
            "2024-06-30..2024-01-01",
            "-7",
            "-99999999999d",
            "-x",
            "2024",
        ] {
            assert!(DateRange::parse(text, date(2024, 3, 10)).is_err(), "{text}");
        }
    }
}
