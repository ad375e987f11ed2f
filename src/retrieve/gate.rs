//! The gate: whether an object is what its source listed, and the patient's whom the source named for it.
//!
//! Every object that a retrieve brings passes it before an archive, a station or a caller sees it. Pure.
//!
//! Invariants: another patient's object never passes, nor one that names no patient where the answer named one. What is
//! said of a refusal holds no patient data.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Instance;
use crate::model::{
    AsideReason, CrossReference, ExpectedPatient, Issuer, IssuerDomain, ObjectIdentity, PatientId, Uid,
};

/// What objects of one study from one source must be.
#[derive(Debug, Clone)]
pub struct Gate {
    study: Uid,
    /// `None` where the answer named none.
    patient: Option<PatientId>,
    listed: Arc<BTreeMap<Uid, Instance>>,
    cross_reference: Arc<CrossReference>,
}

/// Why an object is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not what the source listed.
    #[error("{0}")]
    NotAsListed(AsideReason),
    /// Its elements can't be read as far as they say what it is and whose.
    #[error("it does not say what it is and whose")]
    Unidentified,
}

impl Gate {
    /// A gate for `study` as a source listed it, with its instances and the patient that the answer named.
    pub fn new(
        study: Uid,
        patient: &PatientId,
        listed: Arc<BTreeMap<Uid, Instance>>,
        cross_reference: Arc<CrossReference>,
    ) -> Self {
        Gate {
            study,
            patient: (!patient.id.is_empty()).then(|| patient.clone()),
            listed,
            cross_reference,
        }
    }

    /// Whether an object may pass that was announced with this SOP class and instance.
    pub fn check(&self, (class, instance): (&Uid, &Uid), object: &ObjectIdentity) -> Result<(), AsideReason> {
        if object.sop_instance_uid != *instance {
            let expected = instance.clone();
            return Err(AsideReason::OtherInstance { expected });
        }
        if object.sop_class_uid != *class {
            let expected = class.clone();
            return Err(AsideReason::OtherSopClass { expected });
        }
        if object.study_instance_uid != self.study {
            let expected = self.study.clone();
            return Err(AsideReason::OtherStudy { expected });
        }
        if let Some(listed) = self.listed.get(instance)
            && listed.series != object.series_instance_uid
        {
            let expected = listed.series.clone();
            return Err(AsideReason::OtherSeries { expected });
        }
        match &self.patient {
            Some(patient) => is_of(patient, object, &self.cross_reference),
            None => Ok(()),
        }
    }
}

impl Gate {
    /// Whether a station that lists the study under `patient` has it as the same person's.
    pub(super) fn is_listed_under(&self, patient: &PatientId) -> bool {
        let Some(named) = &self.patient else { return true };
        let is_same_domain = match (&named.domain, &patient.domain) {
            (IssuerDomain::Named(one), IssuerDomain::Named(other)) => one == other,
            _ => true,
        };
        (named.id.trim() == patient.id.trim() && is_same_domain)
            || self.cross_reference.is_same_person(named, patient)
    }
}

