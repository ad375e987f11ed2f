//! The gate: whether an object is what its source listed, and the patient's whom the source named for it.
//!
//! Every object that a retrieve brings passes it before an archive, a station or a caller sees it. Pure.
//!
//! Invariants: another patient's object never passes, nor one that names no patient where the answer named one. What is
//! said of a refusal holds no patient data.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Instance;
use crate::model::{CrossReference, Issuer, IssuerDomain, ObjectIdentity, PatientId, Uid};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It is another instance, or of another SOP class, than the C-STORE request announced.
    #[error("the object is not the one that was announced")]
    NotAnnounced,
    /// It is of another study.
    #[error("the object belongs to another study")]
    OtherStudy,
    /// It is of another series than the source listed it in.
    #[error("the object belongs to another series than the one it was listed in")]
    OtherSeries,
    /// It is another patient's than the source named.
    #[error("the object names another patient than the C-FIND answer that listed it")]
    OtherPatient,
    /// It names no patient, and the source named one.
    #[error("the object names no patient, and the C-FIND answer that listed it did")]
    NoPatient,
    /// Its elements can't be read as far as they say what it is.
    #[error("the object does not say what it is and whose")]
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
    pub fn check(&self, (class, instance): (&Uid, &Uid), object: &ObjectIdentity) -> Result<(), Refusal> {
        if object.sop_instance_uid != *instance || object.sop_class_uid != *class {
            return Err(Refusal::NotAnnounced);
        }
        if object.study_instance_uid != self.study {
            return Err(Refusal::OtherStudy);
        }
        let listed = self.listed.get(instance);
        if listed.is_some_and(|listed| listed.series != object.series_instance_uid) {
            return Err(Refusal::OtherSeries);
        }
        match &self.patient {
            Some(patient) => is_of(patient, object, &self.cross_reference),
            None => Ok(()),
        }
    }
}

/// Whether an object is that patient's: by the very ID, or by another one of the same person. Where the object names no
/// issuer, the one that the source answered with is meant; where the source named none, it can't be contradicted.
fn is_of(patient: &PatientId, object: &ObjectIdentity, known: &CrossReference) -> Result<(), Refusal> {
    if object.patient_id.is_empty() {
        return Err(Refusal::NoPatient);
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
        false => Err(Refusal::OtherPatient),
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

    fn check(patient: &PatientId, object: &ObjectIdentity) -> Result<(), Refusal> {
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
        gate.check((&uid("1.2"), &uid("1.4")), object)
    }

    #[test]
    fn only_the_patient_that_the_answer_named_passes() {
        for (answered, id, issuer, expected) in [
            (("1", Some("HARB")), "1", "HARB", Ok(())),
            (("1", Some("HARB")), "2", "HARB", Err(Refusal::OtherPatient)),
            (("1", Some("HARB")), "1", "NORTH", Err(Refusal::OtherPatient)),
            (("1", Some("HARB")), "", "", Err(Refusal::NoPatient)),
            (("1", Some("HARB")), "1", "", Ok(())),
            (("1", Some("HARB")), "2", "", Err(Refusal::OtherPatient)),
            (("1", None), "1", "HARB", Ok(())),
            (("1", None), "1", "", Ok(())),
            (("1", None), "2", "", Err(Refusal::OtherPatient)),
            (("1", None), "", "HARB", Err(Refusal::NoPatient)),
            (("88", Some("HARB")), "4711", "NORTH", Ok(())),
            (("88", Some("HARB")), "4711", "VALLEY", Err(Refusal::OtherPatient)),
            (("88", Some("HARB")), "4711", "", Err(Refusal::OtherPatient)),
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
        assert_eq!(
            refused(|it| it.sop_instance_uid = uid("1.5")),
            Refusal::NotAnnounced
        );
        assert_eq!(refused(|it| it.sop_class_uid = uid("1.5")), Refusal::NotAnnounced);
        assert_eq!(
            refused(|it| it.study_instance_uid = uid("1.5")),
            Refusal::OtherStudy
        );
        assert_eq!(
            refused(|it| it.series_instance_uid = uid("1.5")),
            Refusal::OtherSeries
        );
    }
}
