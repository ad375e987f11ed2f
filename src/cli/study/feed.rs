//! Changes of a file, line by line: how scripts feed what they know of studies.
//!
//! Invariant: a bad line is named by its number, without its values, and changes nothing, and the others are saved, many
//! in a transaction. A file is read as it comes: its length does not matter.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::patients::{patient_of_key, patients_of, unknown};
use crate::audit::Attribution;
use crate::cli::Format;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::updates::sending::wake;
use crate::cli::value::without_value;
use crate::cli::view::Document;
use crate::model::{FieldValue, Invalid, PatientIdKey, Settings, StateField, Uid};
use crate::store::{Access, Draft, Store};

/// How many changes share a transaction.
const AT_ONCE: usize = 500;

/// The longest line of an NDJSON file, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// How many bad lines are named.
const MOST_NAMED: usize = 20;

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    dry_run: bool,
    updated: u64,
    unchanged: u64,
    failed: Vec<BadLine>,
}

#[derive(Debug, Serialize)]
struct BadLine {
    line: u64,
    detail: String,
}

/// A line as it was read: column by column, none of them without a value.
struct Line {
    number: u64,
    columns: anyhow::Result<BTreeMap<String, String>>,
}

/// Makes the changes of `file`; `-` is standard input.
pub fn run(ui: &mut Ui, file: &str, by: &Attribution, dry_run: bool) -> anyhow::Result<ExitStatus> {
    let store = ui.store(if dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    })?;
    let settings = store.configuration()?.settings;
    let mut outcome = Outcome {
        dry_run,
        ..Outcome::default()
    };
    let mut lines = lines(file)?;
    loop {
        let batch: Vec<Line> = lines.by_ref().take(AT_ONCE).collect();
        if batch.is_empty() {
            break;
        }
        let drafts = drafts(ui, &store, &settings, batch, &mut outcome)?;
        make(&store, by, &drafts, dry_run, &mut outcome)?;
        if !dry_run {
            wake(ui);
        }
    }
    tell(ui, file, outcome)
}

fn lines(file: &str) -> anyhow::Result<Box<dyn Iterator<Item = Line>>> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).with_context(|| format!("can't read {path}"))?),
    };
    if file.ends_with(".ndjson") || file.ends_with(".jsonl") {
        return Ok(Box::new(json_lines(BufReader::new(source))));
    }
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(source);
    let heading = reader.headers().context("can't read the heading")?.clone();
    let unknown: Vec<&str> = heading.iter().filter(|name| !is_column(name)).collect();
    if !unknown.is_empty() {
        let message = format!("there are no such columns: {}", unknown.join(", "));
        let problem = Problem::new(ExitStatus::Failed, message);
        return Err(problem.hint("'impaxlink help study update' lists them").into());
    }
    Ok(Box::new(reader.into_records().map(move |record| {
        let position = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        let number = position.map_or(0, csv::Position::line);
        let columns = record.map_err(anyhow::Error::from).map(|record| {
            let cells = heading
                .iter()
                .zip(record.iter())
                .filter(|(_, cell)| !cell.is_empty());
            cells
                .map(|(name, cell)| (name.to_owned(), cell.to_owned()))
                .collect()
        });
        Line { number, columns }
    })))
}

fn is_column(name: &str) -> bool {
    matches!(
        name,
        "study_instance_uid" | "patient_id" | "issuer_of_patient_id" | "correct"
    ) || name.parse::<StateField>().is_ok()
}

fn json_lines(mut reader: impl BufRead) -> impl Iterator<Item = Line> {
    let (mut number, mut has_failed) = (0, false);
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let mut line = Vec::new();
        number += 1;
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => None,
            Ok(length) if length as u64 == LONGEST_LINE && !line.ends_with(b"\n") => {
                // What is left of it is none of ours.
                let _ = reader.skip_until(b'\n');
                Some(Line {
                    number,
                    columns: Err(anyhow::anyhow!("it is longer than {LONGEST_LINE} bytes")),
                })
            }
            Ok(_) => Some(Line {
                number,
                columns: columns(&line),
            }),
            Err(error) => {
                // It would fail for ever.
                has_failed = true;
                Some(Line {
                    number,
                    columns: Err(error.into()),
                })
            }
        }
    })
    .filter(|line| !matches!(&line.columns, Ok(columns) if columns.is_empty()))
}

fn columns(line: &[u8]) -> anyhow::Result<BTreeMap<String, String>> {
    if line.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    // What serde_json says may hold a value.
    let values: BTreeMap<String, Value> =
        serde_json::from_slice(line).map_err(|_| anyhow::anyhow!("it is no JSON object"))?;
    let given = values.into_iter().filter(|(_, value)| !value.is_null());
    given
        .map(|(name, value)| match value {
            _ if !is_column(&name) => anyhow::bail!("there is no such column: {name}"),
            Value::String(text) => Ok((name, text)),
            Value::Bool(flag) => Ok((name, flag.to_string())),
            _ => anyhow::bail!("{name} is no text"),
        })
        .collect()
}

