//! The clock by which changes of studies are put in order, as the store keeps it.
//!
//! Invariants: a jump of the machine's clock ahead, by more than `updates.max_clock_ahead` of the time that has passed
//! since the last change, is not followed while the machine runs. A revision that is further ahead than that is followed
//! by changes of its own study alone, which must sort after it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::configuration::{moment, optional};
use super::{Store, StoreError, audit_log, configuration};
use crate::audit::{Attribution, ClockRebased, Event};
use crate::model::{Clock, Revision, UPDATES_MAX_CLOCK_AHEAD};

/// What is to be known of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockTrouble {
    /// How far the newest revision is ahead of the time, where that is further than is allowed.
    pub newest_ahead: Option<Duration>,
    /// How far the machine's clock has jumped ahead since a change was made last, where that is not followed.
    pub jumped_ahead: Option<Duration>,
}

/// Wall clock and time since the machine was started, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    wall: Timestamp,
    since_boot: SignedDuration,
    /// The identity of the start; `None` where the system does not tell it.
    boot: Option<String>,
}

impl Reading {
    fn now() -> Self {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Reading {
            wall: Timestamp::now(),
            since_boot: SignedDuration::new(
                since_boot.tv_sec,
                i32::try_from(since_boot.tv_nsec).unwrap_or(0),
            ),
            boot: boot.map(|boot| boot.trim().to_owned()),
        }
    }

    /// The time by an earlier reading, where `self` is further ahead of it than `max_ahead`.
    fn without_jump(&self, earlier: Option<&Reading>, max_ahead: Duration) -> Option<Timestamp> {
        let earlier = earlier.filter(|earlier| earlier.boot.is_some() && earlier.boot == self.boot)?;
        let expected = earlier
            .wall
            .checked_add(self.since_boot - earlier.since_boot)
            .ok()?;
        let max_ahead = SignedDuration::try_from(max_ahead).ok()?;
        (self.wall.duration_since(expected) > max_ahead).then_some(expected)
    }
}

/// The clock within a transaction.
#[derive(Debug)]
pub(super) struct UpdateClock {
    clock: Clock,
    furthest: Option<Revision>,
    now: Timestamp,
    reading: Reading,
    has_jumped: bool,
}

/// The row of the clock.
#[derive(Default)]
struct Kept {
    last: Option<Revision>,
    furthest: Option<Revision>,
    reading: Option<Reading>,
}

impl UpdateClock {
    /// Reads it, and the time.
    pub(super) fn read(connection: &Connection, max_ahead: Duration) -> rusqlite::Result<Self> {
        let kept = kept(connection)?;
        let reading = Reading::now();
        let without_jump = reading.without_jump(kept.reading.as_ref(), max_ahead);
        Ok(UpdateClock {
            clock: Clock::resume(kept.last, max_ahead),
            furthest: kept.furthest,
            now: without_jump.unwrap_or(reading.wall),
            has_jumped: without_jump.is_some(),
            reading,
        })
    }

    /// The time, without a jump ahead.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// The next revision, for a change that knows of `known`.
    pub(super) fn tick(&mut self, known: Option<Revision>) -> Revision {
        let given = self.clock.tick(self.now, known);
        self.furthest = self.furthest.max(Some(given));
        given
    }

    /// Takes note of a revision of another cluster.
    pub(super) fn observe(&mut self, revision: Revision) {
        self.clock.observe(revision, self.now);
        self.furthest = self.furthest.max(Some(revision));
    }

    /// Keeps it, where a revision was ever given or seen.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(last) = self.clock.last() else {
            return Ok(());
        };
        connection
            .prepare_cached(
                "INSERT INTO update_clock (id, last, furthest) VALUES (1, ?1, ?2) \
                 ON CONFLICT DO UPDATE SET last = excluded.last, furthest = excluded.furthest",
            )?
            .execute(params![
                last.to_string(),
                self.furthest.map(|furthest| furthest.to_string())
            ])?;
        match self.has_jumped {
            true => Ok(()),
            false => write_reading(connection, &self.reading),
        }
    }
}

