//! `archive aside release` and `archive aside drop`.
//!
//! Invariant: an object that is stored is never overwritten, and only replaced where that was asked for.

use serde::Serialize;

use super::super::existing_path;
use super::{select, short};
use crate::archive::{Archive, KeptAside, Release, StoredInstead};
use crate::audit::{AsideDecided, AsideDecision, Attribution};
use crate::cli::attribution;
use crate::cli::change::reason;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::view::Items;
use crate::cli::{Format, change};
use crate::model::{Configuration, relay_targets};
use crate::store::{Access, Store};

/// Store objects that were kept aside, as what their own data sets say.
///
/// Where other data are stored under its UID an object stays aside, and the exit status is 1. With --replace it takes the
/// place of the stored one, which is then kept aside instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive aside release 3fa91c --reason 'CHG1270: SITEB confirms the patient'\n  \
    impaxlink archive aside release 3fa91c --replace --reason CHG1272 --dry-run")]
pub struct ReleaseArgs {
    /// IDs as 'archive aside list' shows them, or unique beginnings of them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Say why; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason, required = true)]
    reason: String,
    /// Replace what is stored under the same UID, and keep that aside instead
    #[arg(long)]
    replace: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Delete objects that were kept aside.
///
/// They can't be brought back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive aside drop 3fa91c --dry-run\n  \
    impaxlink archive aside drop 3fa91c --reason CHG1271 --yes")]
pub struct DropArgs {
    /// IDs as 'archive aside list' shows them, or unique beginnings of them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Say why; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Delete without asking
    #[arg(long)]
    yes: bool,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// What was done with one object.
#[derive(Debug, Serialize)]
struct DecidedView {
    id: String,
    sop_instance_uid: String,
    study_instance_uid: String,
    /// `stored`, `already_stored`, `replaced`, `stays_aside` or `dropped`.
    outcome: &'static str,
    dry_run: bool,
}

impl DecidedView {
    fn new(kept: &KeptAside, outcome: &'static str, dry_run: bool) -> Self {
        DecidedView {
            id: kept.id.clone(),
            sop_instance_uid: kept.identity.sop_instance_uid.to_string(),
            study_instance_uid: kept.identity.study_instance_uid.to_string(),
            outcome,
            dry_run,
        }
    }
}

/// Runs `archive aside release`.
pub fn release(ui: &mut Ui, args: ReleaseArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let archive = Archive::open(&existing_path(ui)?)?;
    let selected = select(&archive, &args.ids)?;
    let by = attribution::of_this_process(Some(args.reason));
    let store = match args.dry_run {
        true => None,
        false => Some(ui.store(Access::ReadWrite)?),
    };
    let mut views = Vec::new();
    for kept in &selected {
        let release = match &store {
            None => foresee(&archive, kept, args.replace)?,
            Some(store) => {
                let is_news = is_news(&configuration, kept);
                release_one(store, &archive, kept, (args.replace, is_news), &by)?
            }
        };
        views.push(DecidedView::new(kept, word(release), args.dry_run));
    }
    let stays = views.iter().any(|view| view.outcome == "stays_aside");
    show(ui, views)?;
    if stays {
        ui.notice("hint: --replace stores the object and keeps aside what is stored under its UID now");
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Done)
}

/// What a release would do.
fn foresee(archive: &Archive, kept: &KeptAside, replace: bool) -> anyhow::Result<Release> {
    Ok(match archive.stored_instead_of(kept)? {
        StoredInstead::Nothing => Release::Stored,
        StoredInstead::Same => Release::AlreadyStored,
        StoredInstead::Other(_) if replace => Release::Replaced,
        StoredInstead::Other(_) => Release::StaysAside,
    })
}

fn release_one(
    store: &Store,
    archive: &Archive,
    kept: &KeptAside,
    (replace, is_news): (bool, bool),
    by: &Attribution,
) -> anyhow::Result<Release> {
    store.decide_aside(by, || {
        let release = archive.release(kept, replace, is_news)?;
        let decision = match release {
            Release::Stored | Release::AlreadyStored => Some(AsideDecision::Released),
            Release::Replaced => Some(AsideDecision::Replaced),
            Release::StaysAside => None,
        };
        Ok((release, decision.map(|decision| decided(kept, decision))))
    })
}

/// Whether linked clusters are to be told of the object: not of what one of them sent.
fn is_news(configuration: &Configuration, kept: &KeptAside) -> bool {
    let mut linked = configuration
        .stations
        .iter()
        .filter(|station| station.is_linked());
    let is_visitor = linked.any(|station| Some(&station.ae_title) == kept.source.as_ref());
    !is_visitor && relay_targets(configuration, None).next().is_some()
}

/// Runs `archive aside drop`.
pub fn drop_objects(ui: &mut Ui, args: DropArgs) -> anyhow::Result<ExitStatus> {
    let archive = Archive::open(&existing_path(ui)?)?;
    let selected = select(&archive, &args.ids)?;
    if !args.yes && !args.dry_run {
        let count = selected.len();
        let message = format!("{count} objects would be deleted for good");
        let hint = "--dry-run lists them, --yes deletes them";
        return Err(Problem::new(ExitStatus::Usage, message).hint(hint).into());
    }
    let mut views = Vec::new();
    if !args.dry_run {
        let store = ui.store(Access::ReadWrite)?;
        let by = attribution::of_this_process(args.reason);
        for kept in &selected {
            store.decide_aside::<(), anyhow::Error>(&by, || {
                let is_dropped = archive.drop_aside(kept)?;
                Ok(((), is_dropped.then(|| decided(kept, AsideDecision::Dropped))))
            })?;
        }
    }
    views.extend(
        selected
            .iter()
            .map(|kept| DecidedView::new(kept, "dropped", args.dry_run)),
    );
    show(ui, views)?;
    Ok(ExitStatus::Done)
}

fn decided(kept: &KeptAside, decision: AsideDecision) -> AsideDecided {
    AsideDecided {
        decision,
        sop_instance_uid: kept.identity.sop_instance_uid.clone(),
        study_instance_uid: kept.identity.study_instance_uid.clone(),
        kept_for: kept.reason.code().to_owned(),
    }
}

fn word(release: Release) -> &'static str {
    match release {
        Release::Stored => "stored",
        Release::AlreadyStored => "already_stored",
        Release::Replaced => "replaced",
        Release::StaysAside => "stays_aside",
    }
}

fn show(ui: &mut Ui, views: Vec<DecidedView>) -> anyhow::Result<()> {
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => {
            let heading = ["id", "sop_instance_uid", "study_instance_uid", "outcome"];
            let row = |view: &DecidedView| {
                let outcome = view.outcome.to_owned();
                let (instance, study) = (view.sop_instance_uid.clone(), view.study_instance_uid.clone());
                [view.id.clone(), instance, study, outcome]
            };
            ui.csv(&heading, views.iter().map(row))?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            for view in &views {
                let outcome = match (view.outcome, view.dry_run) {
                    ("stored", false) => "stored",
                    ("stored", true) => "would be stored",
                    ("already_stored", false) => "the same data were stored already; no longer kept aside",
                    ("already_stored", true) => "the same data are stored already",
                    ("replaced", false) => "stored; what was stored under its UID is kept aside",
                    ("replaced", true) => "would be stored; what is stored under its UID would be kept aside",
                    ("stays_aside", _) => "stays aside: other data are stored under its UID",
                    (_, false) => "deleted",
                    (_, true) => "would be deleted",
                };
                ui.line(&format!("{}  {outcome}", short(&view.id)))?;
            }
        }
    }
    Ok(())
}
