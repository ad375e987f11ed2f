//! `audit`: who changed what, and the proof that the record is whole.

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::Format;
use super::change::sentence;
use super::error::ExitStatus;
use super::moment::parse_past;
use super::output::Ui;
use super::table::Columns;
use super::time::local_time;
use super::value;
use super::view::{AuditView, Document, Items};
use crate::audit::{
    AsideDecision, AuditRecord, Event, EventKind, Hash, PatientsLinked, UpdateAct, UpdateRecord,
};
use crate::store::{Access, AuditFilter, KindHead};

/// See who changed what, and prove that the record is whole.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink audit list --since -7d\n  \
    impaxlink audit verify\n  \
    impaxlink audit verify --expect @/root/impaxlink.audit-head")]
pub enum AuditCommand {
    /// List the records, newest first
    #[command(
        after_help = "Examples:\n  impaxlink audit list --limit 5\n  impaxlink audit list --since 2026-01-01 --format csv"
    )]
    List {
        /// Only what was recorded since then: 16:20, a date, -7d, -2h
        #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_past)]
        since: Option<Timestamp>,
        /// At most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Prove that no record and no row of the configuration was edited, removed or inserted
    ///
    /// Follows the chain, compares the records of each kind with their count, and compares the configuration that the
    /// records yield with the tables. Prints the newest hash and the counts. Keep the hash elsewhere: with --expect it
    /// later proves that the chain was not made anew, counts included.
    #[command(after_help = "Examples:\n  \
        impaxlink audit verify\n  \
        impaxlink audit verify --expect 5f1c… --json")]
    Verify {
        /// A hash printed earlier, which must still be in the chain
        #[arg(long, value_name = "HASH", value_parser = value::parsed::<Hash>)]
        expect: Option<Hash>,
    },
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: AuditCommand) -> anyhow::Result<ExitStatus> {
    match command {
        AuditCommand::List { since, limit } => list(ui, since, limit),
        AuditCommand::Verify { expect } => verify(ui, expect),
    }
}

