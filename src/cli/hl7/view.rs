//! The JSON shape of a message, and its cells. Without patient data: that is in `show` alone.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Format;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::time::local_time;
use crate::cli::view::Items;
use crate::model::{StateField, Uid};
use crate::store::{Hl7Deed, Hl7Message, Hl7State};

/// A message.
#[derive(Debug, Serialize)]
pub struct MessageView<'a> {
    number: i64,
    at: Timestamp,
    source: &'a str,
    sender: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    control_id: &'a str,
    /// What was answered: AA, AE or AR.
    answer: &'static str,
    state: &'static str,
    reason: Option<&'a str>,
    attempts: u32,
    /// While it waits.
    next_try: Option<Timestamp>,
    did: Vec<DeedView<'a>>,
}

/// What it did to a study.
#[derive(Debug, Serialize)]
struct DeedView<'a> {
    study_instance_uid: &'a Uid,
    /// Null where all was so already.
    update: Option<&'a Uid>,
    changed: &'a [StateField],
    review: bool,
}

impl<'a> From<&'a Hl7Deed> for DeedView<'a> {
    fn from(deed: &'a Hl7Deed) -> Self {
        DeedView {
            study_instance_uid: &deed.study,
            update: deed.update.as_ref(),
            changed: &deed.changed,
            review: deed.review,
        }
    }
}

impl<'a> From<&'a Hl7Message> for MessageView<'a> {
    fn from(message: &'a Hl7Message) -> Self {
        MessageView {
            number: message.number,
            at: message.at,
            source: &message.source,
            sender: &message.sender,
            kind: &message.kind,
            control_id: &message.control_id,
            answer: message.answer.as_str(),
            state: message.state.as_str(),
            reason: message.reason.as_deref(),
            attempts: message.attempts,
            next_try: (message.state == Hl7State::Waiting).then_some(message.next_try),
            did: message.did.iter().map(DeedView::from).collect(),
        }
    }
}

impl MessageView<'_> {
    fn cells(&self) -> [String; 7] {
        let deeds: Vec<String> = self.did.iter().map(DeedView::sentence).collect();
        let did = match deeds.len() {
            0..=2 => deeds.join("; "),
            count => format!("{count} studies"),
        };
        let detail = [did, self.reason.unwrap_or_default().to_owned()];
        [
            self.number.to_string(),
            local_time(self.at),
            self.source.to_owned(),
            self.kind.to_owned(),
            self.control_id.to_owned(),
            self.state.to_owned(),
            detail.join(if detail.iter().any(String::is_empty) {
                ""
            } else {
                "; "
            }),
        ]
    }

    /// Field by field, for people.
    pub fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = vec![
            ("message", self.number.to_string()),
            ("from", format!("{}, {}", self.source, local_time(self.at))),
            ("sender", self.sender.replace('|', ", ")),
            ("type", self.kind.to_owned()),
            ("control ID", self.control_id.to_owned()),
            ("answered", self.answer.to_owned()),
            ("state", self.state.to_owned()),
        ];
        rows.extend(self.reason.map(|reason| ("reason", reason.to_owned())));
        rows.extend(self.next_try.map(|at| ("next try", local_time(at))));
        rows.extend(self.did.iter().map(|deed| ("did", deed.sentence())));
        rows.into_iter()
            .map(|(name, value)| [name.to_owned(), value])
            .collect()
    }
}

impl DeedView<'_> {
    fn sentence(&self) -> String {
        let mut did: Vec<&str> = self.changed.iter().map(|field| field.as_str()).collect();
        did.extend(self.review.then_some("review notice"));
        let did = if did.is_empty() {
            "unchanged".to_owned()
        } else {
            did.join(", ")
        };
        format!("study {}: {did}", self.study_instance_uid)
    }
}

/// Writes a list of messages.
pub fn write(ui: &mut Ui, messages: &[Hl7Message]) -> anyhow::Result<()> {
    let views: Vec<MessageView<'_>> = messages.iter().map(MessageView::from).collect();
    match ui.format() {
        Format::Json => ui.json(&Items::new(views))?,
        Format::Ndjson => views.iter().try_for_each(|view| ui.ndjson(view))?,
        Format::Csv => ui.csv(
            &["number", "at", "source", "type", "control_id", "state", "detail"],
            views.iter().map(MessageView::cells),
        )?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table if views.is_empty() => {}
        Format::Table => {
            let mut table = Columns::new(&["NO>", "WHEN", "FROM", "TYPE", "CONTROL ID", "STATE", "DETAIL"]);
            views.iter().for_each(|view| table.row(view.cells()));
            ui.table(table)?;
        }
    }
    Ok(())
}
