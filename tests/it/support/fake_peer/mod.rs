//! A scripted DICOM peer for the misbehaviour that real peers don't show on demand.
//!
//! Invariant: it does what its script says and nothing more, records what it received, and ends by itself: each
//! association with `DEADLINE` or on drop. What it can be told to do is in `script`; this is no sound SCP.

pub mod bombs;
mod conversation;
mod message;
mod negotiation;
mod record;
pub mod script;

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use record::{Association, Ended, Request};
use script::Step;

/// No association of a fake peer lasts longer.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A peer that misbehaves as scripted, on a port of its own.
pub struct FakePeer {
    pub port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    records: Mutex<Vec<Association>>,
    streams: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    /// Whether the port is closed: it may be another peer's since.
    closed: AtomicBool,
}

impl FakePeer {
    /// Plays the same script to everyone who connects, also to several at once.
    pub fn start(script: Vec<Step>) -> Self {
        Self::serve(vec![script], true)
    }

    /// Plays each script once, by order of connection; the port is closed when the last one begins.
    pub fn in_turn(scripts: Vec<Vec<Step>>) -> Self {
        Self::serve(scripts, false)
    }

    /// What the associations so far have brought.
    pub fn associations(&self) -> Vec<Association> {
        lock(&self.shared.records).clone()
    }

    /// Waits until `count` associations have ended, and returns what they brought.
    pub fn ended(&self, count: usize) -> Vec<Association> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let associations = self.associations();
            let ended = associations.iter().filter(|it| it.ended != Ended::NotYet).count();
            if ended >= count {
                return associations;
            }
            assert!(
                Instant::now() < deadline,
                "{count} ended associations expected: {associations:#?}"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn serve(scripts: Vec<Vec<Step>>, for_ever: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the loopback interface");
        let port = listener.local_addr().expect("the address of a listener").port();
        let shared = Arc::new(Shared {
            records: Mutex::default(),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            let turns = scripts.iter();
            if for_ever {
                accept_each(listener, &of_thread, turns.cycle());
            } else {
                accept_each(listener, &of_thread, turns);
            }
        });
        FakePeer {
            port,
            shared,
            listener: Some(listener),
        }
    }
}

impl Drop for FakePeer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if !self.shared.closed.load(Ordering::SeqCst) {
            // Wakes the listener.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        }
        for stream in lock(&self.shared.streams).iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(listener) = self.listener.take()
            && listener.join().is_err()
            && !thread::panicking()
        {
            panic!("the fake peer panicked");
        }
        if thread::panicking() {
            eprintln!(
                "---- fake peer on port {} ----\n{:#?}",
                self.port,
                self.associations()
            );
        }
    }
}

/// Takes a connection for each script and plays it on a thread; returns when all of those have ended. The port is
/// closed before the last script begins.
fn accept_each<'a>(listener: TcpListener, shared: &Shared, scripts: impl Iterator<Item = &'a Vec<Step>>) {
    let (mut listener, mut scripts) = (Some(listener), scripts.peekable());
    thread::scope(|scope| {
        while let (Some(script), Some(Ok((stream, _)))) =
            (scripts.next(), listener.as_ref().map(TcpListener::accept))
        {
            if scripts.peek().is_none() {
                shared.closed.store(true, Ordering::SeqCst);
                listener = None;
            }
            let handle = stream.try_clone().expect("a second handle of a stream");
            lock(&shared.streams).push(handle);
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            let number = {
                let mut records = lock(&shared.records);
                records.push(Association::default());
                records.len() - 1
            };
            scope.spawn(move || {
                let note =
                    |change: &mut dyn FnMut(&mut Association)| change(&mut lock(&shared.records)[number]);
                conversation::play(stream, script, &note);
            });
        }
    });
}

/// A test that panics with the lock held has failed already; its records are still worth showing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}
