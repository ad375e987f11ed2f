//! Mapping tables as CSV, the way they are edited in a spreadsheet.
//!
//! Invariant: what `columns` of all rules give under `COLUMNS`, `read` reads back to the same rules. A file with one bad
//! line gives no rules at all. Writing is the caller's.

use super::MappingTable;
use super::rule::{CodeString, Conditions, MappingRule};
use crate::model::Invalid;
use crate::model::csv_lines::{BadLine, CsvShape, cell, optional};

/// The columns, in the order of an export. On import they may come in any order; those of conditions may be missing.
pub const COLUMNS: [&str; 8] = [
    "target",
    "order",
    "value",
    "procedure_code",
    "description",
    "modality",
    "body_part_examined",
    "body_part",
];

const SHAPE: CsvShape<MappingRule, 8> = CsvShape {
    columns: COLUMNS,
    required: 3,
    subject: "mapping rule",
    key_is: "conditions",
    rule,
    key: MappingRule::key,
};

/// The cells of a rule's line.
pub fn columns(rule: &MappingRule) -> [String; 8] {
    let conditions = rule.conditions();
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let code = |code: &Option<CodeString>| text(code.as_ref().map(CodeString::as_str));
    [
        rule.target().as_str().to_owned(),
        rule.order().to_string(),
        rule.value().to_string(),
        text(conditions.procedure_code.as_ref().map(|code| code.as_str())),
        text(conditions.description.as_ref().map(|pattern| pattern.as_str())),
        code(&conditions.modality),
        code(&conditions.body_part_examined),
        text(conditions.body_part.as_ref().map(|part| part.as_str())),
    ]
}

/// Reads a whole file, comma- or semicolon-separated, with a heading.
///
/// # Errors
/// All bad lines, in order.
pub fn read(text: &str) -> Result<MappingTable, Vec<BadLine>> {
    MappingTable::new(SHAPE.read(text)?).map_err(|why| vec![BadLine { line: 1, why }])
}

fn rule(cells: [&str; 8]) -> Result<MappingRule, Invalid> {
    let [
        target,
        order,
        value,
        procedure_code,
        description,
        modality,
        examined,
        body_part,
    ] = cells;
    let number = order.parse().map_err(|_| {
        Invalid::new(
            "order",
            order,
            "it is a whole number from 0 to 9999; lower comes first",
        )
    })?;
    let conditions = Conditions {
        procedure_code: optional("procedure_code", procedure_code)?,
        description: optional("description", description)?,
        modality: optional("modality", modality)?,
        body_part_examined: optional("body_part_examined", examined)?,
        body_part: optional("body_part", body_part)?,
    };
    MappingRule::new(target.parse()?, number, cell("value", value)?, conditions)
}
