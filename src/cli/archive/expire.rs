//! `archive expire`: visitors whose time has come are removed, for a cron job where no service runs.
//!
//! Invariant: the same rules as the service's, and what a `--dry-run` lists is what would go now.

use serde::Serialize;

use super::existing_path;
use crate::archive::Archive;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Items;
use crate::cli::{Format, attribution};
use crate::model::{StationName, in_full};
use crate::service::expiry::{Expiry, Visitors};
use crate::store::Access;

/// Remove studies of linked clusters that nobody has used for long.
///
/// Those visitors go that were not used for as long as the setting prefetch.keep says. The running service does this by
/// itself. A visitor stays where a part of it was here before or was changed here, and while a source of it is not linked,
/// as it could not be fetched again. The exit status is 1 where one could not be removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink archive expire --dry-run\n  \
    impaxlink -q archive expire\n  \
    impaxlink archive expire --dry-run --json | jq '.items[] | select(.stays != null)'")]
pub struct ExpireArgs {
    /// List what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct ExpiryView {
    study_instance_uid: String,
    sources: Vec<StationName>,
    instances: u64,
    bytes: u64,
    expired: bool,
    stays: Option<String>,
}

impl ExpiryView {
    fn new(expiry: Expiry, dry_run: bool) -> Self {
        ExpiryView {
            study_instance_uid: expiry.study_instance_uid.to_string(),
            sources: expiry.sources,
            instances: expiry.instances,
            bytes: expiry.bytes,
            expired: expiry.stays.is_none() && !dry_run,
            stays: expiry.stays.map(|stays| stays.to_string()),
        }
    }

    fn cells(&self, separator: &str) -> [String; 5] {
        let sources: Vec<&str> = self.sources.iter().map(StationName::as_str).collect();
        [
            self.study_instance_uid.clone(),
            sources.join(separator),
            self.instances.to_string(),
            self.bytes.to_string(),
            self.stays.clone().unwrap_or_default(),
        ]
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ExpireArgs) -> anyhow::Result<ExitStatus> {
    let path = existing_path(ui)?;
    let access = if args.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let store = ui.store(access)?;
    let archive = Archive::open(&path)?;
    let visitors = Visitors {
        store: &store,
        archive: &archive,
        configuration: &store.configuration()?,
    };
    let attribution = attribution::of_this_process(None);
    let mut views = Vec::new();
    let mut status = ExitStatus::Done;
    for visitor in visitors.due()? {
        let expiry = match args.dry_run {
            true => visitors.look_at(&visitor),
            false => visitors.expire(&visitor, &attribution),
        };
        match expiry {
            Ok(expiry) => views.push(ExpiryView::new(expiry, args.dry_run)),
            Err(error) => {
                ui.warning(&format!("{}: {}", visitor.study_instance_uid(), in_full(&error)));
                status = ExitStatus::Failed;
            }
        }
    }
    if !args.dry_run {
        archive.finish_removals()?;
    }
    tell(ui, views, args.dry_run)?;
    Ok(status)
}

fn tell(ui: &mut Ui, views: Vec<ExpiryView>, dry_run: bool) -> anyhow::Result<()> {
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => {
            let heading = ["study_instance_uid", "sources", "instances", "bytes", "stays"];
            ui.csv(&heading, views.iter().map(|view| view.cells(";")))?;
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {}
        Format::Table => {
            if !views.is_empty() {
                let mut table = Columns::new(&["STUDY", "FROM", "IMAGES>", "BYTES>", "STAYS"]);
                views.iter().for_each(|view| table.row(view.cells(", ")));
                ui.table(table)?;
            }
            let gone = views.iter().filter(|view| view.stays.is_none());
            let (count, bytes) =
                gone.fold((0_u64, 0), |(count, bytes), view| (count + 1, bytes + view.bytes));
            let visitors = if count == 1 { "visitor" } else { "visitors" };
            let done = if dry_run { "to expire" } else { "expired" };
            ui.line(&format!("{count} {visitors} {done}, {bytes} bytes"))?;
        }
    }
    Ok(())
}
