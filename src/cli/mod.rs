//! The command line: one file a command, each with its `Args` and its `run`.
//!
//! Invariant: nothing outside this room prints or reads the environment, and nothing outside imports it.
//! What scripts depend on (JSON shapes, exit statuses) is in `view` and `error`.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::CompleteEnv;

mod archive;
mod attribution;
mod audit;
mod change;
mod check;
mod complete;
mod config;
mod demo;
mod error;
mod force;
mod generation;
mod hl7;
mod ledger;
mod mapping;
mod moment;
mod nearest;
mod output;
mod patient;
mod prefetch;
mod priors;
mod query;
mod reload;
mod retrieve;
mod rule;
mod rules_file;
mod serve;
mod station;
mod status;
mod study;
mod table;
mod time;
mod updates;
mod value;
mod view;

use error::ExitStatus;
use output::Ui;

/// Cluster linking for medical imaging archives, from the command line.
#[derive(Debug, Parser)]
#[command(
    name = "impaxlink",
    version,
    propagate_version = true,
    max_term_width = 100,
    subcommand_required = true,
    after_help = "Examples:\n  \
        impaxlink station add SITEB --ae-title SITEB_QR --host 10.2.0.5 --port 104 --cluster North\n  \
        impaxlink station set SITEB --cluster-linking --link-internal-queries\n  \
        impaxlink station list --linked\n\n\
        'impaxlink help COMMAND' tells more, 'man impaxlink' has files, environment and exit statuses."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The store: a SQLite file, made with its folders on first use; as IMPAXLINK_STORE says where not given.
    ///
    /// By default /var/lib/impaxlink/impaxlink.db for root, else impaxlink/impaxlink.db under $XDG_DATA_HOME
    /// (~/.local/share).
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    store: Option<PathBuf>,
    /// How the answer is written to standard output: as IMPAXLINK_FORMAT says, else as a table.
    #[arg(long, global = true, value_enum)]
    format: Option<Format>,
    /// Short for --format json.
    #[arg(long, global = true, conflicts_with = "format")]
    json: bool,
    /// Say nothing when all is well, one line otherwise.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more on standard error; twice: everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Colours: by default where standard output is a terminal and NO_COLOR is not set.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColorWhen,
}

/// The formats of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line, as they come.
    Ndjson,
    /// Comma-separated, with a heading line.
    Csv,
    /// The raw data sets in the JSON model of PS3.18 ('query' alone).
    DicomJson,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// Where standard output is a terminal and NO_COLOR is not set.
    Auto,
    /// Even into a pipe.
    Always,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register stations and switch their link flags
    #[command(subcommand, visible_alias = "stations")]
    Station(station::StationCommand),
    Query(query::QueryArgs),
    /// Keep the cross-reference: which patient IDs of different issuers are one person's
    #[command(subcommand)]
    Patient(patient::PatientCommand),
    Retrieve(retrieve::RetrieveArgs),
    Priors(priors::PriorsArgs),
    Prefetch(prefetch::PrefetchArgs),
    /// See and change the tables that give a study's specialty and body part
    #[command(subcommand)]
    Mapping(mapping::MappingCommand),
    /// See and change the rules that say which priors are relevant
    #[command(subcommand, visible_alias = "rules")]
    Rule(rule::RuleCommand),
    /// Fill and look after the archive that impaxlink itself keeps
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// See and change what all clusters know of a study, and see who holds copies of it
    #[command(subcommand)]
    Study(study::StudyCommand),
    /// See and mend the relay of updates to linked clusters
    #[command(subcommand)]
    Updates(updates::UpdatesCommand),
    /// Take in HL7 messages of the RIS, and see what became of them
    #[command(subcommand)]
    Hl7(hl7::Hl7Command),
    /// See past linked queries: who asked, what each station did, what the caller was told
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// See who saved what, and go back to an earlier configuration
    #[command(subcommand)]
    Generation(generation::GenerationCommand),
    /// Read and change the local cluster's own settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// See who changed what, and prove that the record is whole
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Check(check::CheckArgs),
    /// Have the running service take the newest configuration
    Reload(reload::ReloadArgs),
    /// Show the service, the generations saved and in force, and each link's health
    Status(status::StatusArgs),
    /// Set up two clusters on this machine, link them and query them before your eyes
    Demo(demo::DemoArgs),
    /// Run the link service in the foreground
    Serve(serve::ServeArgs),
}

/// The whole command line as clap knows it, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process and gives its exit status.
pub fn main() -> ExitCode {
    // What is made here (store, socket, copies of studies) is its owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    CompleteEnv::with_factory(command).complete();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if lacks_subcommand(&error) => return help_of_group(arguments).into(),
        Err(error) => {
            let quiet = arguments.iter().any(|word| word == "-q" || word == "--quiet");
            return error::usage(&error, quiet).into();
        }
    };
    let quiet = cli.global.quiet;
    let mut ui = match Ui::new(&cli.global) {
        Ok(ui) => ui,
        Err(error) => return error::report(&error, quiet).into(),
    };
    let outcome = run(&mut ui, cli.command).and_then(|status| {
        ui.finish()?;
        Ok(status)
    });
    match outcome {
        Ok(status) => status.into(),
        Err(error) if output::is_closed_pipe(&error) => ExitStatus::Done.into(),
        Err(error) => error::report(&error, quiet).into(),
    }
}

/// Clap tells the two apart by whether anything else was given.
fn lacks_subcommand(error: &clap::Error) -> bool {
    use ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    matches!(
        error.kind(),
        MissingSubcommand | DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// A group of commands without one of them: its help says which there are.
fn help_of_group(mut arguments: Vec<OsString>) -> ExitStatus {
    arguments.push("-h".into());
    if let Err(help) = Cli::try_parse_from(arguments) {
        // Nothing is left to be told where standard error itself is closed.
        let _ = write!(std::io::stderr().lock(), "{}", help.render());
    }
    ExitStatus::Usage
}

fn run(ui: &mut Ui, command: Command) -> anyhow::Result<ExitStatus> {
    // Before anything is saved. The service writes nothing in any format.
    if ui.format() == Format::DicomJson && !matches!(command, Command::Query(_) | Command::Serve(_)) {
        return Err(ui.refuse_format());
    }
    match command {
        Command::Station(command) => station::run(ui, command),
        Command::Archive(command) => archive::run(ui, command),
        Command::Ledger(command) => ledger::run(ui, command),
        Command::Updates(command) => updates::run(ui, command),
        Command::Hl7(command) => hl7::run(ui, command),
        Command::Mapping(command) => mapping::run(ui, command),
        Command::Rule(command) => rule::run(ui, command),
        Command::Generation(command) => generation::run(ui, command),
        Command::Config(command) => config::run(ui, command),
        Command::Audit(command) => audit::run(ui, command),
        Command::Check(args) => check::run(ui, args),
        Command::Reload(args) => reload::run(ui, args),
        Command::Status(args) => status::run(ui, args),
        Command::Demo(args) => demo::run(ui, args),
        Command::Serve(args) => serve::run(ui, args),
        Command::Query(args) => query::run(ui, args),
        Command::Study(command) => study::run(ui, command),
        Command::Patient(command) => patient::run(ui, command),
        Command::Retrieve(args) => retrieve::run(ui, args),
        Command::Priors(args) => priors::run(ui, args),
        Command::Prefetch(args) => prefetch::run(ui, args),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command
                .get_after_help()
                .map(|text| text.to_string())
                .unwrap_or_default();
            assert!(help.contains("Example"), "{path} has no examples");
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                walk(sub, &path);
            }
        }
        walk(&super::command(), "");
    }
}
