//! How the copies of a study look: the JSON that scripts depend on, and the rows of tables and csv.

use jiff::Timestamp;
use serde::Serialize;

use super::Holder;
use super::asking::Asked;
use crate::cli::Format;
use crate::cli::output::Ui;
use crate::cli::query::EntryView;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::view::Document;
use crate::link::completeness::Completeness;
use crate::link::policy::Role;
use crate::model::{IssuerDomain, LedgerEntry, Uid};
use crate::store::CopyRecord;

/// `study copies --json`.
#[derive(Debug, Serialize)]
struct CopiesDocument<'a> {
    study_instance_uid: &'a Uid,
    complete: bool,
    items: &'a [HolderView<'a>],
    ledger: Vec<EntryView<'a>>,
}

/// A station with what it has.
#[derive(Debug, Serialize)]
pub struct HolderView<'a> {
    station: &'a str,
    cluster: Option<&'a str>,
    /// `local` or `linked`; null where it is no station any more.
    role: Option<&'static str>,
    held: Option<bool>,
    other_patient: bool,
    instances: Option<u32>,
    availability: Option<&'static str>,
    brought: Vec<BroughtView<'a>>,
    expires_at: Option<Timestamp>,
    stays: Option<String>,
}

/// What is on record of one source.
#[derive(Debug, Serialize)]
struct BroughtView<'a> {
    source: &'a str,
    cluster: Option<&'a str>,
    purpose: &'static str,
    first_brought: Timestamp,
    last_brought: Timestamp,
    instances: u64,
    last_use: Option<Timestamp>,
    expired_at: Option<Timestamp>,
    /// The patient ID under which it was delivered; null where that is not on record.
    patient_id: Option<&'a str>,
    issuer_of_patient_id: Option<&'a str>,
}

impl<'a> From<&'a Holder> for HolderView<'a> {
    fn from(holder: &'a Holder) -> Self {
        HolderView {
            station: holder.station.as_str(),
            cluster: holder.cluster.as_deref(),
            role: holder.role.map(|role| match role {
                Role::Archive => "local",
                Role::Linked => "linked",
            }),
            held: holder.held,
            other_patient: holder.is_other_patients,
            instances: holder.instances,
            availability: holder.availability,
            brought: holder.records.iter().map(BroughtView::from).collect(),
            expires_at: holder.expires_at,
            stays: holder.stays.as_ref().map(ToString::to_string),
        }
    }
}

impl<'a> From<&'a CopyRecord> for BroughtView<'a> {
    fn from(record: &'a CopyRecord) -> Self {
        BroughtView {
            source: record.source.as_str(),
            cluster: record.cluster.as_ref().map(|cluster| cluster.as_str()),
            purpose: record.purpose.as_str(),
            first_brought: record.first_brought,
            last_brought: record.last_brought,
            instances: record.instances,
            last_use: record.last_use,
            expired_at: record.expired_at,
            patient_id: record.patient.as_ref().map(|patient| patient.id.as_str()),
            issuer_of_patient_id: record.patient.as_ref().and_then(|patient| match &patient.domain {
                IssuerDomain::Named(issuer) => Some(issuer.as_str()),
                IssuerDomain::Inferred(_) => None,
            }),
        }
    }
}

/// Writes all of it; who did not answer goes to standard error.
pub fn tell(ui: &mut Ui, study: &Uid, views: &[HolderView<'_>], asked: &Asked) -> anyhow::Result<()> {
    match ui.format() {
        Format::Json => ui.json(&Document::new(CopiesDocument {
            study_instance_uid: study,
            complete: asked.completeness == Completeness::Complete,
            items: views,
            ledger: asked
                .ledger
                .iter()
                .map(|(_, entry)| EntryView::of(entry))
                .collect(),
        }))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => {
            let rows = views.iter().flat_map(|view| rows(view, |at| at.to_string()));
            ui.csv(&CSV_HEADING, rows)?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&HEADING);
            for row in views.iter().flat_map(|view| rows(view, local_time)) {
                table.row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
            }
            ui.table(table)?;
        }
    }
    let due = asked
        .ledger
        .iter()
        .map(|(_, entry)| entry)
        .filter(|entry| entry.was_due);
    due.filter(|entry| !entry.is_complete())
        .for_each(|entry| ui.warning(&missing(entry)));
    Ok(())
}

fn missing(entry: &LedgerEntry) -> String {
    let detail = entry.shown_detail().map(|detail| format!(": {detail}"));
    format!(
        "{} {}{}",
        entry.station,
        entry.outcome.as_str(),
        detail.unwrap_or_default()
    )
}

const HEADING: [&str; 9] = [
    "STATION",
    "CLUSTER",
    "HELD",
    "IMAGES>",
    "WHERE",
    "BROUGHT FROM",
    "WHEN",
    "FOR",
    "EXPIRES",
];

const CSV_HEADING: [&str; 9] = [
    "station",
    "cluster",
    "held",
    "instances",
    "availability",
    "source",
    "last_brought",
    "purpose",
    "expires",
];

/// A row for each source of the station's copy, or one where nothing is on record.
fn rows(view: &HolderView<'_>, show: impl Fn(Timestamp) -> String) -> Vec<[String; 9]> {
    let held = match (view.held, view.other_patient) {
        (_, true) => "other patient",
        (Some(true), _) => "yes",
        (Some(false), _) => "no",
        (None, _) => "",
    };
    let row = |brought: Option<&BroughtView<'_>>| {
        let expires = match (brought.and_then(|it| it.expired_at), view.expires_at, &view.stays) {
            (Some(at), _, _) => format!("expired {}", show(at)),
            (None, Some(at), _) => show(at),
            (None, None, Some(stays)) => format!("no: {stays}"),
            (None, None, None) => String::new(),
        };
        [
            view.station.to_owned(),
            view.cluster.unwrap_or_default().to_owned(),
            held.to_owned(),
            view.instances.map(|count| count.to_string()).unwrap_or_default(),
            view.availability.unwrap_or_default().to_owned(),
            brought.map(|it| it.source.to_owned()).unwrap_or_default(),
            brought.map(|it| show(it.last_brought)).unwrap_or_default(),
            brought.map(|it| it.purpose.to_owned()).unwrap_or_default(),
            expires,
        ]
    };
    match view.brought.is_empty() {
        true => vec![row(None)],
        false => view.brought.iter().map(|brought| row(Some(brought))).collect(),
    }
}
