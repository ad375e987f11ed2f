//! What a query has given besides studies: patients by (ID, issuer), or series and instances by their UIDs.
//!
//! Invariant: keyed hashes, never the values.

use std::collections::HashSet;

use dicom_dictionary_std::tags;

use crate::dimse::trim_padding;
use crate::link::{HashKey, LowerRow};
use crate::model::{Level, PatientId, Uid};

/// What has been given that is no study.
pub(super) struct GivenBesides {
    key: HashKey,
    seen: HashSet<[u64; 2]>,
}

impl Default for GivenBesides {
    fn default() -> Self {
        GivenBesides {
            key: HashKey::random(),
            seen: HashSet::new(),
        }
    }
}

impl GivenBesides {
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn has_patient(&self, patient: &PatientId) -> bool {
        self.seen.contains(&self.key.patient(patient))
    }

    pub(super) fn see_patient(&mut self, patient: &PatientId) {
        self.seen.insert(self.key.patient(patient));
    }

    /// Whether the row is a new one of its level.
    pub(super) fn see_below(&mut self, level: Level, row: &LowerRow) -> bool {
        let tag = match level {
            Level::Study => return false,
            Level::Series => tags::SERIES_INSTANCE_UID,
            Level::Image => tags::SOP_INSTANCE_UID,
        };
        let value = row.data_set.element(tag).map(trim_padding).unwrap_or_default();
        let uid = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<Uid>().ok());
        uid.is_some_and(|uid| self.seen.insert(self.key.uid(&uid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IssuerDomain;

    fn patient(domain: IssuerDomain) -> PatientId {
        PatientId {
            id: "4711".to_owned(),
            domain,
        }
    }

    fn named(issuer: &str) -> IssuerDomain {
        IssuerDomain::Named(issuer.parse().unwrap())
    }

    #[test]
    fn a_patient_is_an_id_of_an_issuer() {
        let mut given = GivenBesides::default();
        given.see_patient(&patient(named("NORTH")));
        assert!(given.has_patient(&patient(named("NORTH"))));
        assert!(!given.has_patient(&patient(named("HARBOUR"))));
        let station = IssuerDomain::Inferred("NORTH".parse().unwrap());
        assert!(!given.has_patient(&patient(station)));
    }
}
