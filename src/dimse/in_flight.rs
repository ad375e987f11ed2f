//! How many bytes of data sets the process holds that came from peers: being received, waiting to be read, or kept as
//! the answers of a query.
//!
//! A process has one memory, so there is one count, over all associations. Invariants: what was counted in is counted
//! out when the last of its bytes is dropped; nothing waits for room, so that nothing can wait for itself. Messages of
//! usual size find room also while large ones are refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

static OF_PROCESS: Budget = Budget {
    held: AtomicUsize::new(0),
    limit: AtomicUsize::new(usize::MAX),
};

#[derive(Debug)]
struct Budget {
    held: AtomicUsize,
    limit: AtomicUsize,
}

/// A data set above this size is refused while three quarters of the limit are taken. Identifiers have less than 4 KiB.
const LARGE: usize = 64 * 1024;

/// Limits what is held to so many bytes, from now on. Without a limit nothing is counted.
pub fn limit_bytes_in_flight(bytes: usize) {
    OF_PROCESS.limit.store(bytes, Ordering::Relaxed);
}

/// How many bytes are held now.
pub fn bytes_in_flight() -> usize {
    OF_PROCESS.held.load(Ordering::Relaxed)
}

/// There is no room for the rest of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Bytes that grow as they come, and are counted.
#[derive(Debug)]
pub(super) struct HeldBytes {
    bytes: Vec<u8>,
    counted: usize,
    budget: &'static Budget,
}

impl Default for HeldBytes {
    fn default() -> Self {
        HeldBytes::within(&OF_PROCESS)
    }
}

impl HeldBytes {
    fn within(budget: &'static Budget) -> Self {
        HeldBytes {
            bytes: Vec::new(),
            counted: 0,
            budget,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a fragment, where there is room for it.
    pub(super) fn append(&mut self, fragment: Vec<u8>) -> Result<(), NoRoom> {
        if self.bytes.is_empty() {
            self.count_up_to(fragment.capacity())?;
            self.bytes = fragment;
            return Ok(());
        }
        let free = self.bytes.capacity() - self.bytes.len();
        if free < fragment.len() {
            let more = fragment.len().max(self.bytes.len() / 2);
            self.count_up_to(self.bytes.len() + more)?;
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(&fragment);
        Ok(())
    }

    fn count_up_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let limit = self.budget.limit.load(Ordering::Relaxed);
        if limit == usize::MAX || bytes <= self.counted {
            return Ok(());
        }
        let limit = if bytes > LARGE { limit - limit / 4 } else { limit };
        let more = bytes - self.counted;
        let within = |held: usize| held.checked_add(more).filter(|held| *held <= limit);
        let counted = &self.budget.held;
        counted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .map_err(|_| NoRoom)?;
        self.counted = bytes;
        Ok(())
    }

    /// The whole, counted until the last clone of it is dropped.
    pub(super) fn finish(mut self) -> Bytes {
        match self.counted {
            0 => Bytes::from(std::mem::take(&mut self.bytes)),
            _ => Bytes::from_owner(self),
        }
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.budget.held.fetch_sub(self.counted, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case: unfinished identifiers of many callers
    #[test]
    fn large_data_sets_leave_room_for_small_ones_and_what_is_dropped_makes_room() {
        static BUDGET: Budget = Budget {
            held: AtomicUsize::new(0),
            limit: AtomicUsize::new(16 * LARGE),
        };
        let mut large = Vec::new();
        let refused = loop {
            let mut bytes = HeldBytes::within(&BUDGET);
            match bytes.append(vec![7; LARGE + 1]) {
                Ok(()) => large.push(bytes.finish()),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, NoRoom);
        let mut small = HeldBytes::within(&BUDGET);
        assert_eq!(small.append(vec![7; 1000]), Ok(()));
        let whole = small.finish();
        let clone = whole.clone();
        drop(whole);
        assert_eq!(clone[..], [7; 1000]);
        drop(large);
        let mut bytes = HeldBytes::within(&BUDGET);
        assert_eq!(bytes.append(vec![7; LARGE]), Ok(()));
        assert_eq!(bytes.append(vec![7; LARGE]), Ok(()));
        drop((clone, bytes));
        assert_eq!(BUDGET.held.load(Ordering::Relaxed), 0);
    }
}
