//! `study conflicts`: study UIDs found with two different patients, and that a person has looked at them.
//!
//! Invariant: acknowledging changes nothing about the studies: they are still neither prefetched nor moved by themselves.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::change::reason;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::value;
use crate::cli::view::{Document, Items};
use crate::model::{Issuer, IssuerDomain, StationName, Uid};
use crate::store::{Access, KnownConflict, KnownParty};

/// How many conflicts are listed.
const MOST_LISTED: usize = 10_000;

/// See and acknowledge study UIDs found with two different patients
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink study conflicts list\n  \
    impaxlink study conflicts acknowledge 1.2.840.1 --reason 'CHG1260: SITEB corrects its copy'")]
pub enum ConflictsCommand {
    List(ListArgs),
    Acknowledge(AcknowledgeArgs),
}

/// List study UIDs found with two different patients, until they are acknowledged.
///
/// Queries, retrieves, priors, prefetches and updates note each conflict that they meet. It counts in 'status' until a
/// person acknowledges it, and counts again when another patient turns up under that UID.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study conflicts list\n  \
    impaxlink study conflicts list --all --json")]
pub struct ListArgs {
    /// List also those that were acknowledged
    #[arg(long)]
    all: bool,
}

/// Acknowledge conflicts: a person has looked at them, and 'status' no longer counts them.
///
/// The studies themselves stay as they are, and are still neither prefetched nor moved by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study conflicts acknowledge 1.2.840.1 --reason 'CHG1260: SITEB corrects its copy'\n  \
    impaxlink study conflicts acknowledge 1.2.840.1 1.2.840.2 --reason CHG1261 --dry-run")]
pub struct AcknowledgeArgs {
    /// The studies' UIDs, as 'study conflicts list' shows them
    #[arg(value_name = "UID", required = true, value_parser = value::parsed::<Uid>)]
    studies: Vec<Uid>,
    /// Why; kept with the conflict and in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Show what would be acknowledged, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: ConflictsCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ConflictsCommand::List(args) => {
            let conflicts = ui.store(Access::ReadOnly)?.conflicts(args.all, MOST_LISTED)?;
            list(ui, &conflicts)
        }
        ConflictsCommand::Acknowledge(args) => acknowledge(ui, args),
    }
}

/// A conflict as JSON.
#[derive(Debug, Serialize)]
struct ConflictView<'a> {
    study_instance_uid: &'a Uid,
    parties: Vec<PartyView<'a>>,
    first_seen: Timestamp,
    first_path: &'static str,
    last_seen: Timestamp,
    last_path: &'static str,
    acknowledged_at: Option<Timestamp>,
    acknowledged_by: Option<&'a str>,
    reason: Option<&'a str>,
}

/// A station that lists the study, and its patient there.
#[derive(Debug, Serialize)]
struct PartyView<'a> {
    station: &'a StationName,
    patient_id: &'a str,
    issuer_of_patient_id: Option<&'a Issuer>,
    issuer_inferred: bool,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl<'a> From<&'a KnownConflict> for ConflictView<'a> {
    fn from(conflict: &'a KnownConflict) -> Self {
        let acknowledged = conflict.acknowledged.as_ref();
        ConflictView {
            study_instance_uid: &conflict.study,
            parties: conflict.parties.iter().map(PartyView::from).collect(),
            first_seen: conflict.first_seen,
            first_path: conflict.first_path.as_str(),
            last_seen: conflict.last_seen,
            last_path: conflict.last_path.as_str(),
            acknowledged_at: acknowledged.map(|it| it.at),
            acknowledged_by: acknowledged.map(|it| it.by.as_str()),
            reason: acknowledged.and_then(|it| it.reason.as_deref()),
        }
    }
}

impl<'a> From<&'a KnownParty> for PartyView<'a> {
    fn from(known: &'a KnownParty) -> Self {
        let patient = &known.party.patient_id;
        let issuer = match &patient.domain {
            IssuerDomain::Named(issuer) => Some(issuer),
            IssuerDomain::Inferred(_) => None,
        };
        PartyView {
            station: &known.party.station,
            patient_id: &patient.id,
            issuer_of_patient_id: issuer,
            issuer_inferred: issuer.is_none(),
            first_seen: known.first_seen,
            last_seen: known.last_seen,
        }
    }
}

impl ConflictView<'_> {
    fn state(&self) -> String {
        self.acknowledged_by
            .map_or("open".to_owned(), |by| format!("acknowledged by {by}"))
    }
}