impl Store {
    /// What is wrong with the clock.
    pub fn clock_trouble(&self) -> Result<ClockTrouble, StoreError> {
        let snapshot = self.begin_read()?;
        self.sqlite(trouble(&snapshot))
    }

    /// Takes the machine's clock for right: revisions follow it from now on, wherever it has jumped.
    pub fn rebase_clock(&self, attribution: &Attribution) -> Result<ClockTrouble, StoreError> {
        let transaction = self.begin_write()?;
        let rebase = || {
            let before = trouble(&transaction)?;
            write_reading(&transaction, &Reading::now())?;
            let milliseconds = |ahead: Option<Duration>| {
                ahead.map(|ahead| u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX))
            };
            let event = Event::ClockRebased(ClockRebased {
                newest_ahead_ms: milliseconds(before.newest_ahead),
                jumped_ahead_ms: milliseconds(before.jumped_ahead),
            });
            audit_log::append(&transaction, &self.cluster_uid, attribution, &event)?;
            Ok(before)
        };
        let rebased = rebase().and_then(|before| transaction.commit().map(|()| before));
        self.sqlite(rebased)
    }
}

fn trouble(connection: &Connection) -> rusqlite::Result<ClockTrouble> {
    let kept = kept(connection)?;
    let max_ahead = configuration::read_settings(connection)?.duration(UPDATES_MAX_CLOCK_AHEAD);
    let reading = Reading::now();
    let without_jump = reading.without_jump(kept.reading.as_ref(), max_ahead);
    let now = without_jump.unwrap_or(reading.wall);
    Ok(ClockTrouble {
        newest_ahead: kept
            .furthest
            .filter(|furthest| furthest.is_too_far_ahead(now, max_ahead))
            .map(|furthest| furthest.ahead_of(now)),
        jumped_ahead: without_jump
            .and_then(|expected| Duration::try_from(reading.wall.duration_since(expected)).ok()),
    })
}

fn kept(connection: &Connection) -> rusqlite::Result<Kept> {
    let found = connection
        .prepare_cached("SELECT last, furthest, wall, since_boot, boot FROM update_clock")?
        .query_row([], |row| {
            let since_boot: Option<i64> = row.get(3)?;
            let reading = moment(row, 2)?
                .zip(since_boot)
                .map(|(wall, since_boot)| (wall, since_boot, row.get(4)));
            let reading = reading.map(|(wall, since_boot, boot)| {
                Ok::<_, rusqlite::Error>(Reading {
                    wall,
                    since_boot: SignedDuration::from_micros(since_boot),
                    boot: boot?,
                })
            });
            Ok(Kept {
                last: optional(row, 0)?,
                furthest: optional(row, 1)?,
                reading: reading.transpose()?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn write_reading(connection: &Connection, reading: &Reading) -> rusqlite::Result<()> {
    let since_boot = i64::try_from(reading.since_boot.as_micros()).unwrap_or(i64::MAX);
    connection
        .prepare_cached("UPDATE update_clock SET wall = ?1, since_boot = ?2, boot = ?3")?
        .execute(params![reading.wall.as_microsecond(), since_boot, reading.boot])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall_s: i64, since_boot_s: i64, boot: &str) -> Reading {
        Reading {
            wall: Timestamp::from_second(wall_s).unwrap(),
            since_boot: SignedDuration::from_secs(since_boot_s),
            boot: Some(boot.to_owned()),
        }
    }

    #[test]
    fn time_that_has_passed_is_no_jump() {
        let bound = Duration::from_secs(300);
        let earlier = reading(1_000, 10, "a");
        let is_jump = |now: &Reading| now.without_jump(Some(&earlier), bound);
        assert_eq!(is_jump(&reading(91_000, 90_010, "a")), None);
        assert_eq!(is_jump(&reading(1_320, 30, "a")), None);
        assert_eq!(
            is_jump(&reading(1_321, 30, "a")),
            Some(Timestamp::from_second(1_020).unwrap())
        );
        assert_eq!(is_jump(&reading(0, 30, "a")), None);
        assert_eq!(is_jump(&reading(91_000, 30, "b")), None);
        assert_eq!(reading(91_000, 30, "a").without_jump(None, bound), None);
    }
}
