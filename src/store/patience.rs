//! How we wait for others who write: in short pauses of random length, so that many who wait all get their turn.
//!
//! Invariant: a wait ends after `PATIENCE`. Nothing here knows what is waited for.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// The longest wait for a lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// SQLite's busy handler: pauses, and says whether to try again. `attempt` counts from 0 for each wait.
pub(super) fn wait_in_turn(attempt: i32) -> bool {
    thread_local! {
        static BEGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if attempt == 0 {
        BEGIN.set(Some(Instant::now()));
    }
    if BEGIN.get().is_some_and(|begin| begin.elapsed() >= PATIENCE) {
        return false;
    }
    pause(attempt);
    true
}

/// Pauses for a random time: under a millisecond at first, under 16 ms later.
pub(super) fn pause(attempt: i32) {
    let longest_us = 1000_u64 << attempt.clamp(0, 4);
    // Each RandomState has other keys: random enough to part the waiting, without a generator of our own.
    let random = RandomState::new().build_hasher().finish();
    std::thread::sleep(Duration::from_micros(50 + random % longest_us));
}
