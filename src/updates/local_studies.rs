//! Studies as the archives of the local cluster have them, and whose they are there.
//!
//! Invariant: never guessed. An archive that did not answer to the end is named, so that nobody takes what is missing for
//! what is not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::link::merge::{Merge, MergedStudy, Source};
use crate::link::policy::{Caller, Narrowing, plan};
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Event, LinkedQuery, Request, StudyStates, Turns};
use crate::model::{
    Configuration, CrossReference, IssuerDomain, PatientId, Query, StationName, StudyPatient,
};

/// How long the archives have.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where studies are looked for.
#[derive(Debug, Clone)]
pub struct LocalStudies {
    /// The configuration under which the search runs to its end.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards archives that are asked over it.
    pub tls: LinkTls,
    /// The embedded archive, should a station be it.
    pub archive: EmbeddedArchive,
    /// The turns at stations, where queries share them.
    pub turns: Option<Arc<Turns>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct FoundStudies {
    /// The studies, newest first.
    pub studies: Vec<MergedStudy>,
    /// The archives that did not answer, or not to the end, each with why.
    pub missing: Vec<(StationName, String)>,
}

impl LocalStudies {
    /// Asks all archives. Must be called within a tokio runtime.
    pub async fn find(&self, query: Query) -> FoundStudies {
        let narrowing = Narrowing {
            local_only: true,
            ..Narrowing::default()
        };
        let (configuration, now) = (&self.configuration, Timestamp::now());
        let targets = plan(configuration, &Caller::Internal, &query, &narrowing, now);
        let sources = Source::of(configuration, &targets);
        let mut merge = Merge::new(sources, Arc::clone(&self.cross_reference));
        let mut search = LinkedQuery::start(Request {
            configuration: Arc::clone(configuration),
            query: Arc::new(query),
            cross_reference: Arc::clone(&self.cross_reference),
            targets,
            health: BTreeMap::new(),
            tls: self.tls.clone(),
            archive: self.archive.clone(),
            states: Some(StudyStates::of_store(self.archive.store())),
            timeout: Some(TIMEOUT),
            resting: BTreeMap::new(),
            turns: self.turns.clone(),
        });
        let mut missing = Vec::new();
        while let Some(event) = search.next().await {
            match event {
                Event::Answer(answer) => merge.add(answer.target, answer.study),
                Event::Ended(ended) if !ended.entry.is_complete() => {
                    let entry = ended.entry;
                    let why = entry.detail.unwrap_or_else(|| entry.outcome.as_str().to_owned());
                    missing.push((entry.station, why));
                }
                Event::Ended(_) => {}
            }
        }
        FoundStudies {
            studies: merge.finish(),
            missing,
        }
    }
}

/// Whose a study is, as updates name patients.
pub fn patient_of(study: &MergedStudy) -> StudyPatient {
    let PatientId { id, domain } = study.study.patient_id.clone();
    let issuer = match domain {
        IssuerDomain::Named(issuer) => Some(issuer),
        IssuerDomain::Inferred(_) => None,
    };
    StudyPatient { id, issuer }
}
