//! The stations asked for one study: what each of them has of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Holder;
use crate::cli::output::Ui;
use crate::cli::query::{Records, begin_ledger};
use crate::link::completeness::{Completeness, completeness};
use crate::link::merge::{Merge, MergedStudy, Source};
use crate::link::policy::{Caller, Narrowing, Target, plan};
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Event, LinkedQuery, Request, keywords};
use crate::model::{Configuration, ConflictPath, LedgerEntry, Outcome, Query, Uid};
use crate::store::LinkReport;

const COMMAND: &str = "impaxlink study copies";

/// What the stations said.
pub struct Asked {
    sources: Vec<Source>,
    studies: Vec<MergedStudy>,
    /// The lines of the ledger, each with the place of its station among the sources.
    pub ledger: Vec<(usize, LedgerEntry)>,
    pub completeness: Completeness,
}

impl Default for Asked {
    /// Nobody was asked.
    fn default() -> Self {
        Asked {
            sources: Vec::new(),
            studies: Vec::new(),
            ledger: Vec::new(),
            completeness: Completeness::Complete,
        }
    }
}

/// Asks all stations that an internal query goes to.
pub fn ask(ui: &Ui, study: &Uid) -> anyhow::Result<Asked> {
    let query = Query {
        study_uids: vec![study.clone()],
        ..Query::default()
    };
    let records = Records::open(ui, COMMAND)?;
    let configuration = Arc::new(records.configuration()?);
    let narrowing = Narrowing::default();
    let targets = plan(
        &configuration,
        &Caller::Internal,
        &query,
        &narrowing,
        Timestamp::now(),
    );
    if targets.is_empty() {
        return Ok(Asked::default());
    }
    records.disclose(ui, &configuration, &targets, keywords(&query));
    let ledger = begin_ledger(&configuration, Caller::Internal, query.level, keywords(&query));
    let request = Request {
        cross_reference: Arc::new(records.cross_reference(&query)?),
        query: Arc::new(query),
        targets: targets.clone(),
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        states: records.states(ui)?,
        health: records.health()?,
        timeout: None,
        resting: BTreeMap::new(),
        turns: None,
        configuration,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut asked, reports) = runtime.block_on(take_all(request));
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    records.keep(ui, &reports);
    let conflicts = asked.studies.iter();
    let conflicts = conflicts.filter_map(|study| study.conflict(&asked.sources, ConflictPath::Query));
    records.note_conflicts(ui, &conflicts.collect::<Vec<_>>());
    records.explain_suspensions(&targets, &mut asked.ledger);
    asked.completeness = judge(&targets, &asked.ledger);
    let complete = asked.completeness == Completeness::Complete;
    let told = (asked.completeness.into(), asked.studies.len());
    records.end_ledger(ui, ledger, &asked.ledger, complete, told);
    Ok(asked)
}

async fn take_all(request: Request) -> (Asked, Vec<LinkReport>) {
    let sources = Source::of(&request.configuration, &request.targets);
    let mut merge = Merge::new(sources.clone(), Arc::clone(&request.cross_reference));
    let (mut ledger, mut reports) = (Vec::new(), Vec::new());
    let mut linked = LinkedQuery::start(request);
    while let Some(event) = linked.next().await {
        match event {
            Event::Answer(answer) => merge.add(answer.target, answer.study),
            Event::Ended(ended) => {
                ledger.push((ended.target, ended.entry));
                reports.extend(ended.report);
            }
        }
    }
    ledger.sort_by_key(|(target, _)| *target);
    let asked = Asked {
        sources,
        studies: merge.finish(),
        ledger,
        completeness: Completeness::Complete,
    };
    (asked, reports)
}

fn judge(targets: &[Target], ledger: &[(usize, LedgerEntry)]) -> Completeness {
    let entries = ledger.iter();
    completeness(entries.filter_map(|(target, entry)| Some((targets.get(*target)?.role, entry))))
}

impl Asked {
    /// Each station that was asked, with what it has of the study.
    pub(super) fn holders(&self, configuration: &Configuration) -> Vec<Holder> {
        let mut holders: Vec<Holder> = Vec::new();
        for (place, source) in self.sources.iter().enumerate() {
            let mut holder = Holder::of(configuration, source.station.clone());
            let entry = self.ledger.iter().find(|(target, _)| *target == place);
            let has_answered = entry.is_some_and(|(_, entry)| entry.outcome == Outcome::Searched);
            holder.held = has_answered.then_some(false);
            let locations = self.studies.iter().flat_map(|merged| &merged.locations);
            if let Some(location) = locations.clone().find(|location| location.source == place) {
                holder.held = Some(true);
                holder.instances = location.instances;
                holder.availability = location.availability.map(|availability| availability.as_str());
            }
            let mut conflicts = self.studies.iter().flat_map(|merged| &merged.conflicts);
            holder.is_other_patients = conflicts.any(|conflict| conflict.source == place);
            holders.push(holder);
        }
        holders
    }
}
