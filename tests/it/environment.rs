//! Proves the hermetic environment, and that no program outlives the test that started it.

use std::io::Read;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use snapbox::str;

use super::support::env::Env;
use super::support::process::{Process, bound_to_us};

#[test]
fn the_program_sees_nothing_of_the_caller_but_the_path() {
    let mut env = Env::new();
    env.set("IMPAXLINK_FORMAT", "json");
    let output = env.command("env").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let expected = [
        "HOME",
        "IMPAXLINK_FORMAT",
        "IMPAXLINK_STORE",
        "LANG",
        "PATH",
        "RUST_LIB_BACKTRACE",
        "TMPDIR",
        "TZ",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
    ];
    assert_eq!(names, expected);
    assert!(env.store().starts_with(env.path()));
}

#[test]
fn the_program_runs() {
    let env = Env::new();
    env.impaxlink(&["--version"]).success();
}

#[test]
fn snapshots_hold_no_ports_times_or_folders() {
    let env = Env::new();
    let text = format!(
        "{} 127.0.0.1:40321 took 12 ms at 2026-01-02T03:04:05Z, hash {}",
        env.store().display(),
        "0f".repeat(32)
    );
    let expected =
        str!["[TMP]/data/impaxlink/impaxlink.db 127.0.0.1:[PORT] took [ELAPSED] at [TIME], hash [HASH]"];
    env.assert().eq(text, expected);
}

#[test]
fn a_program_and_its_children_end_with_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bound_to_us("sh");
    command.args(["-c", "sleep 600 & echo child $!; wait"]);
    let mut process = Process::start(&mut command, folder.path().join("log"));
    let mut child = None;
    let log = folder.path().join("log");
    process.wait_until("the child's number", || {
        let mut text = String::new();
        std::fs::File::open(&log)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        child = text
            .strip_prefix("child ")
            .and_then(|number| number.trim().parse().ok());
        child.is_some() && text.ends_with('\n')
    });
    let pids = [process.id() as i32, child.unwrap()].map(|pid| Pid::from_raw(pid).unwrap());
    assert!(pids.iter().all(|pid| test_kill_process(*pid).is_ok()));
    drop(process);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pids.iter().all(|pid| is_gone(*pid)) {
        assert!(Instant::now() < deadline, "{pids:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_ends_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(Command::new("sleep").arg("600"), folder.path().join("log"));
    process.signal(Signal::TERM);
    let status = process.wait(Duration::from_secs(10));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
}

/// Whether it has ended; a zombie has, though nobody has asked for its status yet.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}
