//! `study review`: that a person must look at the copies of a study, and that one has.
//!
//! Invariant: what is done to the study elsewhere is never done here: the notice only says that it was.

use jiff::Timestamp;
use serde::Serialize;

use super::patients::patient_of;
use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::query::filters::patient_id;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::updates::sending::wake;
use crate::cli::value;
use crate::cli::view::{Document, Items};
use crate::model::{Issuer, PatientIdKey, ReviewReason, Uid};
use crate::store::{Access, Draft, ReviewNotice};

/// How many open notices are listed.
const MOST_LISTED: usize = 1000;

/// List, give and acknowledge notices that a person must look at the copies of a study.
///
/// Key image notes, splits, merges and deletions are not relayed. A notice of one goes to the linked clusters: a copy of
/// the study there is no prior until a person acknowledges it. Without an option, lists the notices of the study, or all
/// that nobody has acknowledged yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study review\n  \
    impaxlink study review 1.2.840.1 --reason 'deleted: wrong patient'\n  \
    impaxlink study review 1.2.840.1 --acknowledge")]
pub struct ReviewArgs {
    /// The study's UID
    #[arg(value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Option<Uid>,
    /// Give a notice to the linked clusters: what was done here, in up to 64 characters without patient data
    #[arg(long, value_name = "TEXT", value_parser = value::parsed::<ReviewReason>, requires = "study")]
    reason: Option<ReviewReason>,
    /// Say that a person has looked at the study here
    #[arg(long, requires = "study", conflicts_with = "reason")]
    acknowledge: bool,
    /// Whose study it is, where no archive of the local cluster has it: ID^^^ISSUER
    #[arg(long, value_name = "ID^^^ISSUER", value_parser = patient_id, requires = "reason")]
    patient_id: Option<PatientIdKey>,
}

/// A notice as JSON.
#[derive(Debug, Serialize)]
pub struct NoticeView<'a> {
    study_instance_uid: &'a Uid,
    patient_id: &'a str,
    issuer_of_patient_id: Option<&'a Issuer>,
    reason: &'a str,
    origin: &'a Uid,
    at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<&'a str>,
}

impl<'a> From<&'a ReviewNotice> for NoticeView<'a> {
    fn from(notice: &'a ReviewNotice) -> Self {
        let acknowledged = notice.acknowledged.as_ref();
        NoticeView {
            study_instance_uid: &notice.study,
            patient_id: &notice.patient.id,
            issuer_of_patient_id: notice.patient.issuer.as_ref(),
            reason: notice.reason.as_str(),
            origin: &notice.origin,
            at: notice.at,
            acknowledged_at: acknowledged.map(|(at, _)| *at),
            acknowledged_by: acknowledged.map(|(_, by)| by.as_str()),
        }
    }
}

impl NoticeView<'_> {
    /// In one line.
    pub fn sentence(&self) -> String {
        let state = match (self.acknowledged_at, self.acknowledged_by) {
            (Some(at), Some(by)) => format!("acknowledged by {by}, {}", local_time(at)),
            _ => "UNDER REVIEW".to_owned(),
        };
        format!("review: {} ({}): {state}", self.reason, local_time(self.at))
    }

    fn cells(&self) -> [String; 4] {
        let state = self
            .acknowledged_by
            .map_or("open".to_owned(), |by| format!("acknowledged by {by}"));
        [
            self.study_instance_uid.to_string(),
            self.reason.to_owned(),
            local_time(self.at),
            state,
        ]
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ReviewArgs) -> anyhow::Result<ExitStatus> {
    match (args.study, args.reason, args.acknowledge) {
        (Some(study), Some(reason), _) => give(ui, study, reason, args.patient_id.as_ref()),
        (Some(study), None, true) => acknowledge(ui, &study),
        (Some(study), None, false) => {
            let notices = ui.store(Access::ReadOnly)?.review_notices(&study)?;
            list(ui, &notices)
        }
        (None, ..) => {
            let notices = ui.store(Access::ReadOnly)?.open_review_notices(MOST_LISTED)?;
            list(ui, &notices)
        }
    }
}

fn by() -> Attribution {
    attribution::with_command("impaxlink study review".to_owned())
}

fn give(
    ui: &mut Ui,
    study: Uid,
    reason: ReviewReason,
    key: Option<&PatientIdKey>,
) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let draft = Draft {
        patient: patient_of(ui, &store, &study, key)?,
        study,
        wanted: Default::default(),
        is_correction: false,
        new_objects: None,
        review: Some(reason),
    };
    let mut made = store.make_updates(&by(), std::slice::from_ref(&draft))?;
    let relayed_to = match made.pop() {
        Some(made) => made?.relayed_to,
        None => Vec::new(),
    };
    wake(ui);
    let stations: Vec<&str> = relayed_to.iter().map(|name| name.as_str()).collect();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(GivenView {
            study_instance_uid: &draft.study,
            relayed_to: &stations,
        }))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            let to = if stations.is_empty() {
                "no linked cluster".to_owned()
            } else {
                stations.join(", ")
            };
            ui.notice(&format!("study {}: notice to {to}", draft.study));
        }
    }
    Ok(ExitStatus::Done)
}

#[derive(Debug, Serialize)]
struct GivenView<'a> {
    study_instance_uid: &'a Uid,
    relayed_to: &'a [&'a str],
}

fn acknowledge(ui: &mut Ui, study: &Uid) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    if store.review_notices(study)?.is_empty() {
        let message = format!("study {study}: there is no review notice");
        return Err(Problem::new(ExitStatus::NotFound, message).into());
    }
    let open = store.acknowledge_review(&by(), study)?;
    match open.len() {
        0 => ui.notice(&format!(
            "study {study}: unchanged, all notices were acknowledged before"
        )),
        count => ui.notice(&format!("study {study}: {count} acknowledged")),
    }
    match ui.format() {
        Format::Json | Format::Ndjson => list(ui, &store.review_notices(study)?),
        _ => Ok(ExitStatus::Done),
    }
}

fn list(ui: &mut Ui, notices: &[ReviewNotice]) -> anyhow::Result<ExitStatus> {
    let views: Vec<NoticeView<'_>> = notices.iter().map(NoticeView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => ui.csv(
            &["study_instance_uid", "reason", "at", "state"],
            views.iter().map(NoticeView::cells),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if views.is_empty() => ui.notice("no review notices"),
        Format::Table => {
            let mut table = Columns::new(&["STUDY", "REASON", "SINCE", "STATE"]);
            views.iter().for_each(|view| table.row(view.cells()));
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}
