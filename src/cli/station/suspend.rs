//! `station suspend` and `station resume`: a station is asked nothing for a while, and everyone can see that.

use clap_complete::ArgValueCompleter;
use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ZonedDateTime};

use super::find_mut;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::model::{Suspension, parse_duration};

/// Ask a station nothing for a while.
///
/// Answers are partial meanwhile, and say so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink station suspend SITEB --until 18:00 --reason CHG1190\n  \
    impaxlink station suspend SITEB --until 2h\n  \
    impaxlink station suspend SITEB")]
pub struct SuspendArgs {
    /// The stations to suspend
    #[arg(value_name = "NAME", required = true, add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    /// The end: a time of day, a date and time, or a duration; without it, until 'station resume'
    #[arg(long, value_name = "TIME", value_parser = parse_until)]
    until: Option<Timestamp>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// End the suspension of a station.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink station resume SITEB")]
pub struct ResumeArgs {
    /// The stations to resume
    #[arg(value_name = "NAME", required = true, add = ArgValueCompleter::new(complete::station_names))]
    names: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `station suspend`.
pub fn run(ui: &mut Ui, args: SuspendArgs) -> anyhow::Result<ExitStatus> {
    let suspension = args.until.map_or(Suspension::Indefinite, Suspension::Until);
    set(ui, &args.names, &args.change, Some(suspension))
}

/// Runs `station resume`.
pub fn resume(ui: &mut Ui, args: ResumeArgs) -> anyhow::Result<ExitStatus> {
    set(ui, &args.names, &args.change, None)
}

fn set(
    ui: &mut Ui,
    names: &[String],
    args: &ChangeArgs,
    to: Option<Suspension>,
) -> anyhow::Result<ExitStatus> {
    let subjects: Vec<String> = names.iter().map(|name| format!("station {name}")).collect();
    change::save(ui, args, &subjects, |configuration| {
        for name in names {
            find_mut(configuration, name)?.suspended = to;
        }
        Ok(())
    })
}

/// Reads `18:00` (today, or tomorrow where that has passed), `2026-03-01T18:00`, with or without a zone, or `2h`.
fn parse_until(text: &str) -> Result<Timestamp, String> {
    let now = ZonedDateTime::now();
    let until = until(text, &now).ok_or_else(|| {
        format!("invalid time {text:?}: it is like 18:00, '2026-03-01 18:00', 2026-03-01T18:00:00Z or 2h")
    })?;
    if until <= now.timestamp() {
        Err(format!("invalid time {text:?}: it has passed already"))
    } else {
        Ok(until)
    }
}

fn until(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    if let Ok(duration) = parse_duration(text) {
        return now.timestamp().checked_add(duration).ok();
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let zone = now.time_zone().clone();
    if let Ok(local) = text.parse::<DateTime>() {
        return Some(local.to_zoned_datetime(zone).ok()?.timestamp());
    }
    let time = Time::strptime("%H:%M", text).ok()?;
    let today = now
        .date()
        .to_datetime(time)
        .to_zoned_datetime(zone.clone())
        .ok()?;
    if today > *now {
        return Some(today.timestamp());
    }
    Some(
        now.date()
            .tomorrow()
            .ok()?
            .to_datetime(time)
            .to_zoned_datetime(zone)
            .ok()?
            .timestamp(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_people_write_them() {
        let now: ZonedDateTime = "2026-03-01T12:00:00[Europe/Berlin]".parse().unwrap();
        let read = |text| until(text, &now).map(|moment| moment.to_string());
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
