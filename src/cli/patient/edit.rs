//! What the commands that change the cross-reference share: one change, told, and taken up by the service.
//!
//! Invariant: what is told is what was saved, and the status is 0 only when no service still has the old one.

use serde::Serialize;

use crate::audit::{Attribution, PatientsLinked};
use crate::cli::Format;
use crate::cli::attribution;
use crate::cli::change::{self, reason};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::view::Document;
use crate::service::control;
use crate::store::{Access, CrossReferenceEdit, EditError, LinkError, LinkOrigin};

/// The options of each of them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Change options")]
pub struct EditArgs {
    /// Print the change and make none
    #[arg(long)]
    dry_run: bool,
    /// Why, like a ticket number; kept with the IDs and in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

/// What was done, for scripts.
#[derive(Debug, Serialize)]
struct EditView {
    /// The number of the change; null where there was none.
    change: Option<u64>,
    unchanged: bool,
    dry_run: bool,
    added: u64,
    moved: u64,
    removed: u64,
    global_ids: u64,
    /// `in_force`, `not_running` or `not_asked`.
    service: &'static str,
}

/// Edits the cross-reference under the name of `command`, has the service take it, and tells what was done.
pub fn run(
    ui: &mut Ui,
    args: &EditArgs,
    command: &str,
    origin: LinkOrigin,
    edit: impl FnOnce(&mut CrossReferenceEdit<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<ExitStatus> {
    if args.dry_run {
        // Where there is none, none is made.
        ui.store(Access::ReadOnly)?;
    }
    let store = ui.store(Access::ReadWrite)?;
    let attribution = Attribution {
        reason: args.reason.clone(),
        ..attribution::with_command(format!("impaxlink {command}"))
    };
    let did = store
        .edit_cross_reference(&attribution, origin, args.dry_run, edit)
        .map_err(|error| match error {
            EditError::Refused(error) => error,
            EditError::Store(error) => error.into(),
        })?;
    drop(store);
    let service = match args.dry_run {
        true => "not_asked",
        false => take_up(ui, &did)?,
    };
    tell(ui, &did, args.dry_run, service)?;
    Ok(ExitStatus::Done)
}

/// Why identities are not linked, and what can be done.
pub fn not_linked(error: LinkError) -> anyhow::Error {
    match error {
        LinkError::TwoGlobalIds => {
            let hint = "'impaxlink patient list' shows the two; unlink the ID that is in the wrong one first";
            Problem::new(ExitStatus::Failed, error.to_string())
                .hint(hint)
                .into()
        }
        LinkError::Store(error) => error.into(),
    }
}

/// Tells of a person with several IDs of one issuer: right after a merge of records, else a wrong link.
pub fn tell_of_several_ids(ui: &Ui, count: u64) {
    let what = match count {
        0 => return,
        1 => "1 person has several IDs of one issuer".to_owned(),
        count => format!("{count} times a person has several IDs of one issuer"),
    };
    ui.notice(&format!("{what}: right where records were merged there"));
}

/// Has the service take the change; also where nothing changed, as it may not have taken the last one.
fn take_up(ui: &Ui, did: &PatientsLinked) -> anyhow::Result<&'static str> {
    let limit = change::current(ui)?.settings.duration("reload.timeout");
    match control::take_cross_reference(ui.store_path(), limit) {
        Ok(true) => Ok("in_force"),
        Ok(false) => Ok("not_running"),
        Err(error) => {
            let done = match did.has_changed() {
                true => format!(
                    "saved as change {} of the cross-reference, NOT in force",
                    did.change
                ),
                false => "unchanged, but not known to be in force".to_owned(),
            };
            let error = format!("{:#}", anyhow::Error::from(error));
            let problem = Problem::new(ExitStatus::Failed, format!("{done}: {error}"));
            Err(problem.hint("'impaxlink reload' tries again").into())
        }
    }
}

fn tell(ui: &mut Ui, did: &PatientsLinked, dry_run: bool, service: &'static str) -> anyhow::Result<()> {
    let unchanged = !did.has_changed();
    let view = EditView {
        change: (!unchanged && !dry_run).then_some(did.change),
        unchanged,
        dry_run,
        added: did.added,
        moved: did.moved,
        removed: did.removed,
        global_ids: did.global_ids,
        service,
    };
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(view)),
        Format::Csv => {
            let counts = [did.added, did.moved, did.removed, did.global_ids];
            ui.csv(
                &["added", "moved", "removed", "global_ids"],
                [counts.map(|count| count.to_string())],
            )
        }
        Format::DicomJson => Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => Ok(()),
        Format::Table => Ok(ui.line(&sentence(did, dry_run, service))?),
    }
}

fn sentence(did: &PatientsLinked, dry_run: bool, service: &str) -> String {
    let ids = |count: u64| match count {
        1 => "1 ID".to_owned(),
        count => format!("{count} IDs"),
    };
    let done = [
        (did.added, format!("{} added", ids(did.added))),
        (did.moved, format!("{} moved to another person", ids(did.moved))),
        (did.removed, format!("{} taken out", ids(did.removed))),
        (
            did.global_ids,
            format!("{} with a global ID", persons(did.global_ids)),
        ),
    ];
    let done: Vec<String> = done
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(_, what)| what)
        .collect();
    let last = match (did.has_changed(), dry_run, service) {
        (false, ..) => return "cross-reference: unchanged".to_owned(),
        (_, true, _) => "dry run: nothing saved".to_owned(),
        (_, _, "in_force") => format!("saved as change {}, in force", did.change),
        _ => format!("saved as change {}; no service is running here", did.change),
    };
    format!("cross-reference: {}; {last}", done.join(", "))
}

fn persons(count: u64) -> String {
    match count {
        1 => "1 person".to_owned(),
        count => format!("{count} persons"),
    }
}
