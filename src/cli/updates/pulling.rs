//! `updates pull`.
//!
//! Invariant: where a service runs, it alone pulls; without one the command does, by the same code. The exit status tells
//! whether all is here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::list::{PULL_HEADING, pull_table};
use super::sending::{LIMIT, PATIENCE};
use super::view::PullView;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::prefetch::cancelled_by_signals;
use crate::cli::view::Items;
use crate::link::EmbeddedArchive;
use crate::link::tls::LinkTls;
use crate::model::parse_duration;
use crate::service::control;
use crate::store::{Access, DuePull, PullLock, SharedStore, Store, StoreError};
use crate::updates::pull::{self, Puller};

/// How often it is looked whether another process has pulled what is due.
const POLL: Duration = Duration::from_millis(50);

/// Fetch now the new objects that linked clusters told of, also those that rest after a failure; wait until they are here.
///
/// The running service does this by itself, as soon as an update comes; without one the command does it. Only studies that
/// an archive of the local cluster holds are completed. What was not to be had stays due and is listed with the reason.
///
/// Exit status: 0 all here, 3 something is still lacking, 5 not done in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates pull\n  \
    impaxlink -q updates pull --timeout 10m     # in cron, where no service runs")]
pub struct PullArgs {
    /// How long it may take
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = PATIENCE)]
    timeout: Duration,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: PullArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let (began, deadline) = (Timestamp::now(), Instant::now() + args.timeout);
    store.retry_pulls(None)?;
    let does_service_pull = control::send_updates(ui.store_path(), LIMIT)?;
    let mut is_interrupted = false;
    while !is_interrupted && Instant::now() < deadline && is_any_untried(&store, began)? {
        let lock = match does_service_pull {
            true => None,
            false => PullLock::acquire(ui.store_path())?,
        };
        match lock {
            Some(_lock) => is_interrupted = pull_here(ui, deadline)?,
            None => std::thread::sleep(POLL),
        }
    }
    let status = match is_any_untried(&store, began)? {
        _ if is_interrupted => ExitStatus::Interrupted,
        true => ExitStatus::Busy,
        false => ExitStatus::Done,
    };
    tell(ui, &store.due_pulls(None, None)?, status)
}

/// Whether anything is due that was not tried since then and is not under review.
fn is_any_untried(store: &Store, since: Timestamp) -> Result<bool, StoreError> {
    Ok(!store.next_pulls(since, 1)?.is_empty())
}

/// Pulls in this process what is due; whether it was interrupted.
fn pull_here(ui: &Ui, deadline: Instant) -> anyhow::Result<bool> {
    let store = ui.store(Access::ReadWrite)?;
    let configuration = Arc::new(store.configuration()?);
    let puller = Puller {
        arrivals: None,
        cross_reference: Arc::new(store.cross_reference()?.0),
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        turns: None,
        resting: Default::default(),
        path: ui.store_path().to_owned(),
        store: SharedStore::of(store),
        configuration,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pulled = runtime.block_on(async {
        let (interrupted, wake) = (cancelled_by_signals()?, watch::Sender::new(0));
        let cancel = interrupted.child_token();
        let pulling = pull::run(
            &puller.store,
            || puller.clone(),
            wake.subscribe(),
            false,
            &cancel,
            |_, _| {},
        );
        tokio::pin!(pulling);
        tokio::select! {
            pulled = &mut pulling => pulled?,
            () = tokio::time::sleep_until(deadline.into()) => {
                cancel.cancel();
                pulling.await?;
            }
        }
        Ok(interrupted.is_cancelled())
    });
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    pulled
}

fn tell(ui: &mut Ui, due: &[DuePull], status: ExitStatus) -> anyhow::Result<ExitStatus> {
    let views: Vec<PullView<'_>> = due.iter().map(PullView::from).collect();
    let count = views.len();
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Csv => ui.csv(&PULL_HEADING, views.iter().map(PullView::cells))?,
        Format::Table if ui.is_quiet() => {}
        Format::Table => pull_table(ui, &views)?,
    }
    match count {
        0 => ui.notice("all new objects are here"),
        _ => ui.warning(&format!(
            "new objects are still lacking, of updates: {count}: impaxlink updates list"
        )),
    }
    Ok(match status {
        ExitStatus::Done if count > 0 => ExitStatus::Partial,
        status => status,
    })
}
