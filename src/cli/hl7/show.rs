//! `hl7 show`: one message with its text.
//!
//! Invariant: this shows patient data, and the audit says so. No control character of the message meets the terminal.

use serde::Serialize;

use super::not_found;
use super::view::MessageView;
use super::working::by;
use crate::audit::Disclosure;
use crate::cli::Format;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Document;
use crate::store::Access;
use crate::updates::hl7::decode;

/// Show one HL7 message: from where it came, what it did, and its text, with patient data.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  impaxlink hl7 show 17")]
pub struct ShowArgs {
    /// Its number, as 'hl7 list' shows it
    #[arg(value_name = "NUMBER")]
    number: i64,
}

#[derive(Debug, Serialize)]
struct ShowView<'a> {
    message: TextView<'a>,
}

#[derive(Debug, Serialize)]
struct TextView<'a> {
    #[serde(flatten)]
    message: MessageView<'a>,
    /// A segment each.
    text: Vec<String>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ShowArgs) -> anyhow::Result<ExitStatus> {
    let message = ui
        .store(Access::ReadOnly)?
        .hl7_message(args.number)?
        .ok_or_else(|| not_found(args.number))?;
    disclose(ui);
    let text = decode(&message.body);
    let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
    let text: Vec<String> = lines
        .map(|line| line.replace(char::is_control, "\u{fffd}"))
        .collect();
    let view = MessageView::from(&message);
    match ui.format() {
        Format::Json | Format::Ndjson => {
            let message = TextView { message: view, text };
            ui.json(&Document::new(ShowView { message }))?
        }
        Format::Csv => ui.csv(&["field", "value"], view.rows())?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&[]);
            view.rows().into_iter().for_each(|row| table.row(row));
            ui.table(table)?;
            ui.line("")?;
            text.iter().try_for_each(|line| ui.line(line))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// A store that can only be read serves all the same.
fn disclose(ui: &Ui) {
    if let Ok(store) = ui.store(Access::ReadWrite) {
        let disclosure = Disclosure {
            stations: Vec::new(),
            keywords: vec!["HL7".to_owned()],
        };
        if let Err(error) = store.record_disclosure(&by("show"), &disclosure) {
            ui.notice(&format!("not recorded: {error}"));
        }
    }
}
