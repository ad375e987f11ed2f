//! The study UIDs that a query finds with different patients, with every station and patient met for each.
//!
//! Invariant: of a query with many answers the first [`MOST_STUDIES`] studies are held with their parties. A conflict of
//! a later one is kept with the party that showed it alone.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{
    ConflictParty, ConflictPath, CrossReference, StationName, StudyAnswer, StudyConflict, Uid,
};

use super::identity::{HashKey, Identity};

/// Of how many studies the parties are held.
const MOST_STUDIES: usize = 20_000;

/// The conflicts that a query has met so far.
#[derive(Debug)]
pub struct ConflictLog {
    key: HashKey,
    cross_reference: Arc<CrossReference>,
    seen: HashMap<[u64; 2], Seen>,
    unheld: HashMap<Uid, Vec<ConflictParty>>,
}

#[derive(Debug)]
struct Seen {
    identity: Identity,
    parties: Vec<ConflictParty>,
    /// Where there is a conflict.
    study: Option<Uid>,
}

impl ConflictLog {
    /// Begins with nothing seen; the cross-reference says which patients are one.
    pub fn new(cross_reference: Arc<CrossReference>) -> Self {
        ConflictLog {
            key: HashKey::random(),
            cross_reference,
            seen: HashMap::new(),
            unheld: HashMap::new(),
        }
    }

    /// Takes note of an answer, whether or not it is given to the caller. `is_conflict`: it is known to be one.
    pub fn see(&mut self, station: &StationName, answer: &StudyAnswer, is_conflict: bool) {
        let party = || ConflictParty {
            station: station.clone(),
            patient_id: answer.patient_id.clone(),
        };
        let uid = &answer.study_instance_uid;
        let hash = self.key.uid(uid);
        let identity = || Identity::of(answer, self.key, &self.cross_reference);
        if let Some(seen) = self.seen.get_mut(&hash) {
            if !seen.identity.take(identity()) || is_conflict {
                seen.study = Some(uid.clone());
            }
            add(&mut seen.parties, party());
        } else if self.seen.len() < MOST_STUDIES {
            let seen = Seen {
                identity: identity(),
                parties: vec![party()],
                study: is_conflict.then(|| uid.clone()),
            };
            self.seen.insert(hash, seen);
        } else if is_conflict && (self.unheld.len() < MOST_STUDIES || self.unheld.contains_key(uid)) {
            add(self.unheld.entry(uid.clone()).or_default(), party());
        }
    }

    /// The conflicts, met by `path`.
    pub fn finish(self, path: ConflictPath) -> Vec<StudyConflict> {
        let held = self
            .seen
            .into_values()
            .filter_map(|seen| Some((seen.study?, seen.parties)));
        let all = held.chain(self.unheld);
        let conflict = |(study, mut parties): (Uid, Vec<ConflictParty>)| {
            parties.sort();
            StudyConflict { study, parties, path }
        };
        all.map(conflict).collect()
    }
}

fn add(parties: &mut Vec<ConflictParty>, party: ConflictParty) {
    if !parties.contains(&party) {
        parties.push(party);
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
    fn a_conflict_has_every_station_that_lists_the_study() {
        let mut log = ConflictLog::new(Arc::default());
        for (station, uid, id) in [
            ("SITEC", "1.2", "88"),
            ("PACS", "1.2", "4711"),
            ("SITEB", "1.2", "4711"),
            ("SITEB", "1.3", "4711"),
            ("PACS", "1.3", "4711"),
        ] {
            log.see(&station.parse().unwrap(), &answer(uid, id), false);
        }
        let [conflict] = &log.finish(ConflictPath::Find)[..] else {
            panic!("one study is in conflict")
        };
        assert_eq!(conflict.study.as_str(), "1.2");
        let stations: Vec<&str> = conflict.parties.iter().map(|it| it.station.as_str()).collect();
        assert_eq!(stations, ["PACS", "SITEB", "SITEC"]);
    }
}
