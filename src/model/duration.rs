//! Durations as people write them: `500ms`, `5s`, `2m`, `1h30m`, and `30d` where something is kept.
//!
//! Invariant: what `show_duration` writes, `parse_duration` reads back to the same value.

use std::time::Duration;

use super::Invalid;

/// The longest duration taken: a day, less would not serve and more is a slip of the hand.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration of 1 ms to 24 h. A bare number is refused: its unit would be a guess.
pub fn parse_duration(text: &str) -> Result<Duration, Invalid> {
    let rule = "it is a number with a unit, like 500ms, 5s or 2m, from 1ms to 24h";
    let invalid = || Invalid::new("duration", text, rule);
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| invalid())?;
    let duration = Duration::try_from(parsed).map_err(|_| invalid())?;
    if duration < Duration::from_millis(1) || duration > LONGEST {
        return Err(invalid());
    }
    Ok(duration)
}

/// The most days that something is kept.
const MOST_DAYS: u64 = 36_500;

/// Reads how long something is kept: days like `30d`, up to 36500d, or a shorter duration as [`parse_duration`] does.
pub fn parse_keeping(text: &str) -> Result<Duration, Invalid> {
    let rule = "it is a number of days like 30d, from 1d to 36500d, or a duration like 12h";
    let invalid = || Invalid::new("duration", text, rule);
    let Some(days) = text.strip_suffix('d') else {
        return parse_duration(text).map_err(|_| invalid());
    };
    match days.parse::<u64>() {
        Ok(days @ 1..=MOST_DAYS) => Ok(Duration::from_secs(days * 24 * 60 * 60)),
        _ => Err(invalid()),
    }
}

/// Writes a duration with the largest units that keep it exact to the millisecond: `1h30m`, `5s`, `1500ms`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if !millis.is_multiple_of(1000) {
        return format!("{millis}ms");
    }
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
    let parts = [(hours, "h"), (minutes, "m"), (seconds, "s")];
    let text: String = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_back() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_millis(), millis);
            assert_eq!(show_duration(duration), text);
        }
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn what_is_kept_is_kept_for_days() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(parse_keeping("30d").ok(), days(30));
        assert_eq!(parse_keeping("36500d").ok(), days(36_500));
        assert_eq!(parse_keeping("24h").ok(), days(1));
        for text in [
            "",
            "d",
            "0d",
            "36501d",
            "-1d",
            "1.5d",
            "30",
            "1d12h",
            "99999999999999999999d",
        ] {
            assert!(parse_keeping(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_unclear() {
        for text in ["", "5", "-5s", "0s", "25h", "soon"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
