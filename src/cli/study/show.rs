//! `study show`: what was said of a study, by whom, what is in conflict, and what has reached whom.
//!
//! Invariant: of two patients under one study UID both are shown, never one for the other.

use serde::Serialize;

use crate::audit::Disclosure;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::updates::view::RelayView;
use crate::cli::value;
use crate::cli::view::Document;
use crate::model::{Issuer, Revision, StateField, Uid, Write};
use crate::store::{Access, OutboxFilter, OutboxRow, ReviewNotice, StatedStudy, Store};

use super::review::NoticeView;

/// How many rows of the relay are shown.
const MOST_RELAYED: u32 = 100;

/// Show what was said of a study: its status and corrections, by whom, conflicts, review notices, and the relay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study show 1.2.840.1\n  \
    impaxlink study show 1.2.840.1 --json | jq -r '.study.states[].fields[] | [.field, .value] | @tsv'")]
pub struct ShowArgs {
    /// The study's UID
    #[arg(value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Uid,
}

/// `{"schema":1,"study":{…}}`.
#[derive(Debug, Serialize)]
struct ShowView<'a> {
    study: StudyView<'a>,
}

#[derive(Debug, Serialize)]
struct StudyView<'a> {
    study_instance_uid: &'a Uid,
    /// One a patient: there are several only where the UID was used for several patients.
    states: Vec<StateView<'a>>,
    reviews: Vec<NoticeView<'a>>,
    relay: Vec<RelayView<'a>>,
}

#[derive(Debug, Serialize)]
struct StateView<'a> {
    patient_id: &'a str,
    issuer_of_patient_id: Option<&'a Issuer>,
    fields: Vec<FieldView<'a>>,
}

#[derive(Debug, Serialize)]
struct FieldView<'a> {
    field: StateField,
    #[serde(flatten)]
    shown: WriteView<'a>,
    /// Changes that were made without knowledge of the shown one, until someone writes again.
    conflicts: Vec<WriteView<'a>>,
}

#[derive(Debug, Serialize)]
struct WriteView<'a> {
    /// Null where it was cleared.
    value: Option<&'a str>,
    revision: Revision,
    at: Option<jiff::Timestamp>,
    /// Whether it was made in this cluster.
    here: bool,
    cluster_uid: &'a Uid,
    update: &'a Uid,
}

impl<'a> WriteView<'a> {
    fn of(write: &'a Write, own: &Uid) -> Self {
        WriteView {
            value: write.value.text(),
            revision: write.revision,
            at: write.revision.at(),
            here: write.cluster == *own,
            cluster_uid: &write.cluster,
            update: &write.update,
        }
    }

    fn by(&self) -> String {
        let at = self.at.map_or_else(|| "-".to_owned(), local_time);
        match self.here {
            true => format!("here, {at}"),
            false => format!("cluster {}, {at}", self.cluster_uid),
        }
    }
}

impl<'a> StateView<'a> {
    fn of(stated: &'a StatedStudy, own: &Uid) -> Self {
        let rivals = |field| {
            let mut conflicts = stated.state.conflicts();
            let conflict = conflicts.find(|conflict| conflict.field == field);
            conflict.map_or(Vec::new(), |conflict| conflict.rivals)
        };
        let fields = stated.state.writes().map(|(field, write)| FieldView {
            field,
            shown: WriteView::of(write, own),
            conflicts: rivals(field)
                .into_iter()
                .map(|rival| WriteView::of(rival, own))
                .collect(),
        });
        StateView {
            patient_id: &stated.patient.id,
            issuer_of_patient_id: stated.patient.issuer.as_ref(),
            fields: fields.collect(),
        }
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ShowArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let states = store.study_states(std::slice::from_ref(&args.study))?;
    let notices = store.review_notices(&args.study)?;
    if states.is_empty() && notices.is_empty() {
        let message = format!("nothing was said of study {}", args.study);
        let problem = Problem::new(ExitStatus::NotFound, message);
        return Err(problem
            .hint("'impaxlink query --study-uid UID' shows what the archives have of it")
            .into());
    }
    disclose(ui);
    let filter = OutboxFilter {
        study: Some(args.study.clone()),
        ..OutboxFilter::default()
    };
    let relay = store.outbox(&filter, Some(MOST_RELAYED))?;
    let view = view(&args.study, &states, &notices, &relay, &store);
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(ShowView { study: view }))?,
        Format::Csv => csv(ui, &view)?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => table(ui, &view)?,
    }
    Ok(ExitStatus::Done)
}

