//! The rows of a query in the format asked for, once all stations have ended.
//!
//! Invariant: csv has one line a study, whatever the level; several values of a field are joined by `;`.

use super::asking::Asked;
use super::table;
use super::view::{EndLine, EntryView, LedgerLine, QueryDocument, StudyView};
use crate::cli::Format;
use crate::cli::output::Ui;
use crate::cli::view::Document;
use crate::link::merge::{MergedStudy, Source};
use crate::model::{Availability, IssuerDomain, QueryLedger};

/// Writes what is still to be written, under the ID of the query's ledger.
pub fn write(ui: &mut Ui, asked: &mut Asked, ledger: &QueryLedger) -> anyhow::Result<()> {
    let (id, complete) = (ledger.id.to_string(), ledger.complete);
    match ui.format() {
        Format::Ndjson => {
            for (_, entry) in &asked.ledger {
                ui.ndjson(&LedgerLine::new(entry))?;
            }
            ui.ndjson(&EndLine::new(id, complete))
        }
        Format::DicomJson => {
            let end = if asked.begin_list() { "\n]" } else { "[]" };
            Ok(ui.line(end)?)
        }
        Format::Json => {
            let studies = asked.take_studies();
            ui.json(&Document::new(QueryDocument {
                id,
                complete,
                items: studies
                    .iter()
                    .map(|study| StudyView::of(study, &asked.sources))
                    .collect(),
                ledger: asked
                    .ledger
                    .iter()
                    .map(|(_, entry)| EntryView::of(entry))
                    .collect(),
            }))
        }
        Format::Csv => {
            let studies = asked.take_studies();
            ui.csv(&HEADING, studies.iter().map(|study| cells(study, &asked.sources)))
        }
        Format::Table => {
            let studies = asked.take_studies();
            table::write(ui, &studies, &asked.sources, asked.level)
        }
    }
}

/// The columns of a study.
pub const HEADING: [&str; 25] = [
    "study_instance_uid",
    "patient_id",
    "issuer_of_patient_id",
    "issuer_inferred",
    "global_patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "study_date",
    "study_time",
    "accession_number",
    "modalities",
    "study_description",
    "referring_physician",
    "instances",
    "interpretation_status",
    "specialty",
    "body_part",
    "verified",
    "best_station",
    "best_availability",
    "best_instances",
    "locations",
    "conflicts",
    "series",
];

/// The cells of a study, under [`HEADING`].
pub fn cells(merged: &MergedStudy, sources: &[Source]) -> [String; HEADING.len()] {
    let study = &merged.study;
    let name = |source: usize| sources.get(source).map_or("", |source| source.station.as_str());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let best = merged.best_location();
    let joined = |values: Vec<String>| values.join(";");
    let issuer = match &study.patient_id.domain {
        IssuerDomain::Named(issuer) => issuer.as_str(),
        IssuerDomain::Inferred(station) => station.as_str(),
    };
    let conflict = |conflict: &crate::link::merge::Conflict| {
        format!(
            "{}={}^^^{}",
            name(conflict.source),
            conflict.patient_id.id,
            conflict.patient_id.domain
        )
    };
    let location = |location: &crate::link::merge::Location| match location.instances {
        Some(instances) => format!("{}={instances}", name(location.source)),
        None => name(location.source).to_owned(),
    };
    [
        study.study_instance_uid.to_string(),
        study.patient_id.id.clone(),
        issuer.to_owned(),
        matches!(study.patient_id.domain, IssuerDomain::Inferred(_)).to_string(),
        text(&study.global_patient_id),
        text(&study.patient_name),
        show(study.patient_birth_date),
        text(&study.patient_sex),
        show(study.study_date),
        show(study.study_time),
        text(&study.accession_number),
        study.modalities.join(";"),
        text(&study.study_description),
        text(&study.referring_physician),
        show(study.instances),
        text(&study.interpretation_status),
        text(&study.specialty),
        text(&study.body_part),
        show(study.is_verified()),
        best.map_or("", |best| name(best.source)).to_owned(),
        best.and_then(|best| best.availability)
            .map_or("", Availability::as_str)
            .to_owned(),
        show(best.and_then(|best| best.instances)),
        joined(merged.locations.iter().map(location).collect()),
        joined(merged.conflicts.iter().map(conflict).collect()),
        joined(
            study
                .series
                .iter()
                .map(|series| series.series_instance_uid.to_string())
                .collect(),
        ),
    ]
}

fn show<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
