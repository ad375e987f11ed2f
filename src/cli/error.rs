//! From an error to what the user sees: one line that says what failed, a `hint:` line where we know what to do,
//! and the exit status. This is the one table of them.

use std::fmt;
use std::process::ExitCode;

use crate::archive::ArchiveError;
use crate::link::completeness::Completeness;
use crate::model::{Invalid, shorten};
use crate::service::ServeError;
use crate::service::control::ControlError;
use crate::store::{ErrorClass, Replacement, ServiceLockError, StoreError, VerifyError};

/// The exit statuses that scripts depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed; or saved, but not in force.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A station that should have answered did not, or not fully.
    Partial = 3,
    /// No such station, study, update.
    NotFound = 4,
    /// Busy, timed out, or changed by someone else.
    Busy = 5,
    /// Not permitted.
    NotPermitted = 6,
    /// The service is not running.
    NotRunning = 7,
    /// Interrupted.
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status as u8)
    }
}

impl From<Completeness> for ExitStatus {
    /// What an answer is that came so far, where it was not interrupted.
    fn from(completeness: Completeness) -> Self {
        match completeness {
            Completeness::Complete | Completeness::Cut => ExitStatus::Done,
            Completeness::Partial => ExitStatus::Partial,
            Completeness::Failed => ExitStatus::Failed,
        }
    }
}

