//! What every command that changes configuration shares: preview or save, tell what changed, bring it into force.
//!
//! Invariant: what is told is what was saved, and the status is 0 only when nothing that runs still has the old
//! configuration: "saved but not in force" is a failure.

use serde_json::Value;

use super::Format;
use super::attribution;
use super::error::{ExitStatus, Problem};
use super::force::{self, Force};
use super::output::Ui;
use super::time::local_time;
use super::view::{Document, SavedView, change_views};
use crate::model::{Change, Configuration, Generation, Settings, Subject, changes, in_full};
use crate::service::{Unusable, check_usable};
use crate::store::{Access, SaveError, Saved, Store, StoreError};

/// The options of every command that changes configuration.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Change options")]
pub struct ChangeArgs {
    /// Print the change and make none
    #[arg(long)]
    pub dry_run: bool,
    /// Why, like a ticket number; kept in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
    /// Refuse (status 5) where another generation than N is saved by now
    #[arg(long, value_name = "N")]
    pub if_generation: Option<Generation>,
    /// Save only: don't ask the service to reload
    #[arg(long)]
    pub no_reload: bool,
}

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Reads `--reason`.
pub fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_REASON || text.chars().any(char::is_control) {
        return Err(format!(
            "invalid reason {text:?}: it is one line of 1 to {LONGEST_REASON} characters"
        ));
    }
    Ok(text.to_owned())
}

/// The saved configuration; the empty one where there is no store yet.
pub fn current(ui: &Ui) -> anyhow::Result<Configuration> {
    match store_if_any(ui)? {
        Some(store) => Ok(store.configuration()?),
        None => Ok(Configuration::default()),
    }
}

/// The store, for reading; `None` where there is none yet.
pub fn store_if_any(ui: &Ui) -> anyhow::Result<Option<Store>> {
    match ui.store(Access::ReadOnly) {
        Ok(store) => Ok(Some(store)),
        Err(error) if is_missing_store(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing_store(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Missing { .. }))
}

/// Applies `change` to the configuration, saves it as the next generation and brings it into force; or, with
/// `--dry-run`, only tells what it would change. `subjects` are named where nothing changes.
pub fn save(
    ui: &mut Ui,
    args: &ChangeArgs,
    subjects: &[String],
    change: impl FnOnce(&mut Configuration) -> anyhow::Result<()>,
) -> anyhow::Result<ExitStatus> {
    if args.dry_run {
        let saved = preview(ui, args.if_generation, change)?;
        tell(ui, &saved, subjects, true, &Force::NotAsked)?;
        return Ok(ExitStatus::Done);
    }
    let attribution = attribution::of_this_process(args.reason.clone());
    let store = ui.store(Access::ReadWrite)?;
    let mut settings = Settings::default();
    let saved = store
        .save(&attribution, args.if_generation, |configuration| {
            let before = configuration.clone();
            change(configuration)?;
            refuse_unusable(ui, &before, configuration)?;
            settings.clone_from(&configuration.settings);
            Ok(())
        })
        .map_err(unwrap_save_error)?;
    let force = if args.no_reload {
        Force::NotAsked
    } else {
        force::bring_into_force(ui, &settings, &saved)?
    };
    tell(ui, &saved, subjects, false, &force)?;
    force.status(&saved)
}

/// Refuses what the service could not start with, or would refuse to reload. Where the configuration was unusable before,
/// it may be mended step by step.
fn refuse_unusable(ui: &Ui, before: &Configuration, after: &Configuration) -> anyhow::Result<()> {
    if before == after {
        return Ok(());
    }
    let Err(error) = check_usable(after.clone()) else {
        return Ok(());
    };
    let why = in_full(&error);
    match &error {
        // The service's user may.
        Unusable::Tls(error) if error.is_not_permitted() => {
            ui.notice(&format!("not checked: {why}"));
            return Ok(());
        }
        // The store says it in its own words.
        Unusable::Invalid(_) => return Ok(()),
        _ => {}
    }
    if check_usable(before.clone()).is_err() {
        ui.notice(&format!("the service can't use the configuration yet: {why}"));
        return Ok(());
    }
    let hint = match &error {
        Unusable::SameAddress { .. } => "give each listener a port of its own",
        _ => {
            "set the files of TLS first, tls.key before tls.certificate; a pair is replaced at once by \
             'impaxlink config set tls.certificate FILE tls.key FILE'"
        }
    };
    Err(
        Problem::new(ExitStatus::Failed, format!("nothing was saved: {why}"))
            .hint(hint)
            .into(),
    )
}

/// What `change` would change, without a store being made or written.
fn preview(
    ui: &Ui,
    expected: Option<Generation>,
    change: impl FnOnce(&mut Configuration) -> anyhow::Result<()>,
) -> anyhow::Result<Saved> {
    let change = |configuration: &mut Configuration| {
        let before = configuration.clone();
        change(configuration)?;
        refuse_unusable(ui, &before, configuration)
    };
    match ui.store(Access::ReadOnly) {
        Ok(store) => store.preview(expected, change).map_err(unwrap_save_error),
        Err(error) if is_missing_store(&error) => {
            let mut after = Configuration::default();
            change(&mut after)?;
            after.check()?;
            let changes = changes(&Configuration::default(), &after);
            Ok(Saved {
                previous: 0,
                generation: u64::from(!changes.is_empty()),
                changes,
            })
        }
        Err(error) => Err(error),
    }
}

/// The error of the change itself comes out as it went in.
fn unwrap_save_error(error: SaveError<anyhow::Error>) -> anyhow::Error {
    match error {
        SaveError::Refused(error) => error,
        // The words were well-formed; what the store holds does not go with them.
        SaveError::Invalid(error) => Problem::new(ExitStatus::Failed, error.to_string()).into(),
        SaveError::Store(error) => error.into(),
        SaveError::Overtaken {
            expected,
            current,
            by,
        } => {
            let by = by.map_or(String::new(), |save| {
                let reason = save
                    .attribution
                    .reason
                    .as_ref()
                    .map_or(String::new(), |reason| format!(" ({reason})"));
                format!(
                    " by {} at {}{reason}",
                    save.attribution.person(),
                    local_time(save.at)
                )
            });
            let message = format!("generation {current} was saved{by}; --if-generation wants {expected}");
            let hint = format!("look at 'impaxlink generation diff {expected} {current}', then try again");
            Problem::new(ExitStatus::Busy, message).hint(hint).into()
        }
    }
}

fn tell(ui: &mut Ui, saved: &Saved, subjects: &[String], dry_run: bool, force: &Force) -> anyhow::Result<()> {
    let unchanged = saved.changes.is_empty();
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(SavedView {
            previous: saved.previous,
            generation: saved.generation,
            unchanged,
            dry_run,
            changes: change_views(&saved.changes),
            in_force: force.view(),
        })),
        Format::Csv => {
            let rows = saved.changes.iter().map(|change| {
                [
                    change.subject.to_string(),
                    field_name(change).to_owned(),
                    shown(&change.before),
                    shown(&change.after),
                ]
            });
            ui.csv(&["subject", "field", "before", "after"], rows)
        }
        Format::DicomJson => Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => Ok(()),
        Format::Table => {
            for change in &saved.changes {
                ui.line(&sentence(change))?;
            }
            let last = match (unchanged, dry_run) {
                (true, _) => format!(
                    "{}: unchanged (generation {})",
                    subjects.join(", "),
                    saved.generation
                ),
                (false, true) => format!("dry run: nothing saved, generation {} stays", saved.previous),
                (false, false) => format!("saved as generation {}{}", saved.generation, force.note()),
            };
            Ok(ui.line(&last)?)
        }
    }
}

