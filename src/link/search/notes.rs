//! What is noticed of a station's answers besides the answers themselves.
//!
//! Invariant: no patient data.

use crate::link::linked_syntax::UnansweredStation;
use crate::link::respondent::Found;
use crate::model::CharacterSet;

/// What was noticed on the way.
#[derive(Debug, Default)]
pub(in crate::link) struct Notes {
    /// How long opening the first association took.
    pub(in crate::link) latency: Option<std::time::Duration>,
    /// Whether the station takes the linked syntax, where it was proposed.
    pub(in crate::link) speaks_linked: Option<bool>,
    /// The numbers of matches of the finds that ended well.
    pub(in crate::link) counts: Vec<u64>,
    /// How many answers were left out because they are of another issuer than the caller named.
    pub(in crate::link) of_other_issuers: u64,
    /// How many answers of an archive of the local cluster were left out because they were found by the ID that the patient
    /// has elsewhere, and nothing says that it is not a local patient's.
    pub(in crate::link) of_unknown_patients: u64,
    /// How many answers to a query by patient ID have no ID, or several, so that nobody can tell whose they are.
    pub(in crate::link) without_one_id: u64,
    /// Keywords of the keys that the station ignored.
    pub(in crate::link) ignored_keys: Vec<String>,
    /// By how many IDs it was asked that the caller did not give.
    pub(in crate::link) translated_ids: usize,
    /// The character sets in which the station has matched keys beyond ASCII.
    pub(in crate::link) matched_in: Vec<CharacterSet>,
    /// The character sets in which it was asked, where those were several.
    pub(in crate::link) tried_in: Vec<CharacterSet>,
    /// More patients than are asked for.
    pub(in crate::link) has_too_many_patients: bool,
    /// Whether a final response said that the answer before it is not whole.
    pub(in crate::link) is_partial: bool,
    /// What final responses said of the answers before them, each once.
    pub(in crate::link) of_final_responses: Vec<String>,
    /// Stations behind this one that did not answer in full, each once.
    pub(in crate::link) unanswered: Vec<UnansweredStation>,
}

impl Notes {
    /// Notes what the end of a find says of the answer before it.
    pub(super) fn take_end(&mut self, matches: &Found<'_>) {
        if let Some(response) = matches.final_response() {
            self.is_partial |= response.is_partial;
            if let Some(remark) = response.remark {
                add(&mut self.of_final_responses, &remark);
            }
        }
        for station in matches.unanswered() {
            if !self.unanswered.contains(station) {
                self.unanswered.push(station.clone());
            }
        }
    }
}

/// Adds a text that is not there yet.
pub(super) fn add(keywords: &mut Vec<String>, keyword: &str) {
    if !keywords.iter().any(|known| known == keyword) {
        keywords.push(keyword.to_owned());
    }
}