/// An error that knows its hint and its exit status.
#[derive(Debug)]
pub struct Problem {
    status: ExitStatus,
    message: String,
    hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Problem {
            status,
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem with what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Problem {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Prints `error` to standard error and gives its exit status; the hint is left out where `quiet` wants one line.
pub fn report(error: &anyhow::Error, quiet: bool) -> ExitStatus {
    let (status, hint) = classify(error);
    let causes: Vec<String> = error.chain().map(|cause| printable(&cause.to_string())).collect();
    print_error(&causes.join(": "), hint.as_deref().filter(|_| !quiet));
    status
}

/// Prints what clap has to say: help and version to standard output, a wrong command line to standard error.
pub fn usage(error: &clap::Error, quiet: bool) -> ExitStatus {
    if !error.use_stderr() {
        // A closed pipe is no error.
        let _ = error.print();
        return ExitStatus::Done;
    }
    let (message, hint) = wrong_value(error).map_or_else(|| wrong_words(error), |message| (message, None));
    print_error(&message, hint.as_deref().filter(|_| !quiet));
    ExitStatus::Usage
}

/// The option, and what its value parser says of the value; `None` where the error is another.
fn wrong_value(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ErrorKind};
    use std::error::Error as _;
    let source = error
        .source()
        .filter(|_| error.kind() == ErrorKind::ValueValidation)?;
    let context = |kind| error.get(kind).map(|value| value.to_string()).unwrap_or_default();
    let value = match source.is::<std::num::ParseIntError>() {
        true => format!("invalid number {:?}: ", context(ContextKind::InvalidValue)),
        false => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    Some(printable(&format!("{argument}: {value}{source}")))
}

/// Clap's paragraphs as the one line of an error, and a hint.
fn wrong_words(error: &clap::Error) -> (String, Option<String>) {
    let text = error.render().to_string();
    let mut paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let message = printable(message.strip_prefix("error: ").unwrap_or(&message));
    let hint = paragraphs.find_map(|paragraph| {
        let tip = paragraph.strip_prefix("tip: ").map(str::to_owned);
        tip.or_else(|| Some(format!("it is used as {}", paragraph.strip_prefix("Usage: ")?)))
    });
    (message, hint.map(|hint| printable(&hint)))
}

fn print_error(message: &str, hint: Option<&str>) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    // Nothing is left to be told where standard error itself is closed.
    let _ = writeln!(stderr, "error: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// What came from a peer or a file never steers the terminal, and stays on one line. A word that is longer than any
/// path or UID is cut.
fn printable(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c == ' ');
    let words: Vec<String> = words.map(|word| shorten(word, MAX_WORD)).collect();
    shorten(&words.join(" "), MAX_MESSAGE)
}

/// The longest word and the longest message that an error shows, in characters.
const MAX_WORD: usize = 400;
const MAX_MESSAGE: usize = 4000;

/// The exit status and hint of the first cause that has one.
fn classify(error: &anyhow::Error) -> (ExitStatus, Option<String>) {
    for cause in error.chain() {
        if let Some(problem) = cause.downcast_ref::<Problem>() {
            return (problem.status, problem.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<ControlError>() {
            return control_status(error);
        }
        if let Some(outcome) = cause.downcast_ref::<ServeError>().and_then(serve_status) {
            return outcome;
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return (store_status(error), store_hint(error));
        }
        if let Some(outcome) = cause.downcast_ref::<ArchiveError>().and_then(archive_status) {
            return outcome;
        }
        match cause.downcast_ref::<VerifyError>() {
            Some(VerifyError::Store(error)) => return (store_status(error), store_hint(error)),
            Some(VerifyError::Broken(_)) => {
                let hint = "it was tampered with or damaged: keep a copy of the store, and find out who could write it";
                return (ExitStatus::Failed, Some(hint.to_owned()));
            }
            None => {}
        }
        if cause.is::<Invalid>() {
            return (ExitStatus::Usage, None);
        }
    }
    (ExitStatus::Failed, None)
}

fn control_status(error: &ControlError) -> (ExitStatus, Option<String>) {
    let (status, hint) = match error {
        ControlError::NotRunning => (ExitStatus::NotRunning, "start it with 'impaxlink serve'"),
        ControlError::Ending => (ExitStatus::NotRunning, "the next to start takes what is saved"),
        ControlError::NotInForce { .. } => (
            ExitStatus::Failed,
            "mend it and try 'impaxlink reload', or go back with 'impaxlink generation rollback'",
        ),
        ControlError::TimedOut { .. } => (ExitStatus::Busy, "look with 'impaxlink status', then try again"),
        ControlError::NotPermitted => (
            ExitStatus::NotPermitted,
            "run as root, as the service's user or as a member of the socket's group",
        ),
        ControlError::OtherVersion(_) => (ExitStatus::Failed, "restart the service with this version"),
        _ => (ExitStatus::Failed, "look into the service's log"),
    };
    (status, Some(hint.to_owned()))
}

/// `None` where a cause below tells more.
fn serve_status(error: &ServeError) -> Option<(ExitStatus, Option<String>)> {
    let (status, hint) = match error {
        ServeError::Lock(ServiceLockError::Held(_)) => (
            ExitStatus::Busy,
            "'impaxlink status' shows it; one service runs on a store",
        ),
        ServeError::Unusable(_) => (
            ExitStatus::Failed,
            "go back with 'impaxlink generation rollback', or mend it",
        ),
        ServeError::Listen { .. } => (
            ExitStatus::Failed,
            "'impaxlink config set listen ADDRESS:PORT' names another; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
        _ => return None,
    };
    Some((status, Some(hint.to_owned())))
}

/// `None` where there is nothing to say but the error.
fn archive_status(error: &ArchiveError) -> Option<(ExitStatus, Option<String>)> {
    let (status, hint) = match error {
        ArchiveError::InUse(_) => (ExitStatus::Busy, "stop the service and other imports first"),
        ArchiveError::IndexMissing(_) => (
            ExitStatus::Failed,
            "'impaxlink archive reindex' makes it again from the files",
        ),
        ArchiveError::MadeByNewer(_) => (ExitStatus::Failed, "use the newer impaxlink"),
        ArchiveError::Full(_) => (
            ExitStatus::Failed,
            "make room, then try again: what was stored stays",
        ),
        ArchiveError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => (
            ExitStatus::NotPermitted,
            "run as the archive's owner, or name another place with 'impaxlink config set archive.path'",
        ),
        _ => return None,
    };
    Some((status, Some(hint.to_owned())))
}

fn store_status(error: &StoreError) -> ExitStatus {
    match error.class() {
        ErrorClass::NotPermitted => ExitStatus::NotPermitted,
        ErrorClass::Busy => ExitStatus::Busy,
        ErrorClass::NotFound => ExitStatus::NotFound,
        ErrorClass::Failed => ExitStatus::Failed,
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    let hint = match error {
        StoreError::Missing { .. } => "'impaxlink station add' makes it, or --store names another",
        StoreError::NotAStore { .. } => "name another place with --store or IMPAXLINK_STORE",
        StoreError::MadeByNewer { .. } => "use the newer impaxlink",
        StoreError::MadeByOlder { .. } => "any command that writes migrates it, after a backup",
        StoreError::InUse { .. } => "stop that service first, then start this version's",
        StoreError::Replaced { .. } => "look what is there now, then try again",
        StoreError::NotTakenUp {
            how: Replacement::Deleted,
            ..
        } => "put a store there, then 'impaxlink reload'; or restart the service, which makes an empty one",
        StoreError::NotTakenUp { .. } => "'impaxlink reload' has the service take up what is there now",
        StoreError::OtherCluster { .. } => "restart the service to take it up, or put its own store back",
        StoreError::ReadOnly { .. } | StoreError::NotPermitted { .. } => {
            "run as the store's owner, or name another with --store"
        }
        StoreError::Full { .. } => "make room, then try again: nothing was saved",
        StoreError::Busy { .. } => "try again",
        _ => return None,
    };
    Some(hint.to_owned())
}
