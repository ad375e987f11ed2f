//! The values of the domain, each with its invariant in its constructor.
//!
//! Invariant: pure. Nothing here does I/O, reads a clock or the environment, or imports another room.

mod ae_title;
mod host;
mod invalid;

pub use ae_title::{AeTitle, MAX_AE_TITLE};
pub use host::{Endpoint, Host, parse_port};
pub use invalid::Invalid;
