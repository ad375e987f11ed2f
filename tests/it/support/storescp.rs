//! DCMTK's `storescp`: takes whatever objects come, and keeps them as they came.
//!
//! Invariant: it listens when `start` returns; its log tells each command in full.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::process::{Process, bound_to_us, free_port, listens};
use super::retrievers::instances;

/// A running `storescp`.
pub struct Storescp {
    pub port: u16,
    pub process: Process,
    folder: TempDir,
}

impl Storescp {
    /// Starts it under this AE title, with further options.
    pub fn start(ae_title: &str, options: &[&str]) -> Self {
        Self::start_on(free_port(), ae_title, options)
    }

    /// Starts it on a port that was chosen before.
    pub fn start_on(port: u16, ae_title: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).expect("a folder for the objects");
        let mut process = Process::start(
            bound_to_us("storescp")
                .args(["-d", "--fork", "-B", "-aet", ae_title, "-od"])
                .arg(&taken)
                .args(options)
                .arg(port.to_string())
                .env("TCP_NODELAY", "1"),
            folder.path().join("storescp.log"),
        );
        process.wait_until("storescp's port", || listens(port));
        Storescp {
            port,
            process,
            folder,
        }
    }

    /// The files that it has written.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.taken()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// The sorted SOP Instance UIDs of what it has taken.
    pub fn instances(&self) -> Vec<String> {
        instances(&self.taken())
    }

    fn taken(&self) -> PathBuf {
        self.folder.path().join("taken")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}
