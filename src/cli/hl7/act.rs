//! `hl7 retry` and `hl7 drop`: what a person does about messages that are not done.

use super::not_found;
use super::working::{by, do_and_tell};
use crate::audit::Attribution;
use crate::cli::change::reason;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::store::{Access, Hl7State, Store};
use crate::updates::hl7::receive::subjects_of;

/// Which messages are meant.
#[derive(Debug, clap::Args)]
pub struct Meant {
    /// Their numbers, as 'hl7 list' shows them
    #[arg(value_name = "NUMBER", required_unless_present = "failed")]
    numbers: Vec<i64>,
    /// All that failed
    #[arg(long, conflicts_with = "numbers")]
    failed: bool,
}

impl Meant {
    /// In the order in which they came.
    fn numbers(&self, store: &Store) -> anyhow::Result<Vec<i64>> {
        if !self.failed {
            return Ok(self.numbers.clone());
        }
        let failed = store.hl7_messages(Hl7State::Failed, None)?;
        Ok(failed.iter().rev().map(|message| message.number).collect())
    }
}

/// Do messages at once that wait or failed, under the settings as they are now.
///
/// Exit status: 0 all done, 3 some wait, 1 some failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 retry 17\n  \
    impaxlink hl7 retry --failed")]
pub struct RetryArgs {
    #[command(flatten)]
    meant: Meant,
}

/// Give up messages that wait or failed: they are never done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 drop 17 --reason 'study was never done'\n  \
    impaxlink hl7 drop --failed --reason CHG1250")]
pub struct DropArgs {
    #[command(flatten)]
    meant: Meant,
    /// Why; kept with the messages and in the audit
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

/// Runs `hl7 retry`.
pub fn retry(ui: &mut Ui, args: RetryArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let settings = store.configuration()?.settings.hl7();
    let numbers = args.meant.numbers(&store)?;
    for number in &numbers {
        let message = store.hl7_message(*number)?.ok_or_else(|| not_found(*number))?;
        if !store.retry_hl7(*number, &subjects_of(&message.body, &settings))? {
            return Err(ended(*number, message.state).into());
        }
    }
    drop(store);
    do_and_tell(ui, &numbers, "retry")
}

/// Runs `hl7 drop`.
pub fn drop_messages(ui: &mut Ui, args: DropArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let by = Attribution {
        reason: args.reason,
        ..by("drop")
    };
    let numbers = args.meant.numbers(&store)?;
    for number in &numbers {
        let message = store.hl7_message(*number)?.ok_or_else(|| not_found(*number))?;
        if !store.drop_hl7(&by, *number)? {
            return Err(ended(*number, message.state).into());
        }
    }
    ui.notice(&format!("{} dropped", numbers.len()));
    Ok(ExitStatus::Done)
}

fn ended(number: i64, state: Hl7State) -> Problem {
    let message = format!("HL7 message {number} is {} already", state.as_str());
    Problem::new(ExitStatus::Failed, message)
}
