//! An error together with what caused it, in one text.
//!
//! Invariant: every cause is in it once, the nearest first. Whether the text may meet a terminal is for the caller to
//! see to: a cause may hold a peer's words or a file's name.

use std::error::Error;

/// `error`, then each of its sources, with colons between.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
