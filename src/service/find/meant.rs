//! Whom a caller means by a patient ID (rule 6 of a linked query).
//!
//! Viewers key on the ID alone: asked by a bare ID, they would take another issuer's patient of that ID for their own.
//! Answers about the patient under another ID, which the cross-reference knows, are given under the ID that was asked
//! for: PS3.4 C.2.2.2 wants the key matched, and a viewer would not show them otherwise. Their own ID is in
//! OtherPatientIDsSequence, where the caller asks for that. Only a linked cluster, which tells patients apart by itself,
//! gets them as they are.
//!
//! Invariant: only a known other issuer excludes an answer. Where the caller names an issuer, the stations' searches
//! hold their answers to it; where it gives no ID, there is nothing to be mistaken.

use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::identifier::Asked;
use crate::link::AskedPerson;
use crate::model::{Caller, CrossReference, Issuer, IssuerDomain, PatientId, Query, Station};

/// Whom a caller means.
#[derive(Debug)]
pub(in crate::service) struct Meant {
    /// Those whose ID is meant by a bare one; none where it is not given, or nobody knows.
    issuers: Vec<Issuer>,
    /// The patient, where the cross-reference says more than the query.
    person: AskedPerson,
    /// As whom that patient's studies are given.
    shown_as: Option<PatientId>,
    cross_reference: Arc<CrossReference>,
}

impl Meant {
    /// The caller's issuers, else the local cluster's. A linked cluster that asks for the issuers tells patients apart by
    /// itself, and gets all.
    pub(super) fn of(
        asked: &Asked,
        caller: &Station,
        asks_as: &Caller,
        local: Option<Issuer>,
        known: &Arc<CrossReference>,
    ) -> Self {
        let tells_apart = *asks_as == Caller::LinkedCluster && asked.asks_for(tags::ISSUER_OF_PATIENT_ID);
        Self::of_query(asked.query.clone(), tells_apart, caller, local, known)
    }

    /// The same for a query of a caller that `tells_apart` patients by itself, or does not.
    pub(in crate::service) fn of_query(
        mut query: Query,
        tells_apart: bool,
        caller: &Station,
        local: Option<Issuer>,
        known: &Arc<CrossReference>,
    ) -> Self {
        let issuers = match &query.patient_id {
            Some(key) if key.issuer.is_none() && !tells_apart => match &caller.issuers[..] {
                [] => local.into_iter().collect(),
                issuers => issuers.to_vec(),
            },
            _ => Vec::new(),
        };
        query.meant_issuers.clone_from(&issuers);
        let person = AskedPerson::of(&query, known);
        let shown_as = query.patient_id.filter(|_| !tells_apart).and_then(|key| {
            let named = key.issuer.as_ref().map_or(&issuers[..], std::slice::from_ref);
            let mut identities = named.iter().map(|issuer| PatientId {
                id: key.id.clone(),
                domain: IssuerDomain::Named(issuer.clone()),
            });
            identities.find(|identity| person.is(identity))
        });
        Meant {
            issuers,
            person,
            shown_as,
            cross_reference: Arc::clone(known),
        }
    }

    /// Those whose ID is meant by a bare one.
    pub(in crate::service) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The cross-reference that says so.
    pub(super) fn cross_reference(&self) -> Arc<CrossReference> {
        Arc::clone(&self.cross_reference)
    }

    /// Whether what is given depends on whose a study is.
    pub(super) fn needs_patient(&self) -> bool {
        !self.issuers.is_empty() || !self.person.is_unknown()
    }

    /// Whether the patient is known to be another's.
    pub(in crate::service) fn exclude(&self, patient: &PatientId) -> bool {
        match &patient.domain {
            IssuerDomain::Named(issuer) => {
                !self.issuers.is_empty() && !self.issuers.contains(issuer) && !self.person.is(patient)
            }
            IssuerDomain::Inferred(_) => false,
        }
    }

    /// Whether the cross-reference knows the patient to be the person who is meant.
    pub(in crate::service) fn is_known_as(&self, patient: &PatientId) -> bool {
        self.person.is(patient)
    }

    /// As whom a patient's studies are given.
    pub(super) fn shown<'p>(&'p self, patient: &'p PatientId) -> &'p PatientId {
        match &self.shown_as {
            Some(shown) if self.person.is(patient) => shown,
            _ => patient,
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::super::identifier::AskedLevel;
    use super::*;
    use crate::dimse::Status;
    use crate::model::{CrossReferenceBuilder, Level, PatientIdKey, Query};
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
            asks_for_unanswered: false,
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
            Meant::of(&asked(id), caller, &Caller::Internal, north(), &Arc::default()).issuers
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
        let meant = |asked: &Asked, asks_as| {
            Meant::of(asked, &caller, &asks_as, north(), &Arc::default())
                .issuers
                .len()
        };
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
        let caller = station("VIEWER", "VIEWER", "10.0.0.1");
        let of = |id: Option<&str>| {
            let north = "NORTH".parse::<Issuer>().ok();
            Meant::of(&asked(id), &caller, &Caller::Internal, north, &Arc::default())
        };
        let meant = of(Some("4711"));
        assert!(meant.exclude(&patient(named("HARBOUR"))));
        assert!(!meant.exclude(&patient(named("NORTH"))));
        let inferred = IssuerDomain::Inferred("SITEB".parse().unwrap());
        assert!(!meant.exclude(&patient(inferred)));
        assert!(!of(None).exclude(&patient(named("HARBOUR"))));
    }

    #[test]
    fn the_same_person_is_given_under_the_id_that_was_asked_for() {
        let mut builder = CrossReferenceBuilder::default();
        builder.person(None);
        builder.identity("HARBOUR", "88").unwrap();
        builder.identity("NORTH", "4711").unwrap();
        let known = Arc::new(builder.build());
        let caller = station("VIEWER", "VIEWER", "10.0.0.1");
        let of = |asked: &Asked, asks_as| Meant::of(asked, &caller, &asks_as, "NORTH".parse().ok(), &known);
        let elsewhere = PatientId {
            id: "88".to_owned(),
            domain: named("HARBOUR"),
        };
        let meant = of(&asked(Some("4711")), Caller::External);
        assert!(!meant.exclude(&elsewhere));
        assert!(
            meant.exclude(&patient(named("HARBOUR"))),
            "another patient of that ID"
        );
        assert_eq!(meant.shown(&elsewhere), &patient(named("NORTH")));
        let stranger = patient(named("HARBOUR"));
        assert_eq!(meant.shown(&stranger), &stranger);
        let mut by_cluster = asked(Some("4711^^^NORTH"));
        by_cluster.returned.push((tags::ISSUER_OF_PATIENT_ID, VR::LO));
        let meant = of(&by_cluster, Caller::LinkedCluster);
        assert_eq!(meant.shown(&elsewhere), &elsewhere);
    }
}