/// Whether an object is that patient's: by the very ID, or by another one of the same person. Where the object names no
/// issuer, the one that the source answered with is meant; where the source named none, it can't be contradicted.
fn is_of(patient: &PatientId, object: &ObjectIdentity, known: &CrossReference) -> Result<(), AsideReason> {
    let expected = ExpectedPatient {
        id: patient.id.clone(),
        issuer: match &patient.domain {
            IssuerDomain::Named(issuer) => Some(issuer.clone()),
            IssuerDomain::Inferred(_) => None,
        },
    };
    if object.patient_id.is_empty() {
        return Err(AsideReason::NoPatientId { expected });
    }
    let is_same_id = object.patient_id == patient.id.trim();
    let is_same_domain = match &patient.domain {
        IssuerDomain::Named(issuer) => object.issuer.is_empty() || object.issuer == issuer.as_str(),
        IssuerDomain::Inferred(_) => true,
    };
    if is_same_id && is_same_domain {
        return Ok(());
    }
    let domain = match object.issuer.parse::<Issuer>() {
        Ok(issuer) => IssuerDomain::Named(issuer),
        Err(_) => patient.domain.clone(),
    };
    let named = PatientId {
        id: object.patient_id.clone(),
        domain,
    };
    match known.is_same_person(patient, &named) {
        true => Ok(()),
        false => Err(AsideReason::OtherPatient { expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CrossReferenceBuilder;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn patient(id: &str, issuer: Option<&str>) -> PatientId {
        PatientId {
            id: id.to_owned(),
            domain: match issuer {
                Some(issuer) => IssuerDomain::Named(issuer.parse().unwrap()),
                None => IssuerDomain::Inferred("SITEB".parse().unwrap()),
            },
        }
    }

    fn object(patient_id: &str, issuer: &str) -> ObjectIdentity {
        ObjectIdentity {
            sop_class_uid: uid("1.2"),
            sop_instance_uid: uid("1.4"),
            study_instance_uid: uid("1.1"),
            series_instance_uid: uid("1.3"),
            patient_id: patient_id.to_owned(),
            issuer: issuer.to_owned(),
        }
    }

    fn check(patient: &PatientId, object: &ObjectIdentity) -> Result<(), &'static str> {
        let instance = Instance {
            series: uid("1.3"),
            sop_class_uid: None,
        };
        let mut known = CrossReferenceBuilder::default();
        known.person(None);
        known.identity("HARB", "88").unwrap();
        known.identity("NORTH", "4711").unwrap();
        let gate = Gate::new(
            uid("1.1"),
            patient,
            Arc::new([(uid("1.4"), instance)].into()),
            Arc::new(known.build()),
        );
        let checked = gate.check((&uid("1.2"), &uid("1.4")), object);
        checked.map_err(|reason| reason.code())
    }

    /// Case: objects of another patient than the answer named
    #[test]
    fn only_the_patient_that_the_answer_named_passes() {
        for (answered, id, issuer, expected) in [
            (("1", Some("HARB")), "1", "HARB", Ok(())),
            (("1", Some("HARB")), "2", "HARB", Err("other_patient")),
            (("1", Some("HARB")), "1", "NORTH", Err("other_patient")),
            (("1", Some("HARB")), "", "", Err("no_patient_id")),
            (("1", Some("HARB")), "1", "", Ok(())),
            (("1", Some("HARB")), "2", "", Err("other_patient")),
            (("1", None), "1", "HARB", Ok(())),
            (("1", None), "1", "", Ok(())),
            (("1", None), "2", "", Err("other_patient")),
            (("1", None), "", "HARB", Err("no_patient_id")),
            (("88", Some("HARB")), "4711", "NORTH", Ok(())),
            (("88", Some("HARB")), "4711", "VALLEY", Err("other_patient")),
            (("88", Some("HARB")), "4711", "", Err("other_patient")),
            (("", Some("HARB")), "2", "NORTH", Ok(())),
        ] {
            let (answered_id, answered_issuer) = answered;
            let found = check(&patient(answered_id, answered_issuer), &object(id, issuer));
            assert_eq!(found, expected, "{answered:?} against {id}^^^{issuer}");
        }
    }

    #[test]
    fn only_the_object_passes_that_was_announced_in_the_study_and_series_that_list_it() {
        let refused = |change: fn(&mut ObjectIdentity)| {
            let mut object = object("1", "HARB");
            change(&mut object);
            check(&patient("1", Some("HARB")), &object).unwrap_err()
        };
        assert_eq!(refused(|it| it.sop_instance_uid = uid("1.5")), "other_instance");
        assert_eq!(refused(|it| it.sop_class_uid = uid("1.5")), "other_sop_class");
        assert_eq!(refused(|it| it.study_instance_uid = uid("1.5")), "other_study");
        assert_eq!(refused(|it| it.series_instance_uid = uid("1.5")), "other_series");
    }
}