/// One change as people read it: `station SITEB: link_prefetching off -> on`.
pub fn sentence(change: &Change) -> String {
    match (&change.field, &change.before, &change.after) {
        (_, Value::Null, Value::Array(rules)) if is_whole_table(&change.subject) => {
            format!(
                "{}: the shipped ones -> own, {} rules",
                change.subject,
                rules.len()
            )
        }
        (_, Value::Array(_), Value::Null) if is_whole_table(&change.subject) => {
            format!("{}: own -> the shipped ones", change.subject)
        }
        (None, Value::Null, after) => format!("{} added{}", change.subject, gist(after)),
        (None, before, Value::Null) => format!("{} removed{}", change.subject, gist(before)),
        _ => {
            let field = match field_name(change) {
                "value" => String::new(),
                name => format!(" {name}"),
            };
            format!(
                "{}:{field} {} -> {}",
                change.subject,
                shown(&change.before),
                shown(&change.after)
            )
        }
    }
}

fn is_whole_table(subject: &Subject) -> bool {
    matches!(subject, Subject::MappingTables | Subject::PrefetchRules)
}

fn field_name(change: &Change) -> &str {
    change.field.as_deref().unwrap_or_default()
}

/// What tells most of what came or went: a station's address, a mapping rule's value.
fn gist(document: &Value) -> String {
    match (&document["ae_title"], &document["host"], &document["port"]) {
        (Value::String(title), Value::String(host), port) if host.contains(':') => {
            format!(" ({title}@[{host}]:{port})")
        }
        (Value::String(title), Value::String(host), port) => format!(" ({title}@{host}:{port})"),
        _ => match &document["value"] {
            Value::String(value) => format!(" ({value})"),
            _ => String::new(),
        },
    }
}

/// A value as people read it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) if text.is_empty() => "''".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "(none)".to_owned(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
