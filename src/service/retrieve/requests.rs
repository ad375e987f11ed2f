//! What is asked of a source: which objects may come, and which are wanted.
//!
//! Invariant: each kind of object is one SOP class in one transfer syntax, so that a source sends it as it has it.

use super::Source;
use super::delivery::Delivery;
use crate::retrieve::{self, MAX_KINDS, ObjectKind, Wanted, wanted_of};

/// The kinds of objects that may come, as many as can be proposed.
pub(super) fn kinds(source: &Source<'_>) -> Vec<ObjectKind> {
    let (listed, asked) = (&source.holding.listed, source.asked);
    let is_wanted = asked.wants();
    let asked_for = listed.iter().filter(|(uid, it)| is_wanted(&it.series, uid));
    let mut kinds = retrieve::kinds(asked_for.map(|(_, it)| it), source.holding.is_whole);
    kinds.truncate(MAX_KINDS);
    kinds
}

/// What is asked of a source: what it lists, as far as it is wanted; where that may not be all, what the caller asks for.
/// By C-MOVE nothing comes but what is asked for by name, as nobody would wait for it at our listener.
pub(super) fn requests(source: &Source<'_>, delivery: &Delivery<'_, '_>, is_by_move: bool) -> Vec<Wanted> {
    let holding = source.holding;
    match (holding.is_whole, is_by_move) {
        (false, false) => source.asked.of_each_study(),
        (is_whole, _) => wanted_of(&holding.listed, is_whole, |uid| delivery.wants(uid)),
    }
}
