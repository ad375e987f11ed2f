//! `serve`: the link service in the foreground, and where its log goes.
//!
//! Invariant: the log is on standard error and holds no patient data at any level that a switch alone gives.

use std::io;

use tracing_subscriber::EnvFilter;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
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
#[command(
    after_help = "Examples:\n  impaxlink serve\n  impaxlink config set listen 0.0.0.0:104 && impaxlink serve -v"
)]
pub struct ServeArgs {}

/// Runs the service until a signal ends it.
pub fn run(ui: &mut Ui, _args: ServeArgs) -> anyhow::Result<ExitStatus> {
    start_log(ui)?;
    Ok(match service::run(ui.store_path())? {
        Ended::Drained { .. } => ExitStatus::Done,
        Ended::AtOnce => ExitStatus::Interrupted,
    })
}

fn start_log(ui: &Ui) -> anyhow::Result<()> {
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
