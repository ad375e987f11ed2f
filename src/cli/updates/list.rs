//! `updates list` and `updates show`.
//!
//! Invariant: no value of a patient is shown, only which fields change.

use serde::Serialize;

use super::view::{PullView, RelayView, UpdateView};
use crate::cli::Format;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{StationName, Uid};
use crate::store::{Access, LoggedUpdate, OutboxFilter, OutboxState};

/// List what is queued for linked clusters or was refused by them, newest first, what of theirs is parked here, and the
/// objects they told of that are still to be fetched, with what keeps them.
///
/// NDJSON and CSV have one shape a line: what is sent to linked clusters, or with --state due what is to be fetched. JSON
/// and the table have all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates list\n  \
    impaxlink updates list --station SITEB --state delivered --limit 10\n  \
    impaxlink updates list --state parked --json\n  \
    impaxlink updates list --state due")]
pub struct ListArgs {
    /// Only to, or from, this station
    #[arg(long, value_name = "STATION", value_parser = value::parsed::<StationName>)]
    station: Option<StationName>,
    /// Only of this study
    #[arg(long, value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Option<Uid>,
    /// Only those in this state; without it, all but delivered ones
    #[arg(long)]
    state: Option<State>,
    /// At most so many of each state; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// The states of a row.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum State {
    /// To be sent.
    Queued,
    /// Committed by the station.
    Delivered,
    /// Refused for good, or not applied here.
    Parked,
    /// Of a linked cluster, with new objects that are still to be fetched.
    Due,
}

/// In which states rows to other clusters are listed.
fn outbox_states(state: Option<State>) -> &'static [OutboxState] {
    match state {
        None => &[OutboxState::Queued, OutboxState::Parked],
        Some(State::Queued) => &[OutboxState::Queued],
        Some(State::Delivered) => &[OutboxState::Delivered],
        Some(State::Parked) => &[OutboxState::Parked],
        Some(State::Due) => &[],
    }
}

/// The csv heading of what is to be pulled.
pub const PULL_HEADING: [&str; 6] = ["update", "station", "study", "objects", "tries", "detail"];

/// Show one update: whose it is, what it changes, and to whom it went.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink updates show 2.25.77")]
pub struct ShowArgs {
    /// The update's identity, as 'updates list' shows it
    #[arg(value_name = "UPDATE", value_parser = value::parsed::<Uid>)]
    update: Uid,
}

/// `updates list --json`: the rows to other clusters, what of theirs is parked here, and what is to be pulled.
#[derive(Debug, Serialize)]
struct ListView<'a> {
    items: Vec<RelayView<'a>>,
    parked_here: Vec<UpdateView<'a>>,
    pulls: Vec<PullView<'a>>,
}

#[derive(Debug, Serialize)]
struct ShowView<'a> {
    update: UpdateView<'a>,
    /// What is still to be pulled of it; null where nothing is.
    pull: Option<PullView<'a>>,
    relay: Vec<RelayView<'a>>,
}

