//! `prefetch list`: the queue, one prior a line.

use jiff::Timestamp;

use super::view::JobView;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::moment;
use crate::cli::view::Items;
use crate::model::{JobState, PrefetchJob};
use crate::store::{Access, JobFilter};

/// List the queue: priors that wait, are being brought, or were given up.
///
/// Patient IDs are in the JSON and csv alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink prefetch list\n  \
    impaxlink prefetch list --state failed --json | jq -r '.items[].study_instance_uid'\n  \
    impaxlink prefetch list --all")]
pub struct ListArgs {
    /// Only those in this state: queued, running, done, failed
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<JobState>,
    /// Also those that have come
    #[arg(long, conflicts_with = "state")]
    all: bool,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: &ListArgs) -> anyhow::Result<ExitStatus> {
    let unfinished = vec![JobState::Queued, JobState::Running, JobState::Failed];
    let states = match args.state.is_empty() && !args.all {
        true => unfinished,
        false => args.state.clone(),
    };
    let jobs = ui
        .store(Access::ReadOnly)?
        .prefetch_jobs(&JobFilter { states, ids: None })?;
    match ui.format() {
        Format::Json => ui.json(&Items::new(jobs.iter().map(JobView::from).collect()))?,
        Format::Ndjson => {
            for job in &jobs {
                ui.ndjson(&JobView::from(job))?;
            }
        }
        Format::Csv => ui.csv(&HEADING, jobs.iter().map(cells))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if jobs.is_empty() => ui.notice("the queue is empty"),
        Format::Table => table(ui, &jobs)?,
    }
    Ok(ExitStatus::Done)
}

pub const HEADING: [&str; 11] = [
    "job",
    "study_instance_uid",
    "patient_id",
    "destination",
    "sources",
    "reason",
    "wanted_for",
    "state",
    "attempts",
    "fetched",
    "detail",
];

pub fn cells(job: &PrefetchJob) -> [String; 11] {
    let wanted = &job.wanted;
    [
        job.id.to_string(),
        wanted.study_instance_uid.to_string(),
        wanted.patient_id.id.clone(),
        wanted.destination.to_string(),
        sources(job),
        wanted.reason.clone(),
        wanted
            .wanted_for
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        job.state.as_str().to_owned(),
        job.attempts.to_string(),
        job.fetched.to_string(),
        job.detail.clone().unwrap_or_default(),
    ]
}

fn sources(job: &PrefetchJob) -> String {
    let sources: Vec<&str> = job.wanted.sources.iter().map(|source| source.as_str()).collect();
    sources.join(";")
}

fn table(ui: &mut Ui, jobs: &[PrefetchJob]) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let mut table = Columns::new(&[
        "JOB>", "STATE", "FROM", "TO", "IMAGES>", "NEXT TRY", "STUDY", "WHY",
    ]);
    for job in jobs {
        let next_try =
            (job.state == JobState::Queued && job.next_try > now).then(|| moment(job.next_try, now));
        let images = job.wanted.instances.map(|count| count.to_string());
        table.row([
            job.id.to_string(),
            job.state.as_str().to_owned(),
            sources(job),
            job.wanted.destination.to_string(),
            images.unwrap_or_else(|| "-".to_owned()),
            next_try.unwrap_or_else(|| "-".to_owned()),
            job.wanted.study_instance_uid.to_string(),
            job.detail.clone().unwrap_or_else(|| job.wanted.reason.clone()),
        ]);
    }
    Ok(ui.table(table)?)
}
