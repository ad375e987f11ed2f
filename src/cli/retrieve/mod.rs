//! `retrieve`: studies brought to an archive station of the local cluster, run by the command itself.
//!
//! Invariant: one study's trouble costs no other's. What is told holds no patient data.

mod progress;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use clap_complete::ArgValueCompleter;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::query::{Records, named_stations};
use super::{complete, value};
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, keywords};
use crate::model::{Query, StationName, Uid, parse_duration};
use crate::retrieve::{Method, RetrieveError, RetrieveRequest, Scope, stations_to_ask};
use crate::store::Purpose;
use progress::{Retrieving, Stopped};
use view::{StudyView, worst};

/// Bring studies to an archive station of the local cluster, from the best source and then from the next.
///
/// All stations that the link flags allow are asked what they have. What the archive station has already is not fetched
/// again, so a retrieve that broke off goes on when it is run once more. What one source lacks comes from the next. In
/// the end the archive is asked what it has: the exit status is 0 where all is there, 3 where a part is missing or a
/// station that may have more did not answer in full, 4 where no station has the study.
///
/// By default the objects come by C-GET, and each is checked before the archive gets it: it must be of the patient that
/// the source named. Where nothing comes that way, the source moves them: for the archive that impaxlink keeps to the
/// service's listener, which checks them too ('impaxlink serve' must run); for another archive directly to it, which is
/// asked afterwards under which patient it lists the study. The source must know the AE title as a move destination.
///
/// In the JSON, 'refused' counts objects that are not what their source listed, such as another patient's. They are kept
/// aside ('impaxlink archive aside list') where impaxlink keeps an archive. 'deferred' says why nothing was fetched though
/// a station has the study.
///
/// The UIDs may stand in a file, one a line: @FILE, or @- for standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink retrieve 1.2.840.113619.2.1\n  \
    impaxlink query --patient-id @id --json | jq -r '.items[].study_instance_uid' | impaxlink retrieve @- -q\n  \
    impaxlink retrieve 1.2.840.113619.2.1 --series 1.2.840.113619.2.1.7 --from SITEB --method move\n  \
    impaxlink retrieve 1.2.840.113619.2.1 --dry-run --json")]
pub struct RetrieveArgs {
    /// The studies, by Study Instance UID
    #[arg(value_name = "UID", required = true, value_parser = uids)]
    studies: Vec<Uids>,
    /// Only these series of the one study
    #[arg(long, value_name = "UID", num_args = 1.., value_delimiter = ',', value_parser = uids, help_heading = "What")]
    series: Vec<Uids>,
    /// Only these instances of the one study
    #[arg(long, value_name = "UID", num_args = 1.., value_delimiter = ',', value_parser = uids, conflicts_with = "series",
          help_heading = "What")]
    instance: Vec<Uids>,
    /// Only from these stations. A study whose UID stands for two patients is fetched from them all the same, unless the
    /// archive has it of the other patient
    #[arg(long, value_name = "STATION", num_args = 1.., value_delimiter = ',', help_heading = "From where, to where",
          add = ArgValueCompleter::new(complete::station_names))]
    from: Vec<String>,
    /// Take them from the stations of --from also where the link flags don't allow it
    #[arg(long, requires = "from", help_heading = "From where, to where")]
    regardless: bool,
    /// To this archive station; by default the one of the highest priority
    #[arg(long, value_name = "STATION", help_heading = "From where, to where",
          add = ArgValueCompleter::new(complete::station_names))]
    to: Option<String>,
    /// By this method alone; by default C-GET, then C-MOVE where nothing came
    #[arg(long, value_enum, help_heading = "How")]
    method: Option<MethodWord>,
    /// Only show what would be fetched, and from where
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// Stop after so long, like 30s or 2m; what has come stays
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "How")]
    timeout: Option<Duration>,
}

/// UIDs that one argument names.
#[derive(Debug, Clone)]
struct Uids(Vec<Uid>);

fn uids(raw: &str) -> Result<Uids, String> {
    let parsed = value::lines(raw)?.into_iter().map(|line| line.parse());
    parsed
        .collect::<Result<_, crate::model::Invalid>>()
        .map(Uids)
        .map_err(|error| error.to_string())
}

fn all(uids: &[Uids]) -> Vec<Uid> {
    let mut all: Vec<Uid> = Vec::new();
    for uid in uids.iter().flat_map(|uids| &uids.0) {
        if !all.contains(uid) {
            all.push(uid.clone());
        }
    }
    all
}

