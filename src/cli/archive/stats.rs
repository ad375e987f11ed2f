//! `archive stats`: how much is stored, and what was kept aside.

use serde::Serialize;

use super::{existing_path, show};
use crate::archive::{Archive, KeptAside, Stats};
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Document;

/// Show how much is stored, and what was kept aside.
///
/// 'impaxlink archive aside list' says why an object is kept aside; somebody has to look which data are right.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive stats\n  \
    impaxlink archive stats --json | jq .instances")]
pub struct StatsArgs {}

#[derive(Debug, Serialize)]
struct StatsView {
    path: String,
    patients: u64,
    studies: u64,
    series: u64,
    instances: u64,
    bytes: u64,
    kept_aside: Vec<AsideView>,
}

#[derive(Debug, Serialize)]
struct AsideView {
    sop_instance_uid: String,
    study_instance_uid: String,
    transfer_syntax_uid: String,
    path: String,
}

impl From<KeptAside> for AsideView {
    fn from(aside: KeptAside) -> Self {
        AsideView {
            sop_instance_uid: aside.identity.sop_instance_uid.to_string(),
            study_instance_uid: aside.identity.study_instance_uid.to_string(),
            transfer_syntax_uid: aside.transfer_syntax_uid,
            path: show(&aside.path),
        }
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, _args: StatsArgs) -> anyhow::Result<ExitStatus> {
    let archive = Archive::open(&existing_path(ui)?)?;
    let Stats {
        patients,
        studies,
        series,
        instances,
        bytes,
        ..
    } = archive.stats()?;
    let view = StatsView {
        path: show(archive.path()),
        patients,
        studies,
        series,
        instances,
        bytes,
        kept_aside: archive.kept_aside()?.into_iter().map(AsideView::from).collect(),
    };
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view))?,
        Format::Csv => {
            let cells = cells(&view);
            let heading = cells.clone().map(|(name, _)| name);
            ui.csv(&heading, [cells.map(|(_, value)| value)])?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&[]);
            for (name, value) in cells(&view) {
                table.row([name.replace('_', " "), value]);
            }
            ui.table(table)?;
            for aside in &view.kept_aside {
                ui.line(&format!("  {}  {}", aside.sop_instance_uid, aside.path))?;
            }
        }
    }
    Ok(ExitStatus::Done)
}

fn cells(view: &StatsView) -> [(&'static str, String); 7] {
    [
        ("path", view.path.clone()),
        ("patients", view.patients.to_string()),
        ("studies", view.studies.to_string()),
        ("series", view.series.to_string()),
        ("instances", view.instances.to_string()),
        ("bytes", view.bytes.to_string()),
        ("kept_aside", view.kept_aside.len().to_string()),
    ]
}
