//! `patient`: which patient IDs of different issuers are one person's. One file a subcommand or a pair of them.
//!
//! Invariant: no ID stands in an error, a notice or the command line that the audit keeps.

use clap::Subcommand;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::value::{self, without_value};
use crate::model::{IssuedId, Issuer, PatientIdKey};

mod edit;
mod import;
mod link;
mod list;

/// Keep the cross-reference: which patient IDs of different issuers are one person's.
///
/// An ID is one patient's only together with its issuer. That two of them are one person is never guessed, from a name
/// or a date of birth: it is said here, one by one, or by a file of the master patient index. Queries, priors and
/// prefetch then ask each archive by the ID that it knows, and a study known under both is no conflict.
///
/// An ID is written ID^^^ISSUER; a bare one is of the local cluster's issuer ('impaxlink config get issuer'). IDs may
/// stand in a file, one a line: @FILE, or @- for standard input. A global patient ID is the same in all clusters, and
/// a person has one at most. One issuer may have several IDs of a person, where records were merged; that is told.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink patient link 4711^^^NORTH 88^^^HARBOUR --reason CHG1301\n  \
    impaxlink patient import mpi.csv --dry-run\n  \
    impaxlink patient list 4711^^^NORTH")]
pub enum PatientCommand {
    /// Make IDs of different issuers one person's
    Link(link::LinkArgs),
    /// Take an ID out of its person
    Unlink(link::UnlinkArgs),
    /// List persons with their IDs, and who linked them
    List(list::ListArgs),
    /// Link all that a CSV file says
    Import(import::ImportArgs),
    /// Write the cross-reference as CSV, for a spreadsheet and for import
    Export(list::ExportArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: PatientCommand) -> anyhow::Result<ExitStatus> {
    match command {
        PatientCommand::Link(args) => link::run(ui, args),
        PatientCommand::Unlink(args) => link::unlink(ui, args),
        PatientCommand::List(args) => list::run(ui, args),
        PatientCommand::Import(args) => import::run(ui, args),
        PatientCommand::Export(args) => list::export(ui, args),
    }
}

/// The IDs of an argument, `@-` and `@FILE` read.
fn ids_of(raw: &str) -> Result<Vec<PatientIdKey>, String> {
    let texts = value::lines(raw)?;
    let ids = texts.iter().map(|text| text.parse().map_err(without_value));
    ids.collect()
}

/// Gives each its issuer.
fn issued(
    keys: impl IntoIterator<Item = PatientIdKey>,
    local: Option<&Issuer>,
) -> anyhow::Result<Vec<IssuedId>> {
    let issued = keys.into_iter().map(|key| {
        let lacks_issuer = key.issuer.is_none() && local.is_none();
        IssuedId::new(key, local).map_err(|error| {
            let problem = Problem::new(ExitStatus::Usage, without_value(error));
            match lacks_issuer {
                true => problem
                    .hint("name it, or say whose a bare ID is: 'impaxlink config set issuer NORTH'")
                    .into(),
                false => problem.into(),
            }
        })
    });
    issued.collect()
}
