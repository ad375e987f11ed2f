//! In which character set a station takes keys, as far as that is known.
//!
//! Invariant: pure. That a key is accepted is not taken for a proof that it is matched: only a query that finds such a
//! name shows that.

use super::ask::{Asked, Opened};
use super::item::Items;
use crate::dimse::{StatusClass, uids};
use crate::model::{CharacterSet, Station, Syntax};

const CHECK: &str = "character_set";

/// Judges it. `known` are the sets in which queries have matched there.
pub(super) fn judge(
    items: &mut Items,
    station: &Station,
    opened: &Opened,
    asked: &Asked,
    known: &[CharacterSet],
) {
    let name = &station.name;
    let set = format!("impaxlink station set {name} --charset");
    let is_linked = station.is_linked()
        && station.syntax != Syntax::Dicom
        && opened.takes(uids::LINKED_CLUSTER_QUERY)
        && matches!(&asked.cluster, Some(Ok(_)));
    if is_linked {
        return items.pass(CHECK, "UTF-8, as the linked syntax has it");
    }
    if let Some(charset) = &station.charset {
        return items.pass(CHECK, format!("{charset}, as set (--charset)"));
    }
    if !known.is_empty() {
        let known: Vec<&str> = known.iter().map(CharacterSet::as_str).collect();
        let detail = format!("queries have matched there in {}", known.join(" and in "));
        return items.pass(CHECK, detail);
    }
    let accepted = asked
        .find_in
        .iter()
        .find(|(_, found)| matches!(found, Ok(end) if end.status.class() == StatusClass::Success));
    let refused: Vec<&str> = asked
        .find_in
        .iter()
        .filter(|(_, found)| !matches!(found, Ok(end) if end.status.class() == StatusClass::Success))
        .map(|(charset, _)| *charset)
        .collect();
    match accepted {
        None if refused.is_empty() => {}
        None => items.warn(
            CHECK,
            format!("it refuses keys beyond ASCII in {}", refused.join(" and in ")),
            format!("ask which character set it takes, then: {set} SET"),
        ),
        Some((charset, _)) if !refused.is_empty() => items.warn(
            CHECK,
            format!(
                "it refuses keys in {}, and accepts them in {charset}",
                refused.join(" and in ")
            ),
            format!("{set} '{charset}'"),
        ),
        Some((charset, _)) => items.unknown(
            CHECK,
            format!("it accepts keys in {charset}; no query has shown yet whether it matches by them"),
            format!("query a name beyond ASCII that it has; or ask which it takes, then: {set} SET"),
        ),
    }
}
