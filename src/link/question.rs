//! The query as one station is asked it: by every ID that the cross-reference knows of the patient there.
//!
//! A station is asked by the caller's own keys, and by the patient's other IDs as far as it may use them: those of its
//! issuers, or all where nobody has named its issuers. Archives of the local cluster are asked by all: copies are there
//! under the IDs that they had where they came from.
//!
//! Invariants: an answer to an ID that the caller did not give is taken only where it names the issuer of that ID, the
//! station is known to have no other, or a record says that the study was delivered under that ID: never guessed. Only an
//! ID without wildcards is looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    CrossReference, Issuer, IssuerDomain, Kind, Level, PatientId, PatientIdKey, Query, Returned, Station,
    StudyAnswer, Uid,
};

use super::keys::{KeyError, Root};
use super::stated::QueryStates;

/// The identities of the patient whom a query asks for, where the cross-reference says more than the query itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedPerson(Vec<PatientId>);

impl AskedPerson {
    /// Looks up whom the query asks for.
    pub fn of(query: &Query, known: &CrossReference) -> Self {
        let is_exact = |text: &str| !text.is_empty() && !text.contains(['*', '?']);
        let mut identities = match (&query.patient_id, &query.global_id) {
            _ if known.is_empty() => return AskedPerson::default(),
            (Some(key), _) if is_exact(&key.id) => of_key(key, &query.meant_issuers, known),
            (None, Some(global_id)) if is_exact(global_id) => known.of_global_id(global_id),
            _ => Vec::new(),
        };
        if let Some(global_id) = &query.global_id {
            identities.retain(|identity| known.global_id(identity) == Some(global_id));
        }
        AskedPerson(identities)
    }

    /// Whether nothing more is known than the query says.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `patient` is known to be this person.
    pub fn is(&self, patient: &PatientId) -> bool {
        self.0.contains(patient)
    }
}

/// The issuers whose IDs a station is asked by; empty for all. To an archive of the local cluster copies are delivered
/// under the IDs that they have elsewhere.
fn issuers_used_at(station: &Station) -> &[Issuer] {
    match station.kind {
        Kind::Archive => &[],
        _ => &station.issuers,
    }
}

