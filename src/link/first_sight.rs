//! What an answer is at the moment it arrives: a study not seen yet, a further copy, or a conflict.
//!
//! Invariant: what is kept of a study is 40 bytes of keyed hashes, never the answer itself, so that the memory of a
//! million rows is small. The best location and the conflicts of a study as a whole are `merge`'s.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::model::{CrossReference, StudyAnswer};

use super::identity::{HashKey, Identity};

/// What an answer is beside those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The first of its study.
    Study,
    /// A further copy of a study seen before.
    Location,
    /// The UID of a study seen before, with another patient.
    Conflict,
}

/// The studies seen so far.
#[derive(Debug)]
pub struct FirstSight {
    key: HashKey,
    cross_reference: Arc<CrossReference>,
    seen: HashMap<[u64; 2], Identity>,
}

impl FirstSight {
    /// Begins with nothing seen; the cross-reference says which patients are one.
    pub fn new(cross_reference: Arc<CrossReference>) -> Self {
        FirstSight {
            key: HashKey::random(),
            cross_reference,
            seen: HashMap::new(),
        }
    }

    /// Tells what the answer is, and remembers it.
    pub fn see(&mut self, answer: &StudyAnswer) -> Sight {
        let patient = Identity::of(answer, self.key, &self.cross_reference);
        match self.seen.entry(self.key.uid(&answer.study_instance_uid)) {
            Entry::Vacant(entry) => {
                entry.insert(patient);
                Sight::Study
            }
            Entry::Occupied(mut entry) => match entry.get_mut().take(patient) {
                true => Sight::Location,
                false => Sight::Conflict,
            },
        }
    }

    /// Whether an answer about this study has come before.
    pub fn has_seen(&self, answer: &StudyAnswer) -> bool {
        self.seen.contains_key(&self.key.uid(&answer.study_instance_uid))
    }

    /// How many studies have been seen.
    pub fn studies(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IssuerDomain, PatientId};

    fn answer(uid: &str, id: &str) -> StudyAnswer {
        let patient_id = PatientId {
            id: id.to_owned(),
            domain: IssuerDomain::Named("NORTH".parse().unwrap()),
        };
        StudyAnswer::new(uid.parse().unwrap(), patient_id)
    }

    #[test]
    fn tells_studies_copies_and_conflicts_apart() {
        let mut sight = FirstSight::new(Arc::default());
        assert_eq!(sight.see(&answer("1.2", "4711")), Sight::Study);
        assert_eq!(sight.see(&answer("1.3", "4711")), Sight::Study);
        assert_eq!(sight.see(&answer("1.2", "4711")), Sight::Location);
        assert_eq!(sight.see(&answer("1.2", "88")), Sight::Conflict);
        assert_eq!(sight.studies(), 2);
    }
}
