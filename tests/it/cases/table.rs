//! The table of hard cases as it is written in `tests/cases`, one file a subject.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

const NOT_YET: &str = "not_yet.toml";

#[derive(Default)]
pub(super) struct Table {
    pub(super) cases: Vec<Case>,
    pub(super) not_yet: Vec<NotYet>,
}

/// One hard case. `tests/cases/README.md` says what each field holds.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) rule: Option<u8>,
    pub(super) situation: String,
    pub(super) cli: Option<String>,
    pub(super) json: Option<String>,
    pub(super) ledger: Option<String>,
    pub(super) viewer: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) log: Option<String>,
    pub(super) tests: Vec<String>,
    /// The file that holds it, for messages.
    #[serde(skip)]
    pub(super) file: String,
}

impl Case {
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &str> {
        let Self {
            cli,
            json,
            ledger,
            viewer,
            peer,
            log,
            ..
        } = self;
        [cli, json, ledger, viewer, peer, log]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// A rule that no case holds yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotYet {
    pub(super) rule: u8,
    /// A part of the rule is held by a case.
    #[serde(default)]
    pub(super) partly: bool,
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    not_yet: Vec<NotYet>,
}

#[track_caller]
pub(super) fn read(folder: &Path) -> Table {
    let mut table = Table::default();
    for path in files(folder) {
        let text = fs::read_to_string(&path).expect("a file of cases can be read");
        let file = format!(
            "tests/cases/{}",
            path.file_name().expect("the name of a file").display()
        );
        if path.ends_with(NOT_YET) {
            let exceptions: Exceptions =
                toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            table.not_yet = exceptions.not_yet;
            continue;
        }
        let subject: Subject = toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let counted = text.lines().filter(|line| *line == "[[case]]").count();
        assert_eq!(
            counted,
            subject.case.len(),
            "{file}: write [[case]] alone on its line, tests/run counts those"
        );
        table.cases.extend(subject.case.into_iter().map(|case| Case {
            file: file.clone(),
            ..case
        }));
    }
    table
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of the cases");
    let paths = entries.map(|entry| entry.expect("an entry of a folder").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}
