//! Brings the study of one job, from the source that it was taken for.
//!
//! Invariants: a source that is no longer linked for prefetching is not asked. A job is done when the destination lists
//! as many instances as the fullest known copy has, whatever the source claims; what is lacking is the next source's to
//! give.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::runner::Queue;
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{Configuration, CrossReference, PrefetchJob, in_full};
use crate::retrieve::{Arrivals, Progress, RetrieveRequest, Retrieved, Scope, retrieve};
use crate::store::{JobOutcome, Purpose};

/// What bringing needs.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The configuration under which a study is brought to its end.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards the sources.
    pub tls: LinkTls,
    /// The embedded archive, should it be the destination.
    pub archive: EmbeddedArchive,
    /// The turns at stations, where they are shared.
    pub turns: Option<Arc<Turns>>,
    /// Where our listener hands over what sources send to it, if this process has one.
    pub arrivals: Option<Arc<Arrivals>>,
    /// Where the store is.
    pub store: PathBuf,
    /// Where the health of links is recorded.
    pub queue: Queue,
}

impl Carrier {
    /// Brings the study of `job`, until `cancel` is cancelled.
    pub async fn bring(self, job: PrefetchJob, cancel: CancellationToken) -> JobOutcome {
        let source = self.configuration.station(&job.source);
        if !source.is_some_and(|station| station.is_linked() && station.links.prefetching) {
            return incomplete(&job, 0, "it is not linked for prefetching any more".to_owned());
        }
        let request = RetrieveRequest {
            configuration: Arc::clone(&self.configuration),
            cross_reference: self.cross_reference,
            tls: self.tls,
            archive: self.archive,
            turns: self.turns,
            store: self.store,
            purpose: Purpose::Prefetch,
            study_instance_uid: job.wanted.study_instance_uid.clone(),
            patient: Some((job.wanted.patient_id.clone(), job.source.clone())),
            scope: Scope::Study,
            from: vec![job.source.clone()],
            first: None,
            resting: BTreeMap::new(),
            regardless: false,
            to: RetrieveRequest::to_archive(&self.configuration, &job.wanted.destination),
            method: None,
            dry_run: false,
            arrivals: self.arrivals,
        };
        let progress = watch::Sender::new(Progress::default());
        let mut retrieved = match retrieve(&request, progress, cancel).await {
            Ok(retrieved) => retrieved,
            Err(error) => return incomplete(&job, 0, in_full(&error)),
        };
        let reports = std::mem::take(&mut retrieved.link_reports);
        let recorded = self
            .queue
            .with_store(move |store| store.record_link_health(&reports));
        if let Err(error) = recorded.await {
            tracing::warn!("how {} fared was not kept: {}", job.source, in_full(&error));
        }
        outcome(&job, &retrieved)
    }
}

fn outcome(job: &PrefetchJob, retrieved: &Retrieved) -> JobOutcome {
    let fetched = u32::try_from(retrieved.fetched).unwrap_or(u32::MAX);
    let expected = job.wanted.instances.map_or(1, u64::from).max(1);
    if retrieved.complete && retrieved.instances >= expected {
        return JobOutcome::Done { fetched };
    }
    if retrieved.cancelled {
        return JobOutcome::Interrupted;
    }
    if let Some(silent) = retrieved.unanswered.iter().find(|it| it.station == job.source) {
        return incomplete(job, fetched, silent.detail.clone());
    }
    if let Some(deferred) = &retrieved.deferred {
        return incomplete(job, fetched, deferred.clone());
    }
    if !retrieved.conflicts.is_empty() {
        let names: Vec<&str> = retrieved.conflicts.iter().map(|name| name.as_str()).collect();
        let detail = format!(
            "in conflict: it is another patient's study at {}",
            names.join(", ")
        );
        return incomplete(job, fetched, detail);
    }
    let told = retrieved.troubles().next().map(|(_, detail)| detail.to_owned());
    let told = told.unwrap_or_else(|| match retrieved.sources.is_empty() {
        true => "it has the study no longer".to_owned(),
        false => format!("{} of {expected} images are here", retrieved.instances),
    });
    incomplete(job, fetched, told)
}

fn incomplete(job: &PrefetchJob, fetched: u32, detail: String) -> JobOutcome {
    JobOutcome::Incomplete {
        fetched,
        detail: format!("{}: {detail}", job.source),
    }
}