/// Runs `updates list`.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let limit = (args.limit != 0).then_some(args.limit);
    let mut rows = Vec::new();
    for state in outbox_states(args.state) {
        let filter = OutboxFilter {
            station: args.station.clone(),
            study: args.study.clone(),
            state: Some(*state),
            ..OutboxFilter::default()
        };
        rows.extend(store.outbox(&filter, limit)?);
    }
    let mut parked_here = match args.state {
        None | Some(State::Parked) => store.parked_updates()?,
        Some(_) => Vec::new(),
    };
    let mut pulls = match args.state {
        None | Some(State::Due) => store.due_pulls(args.study.as_ref(), limit)?,
        Some(_) => Vec::new(),
    };
    let is_meant = |logged: &LoggedUpdate| {
        let is_of_study = args
            .study
            .as_ref()
            .is_none_or(|study| logged.update.study == *study);
        let mut station = args.station.iter();
        is_of_study && station.all(|station| logged.from.as_ref() == Some(station))
    };
    parked_here.retain(&is_meant);
    pulls.retain(|due| is_meant(&due.logged));
    let items: Vec<RelayView<'_>> = rows.iter().map(RelayView::from).collect();
    let pulls: Vec<PullView<'_>> = pulls.iter().map(PullView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Document::new(ListView {
            items,
            parked_here: parked_here.iter().map(UpdateView::from).collect(),
            pulls,
        }))?,
        Format::Ndjson if matches!(args.state, Some(State::Due)) => {
            pulls.iter().try_for_each(|pull| ui.ndjson(pull))?;
        }
        Format::Csv if matches!(args.state, Some(State::Due)) => {
            ui.csv(&PULL_HEADING, pulls.iter().map(PullView::cells))?
        }
        Format::Ndjson => items.iter().try_for_each(|row| ui.ndjson(row))?,
        Format::Csv => ui.csv(
            &["update", "station", "state", "changed", "attempts", "detail"],
            items.iter().map(RelayView::cells_with_update),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => table(ui, &items, &parked_here, &pulls)?,
    }
    Ok(ExitStatus::Done)
}

fn table(
    ui: &mut Ui,
    items: &[RelayView<'_>],
    parked_here: &[LoggedUpdate],
    pulls: &[PullView<'_>],
) -> anyhow::Result<()> {
    if items.is_empty() && parked_here.is_empty() && pulls.is_empty() {
        ui.notice("no updates wait");
        return Ok(());
    }
    if !items.is_empty() {
        let mut table = Columns::new(&["UPDATE", "TO", "STATE", "CHANGED", "TRIES>", "DETAIL"]);
        items.iter().for_each(|row| table.row(row.cells_with_update()));
        ui.table(table)?;
    }
    for logged in parked_here {
        let from = logged.from.as_ref().map_or("", |from| from.as_str());
        let reason = logged.parked.as_deref().unwrap_or_default();
        ui.line(&format!(
            "{} from {from} is parked here: {reason}",
            logged.update.id
        ))?;
    }
    pull_table(ui, pulls)
}

/// What is still to be pulled, where anything is.
pub fn pull_table(ui: &mut Ui, pulls: &[PullView<'_>]) -> anyhow::Result<()> {
    if pulls.is_empty() {
        return Ok(());
    }
    let mut table = Columns::new(&["UPDATE", "FROM", "STUDY", "NEW OBJECTS>", "TRIES>", "DETAIL"]);
    pulls.iter().for_each(|pull| table.row(pull.cells()));
    Ok(ui.table(table)?)
}

/// Runs `updates show`.
pub fn show(ui: &mut Ui, args: ShowArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let logged = store
        .logged_update(&args.update)?
        .ok_or_else(|| not_found(&args.update))?;
    let filter = OutboxFilter {
        update: Some(args.update.clone()),
        ..OutboxFilter::default()
    };
    let rows = store.outbox(&filter, None)?;
    let due = store.due_pull(&args.update)?;
    let pull = due.as_ref().map(PullView::from);
    let view = UpdateView::from(&logged);
    let relay: Vec<RelayView<'_>> = rows.iter().map(RelayView::from).collect();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ShowView {
            update: view,
            pull,
            relay,
        }))?,
        Format::Csv => ui.csv(&["field", "value"], view.rows(pull.as_ref()))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&[]);
            view.rows(pull.as_ref())
                .into_iter()
                .for_each(|row| table.row(row));
            ui.table(table)?;
            if !relay.is_empty() {
                ui.line("")?;
                let mut table = Columns::new(&["TO", "STATE", "CHANGED", "TRIES>", "DETAIL"]);
                relay.iter().for_each(|row| table.row(row.cells()));
                ui.table(table)?;
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// What to say where there is no such update.
pub fn not_found(update: &Uid) -> Problem {
    Problem::new(ExitStatus::NotFound, format!("no update {update}"))
        .hint("'impaxlink updates list' shows those that wait")
}
