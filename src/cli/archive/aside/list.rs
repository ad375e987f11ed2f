//! `archive aside list`.
//!
//! Invariant: an object is shown as what its own data set says, beside what was expected.

use jiff::Timestamp;
use serde::Serialize;

use super::super::{existing_path, show, visible};
use super::short;
use crate::archive::{Archive, KeptAside};
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::value;
use crate::cli::view::Items;
use crate::model::{AsideReason, Uid};

/// List the objects that were kept aside: why, whose they are, who sent them, and since when.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive aside list\n  \
    impaxlink archive aside list --study 1.2.840.1 --json\n  \
    impaxlink archive aside list --json | jq '.items[] | select(.reason == \"other_patient\")'")]
pub struct ListArgs {
    /// List only objects of this study
    #[arg(long, value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Option<Uid>,
}

#[derive(Debug, Serialize)]
struct AsideView {
    id: String,
    reason: &'static str,
    detail: String,
    sop_class_uid: String,
    sop_instance_uid: String,
    series_instance_uid: String,
    study_instance_uid: String,
    patient_id: Option<String>,
    issuer_of_patient_id: Option<String>,
    expected_patient_id: Option<String>,
    expected_issuer_of_patient_id: Option<String>,
    expected_uid: Option<String>,
    source_ae_title: Option<String>,
    since: Timestamp,
    transfer_syntax_uid: String,
    bytes: u64,
    path: String,
}

impl From<&KeptAside> for AsideView {
    fn from(kept: &KeptAside) -> Self {
        let identity = &kept.identity;
        let expected = kept.reason.expected_patient();
        let some = |text: &str| (!text.is_empty()).then(|| visible(text));
        AsideView {
            id: kept.id.clone(),
            reason: kept.reason.code(),
            detail: kept.reason.to_string(),
            sop_class_uid: identity.sop_class_uid.to_string(),
            sop_instance_uid: identity.sop_instance_uid.to_string(),
            series_instance_uid: identity.series_instance_uid.to_string(),
            study_instance_uid: identity.study_instance_uid.to_string(),
            patient_id: some(&identity.patient_id),
            issuer_of_patient_id: some(&identity.issuer),
            expected_patient_id: expected.map(|patient| visible(&patient.id)),
            expected_issuer_of_patient_id: expected
                .and_then(|patient| patient.issuer.as_ref())
                .map(ToString::to_string),
            expected_uid: kept.reason.expected_uid().map(ToString::to_string),
            source_ae_title: kept.source.as_ref().map(ToString::to_string),
            since: kept.since,
            transfer_syntax_uid: kept.transfer_syntax_uid.clone(),
            bytes: kept.bytes,
            path: show(&kept.path),
        }
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let mut aside = Archive::open(&existing_path(ui)?)?.kept_aside()?;
    let is_of_study = |kept: &KeptAside| {
        let mut study = args.study.iter();
        study.all(|study| kept.identity.study_instance_uid == *study)
    };
    aside.retain(is_of_study);
    let views: Vec<AsideView> = aside.iter().map(AsideView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => ui.csv(
            &[
                "id",
                "reason",
                "study_instance_uid",
                "sop_instance_uid",
                "patient_id",
                "issuer_of_patient_id",
                "expected_patient_id",
                "source_ae_title",
                "since",
                "bytes",
                "path",
            ],
            views.iter().map(csv_row),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if views.is_empty() => ui.notice("nothing is kept aside"),
        Format::Table => {
            let mut table = Columns::new(&["ID", "WHY", "PATIENT", "EXPECTED", "FROM", "SINCE", "STUDY"]);
            for (kept, view) in aside.iter().zip(&views) {
                table.row([
                    short(&view.id).to_owned(),
                    view.reason.replace('_', " "),
                    patient(view.patient_id.as_deref(), view.issuer_of_patient_id.as_deref()),
                    expected(&kept.reason),
                    view.source_ae_title.clone().unwrap_or_else(|| "-".to_owned()),
                    local_time(kept.since),
                    view.study_instance_uid.clone(),
                ]);
            }
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn patient(id: Option<&str>, issuer: Option<&str>) -> String {
    match (id, issuer) {
        (None, _) => "none".to_owned(),
        (Some(id), None) => id.to_owned(),
        (Some(id), Some(issuer)) => format!("{id} ({issuer})"),
    }
}

fn expected(reason: &AsideReason) -> String {
    let of_patient = reason.expected_patient().map(|expected| {
        let issuer = expected.issuer.as_ref().map(|issuer| issuer.as_str());
        visible(&patient(Some(&expected.id), issuer))
    });
    let uid = reason.expected_uid().map(ToString::to_string);
    of_patient.or(uid).unwrap_or_else(|| "-".to_owned())
}

fn csv_row(view: &AsideView) -> [String; 11] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        view.id.clone(),
        view.reason.to_owned(),
        view.study_instance_uid.clone(),
        view.sop_instance_uid.clone(),
        text(&view.patient_id),
        text(&view.issuer_of_patient_id),
        text(&view.expected_patient_id),
        text(&view.source_ae_title),
        view.since.to_string(),
        view.bytes.to_string(),
        view.path.clone(),
    ]
}
