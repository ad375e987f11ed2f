//! `config`: the local cluster's own settings.

use clap::Subcommand;
use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::change::{self, ChangeArgs};
use super::error::{ExitStatus, Problem};
use super::nearest::nearest;
use super::output::Ui;
use super::table::Columns;
use super::view::{Document, Items};
use super::{Format, complete, value};
use crate::model::{RELOAD_COMMAND, SETTING_KEYS, SettingKey, Settings, setting_key};

/// Read and change the local cluster's own settings.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink config list\n  \
    impaxlink config set issuer NORTH\n  \
    impaxlink config set reload.command 'systemctl reload viewer-gateway'\n  \
    impaxlink config unset issuer")]
pub enum ConfigCommand {
    /// Print the value in force of a setting
    #[command(after_help = "Example:\n  impaxlink config get ae_title")]
    Get {
        /// The setting
        #[arg(add = ArgValueCompleter::new(complete::setting_keys))]
        key: String,
    },
    /// Change a setting
    #[command(after_help = "Examples:\n  \
        impaxlink config set ae_title NORTH_LINK\n  \
        impaxlink config set query.deadline 10s --reason CHG1182\n  \
        impaxlink config set tls.certificate /etc/impaxlink/new.pem tls.key /etc/impaxlink/new.key")]
    Set {
        /// The setting
        #[arg(add = ArgValueCompleter::new(complete::setting_keys))]
        key: String,
        /// Its new value
        #[arg(value_parser = value::text, allow_hyphen_values = true)]
        value: String,
        /// More settings and values, saved together
        #[arg(value_name = "KEY VALUE", value_parser = value::text, allow_hyphen_values = false)]
        more: Vec<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Put a setting back to its default
    #[command(after_help = "Example:\n  impaxlink config unset query.deadline")]
    Unset {
        /// The setting
        #[arg(add = ArgValueCompleter::new(complete::setting_keys))]
        key: String,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// List all settings with their defaults
    #[command(after_help = "Example:\n  impaxlink config list --json")]
    List,
}

/// A setting, as `config list --json` and `config get --json` give it.
#[derive(Debug, Serialize)]
struct SettingView<'a> {
    key: &'static str,
    value: Option<&'a str>,
    default: Option<&'static str>,
    description: &'static str,
}

impl<'a> SettingView<'a> {
    fn new(key: &'static SettingKey, settings: &'a Settings) -> Self {
        let default = (!key.default.is_empty()).then_some(key.default);
        SettingView {
            key: key.name,
            value: settings.get(key),
            default,
            description: key.description,
        }
    }
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: ConfigCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ConfigCommand::Get { key } => get(ui, &key),
        ConfigCommand::Set {
            key,
            value,
            more,
            change,
        } => set(ui, [vec![key, value], more].concat(), &change),
        ConfigCommand::Unset { key, change } => {
            let key = known(&key)?;
            change::save(ui, &change, &[format!("setting {}", key.name)], |configuration| {
                Ok(configuration.settings.unset(key.name)?)
            })
        }
        ConfigCommand::List => list(ui),
    }
}

fn set(ui: &mut Ui, words: Vec<String>, change: &ChangeArgs) -> anyhow::Result<ExitStatus> {
    let mut values = Vec::new();
    for pair in words.chunks(2) {
        let [key, value] = pair else {
            let message = format!("setting {} has no value", pair.concat());
            return Err(Problem::new(ExitStatus::Usage, message).into());
        };
        values.push((known(key)?.name, value));
    }
    if values.iter().any(|(key, _)| *key == RELOAD_COMMAND) {
        may_set_reload_command(ui)?;
    }
    let subjects: Vec<String> = values.iter().map(|(key, _)| format!("setting {key}")).collect();
    change::save(ui, change, &subjects, |configuration| {
        for (key, value) in &values {
            configuration.settings.set(key, value)?;
        }
        Ok(())
    })
}

fn known(name: &str) -> Result<&'static SettingKey, Problem> {
    setting_key(name).ok_or_else(|| {
        let problem = Problem::new(ExitStatus::NotFound, format!("no setting {name}"));
        match nearest(name, SETTING_KEYS.iter().map(|key| key.name)) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem.hint("'impaxlink config list' names them all"),
        }
    })
}

/// The reload command runs with the rights of whoever saves: root and the store's owner alone may set it.
fn may_set_reload_command(ui: &Ui) -> Result<(), Problem> {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid();
    let owner = std::fs::metadata(ui.store_path()).map(|metadata| metadata.uid());
    match owner {
        Ok(owner) if !user.is_root() && owner != user.as_raw() => {
            let message = format!("{RELOAD_COMMAND} is set by root or the store's owner alone");
            Err(Problem::new(ExitStatus::NotPermitted, message))
        }
        // Without a store yet, its owner will be whoever makes it: this user.
        _ => Ok(()),
    }
}

fn get(ui: &mut Ui, name: &str) -> anyhow::Result<ExitStatus> {
    let key = known(name)?;
    let settings = change::current(ui)?.settings;
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(SettingView::new(key, &settings)))?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Csv => ui.csv(
            &["key", "value"],
            [[key.name, settings.get(key).unwrap_or_default()]],
        )?,
        Format::Table => {
            let value = settings.get(key).unwrap_or_default().to_owned();
            ui.line(&value)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn list(ui: &mut Ui) -> anyhow::Result<ExitStatus> {
    let settings = change::current(ui)?.settings;
    let views = SETTING_KEYS.iter().map(|key| SettingView::new(key, &settings));
    match ui.format() {
        Format::Json => ui.json(&Items::new(views.collect()))?,
        Format::Ndjson => {
            for view in views {
                ui.ndjson(&view)?;
            }
        }
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Csv => {
            let rows = views.map(|view| {
                [
                    view.key,
                    view.value.unwrap_or_default(),
                    view.default.unwrap_or_default(),
                    view.description,
                ]
            });
            ui.csv(&["key", "value", "default", "description"], rows)?;
        }
        Format::Table => {
            let mut table = Columns::new(&["KEY", "VALUE", "DEFAULT", "IS"]);
            for view in views {
                let default = if view.value == view.default {
                    ""
                } else {
                    view.default.unwrap_or_default()
                };
                let cells = [view.key, view.value.unwrap_or("-"), default, view.description];
                table.row(cells.map(str::to_owned));
            }
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}
