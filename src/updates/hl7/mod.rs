//! HL7 v2 from the RIS: reports, demographics and merges of patients, as messages say them.
//!
//! - [`message`]: a message as segments and fields; [`decode`]: its text
//! - [`intent`]: what a message wants; [`acknowledgement`]: the answer to it
//! - [`mllp`]: messages in frames of a stream, or in a file
//!
//! Invariant: pure. Nothing here is received, kept or done.

pub mod acknowledgement;
mod charset;
pub mod intent;
pub mod message;
pub mod mllp;

pub use charset::decode;
