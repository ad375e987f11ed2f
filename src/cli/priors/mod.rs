//! `priors`: the relevant earlier studies of a study or of a patient, each with the reason.
//!
//! Invariant: nothing is fetched. No value of a key reaches the audit, and patient data go to standard output alone.

mod view;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::query::closing::Closing;
use super::query::filters::{filter, patient_id};
use super::query::records::{self, Records};
use super::query::{refuse_nobody, warn_of_no_archive};
use super::rules_file::read_rules;
use crate::link::EmbeddedArchive;
use crate::link::completeness::Completeness;
use crate::link::policy::{Caller, Narrowing};
use crate::link::tls::LinkTls;
use crate::model::{
    Configuration, ConflictPath, LedgerEntry, Level, PatientIdKey, QueryLedger, Uid, parse_duration,
    read_prefetch_csv,
};
use crate::priors::find::{FindPriors, JudgedPrior, PriorsFound, PriorsOf, find_priors};
use crate::priors::relevance::{Current, Verdict};

/// List the earlier studies that are relevant for a study, or for a patient.
///
/// They are looked for at the archive stations and at linked stations with link prefetching, by all IDs that the
/// cross-reference ('impaxlink patient') knows of the patient, and chosen by the rules ('impaxlink rule'). Nothing is
/// fetched. The exit status is 3 where a station that should have answered did not, and 4 where there is no such study.
///
/// The value of --patient-id may stand in a file: @FILE, or @- for standard input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink priors 1.2.840.1 --explain\n  \
    echo 4711 | impaxlink priors --patient-id @-\n  \
    impaxlink priors --patient-id '4711^^^NORTH' --modality MG --body-part BREAST\n  \
    impaxlink priors 1.2.840.1 --rules rules.csv --json | jq -r '.items[].study_instance_uid'")]
