//! The memory of a query: however many rows a station returns, the program never holds them all.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::support::env::Env;
use super::support::fake_peer::FakePeer;
use super::support::fake_peer::script::{Acceptance, Flood, Step, elements};
use super::support::links::add_archive;

const ROWS: usize = 25_000;
/// What each row holds besides its UID, in bytes.
const DESCRIPTION: usize = 4000;
/// In KiB. All rows together are 100 MB. Of each its UID and the hash of its patient stay.
const MOST_MEMORY: u64 = 64 * 1024;

/// Case: more rows than fit in memory
#[test]
fn a_flood_of_rows_is_printed_in_bounded_memory() {
    let flood = Step::Matches(Flood {
        count: ROWS,
        identifier: |number| {
            elements(&[
                ("StudyInstanceUID", &format!("1.9.{number}")),
                ("PatientID", &format!("P{number}")),
                ("StudyDescription", &"x".repeat(DESCRIPTION)),
            ])
        },
        heeds_cancel: false,
    });
    let script = vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        flood,
        Step::End(0, ""),
    ];
    let peer = FakePeer::start(script);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let mut command = env.command(env!("CARGO_BIN_EXE_impaxlink"));
    let command = command.args(["query", "--format", "ndjson"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut rows, mut memory) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        rows += usize::from(line.contains("\"type\":\"study\"") && line.len() > DESCRIPTION);
        if rows % 10_000 == 0 {
            memory = peak_memory(child.id()).unwrap_or(memory);
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(rows, ROWS);
    eprintln!("{ROWS} rows: {memory} KiB");
    assert!(memory > 0 && memory < MOST_MEMORY, "{memory} KiB");
}

/// The largest resident set that a process has had, in KiB; `None` once it has ended.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
