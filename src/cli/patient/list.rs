//! `patient list` and `patient export`: the cross-reference for people, scripts and spreadsheets.
//!
//! Invariant: an export, imported elsewhere, makes the same cross-reference. `ndjson` and CSV are written as they are
//! read, in memory that does not grow.

use jiff::Timestamp;
use serde::Serialize;

use super::import::COLUMNS;
use super::issued;
use super::link::global_id;
use crate::cli::Format;
use crate::cli::change;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::query::filters::patient_id;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::value;
use crate::cli::view::Items;
use crate::model::{GlobalPatientId, Issuer, PatientIdKey};
use crate::store::{EditError, KnownPerson, LinkedIdentity, Store, Which};

/// List persons with their IDs, and who linked them.
///
/// Without arguments all are listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink patient list 4711^^^NORTH\n  \
    impaxlink patient list --issuer HARBOUR --format csv\n  \
    impaxlink patient list --global-id G-1009 --json")]
pub struct ListArgs {
    /// Only the person with this ID
    #[arg(value_name = "ID^^^ISSUER", value_parser = patient_id, conflicts_with_all = ["global_id", "issuer"])]
    id: Option<PatientIdKey>,
    /// Only the person with this global patient ID
    #[arg(long, value_name = "ID", value_parser = global_id, conflicts_with = "issuer")]
    global_id: Option<GlobalPatientId>,
    /// Only persons with an ID of this issuer
    #[arg(long, value_name = "ISSUER", value_parser = value::parsed::<Issuer>)]
    issuer: Option<Issuer>,
}

/// Write the cross-reference as CSV, for a spreadsheet and for import.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink patient export > patients.csv\n  \
    impaxlink patient export | ssh siteb impaxlink patient import - --dry-run")]
pub struct ExportArgs {}

/// One person.
#[derive(Debug, Serialize)]
struct PersonView<'a> {
    global_patient_id: Option<&'a str>,
    identities: Vec<IdentityView<'a>>,
}

#[derive(Debug, Serialize)]
struct IdentityView<'a> {
    patient_id: &'a str,
    issuer_of_patient_id: &'a str,
    linked_at: Timestamp,
    linked_by: &'a str,
    reason: Option<&'a str>,
    /// `command` or `import`.
    origin: &'static str,
}

impl<'a> PersonView<'a> {
    fn of(person: &'a KnownPerson) -> Self {
        PersonView {
            global_patient_id: person.global_id.as_deref(),
            identities: person.identities.iter().map(IdentityView::of).collect(),
        }
    }
}

impl<'a> IdentityView<'a> {
    fn of(identity: &'a LinkedIdentity) -> Self {
        IdentityView {
            patient_id: identity.id.id(),
            issuer_of_patient_id: identity.id.issuer().as_str(),
            linked_at: identity.at,
            linked_by: &identity.user,
            reason: identity.reason.as_deref(),
            origin: identity.origin.as_str(),
        }
    }
}

/// Runs `patient list`.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let store = change::store_if_any(ui)?;
    let local = match &store {
        Some(store) => store.configuration()?.settings.issuer(),
        None => None,
    };
    let ids = issued(args.id, local.as_ref())?;
    let which = match (ids.first(), &args.global_id, &args.issuer) {
        (Some(id), ..) => Which::Identity(id),
        (_, Some(global_id), _) => Which::GlobalId(global_id),
        (_, _, Some(issuer)) => Which::Issuer(issuer),
        _ => Which::All,
    };
    match ui.format() {
        Format::Ndjson => each(store.as_ref(), which, |person| {
            ui.ndjson(&PersonView::of(&person))
        })?,
        Format::Csv => csv(ui, store.as_ref(), which)?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Json | Format::Table => {
            let mut persons = Vec::new();
            each(store.as_ref(), which, |person| {
                persons.push(person);
                Ok(())
            })?;
            match ui.format() {
                Format::Json => ui.json(&Items::new(persons.iter().map(PersonView::of).collect()))?,
                _ => table(ui, &persons)?,
            }
        }
    }
    Ok(ExitStatus::Done)
}

/// Runs `patient export`.
pub fn export(ui: &mut Ui, _args: ExportArgs) -> anyhow::Result<ExitStatus> {
    let store = change::store_if_any(ui)?;
    let mut writer = csv::Writer::from_writer(ui.out());
    writer.write_record(COLUMNS)?;
    each(store.as_ref(), Which::All, |person| {
        let global_id = person.global_id.as_deref().unwrap_or_default();
        let first = person.identities.first().filter(|_| global_id.is_empty());
        for identity in person.identities.iter().skip(usize::from(first.is_some())) {
            let (id, issuer) = (identity.id.id(), identity.id.issuer().as_str());
            let (other_id, other_issuer) =
                first.map_or(("", ""), |first| (first.id.id(), first.id.issuer().as_str()));
            writer.write_record([id, issuer, global_id, other_id, other_issuer])?;
        }
        Ok(())
    })?;
    writer.flush()?;
    drop(writer);
    Ok(ExitStatus::Done)
}

/// Takes the persons one by one, where there is a store.
fn each(
    store: Option<&Store>,
    which: Which<'_>,
    mut take: impl FnMut(KnownPerson) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(store) = store else { return Ok(()) };
    store.persons(which, &mut take).map_err(|error| match error {
        EditError::Refused(error) => error,
        EditError::Store(error) => error.into(),
    })
}

fn csv(ui: &mut Ui, store: Option<&Store>, which: Which<'_>) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(ui.out());
    writer.write_record([
        "person",
        "global_patient_id",
        "patient_id",
        "issuer",
        "linked_at",
        "linked_by",
        "reason",
        "origin",
    ])?;
    let mut number = 0_u64;
    each(store, which, |person| {
        number += 1;
        for identity in &person.identities {
            writer.write_record([
                number.to_string().as_str(),
                person.global_id.as_deref().unwrap_or_default(),
                identity.id.id(),
                identity.id.issuer().as_str(),
                &identity.at.to_string(),
                &identity.user,
                identity.reason.as_deref().unwrap_or_default(),
                identity.origin.as_str(),
            ])?;
        }
        Ok(())
    })?;
    writer.flush()?;
    Ok(())
}

fn table(ui: &mut Ui, persons: &[KnownPerson]) -> anyhow::Result<()> {
    let mut table = Columns::new(&["GLOBAL ID", "ID (ISSUER)", "LINKED", "BY", "REASON"]);
    for person in persons {
        for (place, identity) in person.identities.iter().enumerate() {
            let global_id = match (place, &person.global_id) {
                (0, Some(global_id)) => global_id.clone(),
                (0, None) => "-".to_owned(),
                // The same person goes on.
                _ => String::new(),
            };
            table.row([
                global_id,
                format!("{} ({})", identity.id.id(), identity.id.issuer()),
                local_time(identity.at),
                identity.user.clone(),
                identity.reason.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    Ok(ui.table(table)?)
}
