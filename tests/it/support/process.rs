//! A program that runs beside a test: a server, on ports of its own, with its output kept for when the test fails.
//!
//! Invariant: it does not outlive the test. It is killed with all its children on drop, also while a test panics, and
//! by the kernel where the test process itself is killed.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a server may take to come up on a busy machine.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running program.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both its outputs written to the file `log`.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let output = File::create(&log).expect("a log file can be created");
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("a second handle of the log"))
            .stdout(output)
            .process_group(0);
        let program = command.get_program().to_owned();
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {program:?}: {error}"));
        Process { child, log }
    }

    /// Process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; panics with the program's output where it ends first, or in `START_DEADLINE`.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + START_DEADLINE;
        while !ready() {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                panic!("ended with {status} before {what}:\n{}", self.output());
            }
            assert!(Instant::now() < deadline, "no sign of {what}:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has printed so far, stdout and stderr together.
    pub fn output(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal to the program, not to its children.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running program takes a signal");
    }

    /// Its exit status; panics where it has not ended within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}:\n{}",
                self.output()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already, and then there is nothing to kill.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        if thread::panicking() {
            let output = self.output();
            let tail = output.len().saturating_sub(8000);
            let tail = (tail..).find(|&at| output.is_char_boundary(at)).unwrap_or(0);
            eprintln!("---- {} ----\n{}", self.log.display(), &output[tail..]);
        }
    }
}

/// Whether something listens on this port of the loopback interface.
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A port of the loopback interface that is free now, for programs that can't choose one themselves.
///
/// Ports below the ephemeral range, each given once: no outgoing connection of another test can take it meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_240;
    const COUNT: u16 = 20_000;
    static OFFSET: LazyLock<u16> = LazyLock::new(|| (std::process::id() * 97 % u32::from(COUNT)) as u16);
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        let port = FIRST + (*OFFSET + GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// Spawns from a thread that lives as long as this process: the kernel kills a child of `setpriv --pdeathsig` when the
/// *thread* that started it ends, and a test's thread may end before a server that tests share.
fn spawn(command: &mut Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in waiting {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (reply, child) = mpsc::channel();
    let taken = std::mem::replace(command, Command::new(""));
    let jobs = SPAWNER.lock().unwrap_or_else(|poison| poison.into_inner());
    jobs.send((taken, reply)).expect("the spawning thread runs");
    drop(jobs);
    child.recv().expect("the spawning thread answers")
}

/// `program`, killed by the kernel when this process ends however it ends.
pub fn bound_to_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}
