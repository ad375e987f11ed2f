//! The queue run by the command itself, and `prefetch run`.
//!
//! Invariant: on Ctrl-C what is under way is told to stop and goes back to the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use jiff::ZonedDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::outcome::Outcome;
use super::view::RunView;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::view::Document;
use crate::link::EmbeddedArchive;
use crate::link::tls::LinkTls;
use crate::model::{Configuration, JobId, JobState, PrefetchJob};
use crate::priors::bring::Carrier;
use crate::priors::runner::{self, Goal, Limits, Queue};
use crate::store::{Access, JobFilter};

/// Fetch what is in the queue, and end when nothing waits any more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  impaxlink -q prefetch run     # in cron, where no service runs\n  impaxlink prefetch run --now"
)]
pub struct RunArgs {
    /// Also outside of the hours of prefetch.hours
    #[arg(long)]
    now: bool,
}

/// Runs `prefetch run`.
pub fn run(ui: &mut Ui, args: &RunArgs) -> anyhow::Result<ExitStatus> {
    let began = Instant::now();
    let store = ui.store(Access::ReadWrite)?;
    let configuration = Arc::new(store.configuration()?);
    let unfinished = JobFilter {
        states: vec![JobState::Queued, JobState::Running],
        ids: None,
    };
    let ids: Vec<JobId> = store
        .prefetch_jobs(&unfinished)?
        .iter()
        .map(|job| job.id)
        .collect();
    let queue = Queue::of(store)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut outcome = Outcome::default();
    let fetched = runtime.block_on(async {
        let cancel = cancelled_by_signals()?;
        fetch(ui, &queue, &configuration, ids, args.now, &cancel, &mut outcome).await
    });
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    fetched?;
    outcome.elapsed = began.elapsed();
    let patients = outcome.jobs.iter().map(|job| &job.wanted.patient_id);
    outcome.patients = patients.collect::<std::collections::HashSet<_>>().len();
    tell(ui, &outcome, &RunView::of(&outcome, &[]))
}

/// Cancelled when the process is told to end.
pub fn cancelled_by_signals() -> anyhow::Result<CancellationToken> {
    let cancel = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, cancel) = (signal(kind)?, cancel.clone());
        tokio::spawn(async move {
            signals.recv().await;
            cancel.cancel();
        });
    }
    Ok(cancel)
}

/// Fetches these jobs, and what else is in the queue, and enters in `outcome` what became of them.
pub async fn fetch(
    ui: &Ui,
    queue: &Queue,
    configuration: &Arc<Configuration>,
    ids: Vec<JobId>,
    now: bool,
    cancel: &CancellationToken,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let mut limits = Limits::of(&configuration.settings);
    if now {
        limits.hours = None;
    }
    let known = queue.with_store(|store| store.cross_reference()).await?.0;
    let carrier = Carrier {
        arrivals: None,
        configuration: Arc::clone(configuration),
        cross_reference: Arc::new(known),
        tls: LinkTls::of(configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        turns: None,
        store: ui.store_path().to_owned(),
        queue: queue.clone(),
    };
    let bring = move |job, cancel| carrier.clone().bring(job, cancel);
    let mut progress = Progress::new(ui, &ids);
    let goal = Goal::These(ids.clone());
    runner::run(queue, || limits, &goal, cancel, bring, |job| progress.tell(job)).await?;
    progress.line.finish_and_clear();
    if let Some(hours) = limits.hours.filter(|_| !limits.are_open()) {
        outcome.closed_until = hours.next_opening(&ZonedDateTime::now());
    }
    outcome.jobs = queue.jobs(ids).await?;
    outcome.interrupted = cancel.is_cancelled();
    Ok(())
}

/// How far a run is, on a terminal.
struct Progress<'u> {
    ui: &'u Ui,
    line: ProgressBar,
    states: HashMap<JobId, JobState>,
}

impl<'u> Progress<'u> {
    fn new(ui: &'u Ui, ids: &[JobId]) -> Self {
        Progress {
            ui,
            line: ui.progress_line(),
            states: ids.iter().map(|id| (*id, JobState::Queued)).collect(),
        }
    }

    fn tell(&mut self, job: &PrefetchJob) {
        self.states.insert(job.id, job.state);
        let count = |state| self.states.values().filter(|known| **known == state).count();
        let (done, running, failed) = (
            count(JobState::Done),
            count(JobState::Running),
            count(JobState::Failed),
        );
        let message = format!(
            "{done} of {} priors here, {running} coming, {failed} failed",
            self.states.len()
        );
        self.line.set_message(message);
        self.line.tick();
        if self.ui.verbosity() > 0 {
            let why = job.detail.as_deref().unwrap_or_default();
            let (uid, state, source) = (&job.wanted.study_instance_uid, job.state.as_str(), &job.source);
            self.ui
                .notice(format!("{uid} from {source}: {state} {why}").trim_end());
        }
    }
}

/// Writes what a run came to: the line to standard output, or the document; quiet, the line to standard error where not
/// all is well.
pub fn tell(ui: &mut Ui, outcome: &Outcome, view: &RunView<'_>) -> anyhow::Result<ExitStatus> {
    let is_troubled = !outcome.is_well();
    match ui.format() {
        Format::Json => ui.json(&Document::new(view))?,
        Format::Ndjson => view.ndjson(ui)?,
        Format::Csv => ui.csv(&super::list::HEADING, outcome.jobs.iter().map(super::list::cells))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {}
        Format::Table => ui.line(&outcome.line())?,
    }
    if is_troubled && (ui.format() != Format::Table || ui.is_quiet()) {
        ui.warning(&outcome.line());
    }
    Ok(outcome.status())
}
