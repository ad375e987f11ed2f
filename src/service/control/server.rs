//! The service's side of the control socket.
//!
//! Invariant: only root, the service's own user and members of the socket's group are answered; the socket of an
//! earlier service is replaced only by the holder of the service lock.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::{Answer, Failure, LONGEST_REQUEST, Request, read_request, to_line};
use crate::store::ServiceLock;

/// How many clients are served at once; the others wait in the socket's queue.
const CLIENTS: usize = 64;

/// How long a client may take to send a request or to take an answer.
const CLIENT_DEADLINE: Duration = Duration::from_secs(10);

/// The socket, there as long as this lives.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    group: u32,
}

impl ControlSocket {
    /// Makes the socket at `path`, with mode 0660 and the group of the store.
    ///
    /// The lock is the proof that a socket found there belongs to no running service.
    pub fn bind(path: &Path, store: &Path, _lock: &ServiceLock) -> io::Result<Self> {
        remove_socket(path)?;
        let listener = UnixListener::bind(path)?;
        let group = fs::metadata(store)?.gid();
        // Who runs the service may not be a member of the store's group; the socket then keeps its own.
        let _ = std::os::unix::fs::chown(path, None, Some(group));
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        let group = fs::metadata(path)?.gid();
        Ok(ControlSocket {
            listener,
            path: path.to_owned(),
            group,
        })
    }

    /// Gives clients what `answer` answers, until the future is dropped.
    pub async fn serve<A, F>(&self, answer: A)
    where
        A: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send,
    {
        let clients = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(place) = Arc::clone(&clients).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let permitted = stream
                        .peer_cred()
                        .is_ok_and(|peer| is_permitted(&peer, self.group));
                    let answer = answer.clone();
                    tokio::spawn(async move {
                        // A client that goes away is its own affair.
                        let _ = serve_client(stream, permitted, answer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Where it can't be removed the next service does it, under the lock.
        let _ = remove_socket(&self.path);
    }
}

/// Removes a socket, and nothing that is not one.
fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::other("it is there and is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn serve_client<A, F>(stream: UnixStream, permitted: bool, answer: A) -> io::Result<()>
where
    A: Fn(Request) -> F,
    F: Future<Output = Answer>,
{
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(LONGEST_REQUEST as u64);
        let read = timeout(CLIENT_DEADLINE, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let answered = match read_request(&line) {
            _ if !permitted => Answer::Failure(Failure::NotPermitted),
            _ if !whole => Answer::Failure(Failure::NotUnderstood),
            Ok(request) => answer(request).await,
            Err(failure) => Answer::Failure(failure),
        };
        timeout(CLIENT_DEADLINE, stream.write_all(&to_line(&answered))).await??;
        if !permitted || !whole {
            return Ok(());
        }
    }
}

fn is_permitted(peer: &UCred, group: u32) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    peer.uid() == 0 || peer.uid() == ours || peer.gid() == group || is_member(peer, group)
}

/// Whether the peer has the group among its supplementary ones, which the socket does not tell.
fn is_member(peer: &UCred, group: u32) -> bool {
    let status = peer
        .pid()
        .and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    status.is_some_and(|status| has_group(&status, group))
}

fn has_group(process_status: &str, group: u32) -> bool {
    let groups = process_status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"));
    groups.is_some_and(|groups| {
        groups
            .split_whitespace()
            .any(|number| number.parse() == Ok(group))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supplementary_groups_are_read_to_the_number() {
        let status = "Name:\tx\nGid:\t7\t7\t7\t7\nGroups:\t4 24 1000 \nVmPeak:\t1 kB\n";
        assert!(has_group(status, 24));
        assert!(!has_group(status, 7));
        assert!(!has_group(status, 100));
        assert!(!has_group("Groups:\t\n", 0));
    }

    #[test]
    fn only_a_socket_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        remove_socket(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(remove_socket(&path).is_err());
        assert!(path.exists());
    }
}
