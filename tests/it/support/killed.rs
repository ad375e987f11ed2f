//! A process of this test binary that does something without end, says `acknowledged N` after each, and is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The process, dead at the latest when this is dropped.
pub struct Killed(Child);

impl Killed {
    /// Runs that test of this binary alone, with these environment variables.
    pub fn start(test: &str, environment: &[(&str, &str)]) -> Self {
        let program = std::env::current_exe().expect("this test binary");
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]);
        command.envs(environment.iter().copied());
        Killed(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a child"),
        )
    }

    /// Waits for so many acknowledgements, kills, and gives all that were made.
    pub fn after(&mut self, count: usize) -> Vec<isize> {
        let output = self.0.stdout.take().expect("a pipe");
        let mut acknowledged = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.expect("a line");
            acknowledged.extend(
                line.strip_prefix("acknowledged ")
                    .and_then(|number| number.parse::<isize>().ok()),
            );
            if acknowledged.len() == count {
                self.0.kill().expect("a running child");
            }
        }
        assert!(acknowledged.len() >= count, "the child ended by itself");
        acknowledged
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
