//! A query's answer as a table for people: newest first, conflicts under the study that they concern.
//!
//! Invariant: what is at stake is never cut away: a conflict has a line of its own, a partial copy says so.

use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::link::merge::{Conflict, Location, MergedStudy, Source};
use crate::link::policy::Role;
use crate::model::{Level, PatientId, SeriesAnswer};

/// Writes the table of that level.
pub fn write(ui: &mut Ui, studies: &[MergedStudy], sources: &[Source], level: Level) -> anyhow::Result<()> {
    if studies.is_empty() {
        return Ok(());
    }
    studies_table(ui, studies, sources)?;
    for study in studies.iter().filter(|_| level != Level::Study) {
        ui.line("")?;
        match level {
            Level::Study => {}
            Level::Series => series_table(ui, &study.study.series)?,
            Level::Image => images_table(ui, &study.study.series)?,
        }
    }
    Ok(())
}

fn studies_table(ui: &mut Ui, studies: &[MergedStudy], sources: &[Source]) -> anyhow::Result<()> {
    let has_reports = studies
        .iter()
        .any(|study| study.study.interpretation_status.is_some());
    let mut heading = vec![
        "DATE",
        "MOD",
        "STUDY",
        "PATIENT",
        "ID (ISSUER)",
        "REPORT",
        "IMAGES>",
        "BEST",
    ];
    heading.retain(|name| has_reports || *name != "REPORT");
    let mut table = Columns::new(&heading);
    for merged in studies {
        let study = &merged.study;
        let mut cells = vec![
            or_dash(study.study_date),
            or_dash((!study.modalities.is_empty()).then(|| study.modalities.join(","))),
            or_dash(study.study_description.as_ref()),
            or_dash(study.patient_name.as_ref()),
            identity(&study.patient_id),
        ];
        if has_reports {
            cells.push(or_dash(study.interpretation_status.as_ref()));
        }
        cells.push(images(merged));
        cells.push(best(merged, sources));
        table.row(cells);
        for conflict in &merged.conflicts {
            table.row(conflict_cells(conflict, sources, has_reports));
        }
    }
    Ok(ui.table(table)?)
}

fn conflict_cells(conflict: &Conflict, sources: &[Source], has_reports: bool) -> Vec<String> {
    let station = sources
        .get(conflict.source)
        .map_or("", |source| source.station.as_str());
    let mut cells = vec![
        String::new(),
        String::new(),
        "CONFLICT: same UID".to_owned(),
        or_dash(conflict.patient_name.as_ref()),
        identity(&conflict.patient_id),
    ];
    cells.extend(has_reports.then(String::new));
    cells.extend([String::new(), station.to_owned()]);
    cells
}

/// `4711 (NORTH)`; an inferred domain ends in a question mark.
pub fn identity(patient: &PatientId) -> String {
    let id = if patient.id.is_empty() { "-" } else { &patient.id };
    format!("{id} ({})", patient.domain)
}

/// The largest number of instances that is known, with a question mark where another copy may have more.
fn images(merged: &MergedStudy) -> String {
    match (merged.study.instances, merged.uncounted_locations().next()) {
        (Some(largest), Some(_)) => format!("{largest}?"),
        (largest, _) => or_dash(largest),
    }
}

/// `SITEB, cache (3 of 220 here)`, `PACS (3 here, ? at SITEB)`, `PACS (also SITEB)`.
pub fn best(merged: &MergedStudy, sources: &[Source]) -> String {
    let Some(best) = merged.best_location() else {
        return "none".to_owned();
    };
    let mut text = name(best, sources).to_owned();
    if let Some(availability) = best.availability {
        text.push_str(&format!(", {}", availability.as_str()));
    }
    if let Some(others) = others(merged, best, sources) {
        text.push_str(&format!(" ({others})"));
    }
    text
}

/// What is to be said of the other copies.
fn others(merged: &MergedStudy, best: &Location, sources: &[Source]) -> Option<String> {
    let role = |location: &Location| sources.get(location.source).map(|source| source.role);
    let here = merged
        .locations
        .iter()
        .find(|location| role(location) == Some(Role::Archive));
    let here = here.and_then(|here| here.instances);
    let uncounted: Vec<&str> = merged
        .uncounted_locations()
        .map(|location| name(location, sources))
        .collect();
    if let (false, Some(largest)) = (uncounted.is_empty(), merged.study.instances) {
        let where_known = match here {
            Some(here) if here < largest => format!("{here} of {largest} here"),
            Some(here) => format!("{here} here"),
            None => format!("{largest} known"),
        };
        return Some(format!("{where_known}, ? at {}", uncounted.join(", ")));
    }
    match (here, best.instances) {
        (Some(here), Some(whole)) if role(best) == Some(Role::Linked) && here < whole => {
            return Some(format!("{here} of {whole} here"));
        }
        _ => {}
    }
    let others = merged
        .locations
        .iter()
        .filter(|location| location.source != best.source);
    let others: Vec<&str> = others.map(|location| name(location, sources)).collect();
    (!others.is_empty()).then(|| format!("also {}", others.join(", ")))
}

fn name<'s>(location: &Location, sources: &'s [Source]) -> &'s str {
    sources
        .get(location.source)
        .map_or("", |source| source.station.as_str())
}

fn series_table(ui: &mut Ui, all: &[SeriesAnswer]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["NO>", "MOD", "SERIES", "BODY PART", "IMAGES>", "SERIES UID"]);
    for series in all {
        table.row([
            or_dash(series.series_number),
            or_dash(series.modality.as_ref()),
            or_dash(series.series_description.as_ref()),
            or_dash(series.body_part_examined.as_ref()),
            or_dash(series.instances),
            series.series_instance_uid.to_string(),
        ]);
    }
    Ok(ui.table(table)?)
}

fn images_table(ui: &mut Ui, all: &[SeriesAnswer]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["SERIES>", "MOD", "NO>", "INSTANCE UID"]);
    for series in all {
        for image in &series.images {
            table.row([
                or_dash(series.series_number),
                or_dash(series.modality.as_ref()),
                or_dash(image.instance_number),
                image.sop_instance_uid.to_string(),
            ]);
        }
    }
    Ok(ui.table(table)?)
}

/// The value, or `-` for none.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
