//! The cluster's own mapping tables: one row a rule.
//!
//! Invariant: no row means that the shipped tables are in force. A change writes all rows anew: tables change seldom.

use rusqlite::{Connection, Row, named_params};

use super::configuration::{optional, parsed, unreadable};
use crate::model::{Conditions, MappingRule, MappingTable};

const SELECT: &str = "SELECT target, sort_order, value, procedure_code, description, modality, body_part_examined, \
    body_part FROM mapping_rule";

const INSERT: &str = "INSERT INTO mapping_rule (target, sort_order, value, procedure_code, description, modality, \
    body_part_examined, body_part) VALUES (:target, :sort_order, :value, :procedure_code, :description, :modality, \
    :body_part_examined, :body_part)";

/// Reads the tables; `None` where there are none.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<MappingTable>> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let rules: Vec<MappingRule> = statement.query_map([], rule)?.collect::<rusqlite::Result<_>>()?;
    if rules.is_empty() {
        return Ok(None);
    }
    MappingTable::new(rules)
        .map(Some)
        .map_err(|error| unreadable(0, error))
}

/// Writes the tables where they differ.
pub(super) fn write(
    connection: &Connection,
    before: Option<&MappingTable>,
    after: Option<&MappingTable>,
) -> rusqlite::Result<()> {
    if before == after {
        return Ok(());
    }
    connection.execute("DELETE FROM mapping_rule", [])?;
    let rules = after.map(MappingTable::rules).unwrap_or_default();
    rules.iter().try_for_each(|rule| insert(connection, rule))
}

fn rule(row: &Row<'_>) -> rusqlite::Result<MappingRule> {
    let conditions = Conditions {
        procedure_code: optional(row, 3)?,
        description: optional(row, 4)?,
        modality: optional(row, 5)?,
        body_part_examined: optional(row, 6)?,
        body_part: optional(row, 7)?,
    };
    MappingRule::new(parsed(row, 0)?, row.get(1)?, parsed(row, 2)?, conditions)
        .map_err(|error| unreadable(0, error))
}

fn insert(connection: &Connection, rule: &MappingRule) -> rusqlite::Result<()> {
    let conditions = rule.conditions();
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":target": rule.target().as_str(),
        ":sort_order": rule.order(),
        ":value": rule.value().as_str(),
        ":procedure_code": conditions.procedure_code.as_ref().map(|code| code.as_str()),
        ":description": conditions.description.as_ref().map(|pattern| pattern.as_str()),
        ":modality": conditions.modality.as_ref().map(|code| code.as_str()),
        ":body_part_examined": conditions.body_part_examined.as_ref().map(|code| code.as_str()),
        ":body_part": conditions.body_part.as_ref().map(|part| part.as_str()),
    })?;
    Ok(())
}
