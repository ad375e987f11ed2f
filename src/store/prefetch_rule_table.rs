//! The cluster's own prefetch rules: one row a rule, its columns the cells of the CSV.
//!
//! Invariant: no row means that the shipped rules are in force. A change writes all rows anew: rules change seldom.

use rusqlite::{Connection, Row, params_from_iter};

use super::configuration::unreadable;
use crate::model::{PREFETCH_COLUMNS, PrefetchRule, PrefetchRules};

const SELECT: &str = "SELECT name, CAST(sort_order AS TEXT), for_modality, for_body_part, for_specialty, modality, \
    body_part, specialty, max_age, max_number, status, verified, availability FROM prefetch_rule";

const INSERT: &str = "INSERT INTO prefetch_rule (name, sort_order, for_modality, for_body_part, for_specialty, modality, \
    body_part, specialty, max_age, max_number, status, verified, availability) \
    VALUES (?1, CAST(?2 AS INTEGER), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

/// Reads the rules; `None` where there are none.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<PrefetchRules>> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let rules: Vec<PrefetchRule> = statement.query_map([], rule)?.collect::<rusqlite::Result<_>>()?;
    if rules.is_empty() {
        return Ok(None);
    }
    PrefetchRules::new(rules)
        .map(Some)
        .map_err(|error| unreadable(0, error))
}

/// Writes the rules where they differ.
pub(super) fn write(
    connection: &Connection,
    before: Option<&PrefetchRules>,
    after: Option<&PrefetchRules>,
) -> rusqlite::Result<()> {
    if before == after {
        return Ok(());
    }
    connection.execute("DELETE FROM prefetch_rule", [])?;
    let mut insert = connection.prepare_cached(INSERT)?;
    for rule in after.map(PrefetchRules::rules).unwrap_or_default() {
        insert.execute(params_from_iter(rule.cells()))?;
    }
    Ok(())
}

fn rule(row: &Row<'_>) -> rusqlite::Result<PrefetchRule> {
    let mut cells = [""; PREFETCH_COLUMNS.len()];
    for (column, cell) in cells.iter_mut().enumerate() {
        *cell = row.get_ref(column)?.as_str()?;
    }
    PrefetchRule::from_cells(cells).map_err(|error| unreadable(0, error))
}
