//! `mapping test`: what the tables in force give for a study, and why.

use serde::Serialize;

use crate::cli::Format;
use crate::cli::change;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::table::Columns;
use crate::cli::view::Document;
use crate::model::{MappingRule, StudyFacts};

/// Show what the tables in force give for a study, and by which rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping test --description 'MR Knie links' --modality MR\n  \
    impaxlink mapping test --modality CR --body-part-examined CHEST --json")]
pub struct TestArgs {
    /// A Code Value of the study's procedure; several are allowed
    #[arg(long, value_name = "CODE")]
    procedure_code: Vec<String>,
    /// The study description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A modality of the study; several are allowed
    #[arg(long, value_name = "CODE")]
    modality: Vec<String>,
    /// The Body Part Examined of a series; several are allowed
    #[arg(long, value_name = "CODE")]
    body_part_examined: Vec<String>,
}

/// `mapping test --json`: the rule that decided, or null where none matched.
#[derive(Debug, Serialize)]
struct TestView<'a> {
    body_part: Option<&'a MappingRule>,
    specialty: Option<&'a MappingRule>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: TestArgs) -> anyhow::Result<ExitStatus> {
    let configuration = change::current(ui)?;
    let mapped = configuration.mapping_in_force().compute(&StudyFacts {
        procedure_codes: &args.procedure_code,
        description: args.description.as_deref(),
        modalities: &args.modality,
        body_parts_examined: &args.body_part_examined,
    });
    let rows = [("body part", mapped.body_part), ("specialty", mapped.specialty)].map(|(name, rule)| {
        let value = rule.map_or("-".to_owned(), |rule| rule.value().to_string());
        let by = rule.map_or("no rule matches".to_owned(), |rule| {
            format!("order {}: {}", rule.order(), rule.conditions())
        });
        [name.to_owned(), value, by]
    });
    match ui.format() {
        Format::Json | Format::Ndjson => ui.json(&Document::new(TestView {
            body_part: mapped.body_part,
            specialty: mapped.specialty,
        }))?,
        Format::Csv => ui.csv(&["target", "value", "rule"], rows)?,
        Format::DicomJson => return Err(ui.refuse_format()),
        Format::Table => {
            let mut table = Columns::new(&["GIVES", "VALUE", "BY"]);
            rows.into_iter().for_each(|row| table.row(row));
            ui.table(table)?;
        }
    }
    Ok(ExitStatus::Done)
}