pub struct PriorsArgs {
    /// The study whose priors are wanted
    #[arg(value_name = "UID", value_parser = super::value::parsed::<Uid>, required_unless_present = "patient_id")]
    study: Option<Uid>,
    /// The patient whose priors are wanted; without ^^^ISSUER, the ID is of the local cluster's issuer
    #[arg(long, value_name = "ID[^^^ISSUER]", value_parser = patient_id, conflicts_with = "study")]
    patient_id: Option<PatientIdKey>,
    /// Modalities of the study that is to come; without any of these four, priors are judged as though it were of their
    /// own kind
    #[arg(long, value_name = "CODE[,…]", value_delimiter = ',', value_parser = filter, requires = "patient_id",
          help_heading = "The study to come")]
    modality: Vec<String>,
    /// Its body part, as the mapping tables name it
    #[arg(long, value_name = "VALUE", value_parser = filter, requires = "patient_id",
          help_heading = "The study to come")]
    body_part: Option<String>,
    /// Its specialty, as the mapping tables name it
    #[arg(long, value_name = "VALUE", value_parser = filter, requires = "patient_id",
          help_heading = "The study to come")]
    specialty: Option<String>,
    /// The day on which it is to be made [default: today]
    #[arg(
        long,
        value_name = "DATE",
        requires = "patient_id",
        help_heading = "The study to come"
    )]
    study_date: Option<Date>,
    /// Also list the studies that are left out, and why
    #[arg(long)]
    explain: bool,
    /// Try the rules of a CSV file in place of those in force
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    rules: Option<String>,
    /// List so many relevant priors at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Stop asking after so long, like 30s or 2m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl PriorsArgs {
    fn of(&self) -> PriorsOf {
        match (&self.study, &self.patient_id) {
            (Some(uid), _) => PriorsOf::Study(uid.clone()),
            (None, Some(key)) => PriorsOf::Patient(key.clone(), self.study_to_come()),
            (None, None) => unreachable!("clap wants one of the two"),
        }
    }

    fn study_to_come(&self) -> Option<Current> {
        let named = Current {
            modalities: self.modality.iter().map(|code| code.to_uppercase()).collect(),
            body_part: self.body_part.clone(),
            specialty: self.specialty.clone(),
            study_date: self.study_date,
            ..Current::default()
        };
        (named != Current::default()).then_some(named)
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: PriorsArgs) -> anyhow::Result<ExitStatus> {
    let records = Records::open(ui, "impaxlink priors")?;
    let search = search(ui, &args, &records)?;
    let configuration = Arc::clone(&search.configuration);
    let targets = search.targets(jiff::Timestamp::now());
    refuse_nobody(&configuration, &targets)?;
    warn_of_no_archive(ui, &configuration, &Narrowing::default());
    records.disclose(ui, &configuration, &targets, search.keywords());
    let ledger = records::begin_ledger(&configuration, Caller::Internal, Level::Study, search.keywords());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(async {
        tokio::select! {
            found = find_priors(search) => Some(found),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    let Some(found) = found else {
        return Ok(ExitStatus::Interrupted);
    };
    records.keep(ui, &found.reports);
    records.note_conflicts(ui, &found.conflicts(ConflictPath::Priors));
    let mut entries = by_source(&found);
    records.explain_suspensions(&targets, &mut entries);
    let status = found.completeness.into();
    let listed = listed(&args, &found.judged);
    let complete = found.completeness == Completeness::Complete;
    let ledger = records.end_ledger(ui, ledger, &entries, complete, (status, listed.len()));
    tell(ui, &args, &configuration, &found, &listed, &ledger)?;
    // The rows come first where both outputs are one terminal.
    ui.out().flush()?;
    Closing::new(&summary(&found), &entries, None, found.completeness, &[]).tell(ui);
    Ok(status)
}

fn search(ui: &Ui, args: &PriorsArgs, records: &Records) -> anyhow::Result<FindPriors> {
    let configuration = Arc::new(records.configuration()?);
    let rules = match &args.rules {
        Some(file) => read_rules(ui, file, read_prefetch_csv)?,
        None => configuration.prefetch_rules_in_force().clone(),
    };
    let mut search = FindPriors {
        of: args.of(),
        rules,
        under_review: records.under_review()?,
        tls: LinkTls::of(&configuration),
        archive: EmbeddedArchive::of_store(ui.store_path()),
        health: records.health()?,
        resting: BTreeMap::new(),
        turns: None,
        timeout: args.timeout,
        cross_reference: Arc::default(),
        configuration,
    };
    search.cross_reference = Arc::new(records.cross_reference(&search.query())?);
    Ok(search)
}

/// The lines of the ledger, each with the place of its station among the sources.
fn by_source(found: &PriorsFound) -> Vec<(usize, LedgerEntry)> {
    let place = |entry: &LedgerEntry| {
        let mut sources = found.sources.iter();
        sources.position(|source| source.station == entry.station)
    };
    let entries = found.ledger.iter();
    entries
        .filter_map(|entry| Some((place(entry)?, entry.clone())))
        .collect()
}

/// What is shown: the relevant priors up to the limit, and the others where that is asked for.
fn listed<'a>(args: &PriorsArgs, judged: &'a [JudgedPrior]) -> Vec<&'a JudgedPrior> {
    let (chosen, others): (Vec<_>, Vec<_>) = judged
        .iter()
        .partition(|prior| matches!(prior.verdict, Verdict::Chosen(_)));
    let limit = args.limit.unwrap_or(usize::MAX);
    let others = others.into_iter().filter(|_| args.explain);
    chosen.into_iter().take(limit).chain(others).collect()
}

fn tell(
    ui: &mut Ui,
    args: &PriorsArgs,
    configuration: &Configuration,
    found: &PriorsFound,
    listed: &[&JudgedPrior],
    ledger: &QueryLedger,
) -> anyhow::Result<()> {
    if let Some(study) = &args.study {
        let is_known = found.current.as_ref();
        if is_known.is_none() && found.completeness == Completeness::Complete {
            let problem = Problem::new(ExitStatus::NotFound, format!("no study {study}"));
            let hint =
                "it was looked for at the archive stations and at linked stations with --link-prefetch";
            return Err(problem.hint(hint).into());
        }
        if is_known.is_some_and(|current| current.study.patient_id.id.is_empty()) {
            let problem =
                format!("study {study} has no patient ID, so nobody can tell whose priors to look for");
            return Err(Problem::new(ExitStatus::Failed, problem).into());
        }
    }
    view::write(ui, found, listed, ledger)?;
    let issuers: HashSet<_> = found
        .judged
        .iter()
        .map(|prior| &prior.study.study.patient_id.domain)
        .collect();
    if configuration.settings.issuer().is_none() && issuers.len() > 1 {
        ui.notice(
            "the local cluster has no issuer of patient IDs, so that studies of other stations are nobody's here: \
             'impaxlink config set issuer'",
        );
    }
    Ok(())
}

fn summary(found: &PriorsFound) -> String {
    let is_chosen = |prior: &&JudgedPrior| matches!(prior.verdict, Verdict::Chosen(_));
    let chosen = found.judged.iter().filter(is_chosen).count();
    let noun = if found.judged.len() == 1 {
        "study"
    } else {
        "studies"
    };
    format!("{chosen} relevant of {} {noun}", found.judged.len())
}
