//! Whose patient ID a caller means (rule 6 of a linked query).
//!
//! Viewers key on the ID alone: asked by a bare ID, they would take another issuer's patient of that ID for their own.
//!
//! Invariant: only a known other issuer excludes an answer. Where the caller names an issuer, the stations' searches
//! hold their answers to it; where it gives no ID, there is nothing to be mistaken.

use dicom_dictionary_std::tags;

use super::identifier::Asked;
use crate::model::{Caller, Issuer, IssuerDomain, PatientId, Station};

/// The issuers whose ID is meant by a bare one; none where it is not given, or nobody knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MeantIssuers(Vec<Issuer>);

impl MeantIssuers {
    /// The caller's issuers, else the local cluster's. A linked cluster that asks for the issuers tells patients apart by
    /// itself, and gets all.
    pub(super) fn of(asked: &Asked, caller: &Station, asks_as: &Caller, local: Option<Issuer>) -> Self {
        let tells_apart = *asks_as == Caller::LinkedCluster && asked.asks_for(tags::ISSUER_OF_PATIENT_ID);
        MeantIssuers(match &asked.query.patient_id {
            Some(key) if key.issuer.is_none() && !tells_apart => match &caller.issuers[..] {
                [] => local.into_iter().collect(),
                issuers => issuers.to_vec(),
            },
            _ => Vec::new(),
        })
    }

    /// Whether anyone is excluded.
    pub(super) fn exclude_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the patient is known to be another's.
    pub(super) fn exclude(&self, patient: &PatientId) -> bool {
        match &patient.domain {
            IssuerDomain::Named(issuer) => self.exclude_any() && !self.0.contains(issuer),
            IssuerDomain::Inferred(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::super::identifier::AskedLevel;
    use super::*;
    use crate::dimse::Status;
    use crate::model::{Level, PatientIdKey, Query};
    use crate::service::examples::station;

    fn asked(id: Option<&str>) -> Asked {
        Asked {
            level: AskedLevel::Linked(Level::Study),
            query: Query {
                patient_id: id.map(|id| id.parse::<PatientIdKey>().unwrap()),
                ..Query::default()
            },
            returned: Vec::new(),
            linked: Vec::new(),
            pending: Status::PENDING,
        }
    }

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
    fn a_bare_patient_id_is_the_callers_else_the_local_one() {
        let mut caller = station("VIEWER", "VIEWER", "10.0.0.1");
        let north = || "NORTH".parse::<Issuer>().ok();
        let meant = |id: Option<&str>, caller: &Station| {
            MeantIssuers::of(&asked(id), caller, &Caller::Internal, north()).0
        };
        assert_eq!(meant(Some("4711"), &caller), ["NORTH".parse().unwrap()]);
        caller.issuers = vec!["VALLEY".parse().unwrap()];
        assert_eq!(meant(Some("4711"), &caller), ["VALLEY".parse().unwrap()]);
        assert!(
            meant(Some("4711^^^HARBOUR"), &caller).is_empty(),
            "it is not bare"
        );
        assert!(meant(None, &caller).is_empty());
    }

    #[test]
    fn a_linked_cluster_that_asks_for_issuers_gets_all() {
        let caller = station("SITEB", "SITEB", "10.0.0.1");
        let north = || "NORTH".parse::<Issuer>().ok();
        let mut asked = asked(Some("4711"));
        let meant = |asked: &Asked, asks_as| MeantIssuers::of(asked, &caller, &asks_as, north()).0.len();
        assert_eq!(meant(&asked, Caller::LinkedCluster), 1);
        asked.returned.push((tags::ISSUER_OF_PATIENT_ID, VR::LO));
        assert_eq!(meant(&asked, Caller::LinkedCluster), 0);
        assert_eq!(
            meant(&asked, Caller::External),
            1,
            "a viewer keys on the ID alone"
        );
    }

    #[test]
    fn only_a_known_other_issuer_is_another() {
        let meant = MeantIssuers(vec!["NORTH".parse().unwrap()]);
        assert!(meant.exclude(&patient(named("HARBOUR"))));
        assert!(!meant.exclude(&patient(named("NORTH"))));
        let inferred = IssuerDomain::Inferred("SITEB".parse().unwrap());
        assert!(!meant.exclude(&patient(inferred)));
        assert!(!MeantIssuers(Vec::new()).exclude(&patient(named("HARBOUR"))));
    }
}
