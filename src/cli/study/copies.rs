//! `study copies`: who holds a study, asked now, and where copies came from, as it is on record.
//!
//! Invariant: what a station did not answer is not known, and is told as such; what is on record is shown all the same.

mod asking;
mod view;

use jiff::Timestamp;

use self::asking::{Asked, ask};
use self::view::{HolderView, tell};
use crate::archive::Archive;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::link::policy::Role;
use crate::model::{Configuration, StationName, Uid};
use crate::service::expiry::{Stays, Visitor, Visitors};
use crate::store::{Access, CopyRecord, Store};

/// Show who holds a study, where copies came from, and when they expire.
///
/// The local archives and the linked clusters are asked now. Beside that stands what is on record here: which station gave
/// a copy, when and what for. A copy in the embedded archive expires when it was neither brought nor used for as long as
/// the setting prefetch.keep says, unless something keeps it. The exit status is 3 where a station did not answer, and 4
/// where nobody holds the study.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink study copies 1.2.840.1\n  \
    impaxlink study copies 1.2.840.1 --local\n  \
    impaxlink study copies 1.2.840.1 --json | jq '.items[] | select(.held) | .station'")]
pub struct CopiesArgs {
    /// Study Instance UID
    #[arg(value_name = "UID", value_parser = value::parsed::<Uid>)]
    study: Uid,
    /// Ask nobody: only what is on record
    #[arg(long)]
    local: bool,
}

/// A station, what it has of the study, and what is on record of that.
struct Holder {
    station: StationName,
    /// What it is to a query; `None` where it is none of ours any more.
    role: Option<Role>,
    cluster: Option<String>,
    /// Whether it has the study; `None` where it did not answer.
    held: Option<bool>,
    /// Whether the study is another patient's there.
    is_other_patients: bool,
    instances: Option<u32>,
    availability: Option<&'static str>,
    records: Vec<CopyRecord>,
    expires_at: Option<Timestamp>,
    stays: Option<Stays>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: CopiesArgs) -> anyhow::Result<ExitStatus> {
    let asked = match args.local {
        true => Asked::default(),
        false => ask(ui, &args.study)?,
    };
    let store = ui.store(Access::ReadOnly)?;
    let configuration = store.configuration()?;
    let mut holders = asked.holders(&configuration);
    for record in store.copies(&args.study)? {
        add_record(&mut holders, &configuration, record);
    }
    for holder in &mut holders {
        if let Some(visitor) = Visitor::of(holder.records.clone()) {
            foresee(ui, &store, &configuration, holder, &visitor)?;
        }
    }
    let is_known =
        |holder: &Holder| holder.held == Some(true) || holder.is_other_patients || !holder.records.is_empty();
    holders.retain(is_known);
    let status = ExitStatus::from(asked.completeness);
    if status == ExitStatus::Done && holders.is_empty() {
        return Err(nowhere(&args).into());
    }
    let views: Vec<HolderView> = holders.iter().map(HolderView::from).collect();
    tell(ui, &args.study, &views, &asked)?;
    Ok(status)
}

fn nowhere(args: &CopiesArgs) -> Problem {
    let (message, hint) = match args.local {
        true => (
            format!("no copy of study {} is on record", args.study),
            "without --local, the archives and linked clusters are asked",
        ),
        false => (
            format!("no station has study {}", args.study),
            "'impaxlink query' finds studies by other keys",
        ),
    };
    Problem::new(ExitStatus::NotFound, message).hint(hint)
}

fn add_record(holders: &mut Vec<Holder>, configuration: &Configuration, record: CopyRecord) {
    if let Some(holder) = holders.iter_mut().find(|holder| holder.station == record.station) {
        holder.records.push(record);
        return;
    }
    let mut holder = Holder::of(configuration, record.station.clone());
    holder.records.push(record);
    holders.push(holder);
}

impl Holder {
    fn of(configuration: &Configuration, station: StationName) -> Self {
        let known = configuration.stations.iter().find(|known| known.name == station);
        Holder {
            role: known.map(|known| match known.is_linked() {
                true => Role::Linked,
                false => Role::Archive,
            }),
            cluster: known.and_then(|known| known.cluster.as_ref().map(ToString::to_string)),
            station,
            held: None,
            is_other_patients: false,
            instances: None,
            availability: None,
            records: Vec::new(),
            expires_at: None,
            stays: None,
        }
    }
}

/// When a visitor expires, or what keeps it.
fn foresee(
    ui: &Ui,
    store: &Store,
    configuration: &Configuration,
    holder: &mut Holder,
    visitor: &Visitor,
) -> anyhow::Result<()> {
    let path = configuration.settings.archive_path(ui.store_path());
    holder.stays = if path.is_dir() {
        let visitors = Visitors {
            store,
            archive: &Archive::open(&path)?,
            configuration,
        };
        visitors.look_at(visitor)?.stays
    } else {
        visitor.stays_by_record(configuration, Timestamp::now())
    };
    holder.expires_at = match holder.stays {
        Some(_) => None,
        None => Some(visitor.expires_at(configuration.settings.prefetch_keep())),
    };
    Ok(())
}
