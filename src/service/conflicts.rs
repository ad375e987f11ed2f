//! The studies met whose UID stands for two patients, for `status` to count.
//!
//! Invariant: what is kept of a study is a keyed hash of its UID, and of so many studies at most. It is forgotten when
//! the service ends: the answers of the stations hold it all the same.

use std::collections::HashSet;
use std::sync::Mutex;

use super::locked;
use crate::link::HashKey;
use crate::model::Uid;

/// The most that are told apart.
const MOST: usize = 100_000;

/// The studies met in conflict.
#[derive(Debug)]
pub(super) struct Conflicts {
    key: HashKey,
    met: Mutex<HashSet<[u64; 2]>>,
}

impl Default for Conflicts {
    fn default() -> Self {
        Conflicts {
            key: HashKey::random(),
            met: Mutex::default(),
        }
    }
}

impl Conflicts {
    /// Notes that two stations have this study of two patients.
    pub(super) fn note(&self, study: &Uid) {
        let mut met = locked(&self.met);
        if met.len() < MOST {
            met.insert(self.key.uid(study));
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        locked(&self.met).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_counts_once() {
        let conflicts = Conflicts::default();
        for uid in ["1.2", "1.3", "1.2"] {
            conflicts.note(&uid.parse().unwrap());
        }
        assert_eq!(conflicts.count(), 2);
    }
}
