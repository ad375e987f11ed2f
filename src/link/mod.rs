//! The linked query: whom to ask, asking them all at once, and merging what they answer.
//!
//! Start with [`policy`] (who is asked), then [`filter`] (keys that a peer ignored) and
//! [`merge`] (identity, duplicates, best location).
//!
//! Invariant: nothing here prints or reads the environment.

pub mod answer;
mod fill;
pub mod filter;
pub mod first_sight;
mod identity;
pub mod keys;
pub mod merge;
pub mod policy;