/// The changes of a batch of lines, each with the number of its line.
fn drafts(
    ui: &Ui,
    store: &Store,
    settings: &Settings,
    batch: Vec<Line>,
    outcome: &mut Outcome,
) -> anyhow::Result<Vec<(u64, Draft)>> {
    let mut read = Vec::new();
    for Line { number, columns } in batch {
        match columns.and_then(|columns| Wanted::read(columns, settings)) {
            Ok(wanted) => read.push((number, wanted)),
            Err(error) => outcome.fail(number, error),
        }
    }
    let unknown_ones = read.iter().filter(|(_, wanted)| wanted.patient.is_none());
    let studies: Vec<Uid> = unknown_ones.map(|(_, wanted)| wanted.study.clone()).collect();
    let patients = match studies.is_empty() {
        true => Default::default(),
        false => patients_of(ui, store, &studies)?,
    };
    let mut drafts = Vec::new();
    for (number, wanted) in read {
        let Some(patient) = wanted.patient.or_else(|| patients.get(&wanted.study).cloned()) else {
            outcome.fail(number, unknown(&wanted.study).into());
            continue;
        };
        drafts.push((
            number,
            Draft {
                study: wanted.study,
                patient,
                wanted: wanted.fields,
                is_correction: wanted.is_correction,
                new_objects: None,
                review: None,
            },
        ));
    }
    Ok(drafts)
}

/// What a line wants.
struct Wanted {
    study: Uid,
    patient: Option<crate::model::StudyPatient>,
    fields: BTreeMap<StateField, FieldValue>,
    is_correction: bool,
}

impl Wanted {
    fn read(mut columns: BTreeMap<String, String>, settings: &Settings) -> anyhow::Result<Self> {
        let study = columns
            .remove("study_instance_uid")
            .context("it has no study_instance_uid")?;
        let issuer = columns.remove("issuer_of_patient_id");
        let patient = match columns.remove("patient_id") {
            Some(id) => {
                let key = PatientIdKey {
                    issuer: issuer.map(|issuer| issuer.parse()).transpose()?,
                    ..id.parse()?
                };
                Some(patient_of_key(&key, settings)?)
            }
            None => None,
        };
        let is_correction = match columns.remove("correct").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => anyhow::bail!("correct is 'true' or 'false'"),
        };
        let fields = columns.iter().map(|(name, text)| {
            let field: StateField = name.parse()?;
            Ok((field, FieldValue::new(field, text)?))
        });
        Ok(Wanted {
            study: study.parse()?,
            patient,
            fields: fields.collect::<anyhow::Result<_>>()?,
            is_correction,
        })
    }
}

fn make(
    store: &Store,
    by: &Attribution,
    drafts: &[(u64, Draft)],
    dry_run: bool,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let all: Vec<Draft> = drafts.iter().map(|(_, draft)| draft.clone()).collect();
    let made = match dry_run {
        true => all
            .iter()
            .map(|draft| store.preview_update(draft))
            .collect::<Result<_, _>>()?,
        false => store.make_updates(by, &all)?,
    };
    for ((number, _), made) in drafts.iter().zip(made) {
        match made {
            Ok(made) if made.update.is_some() => outcome.updated += 1,
            Ok(_) => outcome.unchanged += 1,
            Err(falls_back) => outcome.fail(*number, falls_back.into()),
        }
    }
    Ok(())
}

impl Outcome {
    fn fail(&mut self, line: u64, error: anyhow::Error) {
        let detail = match error.downcast::<Invalid>() {
            Ok(invalid) => without_value(invalid),
            Err(error) => format!("{error:#}"),
        };
        self.failed.push(BadLine { line, detail });
    }
}

fn tell(ui: &mut Ui, file: &str, outcome: Outcome) -> anyhow::Result<ExitStatus> {
    for bad in outcome.failed.iter().take(MOST_NAMED) {
        ui.warning(&format!("{file}: line {}: {}", bad.line, bad.detail));
    }
    let failed = outcome.failed.len();
    let would = if outcome.dry_run { "would be " } else { "" };
    let told = format!(
        "{} {would}changed, {} unchanged, {failed} bad lines",
        outcome.updated, outcome.unchanged
    );
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(outcome))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table | Format::Csv => ui.notice(&told),
    }
    Ok(if failed == 0 {
        ExitStatus::Done
    } else {
        ExitStatus::Failed
    })
}
