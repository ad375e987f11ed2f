//! `hl7 list`: messages, newest first, and what became of each.

use super::view;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::store::{Access, Hl7State};

/// List HL7 messages that wait or failed, newest first. No patient data: 'hl7 show' has those.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 list\n  \
    impaxlink hl7 list --state done --limit 20\n  \
    impaxlink hl7 list --state failed --json | jq '.items[].number'")]
pub struct ListArgs {
    /// Only those in this state; without it, waiting and failed ones
    #[arg(long)]
    state: Option<State>,
    /// At most so many of each state; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

/// The states of a message.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum State {
    /// To be done, once its study is here or its archive answers.
    Waiting,
    /// Done.
    Done,
    /// Wants a person.
    Failed,
    /// Given up by a person.
    Dropped,
}

impl From<State> for Hl7State {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Hl7State::Waiting,
            State::Done => Hl7State::Done,
            State::Failed => Hl7State::Failed,
            State::Dropped => Hl7State::Dropped,
        }
    }
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ListArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadOnly)?;
    let limit = (args.limit != 0).then_some(args.limit);
    let states = match args.state {
        Some(state) => vec![state.into()],
        None => vec![Hl7State::Waiting, Hl7State::Failed],
    };
    let mut messages = Vec::new();
    for state in states {
        messages.extend(store.hl7_messages(state, limit)?);
    }
    messages.sort_by_key(|message| std::cmp::Reverse(message.number));
    if messages.is_empty() && ui.format() == Format::Table {
        ui.notice("no HL7 message matches");
    }
    view::write(ui, &messages)?;
    Ok(ExitStatus::Done)
}
