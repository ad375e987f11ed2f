//! What integration tests share: a hermetic environment for the program, real peers with studies in them, and a
//! scripted peer for the misbehaviour that real ones don't show.
//!
//! Invariant: everything runs on 127.0.0.1 in temporary folders, is ready when its constructor returns, and is gone
//! when it is dropped.

#![allow(dead_code, reason = "each subject takes its own part of the support")]

pub mod archive;
pub mod archive_options;
pub mod attackers;
pub mod brought;
pub mod certificates;
pub mod cluster;
pub mod clusters;
pub mod dcmqrscp;
pub mod env;
pub mod fake_peer;
pub mod findscu;
pub mod killed;
pub mod links;
pub mod orthanc;
pub mod process;
pub mod raw_association;
pub mod reference;
pub mod retrieve;
pub mod retrievers;
pub mod scp;
pub mod service;
pub mod sites;
pub mod stop_on_drop;
pub mod store;
pub mod storescp;
pub mod studies;
pub mod viewer;
pub mod wlmscpfs;
