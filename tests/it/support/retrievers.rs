//! DCMTK's `movescu` and `getscu` as callers of a C-MOVE and a C-GET.
//!
//! Invariant: what they say of each response is kept in full; a hung peer costs them 60 seconds.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a retriever was told.
#[derive(Debug)]
pub struct Retrieved {
    /// The final status: four hexadecimal digits.
    pub status: String,
    /// Of each response: remaining, completed, failed, warning; -1 where it is not told.
    pub counts: Vec<[i32; 4]>,
    pub log: String,
}

impl Retrieved {
    /// The counts of the final response.
    pub fn last(&self) -> [i32; 4] {
        *self
            .counts
            .last()
            .unwrap_or_else(|| panic!("no response: {}", self.log))
    }

    /// Holds the final response to this status and these counts.
    #[track_caller]
    pub fn assert_ended(&self, status: &str, counts: [i32; 4]) {
        assert_eq!(
            (self.status.as_str(), self.last()),
            (status, counts),
            "{}",
            self.log
        );
    }
}

/// Asks the service on this port, as `calling`, to move what the keys name.
pub fn movescu(port: u16, calling: &str, destination: &str, options: &[&str], keys: &[&str]) -> Retrieved {
    let mut command = command("movescu", calling, options, keys);
    command.args(["-aem", destination, "127.0.0.1", &port.to_string()]);
    run(&mut command, "C-MOVE")
}

/// Gets what the keys name into `folder`.
pub fn getscu(port: u16, calling: &str, folder: &Path, options: &[&str], keys: &[&str]) -> Retrieved {
    let mut command = command("getscu", calling, options, keys);
    command
        .arg("-od")
        .arg(folder)
        .args(["-B", "127.0.0.1", &port.to_string()]);
    run(&mut command, "C-GET")
}

/// A command with all but where it goes.
pub fn command(program: &str, calling: &str, options: &[&str], keys: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env("TCP_NODELAY", "1")
        .args([
            "-d",
            "-aet",
            calling,
            "-aec",
            "IMPAXLINK",
            "-to",
            "60",
            "-ta",
            "60",
            "-td",
            "60",
        ])
        .args(options);
    if !options.contains(&"-P") {
        command.arg("-S");
    }
    for key in keys {
        command.args(["-k", key]);
    }
    command
}

fn run(command: &mut Command, what: &str) -> Retrieved {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} (package dcmtk): {error}"));
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    let mut counts = Vec::new();
    let mut status = String::new();
    // Each response is dumped between two lines that name it.
    for message in log.split("INCOMING DIMSE MESSAGE").skip(1) {
        let field = |name: &str| {
            let line = message.lines().find(|line| line.contains(name))?;
            Some(
                line[line.find(name)? + name.len()..]
                    .trim_matches([' ', ':'])
                    .to_owned(),
            )
        };
        let is_response = field("Message Type").is_some_and(|kind| kind.starts_with(what));
        if !is_response {
            continue;
        }
        let count = |name: &str| field(name).and_then(|text| text.parse().ok()).unwrap_or(-1);
        counts.push(
            ["Remaining", "Completed", "Failed", "Warning"]
                .map(|name| count(&format!("{name} Suboperations"))),
        );
        let told = field("DIMSE Status").unwrap_or_default();
        status = told.trim_start_matches("0x").chars().take(4).collect();
    }
    Retrieved { status, counts, log }
}

/// The sorted SOP Instance UIDs of the DICOM files in a folder.
pub fn instances(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    let uid = |path: &PathBuf| {
        let object =
            dicom_object::open_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        object.meta().media_storage_sop_instance_uid().to_owned()
    };
    let mut uids: Vec<String> = paths.iter().map(uid).collect();
    uids.sort_unstable();
    uids
}