/// The ways in which objects come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodWord {
    /// C-MOVE: the source sends the objects to the archive itself.
    Move,
    /// C-GET: the objects come through impaxlink, which checks them.
    Get,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: RetrieveArgs) -> anyhow::Result<ExitStatus> {
    let studies = all(&args.studies);
    let scope = scope(&args, &studies)?;
    let records = Records::open(ui, "impaxlink retrieve")?;
    let configuration = Arc::new(records.configuration()?);
    let to = named_stations(&configuration, args.to.as_slice())?
        .into_iter()
        .next();
    let query = Query {
        study_uids: studies.clone(),
        ..Query::default()
    };
    let mut request = RetrieveRequest {
        cross_reference: Arc::new(records.cross_reference(&query)?),
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        turns: None,
        store: ui.store_path().to_owned(),
        purpose: Purpose::Retrieve,
        study_instance_uid: match studies.first() {
            Some(study) => study.clone(),
            None => return Ok(ExitStatus::Done),
        },
        patient: None,
        scope,
        from: named_stations(&configuration, &args.from)?,
        first: None,
        resting: BTreeMap::new(),
        regardless: args.regardless,
        to,
        method: args.method.map(|method| match method {
            MethodWord::Move => Method::Move,
            MethodWord::Get => Method::Get,
        }),
        dry_run: args.dry_run,
        arrivals: None,
        configuration: Arc::clone(&configuration),
    };
    records.disclose(ui, &configuration, &stations_to_ask(&request), keywords(&query));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut retrieving = Retrieving::new(ui, args.timeout);
    let (count, mut views) = (studies.len(), Vec::new());
    let mut failed = None;
    for study in studies {
        request.study_instance_uid = study;
        let began = Instant::now();
        match runtime.block_on(retrieving.run(&request)) {
            Ok(Some(mut retrieved)) => {
                records.keep(ui, &std::mem::take(&mut retrieved.link_reports));
                let view = StudyView::new(&retrieved, args.dry_run, began.elapsed());
                view::tell(ui, &retrieved, &view, retrieving.stopped())?;
                views.push((view::status(&retrieved, retrieving.stopped()), view));
            }
            Ok(None) => {}
            Err(error) => {
                failed = Some(problem(error));
                break;
            }
        }
        if retrieving.stopped().is_some() {
            break;
        }
    }
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    let status = worst(views.iter().map(|(status, _)| *status).collect());
    let were_all_tried = views.len() == count;
    if failed.is_none() || !views.is_empty() {
        view::write(ui, views.into_iter().map(|(_, view)| view).collect())?;
    }
    match (failed, retrieving.stopped()) {
        (Some(error), _) => Err(error),
        (None, Some(Stopped::Interrupted)) => Ok(ExitStatus::Interrupted),
        (None, Some(Stopped::TimedOut)) if status != ExitStatus::Done || !were_all_tried => {
            Ok(ExitStatus::Busy)
        }
        (None, _) => Ok(status),
    }
}

fn scope(args: &RetrieveArgs, studies: &[Uid]) -> anyhow::Result<Scope> {
    let (series, instances) = (all(&args.series), all(&args.instance));
    if studies.len() != 1 && !(series.is_empty() && instances.is_empty()) {
        let problem = Problem::new(ExitStatus::Usage, "--series and --instance are of one study");
        return Err(problem.hint("give one study UID").into());
    }
    Ok(match (series.is_empty(), instances.is_empty()) {
        (false, _) => Scope::Series(series.into_iter().collect()),
        (true, false) => Scope::Instances(instances.into_iter().collect()),
        (true, true) => Scope::Study,
    })
}

/// The error, with what to do about it.
fn problem(error: RetrieveError) -> anyhow::Error {
    let hint = match &error {
        RetrieveError::NoArchive => {
            "'impaxlink station add OWN --kind archive --embedded' makes one that impaxlink keeps".to_owned()
        }
        RetrieveError::NotAnArchive(name) => archives_hint(name),
        _ => return error.into(),
    };
    let status = match &error {
        RetrieveError::NotAnArchive(_) => ExitStatus::Usage,
        _ => ExitStatus::Failed,
    };
    Problem::new(status, error.to_string()).hint(hint).into()
}

fn archives_hint(name: &StationName) -> String {
    format!(
        "'impaxlink station list' shows which are; 'impaxlink station set {name} --kind archive' makes it one"
    )
}
