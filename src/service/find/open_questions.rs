//! The questions that are open at linked stations, so that our own is recognised when it comes back.
//!
//! A proxy that a linked station really is may put our question to us again, under another title and in strict DICOM:
//! forwarded once more, it would go round until the deadline.
//!
//! Invariant: a question is taken for our own only where it comes from a station that we are asking the same at this
//! moment, or, if the caller is an external station, from the address of one. Two viewers may ask the same at once. Of
//! a question a keyed hash is kept, never its keys.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Mutex;

use crate::link::policy::{Role, Skip, Target};
use crate::model::{Configuration, Kind, Query, Station, is_universal};
use crate::service::admission::Calls;
use crate::service::host_names::HostNames;
use crate::service::locked;

/// The questions that are open at linked stations.
#[derive(Debug, Default)]
pub(in crate::service) struct OpenQuestions {
    key: RandomState,
    open: Mutex<Vec<OpenQuestion>>,
}

#[derive(Debug, Clone)]
struct OpenQuestion {
    question: u64,
    /// The linked stations that are asked.
    stations: Vec<Station>,
}

/// Keeps a question among the open ones until it is dropped.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    questions: &'a OpenQuestions,
    question: Option<u64>,
}

impl OpenQuestions {
    /// Enters the question, where linked stations are asked.
    pub(super) fn open(
        &self,
        query: &Query,
        configuration: &Configuration,
        targets: &[Target],
    ) -> Asking<'_> {
        let linked = targets
            .iter()
            .filter(|target| target.role == Role::Linked && target.skip.is_none());
        let stations = linked.filter_map(|target| configuration.stations.get(target.station).cloned());
        let stations: Vec<Station> = stations.collect();
        let question = (!stations.is_empty()).then(|| self.hash(query));
        if let Some(question) = question {
            locked(&self.open).push(OpenQuestion { question, stations });
        }
        Asking {
            questions: self,
            question,
        }
    }

    /// Whether the question is our own, put to us again by a station that we are asking it.
    pub(super) async fn is_own(
        &self,
        query: &Query,
        caller: &Station,
        calls: &Calls,
        names: &HostNames,
    ) -> bool {
        let question = self.hash(query);
        let open: Vec<Station> = {
            let open = locked(&self.open);
            let same = open.iter().filter(|open| open.question == question);
            same.flat_map(|open| open.stations.iter().cloned()).collect()
        };
        for station in &open {
            let comes_from_it = caller.kind == Kind::External && calls.comes_from(station, names).await;
            if station.name == caller.name || comes_from_it {
                return true;
            }
        }
        false
    }

    /// Of the level and the keys that constrain, as a peer may give them back.
    fn hash(&self, query: &Query) -> u64 {
        let mut hasher = self.key.build_hasher();
        query.level.as_str().hash(&mut hasher);
        let text = |text: &Option<String>| text.as_deref().map(normalised).unwrap_or_default();
        query
            .patient_id
            .as_ref()
            .map(|key| normalised(&key.id))
            .hash(&mut hasher);
        text(&query.patient_name).hash(&mut hasher);
        text(&query.accession_number).hash(&mut hasher);
        let mut studies: Vec<&str> = query.study_uids.iter().map(|uid| uid.as_str()).collect();
        studies.sort_unstable();
        studies.hash(&mut hasher);
        let constraining = query
            .further_keys
            .iter()
            .filter(|(_, value)| !is_universal(value));
        let mut further: Vec<(u16, u16, String)> = constraining
            .map(|(tag, value)| (tag.group(), tag.element(), normalised(value)))
            .collect();
        further.sort_unstable();
        further.hash(&mut hasher);
        hasher.finish()
    }
}

fn normalised(value: &str) -> String {
    value.trim_matches([' ', '\0']).to_uppercase()
}

/// Asks no linked station: they are where the question came from.
pub(super) fn forward_to_nobody(targets: &mut [Target]) {
    for target in targets.iter_mut().filter(|target| target.role == Role::Linked) {
        target.skip = Some(Skip::OwnQuestion);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(question) = self.question else { return };
        let mut open = locked(&self.questions.open);
        if let Some(place) = open.iter().position(|open| open.question == question) {
            open.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn a_question_is_known_again_by_its_level_and_keys() {
        let questions = OpenQuestions::default();
        let of = |further: &[(dicom_core::Tag, &str)]| {
            let further = further.iter().map(|(tag, value)| (*tag, (*value).to_owned()));
            questions.hash(&Query {
                further_keys: further.collect(),
                ..Query::default()
            })
        };
        let (date, modality) = ((tags::STUDY_DATE, "2024"), (tags::MODALITY, "CT"));
        assert_eq!(of(&[date, modality]), of(&[(tags::MODALITY, "ct "), date]));
        assert_eq!(
            of(&[date]),
            of(&[date, (tags::STUDY_ID, "")]),
            "what is only returned is no key"
        );
        assert_ne!(of(&[date]), of(&[modality]));
    }
}
