//! Cluster linking for medical imaging archives.
//!
//! Start reading at `model`.

#![forbid(unsafe_code)]

pub mod model;