fn patient(known: &KnownParty) -> String {
    let patient = &known.party.patient_id;
    format!("{} ({})", patient.id, patient.domain)
}

fn list(ui: &mut Ui, conflicts: &[KnownConflict]) -> anyhow::Result<ExitStatus> {
    let views: Vec<ConflictView<'_>> = conflicts.iter().map(ConflictView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => ui.csv(
            &[
                "study_instance_uid",
                "station",
                "patient_id",
                "issuer_of_patient_id",
                "last_seen",
                "state",
            ],
            views.iter().flat_map(csv_rows),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if views.is_empty() => ui.notice("no study conflicts"),
        Format::Table => {
            let mut table = Columns::new(&["STUDY", "STATION", "ID (ISSUER)", "LAST SEEN", "BY", "STATE"]);
            for (conflict, view) in conflicts.iter().zip(&views) {
                for (place, known) in conflict.parties.iter().enumerate() {
                    let of_study = |text: String| if place == 0 { text } else { String::new() };
                    table.row([
                        of_study(conflict.study.to_string()),
                        known.party.station.to_string(),
                        patient(known),
                        local_time(known.last_seen),
                        of_study(conflict.last_path.as_str().to_owned()),
                        of_study(view.state()),
                    ]);
                }
            }
            ui.table(table)?;
            for station in without_issuer(conflicts) {
                ui.notice(&format!(
                    "{station} names no issuer of its patient IDs, so that no other station's are the same: \
                     'impaxlink station set {station} --issuer ISSUER' says whose they are"
                ));
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// The stations whose issuer is inferred in a conflict that has not been acknowledged.
fn without_issuer(conflicts: &[KnownConflict]) -> BTreeSet<&StationName> {
    let open = conflicts.iter().filter(|it| it.acknowledged.is_none());
    let parties = open.flat_map(|conflict| &conflict.parties);
    let inferred = parties.filter(|it| matches!(it.party.patient_id.domain, IssuerDomain::Inferred(_)));
    inferred.map(|it| &it.party.station).collect()
}

/// A row for each party.
fn csv_rows(view: &ConflictView<'_>) -> Vec<[String; 6]> {
    let row = |party: &PartyView<'_>| {
        [
            view.study_instance_uid.to_string(),
            party.station.to_string(),
            party.patient_id.to_owned(),
            party
                .issuer_of_patient_id
                .map(ToString::to_string)
                .unwrap_or_default(),
            party.last_seen.to_string(),
            view.state(),
        ]
    };
    view.parties.iter().map(row).collect()
}

/// What was acknowledged, as JSON.
#[derive(Debug, Serialize)]
struct AcknowledgedView<'a> {
    dry_run: bool,
    acknowledged: Vec<&'a Uid>,
    unchanged: Vec<&'a Uid>,
}

fn acknowledge(ui: &mut Ui, args: AcknowledgeArgs) -> anyhow::Result<ExitStatus> {
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let store = ui.store(access)?;
    let by = Attribution {
        reason: Some(args.reason),
        ..attribution::with_command("impaxlink study conflicts acknowledge".to_owned())
    };
    let mut open = Vec::new();
    for study in &args.studies {
        let known = store.conflict(study)?.ok_or_else(|| {
            let problem = Problem::new(
                ExitStatus::NotFound,
                format!("study {study}: no conflict is known"),
            );
            problem.hint("'impaxlink study conflicts list --all' shows those that are")
        })?;
        open.push((study, known.acknowledged.is_none()));
    }
    let mut view = AcknowledgedView {
        dry_run: args.dry_run,
        acknowledged: Vec::new(),
        unchanged: Vec::new(),
    };
    for (study, is_open) in open {
        let changed = if args.dry_run {
            is_open
        } else {
            store.acknowledge_conflict(&by, study)?
        };
        let list = if changed {
            &mut view.acknowledged
        } else {
            &mut view.unchanged
        };
        list.push(study);
    }
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => {
            let word = if args.dry_run {
                "would be acknowledged"
            } else {
                "acknowledged"
            };
            for study in &view.acknowledged {
                ui.notice(&format!("study {study}: conflict {word}"));
            }
            for study in &view.unchanged {
                ui.notice(&format!("study {study}: unchanged, it was acknowledged before"));
            }
        }
    }
    Ok(ExitStatus::Done)
}
