//! How much of a study the local cluster has, beside what is known of it elsewhere.
//!
//! Invariant: a copy that is not to be had is none; none is whole while nobody knows how large another one is.

use super::{Location, MergedStudy, Source};
use crate::link::policy::Role;

/// How much of a study the local cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A copy of which none is known to be larger.
    Whole,
    /// A copy, where nobody knows how large it or another one is.
    Unknown,
    /// A smaller copy.
    Part,
    /// None.
    None,
}

impl Presence {
    /// As it is shown: `whole`, `unknown`, `part`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Whole => "whole",
            Presence::Unknown => "unknown",
            Presence::Part => "part",
            Presence::None => "none",
        }
    }
}

impl MergedStudy {
    /// How much of it the archive stations among the sources have.
    pub fn presence(&self, sources: &[Source]) -> Presence {
        let is_here = |location: &&Location| {
            let role = sources.get(location.source).map(|source| source.role);
            location.is_source() && role == Some(Role::Archive)
        };
        let here: Vec<&Location> = self.locations.iter().filter(is_here).collect();
        let wholes = || here.iter().map(|location| self.is_whole(location));
        if here.is_empty() {
            Presence::None
        } else if wholes().any(|is_whole| is_whole == Some(true)) {
            Presence::Whole
        } else if wholes().any(|is_whole| is_whole.is_none()) {
            Presence::Unknown
        } else {
            Presence::Part
        }
    }
}
