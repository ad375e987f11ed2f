//! Standard output and the terminal: tables, json, ndjson and csv, and who may see what.
//!
//! Invariant: standard output carries the data asked for alone; notices go to standard error. A table fits itself to
//! the terminal only when standard output is one: piped output is never truncated. A closed pipe is no error.

use std::cell::Cell;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::error::{ExitStatus, Problem};
use super::table::Columns;
use super::{ColorWhen, Format, Global};
use crate::store::{Access, Store, exposures};

/// What a command needs of its surroundings: where the store is, and how to write.
pub struct Ui {
    store_path: PathBuf,
    format: Format,
    quiet: bool,
    verbose: u8,
    color: bool,
    /// Whether it was said who else may use the store.
    has_warned: Cell<bool>,
    out: io::BufWriter<StdoutLock<'static>>,
}

impl Ui {
    /// Reads the global options and the environment.
    pub(super) fn new(global: &Global) -> anyhow::Result<Self> {
        let color = match global.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Ok(Ui {
            store_path: store_path(global.store.as_deref())?,
            format: format(global)?,
            quiet: global.quiet,
            verbose: global.verbose,
            color,
            has_warned: Cell::new(false),
            out: io::BufWriter::with_capacity(64 * 1024, io::stdout().lock()),
        })
    }

    /// Where the store is.
    pub fn store_path(&self) -> &Path {
        &self.store_path
    }

    /// The store, opened for `access`.
    pub fn store(&self, access: Access) -> anyhow::Result<Store> {
        let store = Store::open(&self.store_path, access)?;
        if !self.has_warned.replace(true) {
            for exposure in exposures(store.path()) {
                self.notice(&format!("warning: {exposure}"));
            }
        }
        Ok(store)
    }

    /// The format asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether nothing is to be said when all is well.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How often `--verbose` was given.
    pub fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Standard output, buffered.
    pub fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// One line to standard output.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// One JSON document: pretty on a terminal, else on one line.
    pub fn json<T: Serialize>(&mut self, document: &T) -> anyhow::Result<()> {
        if io::stdout().is_terminal() {
            serde_json::to_writer_pretty(&mut self.out, document)?;
        } else {
            serde_json::to_writer(&mut self.out, document)?;
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// One JSON object on a line of its own.
    pub fn ndjson<T: Serialize>(&mut self, object: &T) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.out, object)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Heading and rows as csv.
    pub fn csv<R>(&mut self, heading: &[&str], rows: impl IntoIterator<Item = R>) -> anyhow::Result<()>
    where
        R: IntoIterator,
        R::Item: AsRef<[u8]>,
    {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        writer.write_record(heading)?;
        for row in rows {
            writer.write_record(row)?;
        }
        writer.flush()?;
        Ok(())
    }

    /// Rows under a heading, columns two spaces apart.
    pub fn table(&mut self, table: Columns) -> io::Result<()> {
        let has_heading = table.has_heading();
        let text = table.render(terminal_width());
        match text.split_once('\n') {
            Some((heading, rows)) if self.color && has_heading => {
                write!(self.out, "{BOLD}{heading}{PLAIN}\n{rows}")
            }
            _ => self.out.write_all(text.as_bytes()),
        }
    }

    /// A word in this colour, where there are colours.
    pub fn paint(&self, color: Color, word: &str) -> String {
        match self.color {
            true => format!("\x1b[{}m{word}{PLAIN}", color as u8),
            false => word.to_owned(),
        }
    }

    /// A line on standard error that tells how far it is; nothing where that is no terminal, or quiet.
    pub fn progress_line(&self) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
    }

    /// A notice to standard error, unless quiet.
    pub fn notice(&self, text: &str) {
        if !self.quiet {
            self.warning(text);
        }
    }

    /// A line to standard error, also when quiet.
    pub fn warning(&self, text: &str) {
        // Nothing is left to be told where standard error itself is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Writes out what is still buffered.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Refuses a format that the command can't write.
    pub fn refuse_format(&self) -> anyhow::Error {
        let message = "--format dicom-json is for 'query' alone";
        Problem::new(ExitStatus::Usage, message).into()
    }
}

/// The colours of words, by their numbers in ECMA-48.
#[derive(Debug, Clone, Copy)]
pub enum Color {
    /// Not well.
    Red = 31,
    /// Well.
    Green = 32,
    /// To be looked at.
    Yellow = 33,
    /// Not known.
    Cyan = 36,
}

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The format of the command line, else of the environment, else a table.
fn format(global: &Global) -> Result<Format, Problem> {
    let given = if global.json {
        Some(Format::Json)
    } else {
        global.format
    };
    let of_environment = || {
        std::env::var("IMPAXLINK_FORMAT")
            .ok()
            .filter(|name| !name.is_empty())
    };
    match (given, of_environment()) {
        (Some(format), _) => Ok(format),
        (None, None) => Ok(Format::Table),
        (None, Some(name)) => Format::from_str(&name, false).map_err(|_| {
            let message =
                format!("invalid IMPAXLINK_FORMAT {name:?}: it is table, json, ndjson, csv or dicom-json");
            Problem::new(ExitStatus::Usage, message)
        }),
    }
}

/// How many columns standard output shows, where it is a terminal.
fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout
        .is_terminal()
        .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
        .flatten()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether `error` is only that nobody reads standard output any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io_kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json_kind = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        let csv_kind = cause
            .downcast_ref::<csv::Error>()
            .and_then(|error| match error.kind() {
                csv::ErrorKind::Io(error) => Some(error.kind()),
                _ => None,
            });
        [io_kind, json_kind, csv_kind].contains(&Some(io::ErrorKind::BrokenPipe))
    })
}

/// Where the store is when no option says so, for completions; `None` where there is no place for one.
pub(super) fn store_path_of_environment() -> Option<PathBuf> {
    store_path(None).ok()
}

fn store_path(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let of_environment = || std::env::var_os("IMPAXLINK_STORE").filter(|path| !path.is_empty());
    match given
        .map(Path::to_owned)
        .or_else(|| of_environment().map(PathBuf::from))
    {
        Some(path) => Ok(path),
        None => default_store_path(),
    }
}

fn default_store_path() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/impaxlink/impaxlink.db"));
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data_home =
        absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    match data_home {
        Some(folder) => Ok(folder.join("impaxlink/impaxlink.db")),
        None => Err(Problem::new(
            ExitStatus::Failed,
            "no place for the store: neither XDG_DATA_HOME nor HOME is set",
        )
        .hint("give --store PATH or set IMPAXLINK_STORE")
        .into()),
    }
}
