//! Studies that arrive in the embedded archive, until nothing more of them has come for a while.
//!
//! Invariant: of so many studies at once at most; what else arrives meanwhile has no priors brought by itself. It is
//! forgotten when the service ends: the worklist, or a person, asks for those priors all the same.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::locked;
use crate::model::Uid;

/// The most studies that are waited for.
const MOST: usize = 10_000;

/// The studies that are arriving.
#[derive(Debug, Default)]
pub(super) struct ArrivingStudies(Mutex<HashMap<Uid, Instant>>);

impl ArrivingStudies {
    /// Notes that an object of this study has just been stored.
    pub(super) fn note(&self, study: Uid) {
        let mut arriving = locked(&self.0);
        if arriving.len() < MOST || arriving.contains_key(&study) {
            arriving.insert(study, Instant::now());
        }
    }

    /// Takes out those of which nothing has come for so long.
    pub(super) fn take_quiet(&self, quiet: Duration) -> Vec<Uid> {
        let now = Instant::now();
        let is_quiet = |_: &Uid, last: &mut Instant| now.duration_since(*last) >= quiet;
        locked(&self.0)
            .extract_if(is_quiet)
            .map(|(study, _)| study)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_study_has_arrived_when_nothing_more_of_it_comes() {
        let studies = ArrivingStudies::default();
        let (one, other): (Uid, Uid) = ("1.2".parse().unwrap(), "1.3".parse().unwrap());
        let quiet = Duration::from_secs(60);
        studies.note(one.clone());
        tokio::time::advance(Duration::from_secs(40)).await;
        studies.note(one.clone());
        studies.note(other.clone());
        tokio::time::advance(Duration::from_secs(40)).await;
        studies.note(other);
        assert_eq!(studies.take_quiet(quiet), []);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(studies.take_quiet(quiet), [one]);
        assert_eq!(studies.take_quiet(quiet), []);
    }
}
