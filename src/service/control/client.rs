//! A command's side of the control socket. It blocks: a command has nothing else to do meanwhile.
//!
//! Invariant: "not running" is said only where nobody holds the service lock. A service that holds it and has no socket
//! yet is starting, and is waited for: it may have read the configuration before the save that we ask it to take.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::message::{Answer, Failure, LONGEST_ANSWER, Line, PROTOCOL, Request, to_line};
use super::{ReloadReport, ServiceStatus, socket_path};
use crate::model::Generation;
use crate::store::{ServiceLock, StoreError};

/// How often a service that is starting is looked for.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// How much longer than the service we wait for its word that the time is up.
const GRACE: Duration = Duration::from_secs(2);

/// Why the service did not do what we asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No service runs on this store.
    #[error("the service is not running")]
    NotRunning,
    /// It is ending; what is saved comes in force at its next start.
    #[error("the service is ending")]
    Ending,
    /// It answers us not.
    #[error("the service does not take orders from this user")]
    NotPermitted,
    /// The newest generation can't be used.
    #[error("generation {in_force} stays in force: {reason}")]
    NotInForce {
        /// The generation that stays.
        in_force: Generation,
        /// What is wrong with the newest.
        reason: String,
    },
    /// The cross-reference can't be read.
    #[error("the service keeps the cross-reference it has: {0}")]
    CrossReferenceStays(String),
    /// The newest generation was not in force in time.
    #[error("the service did not answer within {} s", .after.as_secs_f32())]
    TimedOut {
        /// How long we waited.
        after: Duration,
    },
    /// It is a service of another version.
    #[error("the running service is of version {0}, this is {version}", version = env!("CARGO_PKG_VERSION"))]
    OtherVersion(String),
    /// Who answers is not the service.
    #[error("the control socket belongs to user {0}, who is neither root nor the store's owner")]
    Impostor(u32),
    /// What came is no answer.
    #[error("the service gave an answer that can't be read")]
    NotUnderstood,
    /// The socket failed.
    #[error("cannot speak to the service")]
    Socket(#[source] io::Error),
    /// The store does not tell who holds its service lock.
    #[error("cannot tell whether a service runs")]
    Lock(#[source] StoreError),
}

/// What became of a generation that was just saved.
#[derive(Debug)]
pub enum AfterSave {
    /// It, or a later one, is in force.
    InForce(ReloadReport),
    /// No service runs, so none needs to know.
    NotRunning,
    /// It is saved and not in force.
    NotInForce(ControlError),
}

/// Whether a service runs on `store` and answers within `limit`.
pub fn ping(store: &Path, limit: Duration) -> Result<(), ControlError> {
    match ask(store, &Request::Ping, limit)? {
        Answer::Pong => Ok(()),
        other => Err(unexpected(other, limit)),
    }
}

/// How the service on `store` is.
pub fn status(store: &Path, limit: Duration) -> Result<ServiceStatus, ControlError> {
    match ask(store, &Request::Status, limit)? {
        Answer::Status(status) => Ok(status),
        other => Err(unexpected(other, limit)),
    }
}

/// Has the service on `store` take the newest generation; returns when it is in force.
pub fn reload(store: &Path, limit: Duration) -> Result<ReloadReport, ControlError> {
    let timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    match ask(store, &Request::Reload { timeout_ms }, limit)? {
        Answer::Reload(report) => Ok(report),
        other => Err(unexpected(other, limit)),
    }
}

/// Has the service on `store` take the newest cross-reference of patients; returns when it is in force. `false` where no
/// service runs that would need to know.
pub fn take_cross_reference(store: &Path, limit: Duration) -> Result<bool, ControlError> {
    match ask(store, &Request::CrossReference, limit) {
        Ok(Answer::CrossReference { .. }) => Ok(true),
        Ok(other) => Err(unexpected(other, limit)),
        Err(ControlError::NotRunning | ControlError::Ending) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the service on `store` look at once whether updates are to be sent. `false` where no service runs.
pub fn send_updates(store: &Path, limit: Duration) -> Result<bool, ControlError> {
    match ask(store, &Request::Updates, limit) {
        Ok(Answer::Updates) => Ok(true),
        Ok(other) => Err(unexpected(other, limit)),
        Err(ControlError::NotRunning | ControlError::Ending) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the service take the generation `saved`, which this process has just written.
pub fn reload_after_save(store: &Path, saved: Generation, limit: Duration) -> AfterSave {
    match reload(store, limit) {
        Ok(report) if report.generation >= saved => AfterSave::InForce(report),
        Ok(report) => AfterSave::NotInForce(ControlError::NotInForce {
            in_force: report.generation,
            reason: "the service reads another store".to_owned(),
        }),
        // One that is ending has read its last configuration; the next to start reads this one.
        Err(ControlError::NotRunning | ControlError::Ending) => AfterSave::NotRunning,
        Err(error) => AfterSave::NotInForce(error),
    }
}

fn unexpected(answer: Answer, limit: Duration) -> ControlError {
    match answer {
        Answer::Failure(Failure::NotPermitted) => ControlError::NotPermitted,
        Answer::Failure(Failure::Ending) => ControlError::Ending,
        Answer::Failure(Failure::NotInForce { in_force, reason }) => {
            ControlError::NotInForce { in_force, reason }
        }
        Answer::Failure(Failure::CrossReferenceStays { reason }) => ControlError::CrossReferenceStays(reason),
        Answer::Failure(Failure::TimedOut { .. }) => ControlError::TimedOut { after: limit },
        Answer::Failure(Failure::OtherVersion { program }) => ControlError::OtherVersion(program),
        _ => ControlError::NotUnderstood,
    }
}

fn ask(store: &Path, request: &Request, limit: Duration) -> Result<Answer, ControlError> {
    let began = Instant::now();
    let deadline = began + limit + GRACE;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::TimedOut { after: limit },
        _ => ControlError::Socket(error),
    };
    let mut stream = connect(store, began + limit)?;
    let write_limit = remaining(deadline).map_err(failed)?;
    stream.set_write_timeout(Some(write_limit)).map_err(failed)?;
    stream.write_all(&to_line(request)).map_err(failed)?;
    let line = read_line(&mut stream, deadline).map_err(failed)?;
    let line: Line<Answer> = serde_json::from_slice(&line).map_err(|_| ControlError::NotUnderstood)?;
    if line.version == PROTOCOL {
        Ok(line.message)
    } else {
        Err(ControlError::NotUnderstood)
    }
}

/// Connects, waiting for a service that is starting.
fn connect(store: &Path, deadline: Instant) -> Result<UnixStream, ControlError> {
    let began = Instant::now();
    loop {
        match connect_once(store, deadline) {
            Ok(stream) => return Ok(stream),
            Err(ControlError::Socket(error)) if nobody_listens(&error) => {}
            Err(error) => return Err(error),
        }
        if ServiceLock::holder(store).map_err(ControlError::Lock)?.is_none() {
            return Err(ControlError::NotRunning);
        }
        if Instant::now() + RETRY_EVERY > deadline {
            let after = began.elapsed();
            return Err(ControlError::TimedOut { after });
        }
        std::thread::sleep(RETRY_EVERY);
    }
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn connect_once(store: &Path, deadline: Instant) -> Result<UnixStream, ControlError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => ControlError::NotPermitted,
        _ => ControlError::Socket(error),
    };
    let path = socket_path(store).map_err(failed)?;
    let address = SocketAddrUnix::new(&path).map_err(|error| failed(error.into()))?;
    let flags = SocketFlags::CLOEXEC;
    let connected = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| {
            // The send time-out is the one that holds for connect as well (socket(7)).
            let limit = deadline.saturating_duration_since(Instant::now());
            let limit = limit.max(Duration::from_millis(1));
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit))?;
            rustix::net::connect(&socket, &address)?;
            Ok(socket)
        })
        .map_err(|error| failed(error.into()))?;
    let peer = sockopt::socket_peercred(&connected).map_err(|error| failed(error.into()))?;
    let owner = super::address::owner(store).map_err(failed)?;
    let ours = rustix::process::geteuid();
    if peer.uid.is_root() || peer.uid.as_raw() == owner || peer.uid == ours {
        Ok(UnixStream::from(connected))
    } else {
        Err(ControlError::Impostor(peer.uid.as_raw()))
    }
}

fn read_line(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while line.last() != Some(&b'\n') {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let read = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if line.len() > LONGEST_ANSWER {
            return Err(io::Error::other("the answer is too long"));
        }
    }
    Ok(line)
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}
