//! How long is waited between attempts.
//!
//! Invariant: waits double up to their bound, and two senders that failed together don't come again together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;

/// The wait after `failures` attempts that failed before this one: between three and five quarters of the doubled first.
pub(super) fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let wait = first.saturating_mul(1 << failures.min(16)).min(longest);
    let chance = f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX);
    wait.mul_f64(0.75 + chance / 2.0)
}

/// The moment so long after another.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_differ() {
        let wait = |failures| backoff(failures, Duration::from_secs(1), Duration::from_secs(60));
        for (failures, seconds) in [(0, 1.0), (1, 2.0), (3, 8.0), (6, 60.0), (u32::MAX, 60.0)] {
            let waited = wait(failures).as_secs_f64();
            assert!(
                (0.75 * seconds..=1.25 * seconds).contains(&waited),
                "{failures}: {waited}"
            );
        }
        assert!((0..20).map(|_| wait(0)).any(|other| other != wait(0)));
    }
}
