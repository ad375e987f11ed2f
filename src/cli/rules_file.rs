//! Files of rules, as the `import` commands take them.
//!
//! Invariant: a file with one bad line gives nothing; all its bad lines are named, up to a bound.

use std::fs::File;
use std::io::Read;

use anyhow::Context as _;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use crate::model::BadLine;

/// The longest file, in bytes.
const LONGEST: u64 = 8 * 1024 * 1024;

/// How many bad lines are named before the error.
const MOST_NAMED: usize = 20;

/// What `parse` makes of a file; `-` is standard input.
pub fn read_rules<T>(
    ui: &Ui,
    file: &str,
    parse: impl FnOnce(&str) -> Result<T, Vec<BadLine>>,
) -> anyhow::Result<T> {
    let name = match file {
        "-" => "standard input",
        file => file,
    };
    let text = read(file).with_context(|| format!("can't read {name}"))?;
    Ok(parse(&text).map_err(|bad| refuse(ui, name, &bad))?)
}

fn read(file: &str) -> anyhow::Result<String> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(File::open(path)?),
    };
    let mut content = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut content)?;
    anyhow::ensure!(
        content.len() as u64 <= LONGEST,
        "it is longer than {LONGEST} bytes"
    );
    String::from_utf8(content).context("it is not UTF-8: save it as 'CSV UTF-8'")
}

fn refuse(ui: &Ui, name: &str, bad: &[BadLine]) -> Problem {
    let (first, rest) = match bad {
        [first, rest @ ..] => (first.to_string(), rest),
        [] => ("it can't be read".to_owned(), bad),
    };
    let more = match rest.len() {
        0 => String::new(),
        count => format!(" (and {count} more, above)"),
    };
    for line in rest.iter().take(MOST_NAMED) {
        ui.notice(&format!("{name}: {line}"));
    }
    Problem::new(ExitStatus::Failed, format!("{name}: {first}{more}")).hint("nothing was changed")
}
