//! Which studies a caller of the service may find, and so which it may move (rule 6 of a linked query).
//!
//! Viewers key on the ID alone: asked by a bare ID, they would take another issuer's patient of that ID for their own.
//! Answers about the patient under another ID, which the cross-reference knows, are given under the ID that was asked
//! for: PS3.4 C.2.2.2 wants the key matched, and a viewer would not show them otherwise. Only a station that is linked
//! may tell patients apart by itself, and gets those of all issuers as they are.
//!
//! Invariants: C-FIND at every level, C-MOVE and C-GET decide by [`Visibility::withholds`] alone, so that the same keys
//! show and move the same studies. A list of IDs or wildcards withhold as much as one ID. Where the caller gives no ID,
//! or only `*`, nothing is withheld: there is no ID to be mistaken. What a caller says of itself never widens it.

use std::sync::Arc;

use dicom_dictionary_std::tags;

use super::filter::is_same_id;
use super::question::AskedPerson;
use crate::model::{
    CrossReference, Issuer, IssuerDomain, PatientId, PatientIdKey, Query, Station, is_universal,
};

/// Which studies a caller may find and move by the keys that it gives.
#[derive(Debug)]
pub struct Visibility {
    /// The patient IDs that the caller gives; empty where it gives none.
    keys: Vec<AskedId>,
    /// The issuers whose ID is meant by a bare one; empty where it is not given, or nobody knows.
    issuers: Vec<Issuer>,
    /// Whether the caller tells the patients of several issuers apart by itself.
    tells_issuers_apart: bool,
    cross_reference: Arc<CrossReference>,
}

/// A patient ID that the caller gives.
#[derive(Debug)]
struct AskedId {
    key: PatientIdKey,
    /// The patient, where the cross-reference says more than the key.
    person: AskedPerson,
    /// As whom that patient's studies are given.
    shown_as: Option<PatientId>,
}

/// Why a study is withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Its patient is known to be of another issuer than the caller means.
    OtherIssuer,
    /// Its patient ID is not the one that the caller gives: none, several, or another.
    OtherId,
}

impl Visibility {
    /// For a query of `caller`. A bare ID means the caller's issuers, else the `local` cluster's. `asks_for_issuer`:
    /// whether issuers are returned to the caller, who can tell patients apart by them if it is linked.
    pub fn of(
        query: &Query,
        caller: &Station,
        asks_for_issuer: bool,
        local: Option<Issuer>,
        known: &Arc<CrossReference>,
    ) -> Self {
        let tells_issuers_apart = caller.is_linked() && asks_for_issuer;
        let keys = patient_id_keys(query);
        let is_bare = keys.iter().any(|key| key.issuer.is_none());
        let issuers = match &caller.issuers[..] {
            _ if !is_bare || tells_issuers_apart => Vec::new(),
            [] => local.into_iter().collect(),
            issuers => issuers.to_vec(),
        };
        let asked = |key: PatientIdKey| AskedId::new(key, query, &issuers, tells_issuers_apart, known);
        Visibility {
            keys: keys.into_iter().map(asked).collect(),
            issuers,
            tells_issuers_apart,
            cross_reference: Arc::clone(known),
        }
    }

    /// The issuers whose ID is meant by a bare one.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The cross-reference by which it decides.
    pub fn cross_reference(&self) -> Arc<CrossReference> {
        Arc::clone(&self.cross_reference)
    }

    /// Whether what is given depends on whose a study is.
    pub fn needs_patient(&self) -> bool {
        !self.issuers.is_empty() || self.keys.iter().any(|asked| !asked.person.is_unknown())
    }

    /// Why the studies of this patient are withheld; `None` where the caller may find and move them.
    pub fn withholds(&self, patient: &PatientId) -> Option<Withheld> {
        if self.keys.is_empty() || self.keys.iter().any(|asked| asked.person.is(patient)) {
            return None;
        }
        let id = patient.id.trim_matches([' ', '\0']);
        // A row with several IDs is of nobody that a key can name.
        let is_one = !id.is_empty() && !id.contains('\\');
        let mut matching = self
            .keys
            .iter()
            .filter(|asked| is_one && is_same_id(&asked.key.id, id));
        let Some(first) = matching.next() else {
            return Some(Withheld::OtherId);
        };
        let is_of_issuer = std::iter::once(first)
            .chain(matching)
            .any(|asked| self.may_be_of_issuer(asked, patient));
        (!is_of_issuer).then_some(Withheld::OtherIssuer)
    }

    fn may_be_of_issuer(&self, asked: &AskedId, patient: &PatientId) -> bool {
        let IssuerDomain::Named(issuer) = &patient.domain else {
            return true;
        };
        match &asked.key.issuer {
            Some(wanted) => wanted == issuer,
            None => self.tells_issuers_apart || self.issuers.is_empty() || self.issuers.contains(issuer),
        }
    }

    /// As whom a patient's studies are given.
    pub fn shown<'p>(&'p self, patient: &'p PatientId) -> &'p PatientId {
        let mut keys = self.keys.iter();
        let of_person = keys.find(|asked| asked.person.is(patient));
        of_person
            .and_then(|asked| asked.shown_as.as_ref())
            .unwrap_or(patient)
    }
}

impl AskedId {
    fn new(
        key: PatientIdKey,
        query: &Query,
        issuers: &[Issuer],
        tells_issuers_apart: bool,
        known: &CrossReference,
    ) -> Self {
        let query = Query {
            patient_id: Some(key.clone()),
            meant_issuers: issuers.to_vec(),
            global_id: query.global_id.clone(),
            ..Query::default()
        };
        let person = AskedPerson::of(&query, known);
        let named = key.issuer.as_ref().map_or(issuers, std::slice::from_ref);
        let mut identities = named.iter().map(|issuer| PatientId {
            id: key.id.clone(),
            domain: IssuerDomain::Named(issuer.clone()),
        });
        let shown_as = match tells_issuers_apart {
            true => None,
            false => identities.find(|identity| person.is(identity)),
        };
        AskedId {
            key,
            person,
            shown_as,
        }
    }
}

/// The patient IDs that a query gives: one, or several with backslashes between. Empty ones and `*` ask for nothing.
fn patient_id_keys(query: &Query) -> Vec<PatientIdKey> {
    let further = query
        .further_keys
        .iter()
        .filter(|(tag, _)| *tag == tags::PATIENT_ID);
    let listed = further
        .flat_map(|(_, value)| value.split('\\'))
        .map(|id| PatientIdKey {
            id: id.trim().to_owned(),
            issuer: None,
        });
    let all = query.patient_id.iter().cloned().chain(listed);
    all.filter(|key| !is_universal(&key.id)).collect()
}

#[cfg(test)]
mod tests;
