//! `patient link` and `patient unlink`: what a person says of IDs, one by one.

use super::edit::{self, EditArgs, not_linked, tell_of_several_ids};
use super::{ids_of, issued};
use crate::cli::change;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value::{self, without_value};
use crate::model::{GlobalPatientId, PatientIdKey};
use crate::store::LinkOrigin;

/// Make IDs of different issuers one person's.
///
/// Whoever was linked to any of them before is that person too. Two persons with different global patient IDs are never
/// made one: unlink the wrong ID first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink patient link 4711^^^NORTH 88^^^HARBOUR --reason CHG1301\n  \
    impaxlink patient link 4711^^^NORTH --global-id G-1009\n  \
    printf '4711^^^NORTH\\n88^^^HARBOUR\\n' | impaxlink patient link @-")]
pub struct LinkArgs {
    /// The IDs: at least two, or one with --global-id
    #[arg(value_name = "ID^^^ISSUER", required = true, value_parser = ids_of)]
    ids: Vec<Vec<PatientIdKey>>,
    /// The patient ID that is the same in all clusters
    #[arg(long, value_name = "ID", value_parser = global_id)]
    global_id: Option<GlobalPatientId>,
    #[command(flatten)]
    edit: EditArgs,
}

/// Take an ID out of its person.
///
/// The others stay linked. The last that is left, without a global patient ID, says nothing and goes too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink patient unlink 88^^^HARBOUR --reason CHG1302\n  \
    impaxlink patient unlink @wrong-id --dry-run")]
pub struct UnlinkArgs {
    /// The ID
    #[arg(value_name = "ID^^^ISSUER", required = true, value_parser = ids_of)]
    id: Vec<Vec<PatientIdKey>>,
    #[command(flatten)]
    edit: EditArgs,
}

/// Runs `patient link`.
pub fn run(ui: &mut Ui, args: LinkArgs) -> anyhow::Result<ExitStatus> {
    let local = change::current(ui)?.settings.issuer();
    let mut ids = issued(args.ids.into_iter().flatten(), local.as_ref())?;
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 2 && args.global_id.is_none() {
        let problem = Problem::new(ExitStatus::Usage, "one ID alone is linked to nothing");
        return Err(problem.hint("give another one, or --global-id").into());
    }
    let mut several = 0;
    let status = edit::run(ui, &args.edit, "patient link", LinkOrigin::Command, |edit| {
        edit.link(&ids, args.global_id.as_ref()).map_err(not_linked)?;
        several = edit.several_ids_of_an_issuer(ids.first())?;
        Ok(())
    })?;
    tell_of_several_ids(ui, several.min(1));
    Ok(status)
}

/// Runs `patient unlink`.
pub fn unlink(ui: &mut Ui, args: UnlinkArgs) -> anyhow::Result<ExitStatus> {
    let local = change::current(ui)?.settings.issuer();
    let ids = issued(args.id.into_iter().flatten(), local.as_ref())?;
    edit::run(ui, &args.edit, "patient unlink", LinkOrigin::Command, |edit| {
        for id in &ids {
            edit.unlink(id)?;
        }
        Ok(())
    })
}

/// Reads a global patient ID; the error does not show it.
pub fn global_id(raw: &str) -> Result<GlobalPatientId, String> {
    value::text(raw)?.parse().map_err(without_value)
}
