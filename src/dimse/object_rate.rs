//! The least rate at which the objects of a peer must come: an association is not held by a byte now and then.

use std::time::Duration;

use super::Error;

/// How much of an object has come lately. What we take to write it down is not counted.
#[derive(Debug, Default)]
pub(super) struct ObjectWindow {
    waited: Duration,
    bytes: usize,
}

/// Over how long a time of waiting the rate of an object is looked at.
const RATE_WINDOW: Duration = Duration::from_secs(30);
/// The least bytes a second at which an object comes: a fifth of what a modem did. An association is not held for less.
const LEAST_RATE: usize = 1024;

impl ObjectWindow {
    /// Counts a fragment that was waited for; fails where too little has come in the whole window.
    pub(super) fn count(&mut self, waited: Duration, bytes: usize, silence: Duration) -> Result<(), Error> {
        let window = RATE_WINDOW.min(silence);
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < window {
            return Ok(());
        }
        let ObjectWindow { waited, bytes } = std::mem::take(self);
        if bytes as u128 * 1000 < waited.as_millis() * LEAST_RATE as u128 {
            return Err(Error::TooSlow {
                bytes,
                within: waited,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Case: a message that comes a byte at a time
    #[test]
    fn an_object_that_trickles_ends_after_a_window_and_a_slow_one_goes_on() {
        let mut slow = ObjectWindow::default();
        assert!((0..300).all(|_| slow.count(SECOND, 2 * LEAST_RATE, 60 * SECOND).is_ok()));
        let mut trickle = ObjectWindow::default();
        let cut = (0..300).position(|_| trickle.count(SECOND, 1, 60 * SECOND).is_err());
        assert_eq!(cut, Some(29));
        let mut written_slowly = ObjectWindow::default();
        assert!((0..300).all(|_| written_slowly.count(Duration::ZERO, 1, 60 * SECOND).is_ok()));
    }
}
