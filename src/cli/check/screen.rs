//! A review as people and scripts read it.
//!
//! Invariant: a table is never cut: a hint that is cut can't be followed.

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::is_trouble;
use crate::check::{Item, Outcome, Subject};
use crate::cli::Format;
use crate::cli::output::{Color, Ui};
use crate::cli::station::list::address;
use crate::cli::view::Items;
use crate::model::Configuration;

/// One prerequisite of `check --json`.
#[derive(Debug, Serialize)]
struct ItemView<'a> {
    subject: String,
    check: &'a str,
    outcome: &'a str,
    detail: &'a str,
    hint: Option<&'a str>,
}

impl<'a> ItemView<'a> {
    fn new(item: &'a Item) -> Self {
        ItemView {
            subject: item.subject.to_string(),
            check: item.check,
            outcome: item.outcome.as_str(),
            detail: &item.detail,
            hint: item.hint.as_deref(),
        }
    }
}

/// Writes all items.
pub fn show(ui: &mut Ui, configuration: &Configuration, items: &[Item], strict: bool) -> anyhow::Result<()> {
    let views = || items.iter().map(ItemView::new);
    match ui.format() {
        Format::Json => ui.json(&Items::new(views().collect())),
        Format::Ndjson => views().try_for_each(|view| ui.ndjson(&view)),
        Format::Csv => {
            let heading = ["subject", "check", "outcome", "detail", "hint"];
            let rows = views().map(|view| {
                let hint = view.hint.unwrap_or_default();
                [&view.subject, view.check, view.outcome, view.detail, hint].map(str::to_owned)
            });
            ui.csv(&heading, rows.collect::<Vec<_>>())
        }
        Format::DicomJson => Err(ui.refuse_format()),
        Format::Table if ui.is_quiet() => {
            tell_troubles(ui, items, strict);
            Ok(())
        }
        Format::Table => table(ui, configuration, items),
    }
}

/// One line to standard error, where something is not well.
fn tell_troubles(ui: &Ui, items: &[Item], strict: bool) {
    let troubles = items.iter().filter(|item| is_trouble(item, strict));
    let troubles: Vec<String> = troubles
        .map(|item| format!("{} {}: {}", item.subject, item.check, item.detail))
        .collect();
    if !troubles.is_empty() {
        ui.warning(&troubles.join("; "));
    }
}

fn table(ui: &mut Ui, configuration: &Configuration, items: &[Item]) -> anyhow::Result<()> {
    let width = items.iter().map(|item| item.check.width()).max().unwrap_or(0);
    let mut subject = None;
    for item in items {
        if subject != Some(&item.subject) {
            if subject.replace(&item.subject).is_some() {
                ui.line("")?;
            }
            ui.line(&heading(configuration, &item.subject))?;
        }
        let color = match item.outcome {
            Outcome::Pass => Color::Green,
            Outcome::Unknown => Color::Cyan,
            Outcome::Warn => Color::Yellow,
            Outcome::Fail => Color::Red,
        };
        let outcome = ui.paint(color, &format!("{:<7}", item.outcome.as_str()));
        ui.line(&format!("  {outcome}  {:<width$}  {}", item.check, item.detail))?;
        if let Some(hint) = &item.hint {
            ui.line(&format!("  {:7}  {:width$}  hint: {hint}", "", ""))?;
        }
    }
    ui.line("")?;
    ui.line(&count(items))?;
    Ok(())
}

fn heading(configuration: &Configuration, subject: &Subject) -> String {
    match subject {
        Subject::Local => format!("local, {}", configuration.settings.ae_title()),
        Subject::Station(name) => match configuration.station(name) {
            Some(station) => format!("{name}, {}", address(station)),
            None => name.to_string(),
        },
    }
}

/// `23 passed, 1 warns, 2 unknown`
fn count(items: &[Item]) -> String {
    let counted = [
        (Outcome::Fail, "failed"),
        (Outcome::Warn, "warned"),
        (Outcome::Unknown, "unknown"),
        (Outcome::Pass, "passed"),
    ];
    let counted =
        counted.map(|(outcome, word)| (items.iter().filter(|item| item.outcome == outcome).count(), word));
    let counted = counted.into_iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, word)| format!("{count} {word}")).collect();
    counted.join(", ")
}
