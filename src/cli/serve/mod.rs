//! `serve`: the link service in the foreground, and where its log goes. Its systemd unit is in `unit`.
//!
//! Invariant: the log is on standard error and holds no patient data at any level that a switch alone gives.

mod unit;

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::{attribution, change};
use crate::model::ARCHIVE_PATH;
use crate::service::{self, Ended};

/// The variable that says what is logged, in the words of tracing's `EnvFilter`.
const LOG_VARIABLE: &str = "IMPAXLINK_LOG";

/// Run the link service in the foreground.
///
/// It listens where the setting 'listen' says, answers registered stations, watches the links, and takes the newest
/// configuration on 'impaxlink reload' or SIGHUP. SIGTERM or Ctrl-C lets operations under way finish, as long as the
/// setting 'timeout.drain' allows; a second one ends it at once.
///
/// What it does is told on standard error: more of it with --verbose, less with --quiet; IMPAXLINK_LOG says it to the
/// module, like 'warn,impaxlink::service=debug'.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        impaxlink serve\n  \
        impaxlink config set listen 0.0.0.0:104 && impaxlink serve -v\n  \
        impaxlink serve --print-unit >/etc/systemd/system/impaxlink.service")]
pub struct ServeArgs {
    /// Print a systemd unit for this program and store, and do nothing else
    #[arg(long)]
    print_unit: bool,
}

/// Runs the service until a signal ends it.
pub fn run(ui: &mut Ui, args: ServeArgs) -> anyhow::Result<ExitStatus> {
    if args.print_unit {
        return print_unit(ui);
    }
    start_log(ui)?;
    Ok(
        match service::run(
            ui.store_path(),
            attribution::with_command("impaxlink serve".to_owned()),
        )? {
            Ended::Drained { .. } => ExitStatus::Done,
            Ended::AtOnce => ExitStatus::Interrupted,
        },
    )
}

fn print_unit(ui: &mut Ui) -> anyhow::Result<ExitStatus> {
    let store = std::path::absolute(ui.store_path())?;
    let owner = std::fs::metadata(&store).map(|metadata| metadata.uid());
    // Where there is no store yet, its owner will be who makes it.
    let owner = owner.unwrap_or_else(|_| rustix::process::getuid().as_raw());
    let settings = change::current(ui)?.settings;
    let archive = settings.path(ARCHIVE_PATH);
    let unit = unit::Unit {
        program: &std::env::current_exe()?,
        store: &store,
        archive: archive.as_deref(),
        user: &attribution::user_name(owner),
        drain_seconds: settings.duration("timeout.drain").as_secs(),
    };
    write!(ui.out(), "{}", unit.text())?;
    Ok(ExitStatus::Done)
}

/// Begins to log to standard error, as the global options and the environment say.
pub fn start_log(ui: &Ui) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(ui)?)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false);
    // The journal puts the time before each line itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
    Ok(())
}

fn filter(ui: &Ui) -> anyhow::Result<EnvFilter> {
    let given = std::env::var(LOG_VARIABLE).ok().filter(|text| !text.is_empty());
    let directives = given.unwrap_or_else(|| {
        let level = match (ui.is_quiet(), ui.verbosity()) {
            (true, _) => "warn",
            (false, 0) => "info",
            (false, 1) => "debug",
            (false, _) => "trace",
        };
        // Libraries log what they decode, which may be patients.
        format!("warn,impaxlink={level}")
    });
    EnvFilter::try_new(&directives).map_err(|error| {
        let message = format!("invalid {LOG_VARIABLE} {directives:?}: {error}");
        Problem::new(ExitStatus::Usage, message)
            .hint("it is a level like 'debug', or 'warn,impaxlink::service=debug'")
            .into()
    })
}
