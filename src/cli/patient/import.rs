//! `patient import`: all that a CSV file says of patients, in one change.
//!
//! Invariants: a file with one bad line changes nothing. It is read as it comes, in memory that does not grow with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use anyhow::Context as _;
use csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::edit::{self, EditArgs, tell_of_several_ids};
use crate::cli::change;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value::without_value;
use crate::model::{GlobalPatientId, IssuedId, Issuer, PatientIdKey};
use crate::store::{CrossReferenceEdit, LinkError, LinkOrigin, StoreError};

/// The columns, in the order of an export.
pub const COLUMNS: [&str; 5] = [
    "patient_id",
    "issuer",
    "global_patient_id",
    "other_patient_id",
    "other_issuer",
];

/// How many bad lines are named; a file with more is not read to its end.
const MOST_NAMED: usize = 20;

/// Link all that a CSV file says.
///
/// Each line has a patient_id and its issuer (empty: the local cluster's), and whose it is: a global_patient_id that
/// others share, or the other_patient_id and other_issuer of the same person, or both. Columns that are not used may
/// be missing. Commas or semicolons, UTF-8. What is linked already stays; nothing is unlinked. All lines are one
/// change, made as a whole or not at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink patient import mpi.csv --dry-run\n  \
    impaxlink patient import mpi.csv --reason CHG1303\n  \
    ssh mpi export-ids | impaxlink patient import -")]
pub struct ImportArgs {
    /// The file; '-' or '@-' is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: String,
    #[command(flatten)]
    edit: EditArgs,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let local = change::current(ui)?.settings.issuer();
    let file = args.file.strip_prefix('@').unwrap_or(&args.file);
    let (name, source): (&str, Box<dyn Read>) = match file {
        "-" => ("standard input", Box::new(io::stdin().lock())),
        path => (
            path,
            Box::new(File::open(path).with_context(|| format!("can't read {path}"))?),
        ),
    };
    let mut several = 0;
    let mut bad = Vec::new();
    let imported = edit::run(ui, &args.edit, "patient import", LinkOrigin::Import, |edit| {
        bad = link_all(source, local.as_ref(), edit).with_context(|| format!("can't read {name}"))?;
        anyhow::ensure!(bad.is_empty(), "a line is bad");
        several = edit.several_ids_of_an_issuer(None)?;
        Ok(())
    });
    if !bad.is_empty() {
        return Err(refused(ui, name, &bad).into());
    }
    let status = imported?;
    tell_of_several_ids(ui, several);
    Ok(status)
}

/// Links line by line; returns what is wrong with the bad ones.
fn link_all(
    source: Box<dyn Read + '_>,
    local: Option<&Issuer>,
    edit: &mut CrossReferenceEdit<'_>,
) -> anyhow::Result<Vec<String>> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    if source.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        source.consume(3);
    }
    let heading = source.fill_buf()?;
    let heading = heading.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = if heading.contains(&b';') { b';' } else { b',' };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(Trim::All)
        .flexible(true)
        .from_reader(source);
    let places = match places(reader.headers()?) {
        Ok(places) => places,
        Err(why) => return Ok(vec![format!("line 1: {why}")]),
    };
    let (mut record, mut bad) = (StringRecord::new(), Vec::new());
    while bad.len() < MOST_NAMED {
        let (line, why) = match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => match link_line(&record, places, local, edit) {
                Ok(()) => continue,
                Err(Refused::Store(error)) => return Err(error.into()),
                Err(Refused::Line(why)) => (record.position().map(Position::line), why),
            },
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(error) => (error.position().map(Position::line), "it is not UTF-8".to_owned()),
        };
        bad.push(format!("line {}: {why}", line.unwrap_or_default()));
    }
    Ok(bad)
}

/// Where each column stands.
fn places(heading: &StringRecord) -> Result<[Option<usize>; 5], String> {
    if let Some(unknown) = heading.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(format!(
            "unknown column {unknown:?}: the columns are {}",
            COLUMNS.join(", ")
        ));
    }
    let places = COLUMNS.map(|column| heading.iter().position(|name| name == column));
    match places {
        [Some(_), _, None, None, _] => {
            Err("it needs a column global_patient_id or other_patient_id".to_owned())
        }
        [Some(_), ..] => Ok(places),
        _ => Err("the column patient_id is missing".to_owned()),
    }
}

/// Why a line is not linked.
enum Refused {
    Line(String),
    Store(StoreError),
}

fn link_line(
    record: &StringRecord,
    places: [Option<usize>; 5],
    local: Option<&Issuer>,
    edit: &mut CrossReferenceEdit<'_>,
) -> Result<(), Refused> {
    let cells = places.map(|place| place.and_then(|place| record.get(place)).unwrap_or_default());
    let (ids, global_id) = read_line(cells, local).map_err(Refused::Line)?;
    edit.link(&ids, global_id.as_ref())
        .map(drop)
        .map_err(|error| match error {
            LinkError::TwoGlobalIds => Refused::Line(error.to_string()),
            LinkError::Store(error) => Refused::Store(error),
        })
}

fn read_line(
    [id, issuer, global_id, other_id, other_issuer]: [&str; 5],
    local: Option<&Issuer>,
) -> Result<(Vec<IssuedId>, Option<GlobalPatientId>), String> {
    let mut ids = vec![issued(id, issuer, local)?];
    if !other_id.is_empty() || !other_issuer.is_empty() {
        ids.push(issued(other_id, other_issuer, local)?);
    }
    let global_id = match global_id {
        "" => None,
        text => Some(text.parse().map_err(without_value)?),
    };
    if ids.len() == 1 && global_id.is_none() {
        return Err("it names neither a global patient ID nor another ID".to_owned());
    }
    Ok((ids, global_id))
}

fn issued(id: &str, issuer: &str, local: Option<&Issuer>) -> Result<IssuedId, String> {
    if id.contains('^') {
        return Err("invalid patient ID: the issuer has a column of its own".to_owned());
    }
    let mut key: PatientIdKey = id.parse().map_err(without_value)?;
    if !issuer.is_empty() {
        key.issuer = Some(issuer.parse().map_err(without_value)?);
    }
    if key.issuer.is_none() && local.is_none() {
        return Err("it names no issuer, and the local cluster has none ('config set issuer')".to_owned());
    }
    IssuedId::new(key, local).map_err(without_value)
}

fn refused(ui: &Ui, name: &str, bad: &[String]) -> Problem {
    let (first, rest) = bad
        .split_first()
        .map_or(("", bad), |(first, rest)| (first.as_str(), rest));
    for line in rest {
        ui.notice(&format!("{name}: {line}"));
    }
    let more = match rest.len() {
        0 => String::new(),
        count if count + 1 >= MOST_NAMED => format!(" (and {count} more at least, above)"),
        count => format!(" (and {count} more, above)"),
    };
    Problem::new(ExitStatus::Failed, format!("{name}: {first}{more}")).hint("nothing was changed")
}
