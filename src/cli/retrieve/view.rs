//! What `retrieve` shows: the JSON that scripts depend on, the table, and what people should know.
//!
//! Invariant: what is missing is told, also with `--quiet`, in one line a study and without patient data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::progress::Stopped;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Items;
use crate::retrieve::{Retrieved, SourceReport};

/// What came of one study.
#[derive(Debug, Serialize)]
pub struct StudyView {
    study_instance_uid: String,
    complete: bool,
    dry_run: bool,
    cancelled: bool,
    station: String,
    instances: u64,
    fetched: u64,
    already_there: u64,
    missing: u64,
    refused: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deferred: Option<String>,
    kept_aside: u64,
    sources: Vec<SourceView>,
    unanswered: Vec<UnansweredView>,
    conflicts: Vec<String>,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
struct SourceView {
    station: String,
    method: Option<&'static str>,
    listed: u64,
    instances: u64,
    failed: u64,
    dicom_status: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct UnansweredView {
    station: String,
    answered_in_part: bool,
    detail: String,
}

impl StudyView {
    pub fn new(retrieved: &Retrieved, dry_run: bool, elapsed: Duration) -> Self {
        let unanswered = retrieved.unanswered.iter().map(|it| UnansweredView {
            station: it.station.to_string(),
            answered_in_part: it.answered_in_part,
            detail: it.detail.clone(),
        });
        StudyView {
            study_instance_uid: retrieved.study_instance_uid.to_string(),
            complete: retrieved.complete,
            dry_run,
            cancelled: retrieved.cancelled,
            station: retrieved.station.to_string(),
            instances: retrieved.instances,
            fetched: retrieved.fetched,
            already_there: retrieved.already_there,
            missing: retrieved.missing.len() as u64 + retrieved.missing_unlisted,
            refused: retrieved.refused.len() as u64,
            deferred: retrieved.deferred.clone(),
            kept_aside: retrieved.kept_aside.len() as u64,
            sources: retrieved.sources.iter().map(source).collect(),
            unanswered: unanswered.collect(),
            conflicts: retrieved.conflicts.iter().map(ToString::to_string).collect(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn state(&self) -> &'static str {
        match self {
            _ if self.dry_run => "dry run",
            _ if self.complete => "complete",
            _ if !self.conflicts.is_empty() => "CONFLICT",
            _ if self.sources.is_empty() && self.instances == 0 => "NOT FOUND",
            _ => "INCOMPLETE",
        }
    }

    fn sources(&self) -> String {
        let sources = self.sources.iter().map(|source| match source.method {
            Some(method) => format!("{} {} by {method}", source.station, source.instances),
            None => format!("{} {}", source.station, source.instances),
        });
        sources.collect::<Vec<_>>().join(", ")
    }
}

fn source(report: &SourceReport) -> SourceView {
    SourceView {
        station: report.station.to_string(),
        method: report.method.map(|method| method.as_str()),
        listed: report.listed,
        instances: report.instances,
        failed: report.failed,
        dicom_status: report.dicom_status.map(|status| format!("{status:04X}")),
        detail: report.shown_detail(),
        hint: report.hint.clone(),
    }
}

/// The exit status of one study.
pub fn status(retrieved: &Retrieved, stopped: Option<Stopped>) -> ExitStatus {
    match retrieved {
        _ if stopped == Some(Stopped::Interrupted) => ExitStatus::Interrupted,
        _ if retrieved.complete => ExitStatus::Done,
        _ if !retrieved.is_found() && retrieved.unanswered.is_empty() => ExitStatus::NotFound,
        _ if !retrieved.is_found() || retrieved.instances + retrieved.fetched > 0 => ExitStatus::Partial,
        _ => ExitStatus::Failed,
    }
}

/// The exit status of several studies: where they differ, it is partial as long as anything came of one of them.
pub fn worst(mut statuses: Vec<ExitStatus>) -> ExitStatus {
    use ExitStatus::{Done, Failed, Interrupted, Partial};
    statuses.dedup();
    match statuses[..] {
        [] => Done,
        [status] => status,
        _ if statuses.contains(&Interrupted) => Interrupted,
        _ if statuses.contains(&Done) || statuses.contains(&Partial) => Partial,
        _ => Failed,
    }
}

/// Tells on standard error what people should know of a study.
pub fn tell(
    ui: &mut Ui,
    retrieved: &Retrieved,
    view: &StudyView,
    stopped: Option<Stopped>,
) -> anyhow::Result<()> {
    let uid = &view.study_instance_uid;
    if !view.complete {
        ui.warning(&format!("{uid}: {}", closing(view, stopped)));
    }
    for source in &retrieved.sources {
        if let Some(detail) = source.shown_detail() {
            ui.notice(&format!("{}  {detail}", source.station));
        }
        if let Some(hint) = &source.hint {
            ui.notice(&format!("hint: {hint}"));
        }
    }
    for aside in &retrieved.kept_aside {
        ui.warning(&format!(
            "{uid}: {aside} was kept aside, as other data are stored under its UID"
        ));
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for refusal in retrieved.refused.values() {
        *reasons.entry(refusal.to_string()).or_default() += 1;
    }
    for (reason, count) in reasons {
        ui.warning(&format!("{uid}: {count} objects were refused: {reason}"));
    }
    if let Some(unrecorded) = &retrieved.unrecorded {
        ui.warning(&format!(
            "{uid}: where it came from is not recorded: {unrecorded}"
        ));
    }
    Ok(())
}

fn closing(view: &StudyView, stopped: Option<Stopped>) -> String {
    if let Some(reason) = &view.deferred {
        return format!("not fetched: {reason}");
    }
    if !view.conflicts.is_empty() && view.sources.is_empty() {
        return format!(
            "not fetched: its UID stands for another patient at {}; name a source with --from",
            view.conflicts.join(", ")
        );
    }
    let why = match stopped {
        Some(Stopped::Interrupted) => "interrupted; ",
        Some(Stopped::TimedOut) => "stopped by --timeout; ",
        None => "",
    };
    let silent: String = view.unanswered.iter().map(unanswered).collect();
    if view.sources.is_empty() && view.instances == 0 {
        return format!("{why}no station that answered has it{silent}");
    }
    if view.dry_run {
        let (there, missing) = (view.instances + view.fetched, view.missing);
        return format!("INCOMPLETE: {there} instances would be there, {missing} missing{silent}");
    }
    let stays = if stopped.is_some() {
        "; what came stays, and is not fetched again"
    } else {
        ""
    };
    format!(
        "{why}INCOMPLETE at {}: {} instances there, {} missing{silent}{stays}",
        view.station, view.instances, view.missing
    )
}

/// What a station did not say, for the one line of a study.
fn unanswered(view: &UnansweredView) -> String {
    let station = &view.station;
    if !view.answered_in_part {
        let detail = &view.detail;
        return format!("; {station} did not answer ({detail}), conflict not checked at {station}");
    }
    let what = "answered in part";
    format!("; {} {what} ({})", view.station, view.detail)
}

/// Writes what came of all studies.
pub fn write(ui: &mut Ui, views: Vec<StudyView>) -> anyhow::Result<()> {
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => {
            for view in &views {
                ui.ndjson(view)?;
            }
        }
        Format::Csv => {
            let heading = [
                "study_instance_uid",
                "complete",
                "station",
                "instances",
                "fetched",
                "already_there",
                "missing",
                "kept_aside",
                "sources",
                "elapsed_ms",
            ];
            let rows = views.iter().map(|view| {
                [
                    view.study_instance_uid.clone(),
                    view.complete.to_string(),
                    view.station.clone(),
                    view.instances.to_string(),
                    view.fetched.to_string(),
                    view.already_there.to_string(),
                    view.missing.to_string(),
                    view.kept_aside.to_string(),
                    view.sources(),
                    view.elapsed_ms.to_string(),
                ]
            });
            ui.csv(&heading, rows)?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {}
        Format::Table => {
            let heading = ["STUDY", "STATE", "AT", "THERE>", "FETCHED>", "MISSING>", "FROM"];
            let mut table = Columns::new(&heading);
            for view in &views {
                table.row([
                    view.study_instance_uid.clone(),
                    view.state().to_owned(),
                    view.station.clone(),
                    view.instances.to_string(),
                    view.fetched.to_string(),
                    view.missing.to_string(),
                    view.sources(),
                ]);
            }
            ui.table(table)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn studies_that_differ_are_partial_as_long_as_anything_came() {
        use ExitStatus::{Done, Failed, NotFound, Partial};
        let worst = |statuses: &[ExitStatus]| super::worst(statuses.to_vec());
        assert_eq!(worst(&[Done, Done]), Done);
        assert_eq!(worst(&[NotFound, NotFound]), NotFound);
        assert_eq!(worst(&[Done, NotFound]), Partial);
        assert_eq!(worst(&[Failed, NotFound]), Failed);
        assert_eq!(worst(&[Failed, Partial, NotFound]), Partial);
    }
}
