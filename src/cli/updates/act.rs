//! `updates retry` and `updates drop`: what a person does about updates that did not go.
//!
//! Invariant: what was delivered is not touched.

use serde::Serialize;

use super::list::not_found;
use super::sending::wake;
use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::change::reason;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{StationName, Uid};
use crate::store::{Access, OutboxFilter};

/// How many parked updates of other clusters are looked at.
const MOST_APPLIED: usize = 100_000;

/// Which updates are meant.
#[derive(Debug, clap::Args)]
pub struct Meant {
    /// The update's identity, as 'updates list' shows it
    #[arg(value_name = "UPDATE", value_parser = value::parsed::<Uid>, required_unless_present = "station")]
    update: Option<Uid>,
    /// Only to this station; without an update, all to it
    #[arg(long, value_name = "STATION", value_parser = value::parsed::<StationName>)]
    station: Option<StationName>,
}

impl Meant {
    fn filter(&self) -> OutboxFilter {
        OutboxFilter {
            update: self.update.clone(),
            station: self.station.clone(),
            ..OutboxFilter::default()
        }
    }
}

/// Try updates again at once, also those that were refused for good; apply those parked here whose time has come, and try
/// again to fetch the new objects that they name.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates retry 2.25.77\n  \
    impaxlink updates retry --station SITEB")]
pub struct RetryArgs {
    #[command(flatten)]
    meant: Meant,
}

/// Give up updates: they are not sent any more, or, parked here, never applied, and new objects that they name are not
/// fetched any more. What they say stays in the study.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates drop 2.25.77 --station SITEB\n  \
    impaxlink updates drop --station SITEB --reason CHG1250")]
pub struct DropArgs {
    #[command(flatten)]
    meant: Meant,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize)]
struct ActView {
    /// Rows of the outbox.
    rows: usize,
    /// Updates of other clusters that were parked here.
    parked_here: usize,
    /// Updates of other clusters with new objects that are still to be pulled.
    pulls: usize,
}

/// Runs `updates retry`.
pub fn retry(ui: &mut Ui, args: RetryArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let rows = store.retry_outbox(&args.meant.filter())?;
    store.relay_retry(args.meant.station.as_ref())?;
    let pulls = match &args.meant {
        Meant {
            update: None,
            station: Some(_),
        } => 0,
        meant => store.retry_pulls(meant.update.as_ref())?,
    };
    wake(ui);
    let parked_here = store.apply_parked(&by(None), MOST_APPLIED)?;
    if let Some(update) = args
        .meant
        .update
        .as_ref()
        .filter(|_| rows + parked_here + pulls == 0)
    {
        let logged = store.logged_update(update)?.ok_or_else(|| not_found(update))?;
        if let Some(reason) = logged.parked {
            ui.notice(&format!("it stays parked: {reason}"));
        }
    }
    tell(
        ui,
        ActView {
            rows,
            parked_here,
            pulls,
        },
        ["to be tried again", "applied", "to be fetched"],
    )
}

/// Runs `updates drop`.
pub fn drop_rows(ui: &mut Ui, args: DropArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let by = by(args.reason);
    let rows = store.drop_outbox(&by, &args.meant.filter())?;
    let (parked_here, pulls) = match &args.meant.update {
        Some(update) => (
            usize::from(store.drop_parked(&by, update)?),
            usize::from(store.drop_pull(&by, update)?),
        ),
        None => (0, 0),
    };
    if let Some(update) = args
        .meant
        .update
        .as_ref()
        .filter(|_| rows + parked_here + pulls == 0)
    {
        store.logged_update(update)?.ok_or_else(|| not_found(update))?;
    }
    let done = ActView {
        rows,
        parked_here,
        pulls,
    };
    tell(ui, done, ["dropped", "dropped", "not to be fetched"])
}

fn by(reason: Option<String>) -> Attribution {
    attribution::of_this_process(reason)
}

fn tell(ui: &mut Ui, done: ActView, [sent, parked, pulled]: [&str; 3]) -> anyhow::Result<ExitStatus> {
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(done))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            let here = match done.parked_here {
                0 => String::new(),
                count => format!(", {count} parked here {parked}"),
            };
            let objects = match done.pulls {
                0 => String::new(),
                count => format!(", new objects of {count} {pulled}"),
            };
            ui.notice(&format!("{} {sent}{here}{objects}", done.rows));
        }
    }
    Ok(ExitStatus::Done)
}
