//! `study update`: a change to one study, or those of a file.
//!
//! Invariant: no value of a field reaches the audit's command line. What is saved is told with the stations it goes to.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::draft::Fields;
use super::feed;
use super::patients::patient_of;
use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::change::reason;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::query::filters::patient_id;
use crate::cli::updates::sending::{deliver_or_tell, wake};
use crate::cli::value::{self, without_value};
use crate::cli::view::Document;
use crate::model::{PatientIdKey, StateField, StationName, StatusFallsBack, Uid, parse_duration};
use crate::store::{Access, Draft, Made, OutboxFilter, OutboxState, Store};

/// Change what is known of a study, here and in the linked clusters that take updates.
///
/// The objects in the archives stay as they are; queries show and match the new values at once. A change is kept before
/// it is told, and relayed until it is delivered. A patient's change is one for each of the patient's studies.
///
/// A file (--from) has a line a study: CSV with a heading, or NDJSON by its name's end (.ndjson, .jsonl). Columns:
/// study_instance_uid; where no archive has the study patient_id and issuer_of_patient_id; correct (true where a status
/// may fall back); and any of interpretation_status, verified_status, patient_location, study_comments, patient_name,
/// patient_birth_date, patient_sex, study_description, accession_number, referring_physician, study_date, study_time. An
/// empty cell leaves a field as it is; in NDJSON null does, and an empty string clears it. A bad line is named, the
/// others are saved, and the exit status is 1 then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study update 1.2.840.1 --status APPROVED --verified\n  \
    impaxlink study update 1.2.840.1 --status TRANSCRIBED --correct --reason 'wrong report signed'\n  \
    echo 'ROE^JANE' | impaxlink study update 1.2.840.1 --patient-name @-\n  \
    impaxlink study update 1.2.840.9 --patient-id 88^^^HARBOUR --comments 'see the CT of 2023'\n  \
    impaxlink study update 1.2.840.1 --status APPROVED --wait --timeout 10s\n  \
    impaxlink study update --from status.csv")]
pub struct UpdateArgs {
    /// The study's UID
    #[arg(value_name = "UID", value_parser = value::parsed::<Uid>, required_unless_present = "from")]
    study: Option<Uid>,
    /// Take the changes from this file; '-' is standard input, as CSV
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with_all = ["study", "patient_id", "correct"])]
    from: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Whose study it is, where no archive of the local cluster has it: ID^^^ISSUER
    #[arg(long, value_name = "ID^^^ISSUER", value_parser = patient_id)]
    patient_id: Option<PatientIdKey>,
    /// Take a report's status back, as a correction of it
    #[arg(long)]
    correct: bool,
    /// Tell the change and make none
    #[arg(long)]
    dry_run: bool,
    /// Wait until every station it goes to has it, or, where nothing changes, the study's earlier changes; the exit status
    /// is 3 where one could not take it, 5 when time is up
    #[arg(long, conflicts_with_all = ["from", "dry_run"])]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = "60s", requires = "wait")]
    timeout: Duration,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

/// `study update --json` of one study.
#[derive(Debug, Serialize)]
struct UpdateView<'a> {
    study_instance_uid: &'a Uid,
    unchanged: bool,
    dry_run: bool,
    /// The update's identity; null where nothing changed, and of a dry run.
    update: Option<&'a Uid>,
    changed: Vec<StateField>,
    relayed_to: &'a [StationName],
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: UpdateArgs) -> anyhow::Result<ExitStatus> {
    let wanted = args
        .fields
        .wanted()
        .map_err(|error| Problem::new(ExitStatus::Usage, without_value(error)))?;
    let by = Attribution {
        reason: args.reason.clone(),
        ..attribution::with_command("impaxlink study update".to_owned())
    };
    if let Some(file) = &args.from {
        if !wanted.is_empty() {
            let message = "--from takes the values from the file: no field can be given besides";
            return Err(Problem::new(ExitStatus::Usage, message).into());
        }
        return feed::run(ui, file, &by, args.dry_run);
    }
    let Some(study) = args.study else {
        return Err(Problem::new(ExitStatus::Usage, "a study UID or --from is needed").into());
    };
    if wanted.is_empty() {
        let problem = Problem::new(ExitStatus::Usage, "nothing to change: no field is given");
        return Err(problem.hint("'impaxlink help study update' lists them").into());
    }
    let store = ui.store(if args.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    })?;
    let draft = Draft {
        patient: patient_of(ui, &store, &study, args.patient_id.as_ref())?,
        study,
        wanted,
        is_correction: args.correct,
        new_objects: None,
        review: None,
    };
    let made = make(&store, &by, &draft, args.dry_run)?.map_err(falls_back)?;
    tell(ui, &draft, &made, args.dry_run)?;
    if args.wait {
        return wait(ui, store, &draft, &made, args.timeout);
    }
    if made.update.is_some() && !args.dry_run {
        wake(ui);
    }
    Ok(ExitStatus::Done)
}

