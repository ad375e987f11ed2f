//! HL7 v2 from the RIS: reports, demographics and merges of patients, as messages say them.
//!
//! - [`message`]: a message as segments and fields; [`decode`]: its text
//! - [`intent`]: what a message wants; [`acknowledgement`]: the answer to it
//! - [`mllp`]: messages in frames of a stream, or in a file
//! - [`receive`]: a message kept, and answered then; [`session`]: the connection over which they come
//! - [`apply`]: what is kept, done; [`feed`]: both, until told to stop
//!
//! Invariant: a message is answered once it is kept, and done after that, once. Start reading at [`receive`].

pub mod acknowledgement;
pub mod apply;
mod charset;
pub mod feed;
pub mod intent;
pub mod message;
pub mod mllp;
pub mod receive;
pub mod session;

pub use charset::decode;
