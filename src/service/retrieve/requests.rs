//! What is asked of a source: which objects may come, and which are wanted.
//!
//! Invariant: each kind of object is one SOP class in one transfer syntax, so that a source sends it as it has it.

use super::Source;
use super::delivery::Delivery;
use crate::link::retrieve::{self, MAX_KINDS, ObjectKind, Wanted, wanted_of};

/// The kinds of objects that may come, as many as can be proposed.
pub(super) fn kinds(source: &Source<'_>) -> Vec<ObjectKind> {
    let (listed, asked) = (&source.holding.listed, source.asked);
    let asked_for = listed.iter().filter(|(uid, it)| asked.wants(&it.series, uid));
    let mut kinds = retrieve::kinds(asked_for.map(|(_, it)| it), source.holding.is_whole);
    kinds.truncate(MAX_KINDS);
    kinds
}

/// What is asked of a source: what it lists, as far as it is wanted; where that may not be all, what the caller asks for.
pub(super) fn requests(source: &Source<'_>, delivery: &Delivery<'_, '_>) -> Vec<Wanted> {
    match source.holding.is_whole {
        true => wanted_of(&source.holding.listed, |uid| delivery.wants(uid)),
        false => source.asked.of_each_study(),
    }
}