/// Waits for the change, or, where all was so already, for what the study's earlier changes still have on the way.
fn wait(ui: &Ui, store: Store, draft: &Draft, made: &Made, timeout: Duration) -> anyhow::Result<ExitStatus> {
    let update = made.update.as_ref().map(|update| update.id.clone());
    let Some(update) = update else {
        let meant = OutboxFilter {
            study: Some(draft.study.clone()),
            ..OutboxFilter::default()
        };
        let rows = store.outbox(&meant, None)?.into_iter();
        let waiting = rows.filter(|row| row.state != OutboxState::Delivered);
        let stations: BTreeSet<StationName> = waiting.map(|row| row.station).collect();
        let stations: Vec<StationName> = stations.into_iter().collect();
        return deliver_or_tell(ui, &store, &stations, &meant, timeout);
    };
    let meant = OutboxFilter {
        update: Some(update),
        ..OutboxFilter::default()
    };
    deliver_or_tell(ui, &store, &made.relayed_to, &meant, timeout)
}

fn make(
    store: &Store,
    by: &Attribution,
    draft: &Draft,
    dry_run: bool,
) -> anyhow::Result<Result<Made, StatusFallsBack>> {
    if dry_run {
        return Ok(store.preview_update(draft)?);
    }
    let mut made = store.make_updates(by, std::slice::from_ref(draft))?;
    made.pop()
        .ok_or_else(|| anyhow::anyhow!("the change came to nothing"))
}

fn falls_back(error: StatusFallsBack) -> Problem {
    Problem::new(ExitStatus::Failed, error.to_string()).hint("--correct takes it back, and --reason says why")
}

fn tell(ui: &mut Ui, draft: &Draft, made: &Made, dry_run: bool) -> anyhow::Result<()> {
    let update = made.update.as_ref();
    let view = UpdateView {
        study_instance_uid: &draft.study,
        unchanged: update.is_none(),
        dry_run,
        update: update.map(|update| &update.id).filter(|_| !dry_run),
        changed: update.map_or(Vec::new(), |update| {
            update.changes.iter().map(|change| change.field).collect()
        }),
        relayed_to: &made.relayed_to,
    };
    let changed: Vec<&str> = view.changed.iter().map(|field| field.as_str()).collect();
    let stations: Vec<&str> = made.relayed_to.iter().map(|name| name.as_str()).collect();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view))?,
        Format::Csv => ui.csv(
            &["study_instance_uid", "changed", "relayed_to"],
            [[draft.study.to_string(), changed.join(";"), stations.join(";")]],
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if view.unchanged => ui.notice(&format!("study {}: unchanged", draft.study)),
        Format::Table => {
            let would = if dry_run { "would change " } else { "" };
            let relayed = match stations.join(", ") {
                none if none.is_empty() => "to no linked cluster".to_owned(),
                stations => format!("to {stations}"),
            };
            ui.notice(&format!(
                "study {}: {would}{}, {relayed}",
                draft.study,
                changed.join(", ")
            ));
        }
    }
    if update.is_some() && draft.patient.issuer.is_none() {
        ui.notice(
            "it stays here, and rows of linked sites don't show it: the issuer of the patient ID is not known \
             (station set --issuer, config set issuer)",
        );
    }
    Ok(())
}
