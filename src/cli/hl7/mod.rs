//! `hl7`: messages of the RIS taken in, and what became of them. One file a subcommand.

mod act;
mod import;
mod list;
mod listen;
mod show;
mod view;
mod working;

use clap::Subcommand;

use super::error::{ExitStatus, Problem};
use super::output::Ui;

/// Take in HL7 messages of the RIS, and see what became of them.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 import reports.hl7\n  \
    impaxlink config set hl7.listen 0.0.0.0:2575 && impaxlink config set hl7.from 10.2.0.9\n  \
    impaxlink hl7 list --state failed\n  \
    impaxlink hl7 retry --failed")]
pub enum Hl7Command {
    Import(import::ImportArgs),
    Listen(listen::ListenArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Retry(act::RetryArgs),
    Drop(act::DropArgs),
}

/// Runs the subcommand.
pub fn run(ui: &mut Ui, command: Hl7Command) -> anyhow::Result<ExitStatus> {
    match command {
        Hl7Command::Import(args) => import::run(ui, args),
        Hl7Command::Listen(args) => listen::run(ui, args),
        Hl7Command::List(args) => list::run(ui, args),
        Hl7Command::Show(args) => show::run(ui, args),
        Hl7Command::Retry(args) => act::retry(ui, args),
        Hl7Command::Drop(args) => act::drop_messages(ui, args),
    }
}

/// What to say where there is no such message.
fn not_found(number: i64) -> Problem {
    Problem::new(ExitStatus::NotFound, format!("no HL7 message {number}"))
        .hint("'impaxlink hl7 list' shows those that wait or failed")
}
