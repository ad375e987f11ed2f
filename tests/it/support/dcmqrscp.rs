//! DCMTK's `dcmqrscp`, a real archive, with studies in it.
//!
//! Invariant: it answers when `start` returns. It holds at most 500 studies and evicts others without a word, so more
//! are refused here. It never returns Modalities in Study, nor a number of instances.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::archive_options::ArchiveOptions;
use super::process::{Process, bound_to_us, free_port, listens};
use super::studies::Study;

/// The calling AE title that peers register for us.
pub const OUR_AE_TITLE: &str = "IMPAXLINK";

/// A running `dcmqrscp`.
pub struct Dcmqrscp {
    pub ae_title: String,
    pub port: u16,
    process: Process,
    folder: TempDir,
}

impl Dcmqrscp {
    /// Starts an archive of this AE title that holds `studies`.
    pub fn start<'a>(ae_title: &'static str, studies: impl IntoIterator<Item = &'a Study>) -> Self {
        Self::start_with(&ArchiveOptions::new(ae_title), studies)
    }

    /// Starts it with options.
    pub fn start_with<'a>(options: &ArchiveOptions, studies: impl IntoIterator<Item = &'a Study>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let archive = folder.path().join("archive");
        fs::create_dir(&archive).expect("a folder for the archive");
        let studies: Vec<&Study> = studies.into_iter().collect();
        assert!(studies.len() <= 500, "dcmqrscp evicts all but 500 studies");
        let files: Vec<String> = studies
            .iter()
            .flat_map(|study| {
                study.write_files(&archive);
                study.series.iter().flat_map(|series| &series.instances)
            })
            .map(|uid| format!("{}/{uid}.dcm", archive.display()))
            .collect();
        if !files.is_empty() {
            let mut index = Command::new("dcmqridx");
            let indexed = index.arg(&archive).args(&files).output();
            let indexed = indexed.expect("dcmqridx runs (package dcmtk)");
            assert!(indexed.status.success(), "dcmqridx: {indexed:?}");
        }
        let port = free_port();
        let configuration = folder.path().join("dcmqrscp.cfg");
        fs::write(
            &configuration,
            configuration_text(options, port, &archive.to_string_lossy()),
        )
        .expect("a configuration can be written");
        let mut process = Process::start(
            bound_to_us("dcmqrscp")
                .arg("-v")
                .args(&options.arguments)
                .arg("-c")
                .arg(&configuration)
                .env("TCP_NODELAY", if options.tcp_nodelay { "1" } else { "0" }),
            folder.path().join("dcmqrscp.log"),
        );
        process.wait_until("dcmqrscp's port", || listens(port));
        Dcmqrscp {
            ae_title: options.ae_title.to_owned(),
            port,
            process,
            folder,
        }
    }

    /// Puts other objects in the place of those with the same UIDs. Its answers to a C-FIND stay what they were.
    pub fn replace_objects(&self, study: &Study) {
        study.write_files(&self.folder.path().join("archive"));
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

fn configuration_text(options: &ArchiveOptions, port: u16, archive: &str) -> String {
    let mut hosts = String::new();
    for (number, (ae_title, port)) in options.move_destinations.iter().enumerate() {
        writeln!(hosts, "destination{number} = ({ae_title}, 127.0.0.1, {port})")
            .expect("a string takes text");
    }
    format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = {}\nMaxAssociations = 64\nHostTable BEGIN\n{hosts}HostTable END\n\
         VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n{} {archive} RW (500, 64mb) ANY\nAETable END\n",
        options.max_pdu, options.ae_title,
    )
}
