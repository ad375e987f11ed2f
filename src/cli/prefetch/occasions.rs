//! `prefetch UID…`, `--patient-id`, `--worklist`: looks for the priors, queues them, fetches them.
//!
//! Invariant: no patient's data reach the audit or a notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::{Timestamp, ZonedDateTime};

use super::PrefetchArgs;
use super::outcome::Outcome;
use super::running::{cancelled_by_signals, fetch, tell};
use super::view::{JobView, RunView};
use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::query::records::disclosure;
use crate::cli::table::Columns;
use crate::cli::view::Items;
use crate::link::EmbeddedArchive;
use crate::link::tls::LinkTls;
use crate::model::{Asker, Configuration, DateRange, JobId, WantedPrior};
use crate::priors::destination;
use crate::priors::find::FindPriors;
use crate::priors::looking::{Looked, Occasion, look};
use crate::priors::runner::Queue;
use crate::priors::worklist::{WorklistError, WorklistQuestion, ask_worklist, worklist_station};
use crate::store::{Access, Enqueued, Store};

/// Runs the command.
pub fn run(ui: &mut Ui, args: &PrefetchArgs) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(prefetch(ui, args));
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    status
}

async fn prefetch(ui: &mut Ui, args: &PrefetchArgs) -> anyhow::Result<ExitStatus> {
    let began = Instant::now();
    let store = ui.store(Access::ReadWrite)?;
    let configuration = Arc::new(store.configuration()?);
    let to = destination(&configuration, args.to.as_ref())?;
    let cancel = cancelled_by_signals()?;
    let mut outcome = Outcome::default();
    let occasions = tokio::select! {
        occasions = occasions(args, &configuration, &mut outcome) => occasions?,
        () = cancel.cancelled() => return Ok(ExitStatus::Interrupted),
    };
    let (asker, looked_at) = (Asker::User(attribution().person().to_owned()), Timestamp::now());
    let Some(search) = search(ui, &store, &configuration, &occasions)? else {
        outcome.elapsed = began.elapsed();
        return tell(ui, &outcome, &RunView::of(&outcome, &[]));
    };
    disclose(&store, &search)?;
    let mut looked = look(search, occasions, &to, &asker, &cancel).await;
    looked.settle(&store)?;
    if !cancel.is_cancelled() {
        refuse_unknown(&looked)?;
    }
    if let Some(limit) = args.limit {
        looked.wanted.truncate(limit as usize);
    }
    enter(&mut outcome, &looked);
    outcome.interrupted = cancel.is_cancelled();
    if args.dry_run {
        outcome.elapsed = began.elapsed();
        return show_plan(ui, &looked, &outcome);
    }
    let ids = enqueue(&store, &looked.wanted, looked_at)?;
    let queue = Queue::of(store)?;
    if args.enqueue_only || ids.is_empty() {
        outcome.jobs = queue.jobs(ids).await?;
    } else {
        fetch(ui, &queue, &configuration, ids, args.now, &cancel, &mut outcome).await?;
    }
    outcome.elapsed = began.elapsed();
    tell(ui, &outcome, &RunView::of(&outcome, &looked.here))
}

/// For whom priors are looked for.
async fn occasions(
    args: &PrefetchArgs,
    configuration: &Configuration,
    outcome: &mut Outcome,
) -> anyhow::Result<Vec<Occasion>> {
    if let Some(key) = &args.whom.patient_id {
        return Ok(vec![Occasion::patient(key.clone())]);
    }
    let Some(days) = args.whom.worklist else {
        return Ok(args.whom.studies.iter().cloned().map(Occasion::study).collect());
    };
    let station = worklist_station(configuration, args.worklist_station.as_ref()).map_err(explain)?;
    let question = WorklistQuestion {
        days,
        modalities: args.modality.clone(),
        scheduled_station: args.scheduled_station.clone(),
    };
    let worklist = ask_worklist(configuration, station, &LinkTls::of(configuration), &question).await?;
    outcome.incomplete.extend(worklist.shortfalls(&station.name));
    Ok(worklist.studies.iter().map(Occasion::scheduled).collect())
}

fn explain(error: WorklistError) -> anyhow::Error {
    match error {
        WorklistError::Unnamed => Problem::new(ExitStatus::Usage, error.to_string())
            .hint("give --worklist-station, or 'impaxlink config set prefetch.worklist.station NAME'")
            .into(),
        WorklistError::Unknown(_) => Problem::new(ExitStatus::NotFound, error.to_string())
            .hint("'impaxlink station add' makes it known, 'impaxlink station list' shows all")
            .into(),
        error => error.into(),
    }
}

