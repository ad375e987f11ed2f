//! A hermetic environment for the program: folders, store and variables of its own.
//!
//! Invariant: nothing of the caller's environment reaches the program but `PATH`, and a run that does not end is
//! killed and fails the test.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use snapbox::{Assert, Redactions};
use tempfile::TempDir;

use super::process::{Process, bound_to_us};

/// How long one command may run.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// The folders and variables that the program sees.
pub struct Env {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a run of the program brought.
#[derive(Debug)]
pub struct Run {
    /// The arguments, for messages.
    command: String,
    pub stdout: String,
    pub stderr: String,
    /// Exit status; `None` where a signal ended it.
    pub status: Option<i32>,
}

impl Env {
    /// An empty home and no store yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["home", "data", "config", "run", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder in the temporary folder");
        }
        Env {
            folder,
            variables: Vec::new(),
        }
    }

    /// Sets a variable for every later run.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The temporary folder that holds everything of this environment.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the store is, or will be.
    pub fn store(&self) -> PathBuf {
        self.path().join("data/impaxlink/impaxlink.db")
    }

    /// Runs the program with an empty stdin.
    pub fn impaxlink(&self, arguments: &[&str]) -> Run {
        self.impaxlink_with_stdin(arguments, "")
    }

    /// Runs the program with this text on stdin.
    pub fn impaxlink_with_stdin(&self, arguments: &[&str], stdin: &str) -> Run {
        let mut command = self.command(env!("CARGO_BIN_EXE_impaxlink"));
        command.args(arguments);
        run(command, arguments.join(" "), stdin)
    }

    /// Starts the program beside the test, as `serve` needs; its output goes to a log that a failing test shows.
    pub fn start(&self, arguments: &[&str]) -> Process {
        let mut bound = bound_to_us(env!("CARGO_BIN_EXE_impaxlink"));
        self.isolate(&mut bound);
        let log = tempfile::Builder::new()
            .suffix(".log")
            .tempfile_in(self.path())
            .and_then(|file| Ok(file.into_temp_path().keep()?))
            .expect("a log file can be created");
        Process::start(bound.args(arguments), log)
    }

    /// Any program in this environment, for what the methods above don't do.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.isolate(&mut command);
        command
    }

    /// Compares with snapshots in which the temporary folder, ports, times and hashes are placeholders.
    pub fn assert(&self) -> Assert {
        let mut redactions = Redactions::new();
        for (placeholder, pattern) in [
            (
                "[PORT]",
                r"(?:127\.0\.0\.1|localhost|\[::1\]):(?<redacted>[0-9]{2,5})",
            ),
            ("[PORT]", r"(?m)\bport[= ](?<redacted>[0-9]{4,5})\b"),
            (
                "[TIME]",
                r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z?\b",
            ),
            ("[ELAPSED]", r"\b(?<redacted>[0-9]+(?:\.[0-9]+)? ?(?:ms|µs))\b"),
            ("[HASH]", r"\b[0-9a-f]{64}\b"),
        ] {
            let pattern = regex(pattern);
            redactions
                .insert(placeholder, pattern)
                .expect("a placeholder in brackets");
        }
        redactions
            .insert("[TMP]", self.path().to_path_buf())
            .expect("a placeholder in brackets");
        Assert::new().redact_with(redactions)
    }

    fn isolate(&self, command: &mut Command) {
        let in_folder = |name: &str| self.path().join(name);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", in_folder("home"))
            .env("XDG_DATA_HOME", in_folder("data"))
            .env("XDG_CONFIG_HOME", in_folder("config"))
            .env("XDG_RUNTIME_DIR", in_folder("run"))
            .env("TMPDIR", in_folder("tmp"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("RUST_LIB_BACKTRACE", "0")
            .env("IMPAXLINK_STORE", self.store())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path());
    }
}

fn regex(pattern: &str) -> snapbox::filter::RedactedValue {
    let regex = regex::Regex::new(pattern).expect("a valid pattern");
    regex.into()
}

impl Run {
    /// Asserts exit status 0 and returns stdout.
    #[track_caller]
    pub fn success(&self) -> &str {
        self.exits(0)
    }

    /// Asserts this exit status and returns stdout.
    #[track_caller]
    pub fn exits(&self, status: i32) -> &str {
        assert_eq!(self.status, Some(status), "{self:#?}");
        &self.stdout
    }

    /// Asserts that stdout is empty and stderr has this text, with this exit status.
    #[track_caller]
    pub fn fails_with(&self, status: i32, text: &str) {
        assert!(self.exits(status).is_empty(), "{self:#?}");
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {self:#?}"))
    }

    /// stdout as JSON lines.
    #[track_caller]
    pub fn ndjson(&self) -> Vec<serde_json::Value> {
        let line =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {self:#?}"));
        self.stdout.lines().map(line).collect()
    }
}

fn run(mut command: Command, shown: String, stdin: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("a piped stdin");
    let stdin = stdin.to_owned();
    // The program may end without reading it, and a closed pipe is no failure.
    thread::spawn(move || input.write_all(stdin.as_bytes()));
    let stdout = collect(child.stdout.take().expect("a piped stdout"));
    let stderr = collect(child.stderr.take().expect("a piped stderr"));
    let in_time = ends_in_time(&mut child);
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().expect("the state of a child");
    let run = Run {
        command: shown,
        stdout: stdout.join().expect("stdout is read"),
        stderr: stderr.join().expect("stderr is read"),
        status: status.code(),
    };
    assert!(
        in_time,
        "impaxlink {} still ran after {RUN_DEADLINE:?}: {run:#?}",
        run.command
    );
    run
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8(bytes).expect("the program prints UTF-8")
    })
}

fn ends_in_time(child: &mut Child) -> bool {
    let deadline = Instant::now() + RUN_DEADLINE;
    while child.try_wait().expect("the state of a child").is_none() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}
