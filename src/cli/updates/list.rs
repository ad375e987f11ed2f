//! `updates list` and `updates show`.
//!
//! Invariant: no value of a patient is shown, only which fields change.

use serde::Serialize;

use super::view::{RelayView, UpdateView};
use crate::cli::Format;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{StationName, Uid};
use crate::store::{Access, LoggedUpdate, OutboxFilter, OutboxState};

/// List what is queued for linked clusters or was refused by them, newest first, and what of theirs is parked here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink updates list\n  \
    impaxlink updates list --station SITEB --state delivered --limit 10\n  \
    impaxlink updates list --state parked --json")]
pub struct ListArgs {
    /// Only to this station
    #[arg(long, value_name = "STATION", value_parser = value::parsed::<StationName>)]
    station: Option<StationName>,
    /// Only of this study
    #[arg(long, value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Option<Uid>,
    /// Only those in this state; without it, queued and parked ones
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
}

impl From<State> for OutboxState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => OutboxState::Queued,
            State::Delivered => OutboxState::Delivered,
            State::Parked => OutboxState::Parked,
        }
    }
}

/// Show one update: whose it is, what it changes, and to whom it went.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink updates show 2.25.77")]
pub struct ShowArgs {
    /// The update's identity, as 'updates list' shows it
    #[arg(value_name = "UPDATE", value_parser = value::parsed::<Uid>)]
    update: Uid,
}

/// `updates list --json`: the rows to other clusters, and what of theirs is parked here.
#[derive(Debug, Serialize)]
struct ListView<'a> {
    items: Vec<RelayView<'a>>,
    parked_here: Vec<UpdateView<'a>>,
}

#[derive(Debug, Serialize)]
struct ShowView<'a> {
    update: UpdateView<'a>,
    relay: Vec<RelayView<'a>>,
}

/// Runs `updates list`.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let limit = (args.limit != 0).then_some(args.limit);
    let states = match args.state {
        Some(state) => vec![state.into()],
        None => vec![OutboxState::Queued, OutboxState::Parked],
    };
    let mut rows = Vec::new();
    for state in states {
        let filter = OutboxFilter {
            station: args.station.clone(),
            study: args.study.clone(),
            state: Some(state),
            ..OutboxFilter::default()
        };
        rows.extend(store.outbox(&filter, limit)?);
    }
    let mut parked_here = match args.state {
        None | Some(State::Parked) => store.parked_updates()?,
        Some(_) => Vec::new(),
    };
    parked_here.retain(|logged| {
        args.study
            .as_ref()
            .is_none_or(|study| logged.update.study == *study)
            && args
                .station
                .as_ref()
                .is_none_or(|station| logged.from.as_ref() == Some(station))
    });
    let items: Vec<RelayView<'_>> = rows.iter().map(RelayView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Document::new(ListView {
            items,
            parked_here: parked_here.iter().map(UpdateView::from).collect(),
        }))?,
        Format::Ndjson => items.iter().try_for_each(|row| ui.ndjson(row))?,
        Format::Csv => ui.csv(
            &["update", "station", "state", "changed", "attempts", "detail"],
            items.iter().map(RelayView::cells_with_update),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => table(ui, &items, &parked_here)?,
    }
    Ok(ExitStatus::Done)
}

fn table(ui: &mut Ui, items: &[RelayView<'_>], parked_here: &[LoggedUpdate]) -> anyhow::Result<()> {
    if items.is_empty() && parked_here.is_empty() {
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
    Ok(())
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
    let view = UpdateView::from(&logged);
    let relay: Vec<RelayView<'_>> = rows.iter().map(RelayView::from).collect();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ShowView { update: view, relay }))?,
        Format::Csv => ui.csv(&["field", "value"], view.rows())?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&[]);
            view.rows().into_iter().for_each(|row| table.row(row));
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