/// The IDs among `identities` by which a station is asked that uses these issuers, each once.
fn ids_of_issuers(identities: &[PatientId], issuers: &[Issuer]) -> Vec<String> {
    let is_used = |identity: &&PatientId| match &identity.domain {
        IssuerDomain::Named(issuer) => issuers.is_empty() || issuers.contains(issuer),
        IssuerDomain::Inferred(_) => false,
    };
    let used = identities.iter().filter(is_used);
    let mut ids: Vec<String> = used.map(|known| known.id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The persons of an ID: of its issuer, or of those who are meant by a bare one.
fn of_key(key: &PatientIdKey, meant: &[Issuer], known: &CrossReference) -> Vec<PatientId> {
    let issuers = key.issuer.as_ref().map_or(meant, std::slice::from_ref);
    let asked: Vec<PatientId> = issuers
        .iter()
        .map(|issuer| PatientId {
            id: key.id.clone(),
            domain: IssuerDomain::Named(issuer.clone()),
        })
        .collect();
    let mut identities: Vec<PatientId> = asked.iter().flat_map(|asked| known.identities(asked)).collect();
    identities.sort_unstable();
    identities.dedup();
    let is_news = identities.iter().any(|identity| !asked.contains(identity));
    if is_news { identities } else { Vec::new() }
}

/// A query to be put to one station.
#[derive(Debug)]
pub(super) struct Question {
    /// As the caller has asked it.
    pub(super) query: Arc<Query>,
    pub(super) cross_reference: Arc<CrossReference>,
    pub(super) person: AskedPerson,
    /// The person's IDs there.
    ids: Vec<String>,
    /// The issuers whose IDs the station is asked by; empty for all.
    issuers: Vec<Issuer>,
    /// Whether the station is an archive of the local cluster.
    pub(super) is_to_local_archive: bool,
    /// What is on record of studies, where that matters to this station's answers.
    pub(super) states: Option<QueryStates>,
}

/// One of the queries that a station is asked for a question.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) query: Query,
    /// Whether it is by an ID that the caller did not give, so that only what is known to be the person's answers it.
    pub(super) is_translated: bool,
    /// Whether it is for studies that were found by what was said of them.
    pub(super) is_by_state: bool,
}

impl Question {
    /// The question for `station`.
    pub(super) fn new(query: Arc<Query>, cross_reference: Arc<CrossReference>, station: &Station) -> Self {
        let person = AskedPerson::of(&query, &cross_reference);
        let issuers = issuers_used_at(station);
        Question {
            ids: ids_of_issuers(&person.0, issuers),
            issuers: issuers.to_vec(),
            is_to_local_archive: station.kind == Kind::Archive,
            states: None,
            person,
            query,
            cross_reference,
        }
    }

    /// The queries to be put, the caller's own first where it can be put there.
    pub(super) fn parts(&self, root: Root) -> Result<Vec<Part>, KeyError> {
        let query = &*self.query;
        let is_global = query.global_id.is_some();
        let own_id = query.patient_id.as_ref().filter(|_| !is_global);
        let mut parts = Vec::new();
        if !is_global || root == Root::Linked {
            parts.push(Part {
                query: query.clone(),
                is_translated: false,
                is_by_state: false,
            });
        }
        let others = self.ids.iter();
        let others = others.filter(|id| own_id.is_none_or(|own| own.id != **id));
        parts.extend(others.map(|id| Part {
            query: Query {
                patient_id: Some(PatientIdKey {
                    id: id.clone(),
                    issuer: None,
                }),
                global_id: None,
                ..query.clone()
            },
            is_translated: true,
            is_by_state: false,
        }));
        if parts.is_empty() {
            return Err(KeyError::GlobalId);
        }
        parts.extend(self.parts_by_state(root));
        Ok(parts)
    }

    /// Takes note of what was said of studies. Whose state it is can only be told where the patient is returned.
    pub(super) fn set_states(&mut self, states: Option<QueryStates>) {
        if states.is_some() && self.query.returned == Returned::Nothing {
            Arc::make_mut(&mut self.query).returned = Returned::Patient;
        }
        self.states = states;
    }

    /// The queries for studies that were found by what was said of them; in Patient Root, by the patient of each.
    fn parts_by_state(&self, root: Root) -> Vec<Part> {
        let states = self.states.as_ref();
        let Some(states) =
            states.filter(|states| self.query.level == Level::Study && !states.found.is_empty())
        else {
            return Vec::new();
        };
        let mut studies_of: BTreeMap<Option<String>, Vec<Uid>> = BTreeMap::new();
        for (study, patient) in &states.found {
            let ids = match (root, states.identities(patient)) {
                (Root::Patient, identities) if identities.is_empty() => vec![Some(patient.id.clone())],
                (Root::Patient, identities) => {
                    let ids = ids_of_issuers(&identities, &self.issuers);
                    ids.into_iter().map(Some).collect()
                }
                _ => vec![None],
            };
            for id in ids {
                studies_of.entry(id).or_default().push(study.clone());
            }
        }
        let part = |(patient_id, study_uids): (Option<String>, Vec<Uid>)| Part {
            query: Query {
                patient_id: patient_id.map(|id| PatientIdKey { id, issuer: None }),
                study_uids,
                ..states.query_by_state(&self.query)
            },
            is_translated: false,
            is_by_state: true,
        };
        studies_of.into_iter().map(part).collect()
    }

    /// Gives a study what the cross-reference knows of its patient and its station does not.
    pub(super) fn complete(&self, study: &mut StudyAnswer) {
        if study.global_patient_id.is_none() {
            let known = self.cross_reference.global_id(&study.patient_id);
            study.global_patient_id = known.map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CrossReferenceBuilder, Endpoint, parse_port};

    fn known() -> CrossReference {
        let mut builder = CrossReferenceBuilder::default();
        builder.person(Some("G1"));
        for (issuer, id) in [("HARBOUR", "88"), ("NORTH", "4711"), ("NORTH", "4712")] {
            builder.identity(issuer, id).unwrap();
        }
        builder.build()
    }

    fn station(kind: Kind, issuers: &[&str]) -> Station {
        let endpoint = Endpoint {
            host: "10.0.0.1".parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        let mut station = Station::new("SITEB".parse().unwrap(), "SITEB".parse().unwrap(), Some(endpoint));
        station.kind = kind;
        station.issuers = issuers.iter().map(|issuer| issuer.parse().unwrap()).collect();
        station
    }

    fn by_id(text: &str) -> Query {
        Query {
            patient_id: Some(text.parse().unwrap()),
            meant_issuers: vec!["NORTH".parse().unwrap()],
            ..Query::default()
        }
    }

    fn by_global_id(text: &str) -> Query {
        Query {
            global_id: Some(text.to_owned()),
            ..Query::default()
        }
    }

    /// The IDs of the parts; `None` for the one by a global patient ID.
    fn asked(query: Query, station: &Station, root: Root) -> Result<Vec<Option<String>>, KeyError> {
        let question = Question::new(Arc::new(query), Arc::new(known()), station);
        let parts = question.parts(root)?;
        Ok(parts
            .into_iter()
            .map(|part| part.query.patient_id.map(|key| key.id))
            .collect())
    }

    fn ids(query: &str, kind: Kind, issuers: &[&str]) -> Vec<String> {
        let asked = asked(by_id(query), &station(kind, issuers), Root::Study).unwrap();
        asked.into_iter().flatten().collect()
    }

    #[test]
    fn a_station_is_asked_by_the_ids_it_may_use() {
        assert_eq!(ids("4711", Kind::External, &["HARBOUR"]), ["4711", "88"]);
        assert_eq!(ids("4711^^^NORTH", Kind::External, &["HARBOUR"]), ["4711", "88"]);
        assert_eq!(ids("88^^^HARBOUR", Kind::Archive, &[]), ["88", "4711", "4712"]);
        assert_eq!(ids("4711", Kind::Archive, &["NORTH"]), ["4711", "4712", "88"]);
        assert_eq!(ids("4711", Kind::External, &[]), ["4711", "4712", "88"]);
        assert_eq!(ids("4711", Kind::External, &["VALLEY"]), ["4711"]);
    }

    #[test]
    fn another_patient_of_the_same_id_is_not_looked_up() {
        for query in ["88", "4711^^^HARBOUR", "47*", "5^^^NORTH"] {
            assert_eq!(ids(query, Kind::External, &[]).len(), 1, "{query}");
        }
    }

    #[test]
    fn a_global_id_becomes_the_ids_of_a_strict_archive() {
        let harbour = station(Kind::External, &["HARBOUR"]);
        let asked_of = |id: &str, root| asked(by_global_id(id), &harbour, root);
        let translated = || Some("88".to_owned());
        assert_eq!(asked_of("G1", Root::Study).unwrap(), [translated()]);
        assert_eq!(asked_of("G1", Root::Linked).unwrap(), [None, translated()]);
        assert_eq!(asked_of("G2", Root::Study), Err(KeyError::GlobalId));
        let valley = station(Kind::External, &["VALLEY"]);
        assert_eq!(
            asked(by_global_id("G1"), &valley, Root::Study),
            Err(KeyError::GlobalId)
        );
    }

    #[test]
    fn both_keys_must_be_one_persons() {
        let with = |id: &str, global_id: &str| Query {
            global_id: Some(global_id.to_owned()),
            ..by_id(id)
        };
        assert!(!AskedPerson::of(&with("4711", "G1"), &known()).is_unknown());
        assert!(AskedPerson::of(&with("4711", "G2"), &known()).is_unknown());
    }
}