/// How priors are looked for, the first occasion's to begin with; `None` where there is none.
fn search(
    ui: &Ui,
    store: &Store,
    configuration: &Arc<Configuration>,
    occasions: &[Occasion],
) -> anyhow::Result<Option<FindPriors>> {
    let Some(first) = occasions.first() else {
        return Ok(None);
    };
    Ok(Some(FindPriors {
        of: first.of.clone(),
        rules: configuration.prefetch_rules_in_force().clone(),
        under_review: store.all_under_review()?,
        configuration: Arc::clone(configuration),
        cross_reference: Arc::new(store.cross_reference()?.0),
        tls: LinkTls::of(configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        health: store.link_health()?,
        resting: BTreeMap::new(),
        turns: None,
        timeout: None,
    }))
}

/// Records by which keys, and where, patient data are asked for: once for all.
fn disclose(store: &Store, search: &FindPriors) -> anyhow::Result<()> {
    let targets = search.targets(Timestamp::now());
    let disclosure = disclosure(&search.configuration, &targets, search.keywords());
    Ok(store.record_disclosure(&attribution(), &disclosure)?)
}

fn attribution() -> Attribution {
    attribution::with_command("impaxlink prefetch".to_owned())
}

fn refuse_unknown(looked: &Looked) -> anyhow::Result<()> {
    match &looked.unknown[..] {
        [] => Ok(()),
        unknown if unknown.len() < looked.occasions => Ok(()),
        _ if looked.failed > 0 || !looked.troubles.is_empty() => {
            let status = match looked.failed < looked.occasions {
                true => ExitStatus::Partial,
                false => ExitStatus::Failed,
            };
            let troubles: Vec<String> = troubles(looked).collect();
            let message = format!(
                "no such study was found, but not all stations answered: {}",
                troubles.join("; ")
            );
            Err(Problem::new(status, message).into())
        }
        unknown => {
            let uids: Vec<&str> = unknown.iter().map(|uid| uid.as_str()).collect();
            let message = format!("no station has the study {}", uids.join(", "));
            Err(Problem::new(ExitStatus::NotFound, message).into())
        }
    }
}

fn troubles(looked: &Looked) -> impl Iterator<Item = String> {
    looked
        .troubles
        .iter()
        .map(|(station, why)| format!("{station} {why}"))
}

fn enter(outcome: &mut Outcome, looked: &Looked) {
    outcome.patients = looked.patients;
    outcome.here = looked.here.len();
    outcome.nothing_answered = looked.occasions > 0 && looked.failed == looked.occasions;
    outcome.incomplete.extend(troubles(looked));
    if !looked.unknown.is_empty() {
        outcome
            .incomplete
            .push(format!("{} studies not found", looked.unknown.len()));
    }
}

fn enqueue(store: &Store, wanted: &[WantedPrior], looked_at: Timestamp) -> anyhow::Result<Vec<JobId>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let enqueued = store.enqueue_prefetch(wanted, looked_at)?;
    Ok(enqueued.into_iter().map(Enqueued::job).collect())
}

/// `--dry-run`: what would be fetched from where, and why.
fn show_plan(ui: &mut Ui, looked: &Looked, outcome: &Outcome) -> anyhow::Result<ExitStatus> {
    let wanted = looked
        .wanted
        .iter()
        .map(|prior| JobView::outside(prior, "wanted"));
    let here = looked.here.iter().map(|prior| JobView::outside(prior, "here"));
    let items: Vec<JobView<'_>> = wanted.chain(here).collect();
    match ui.format() {
        Format::Json => ui.json(&Items::new(items))?,
        Format::Ndjson => items.iter().try_for_each(|item| ui.ndjson(item))?,
        Format::Csv => ui.csv(
            &[
                "study_instance_uid",
                "patient_id",
                "sources",
                "instances",
                "reason",
            ],
            looked.wanted.iter().map(plan_row),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if looked.wanted.is_empty() => {}
        Format::Table => {
            let mut table = Columns::new(&["STUDY", "ID (ISSUER)", "FROM", "IMAGES>", "WHY"]);
            for prior in &looked.wanted {
                let [uid, id, sources, instances, reason] = plan_row(prior);
                let images = if instances.is_empty() {
                    "-".to_owned()
                } else {
                    instances
                };
                table.row([
                    uid,
                    format!("{id} ({})", prior.patient_id.domain),
                    sources,
                    images,
                    reason,
                ]);
            }
            ui.table(table)?;
        }
    }
    let would = format!(
        "{} would be fetched, {} already here",
        looked.wanted.len(),
        looked.here.len()
    );
    ui.notice(&format!("dry run: {would}"));
    if !outcome.incomplete.is_empty() {
        ui.warning(&format!("INCOMPLETE: {}", outcome.incomplete.join("; ")));
    }
    Ok(outcome.status())
}

fn plan_row(prior: &WantedPrior) -> [String; 5] {
    let sources: Vec<&str> = prior.sources.iter().map(|source| source.as_str()).collect();
    [
        prior.study_instance_uid.to_string(),
        prior.patient_id.id.clone(),
        sources.join(";"),
        prior.instances.map(|count| count.to_string()).unwrap_or_default(),
        prior.reason.clone(),
    ]
}

/// Reads the days of `--worklist`.
pub fn days(raw: &str) -> Result<DateRange, String> {
    DateRange::parse(raw, ZonedDateTime::now().date()).map_err(|error| error.to_string())
}