fn view<'a>(
    study: &'a Uid,
    states: &'a [StatedStudy],
    notices: &'a [ReviewNotice],
    relay: &'a [OutboxRow],
    store: &Store,
) -> StudyView<'a> {
    StudyView {
        study_instance_uid: study,
        states: states
            .iter()
            .map(|stated| StateView::of(stated, store.cluster_uid()))
            .collect(),
        reviews: notices.iter().map(NoticeView::from).collect(),
        relay: relay.iter().map(RelayView::from).collect(),
    }
}

/// Patient data are shown. A store that can only be read serves all the same.
fn disclose(ui: &Ui) {
    if let Ok(store) = ui.store(Access::ReadWrite) {
        let disclosure = Disclosure {
            stations: Vec::new(),
            keywords: vec!["StudyInstanceUID".to_owned()],
        };
        let by = attribution::with_command("impaxlink study show".to_owned());
        if let Err(error) = store.record_disclosure(&by, &disclosure) {
            ui.notice(&format!("not recorded: {error}"));
        }
    }
}

fn csv(ui: &mut Ui, view: &StudyView<'_>) -> anyhow::Result<()> {
    let rows = view.states.iter().flat_map(|state| {
        state.fields.iter().map(move |field| {
            let conflicts: Vec<&str> = field
                .conflicts
                .iter()
                .map(|rival| rival.value.unwrap_or_default())
                .collect();
            [
                state.patient_id.to_owned(),
                state.issuer_of_patient_id.map_or("", Issuer::as_str).to_owned(),
                field.field.to_string(),
                field.shown.value.unwrap_or_default().to_owned(),
                field.shown.revision.to_string(),
                field.shown.cluster_uid.to_string(),
                conflicts.join(";"),
            ]
        })
    });
    let heading = [
        "patient_id",
        "issuer_of_patient_id",
        "field",
        "value",
        "revision",
        "cluster_uid",
        "conflicts",
    ];
    ui.csv(&heading, rows)
}

fn table(ui: &mut Ui, view: &StudyView<'_>) -> anyhow::Result<()> {
    for state in &view.states {
        let issuer = state
            .issuer_of_patient_id
            .map_or("issuer not known", Issuer::as_str);
        ui.line(&format!(
            "study {} of {} ({issuer})",
            view.study_instance_uid, state.patient_id
        ))?;
        let mut table = Columns::new(&["FIELD", "VALUE", "SAID"]);
        for field in &state.fields {
            let shown = |value: Option<&str>| {
                value.map_or("cleared".to_owned(), |value| value.replace(['\r', '\n'], " "))
            };
            table.row([
                field.field.to_string(),
                shown(field.shown.value),
                field.shown.by(),
            ]);
            for rival in &field.conflicts {
                table.row(["  CONFLICT".to_owned(), shown(rival.value), rival.by()]);
            }
        }
        ui.table(table)?;
    }
    for notice in &view.reviews {
        ui.line(&notice.sentence())?;
    }
    if !view.relay.is_empty() {
        ui.line("")?;
        let mut table = Columns::new(&["TO", "STATE", "CHANGED", "TRIES>", "DETAIL"]);
        view.relay.iter().for_each(|row| table.row(row.cells()));
        ui.table(table)?;
    }
    Ok(())
}