fn list(ui: &mut Ui, since: Option<Timestamp>, limit: u32) -> anyhow::Result<ExitStatus> {
    let limit = (limit != 0).then_some(limit);
    let filter = AuditFilter {
        since,
        limit,
        ..AuditFilter::default()
    };
    let records = ui.store(Access::ReadOnly)?.audit_records(&filter)?;
    match ui.format() {
        Format::Json => ui.json(&Items::new(records.iter().map(AuditView::from).collect()))?,
        Format::Ndjson => {
            for record in &records {
                ui.ndjson(&AuditView::from(record))?;
            }
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Csv => {
            let heading = [
                "sequence",
                "at",
                "user",
                "real_user",
                "reason",
                "command",
                "what",
                "hash",
            ];
            ui.csv(&heading, records.iter().map(csv_row))?;
        }
        Format::Table => {
            let mut table = Columns::new(&["NO>", "WHEN", "WHO", "REASON", "WHAT", "COMMAND"]);
            for record in &records {
                let by = &record.attribution;
                let who = match &by.real_user {
                    Some(real) => format!("{real} as {}", by.user),
                    None => by.user.clone(),
                };
                let reason = by.reason.clone().unwrap_or_else(|| "-".to_owned());
                let (at, command) = (local_time(record.at), by.command.clone());
                table.row([
                    record.sequence.to_string(),
                    at,
                    who,
                    reason,
                    what(record),
                    command,
                ]);
            }
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn csv_row(record: &AuditRecord) -> [String; 8] {
    let by = &record.attribution;
    [
        record.sequence.to_string(),
        record.at.to_string(),
        by.user.clone(),
        by.real_user.clone().unwrap_or_default(),
        by.reason.clone().unwrap_or_default(),
        by.command.clone(),
        what(record),
        record.hash.to_string(),
    ]
}

/// What a record tells of, in one line.
fn what(record: &AuditRecord) -> String {
    match record.event() {
        Ok(Event::Configuration { generation, changes }) => {
            let told: Vec<String> = changes.iter().map(sentence).collect();
            format!("generation {generation}: {}", told.join("; "))
        }
        Ok(Event::Disclosure(disclosure)) => {
            let stations: Vec<&str> = disclosure
                .stations
                .iter()
                .map(|station| station.as_str())
                .collect();
            let asked = match &stations[..] {
                [] => "the store".to_owned(),
                stations => stations.join(", "),
            };
            format!("asked {asked} by {}", disclosure.keywords.join(", "))
        }
        Ok(Event::PatientsLinked(linked)) => patients_linked(&linked),
        Ok(Event::Update(record)) => update_sentence(&record),
        Ok(Event::Expired(expired)) => {
            let sources: Vec<&str> = expired.sources.iter().map(|source| source.as_str()).collect();
            format!(
                "visitor {} from {} expired, {} instances",
                expired.study_instance_uid,
                sources.join(", "),
                expired.instances
            )
        }
        Ok(Event::ClockRebased(_)) => "the machine's clock taken for right".to_owned(),
        Ok(Event::ConflictAcknowledged(acknowledged)) => {
            let stations: Vec<&str> = acknowledged.stations.iter().map(|name| name.as_str()).collect();
            format!(
                "conflict of study {} acknowledged ({})",
                acknowledged.study_instance_uid,
                stations.join(", ")
            )
        }
        Ok(Event::AsideDecided(decided)) => {
            let done = match decided.decision {
                AsideDecision::Released => "released",
                AsideDecision::Replaced => "released in the place of the stored one",
                AsideDecision::Dropped => "dropped",
            };
            format!(
                "object {} kept aside ({}) {done}",
                decided.sop_instance_uid, decided.kept_for
            )
        }
        Ok(Event::Hl7Dropped(dropped)) => format!("HL7 message {} dropped", dropped.message),
        Err(_) => "unreadable: see 'impaxlink audit verify'".to_owned(),
    }
}

/// The identities themselves are in the JSON alone.
fn patients_linked(linked: &PatientsLinked) -> String {
    let counts = [
        (linked.added, "added"),
        (linked.moved, "moved to another person"),
        (linked.removed, "taken out"),
        (linked.global_ids, "given a global ID"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
    format!("patient IDs: {}", told.join(", "))
}

fn update_sentence(record: &UpdateRecord) -> String {
    let act = match record.act {
        UpdateAct::Applied => "update",
        UpdateAct::Parked => "parked update",
        UpdateAct::Dropped => "dropped update",
        UpdateAct::Acknowledged => "acknowledged review",
    };
    let from = record
        .from
        .as_ref()
        .map_or(String::new(), |from| format!(" from {from}"));
    let not_to = record
        .not_to
        .as_ref()
        .map_or(String::new(), |to| format!(", not sent to {to}"));
    let changed: Vec<&str> = record.changed.iter().map(|field| field.as_str()).collect();
    let changed = if changed.is_empty() {
        String::new()
    } else {
        format!(": {}", changed.join(", "))
    };
    format!(
        "{act} {} of study {}{from}{changed}{not_to}",
        record.update, record.study
    )
}

/// `audit verify --json` of a whole chain; a broken one is an error.
#[derive(Debug, Serialize)]
struct VerificationView {
    records: u64,
    head: Hash,
    kinds: Vec<KindView>,
}

/// The records of one kind.
#[derive(Debug, Serialize)]
struct KindView {
    kind: EventKind,
    records: u64,
    head: Hash,
}

fn verify(ui: &mut Ui, expect: Option<Hash>) -> anyhow::Result<ExitStatus> {
    let verification = ui.store(Access::ReadOnly)?.verify_audit(expect.as_ref())?;
    let view = VerificationView {
        records: verification.records,
        head: verification.head,
        kinds: verification
            .kinds
            .into_iter()
            .map(|KindHead { kind, records, head }| KindView { kind, records, head })
            .collect(),
    };
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view))?,
        Format::Csv => ui.csv(
            &["records", "head"],
            [[view.records.to_string(), view.head.to_string()]],
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let of_kind = |of: &KindView| format!("; {} {}", of.records, of.kind.as_str());
            let kinds: String = view.kinds.iter().map(of_kind).collect();
            ui.line(&format!(
                "{} records, whole; head {}{kinds}",
                view.records, view.head
            ))?;
        }
    }
    Ok(ExitStatus::Done)
}
