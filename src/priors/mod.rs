//! Who is scheduled, which earlier studies matter then, and bringing them over.
//!
//! - [`worklist`]: who is scheduled, as a modality worklist SCP says
//!
//! Invariant: nothing here prints or reads the environment.

pub mod worklist;
