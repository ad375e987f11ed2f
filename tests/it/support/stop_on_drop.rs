//! The end of what other threads of a test do, also where the test panics.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tells those who look at the flag that they are done, when it is dropped: else they would go on for ever.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
