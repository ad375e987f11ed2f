//! When a link that keeps failing is tried again.
//!
//! Invariant: the wait doubles with each failure in a row, from [`FIRST_WAIT`] to [`LONGEST_WAIT`]. An ad-hoc query
//! tries all the same; the schedule is the service's.

use std::time::Duration;

use jiff::Timestamp;

/// After the first failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(30);
/// However often it has failed.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// When a link is tried next that has failed `failures_in_a_row` times, the last of them now.
pub fn next_try(failures_in_a_row: u32, now: Timestamp) -> Timestamp {
    now.checked_add(wait_after(failures_in_a_row)).unwrap_or(now)
}

/// How long a link is left alone that has failed so many times in a row.
pub fn wait_after(failures_in_a_row: u32) -> Duration {
    let doublings = failures_in_a_row.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let wait = |failures| {
            let next = next_try(failures, Timestamp::UNIX_EPOCH);
            next.duration_since(Timestamp::UNIX_EPOCH).as_secs()
        };
        assert_eq!(
            [wait(1), wait(2), wait(3), wait(6), wait(u32::MAX)],
            [30, 60, 120, 600, 600]
        );
    }
}
