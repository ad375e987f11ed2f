//! Where the service listens, and the loop that takes connections.
//!
//! Invariant: a new address is bound before the old one is given up, so a refused change loses nothing; connections
//! that the old one had taken are served to their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SocketFlags, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Service;
use super::association::serve_connection;
use super::hl7::serve_sender;

/// How many connections the kernel keeps for us.
const BACKLOG: u32 = 1024;

/// How long nothing is taken after the system refused us a socket, out of descriptors most often.
const BREATH: Duration = Duration::from_millis(100);

/// What comes at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Associations over TCP as it is.
    Plain,
    /// Associations over TLS.
    Tls,
    /// No associations: messages of HL7, in MLLP over TCP.
    Hl7,
}

/// A bound address, not served yet.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    asked: SocketAddr,
    local: SocketAddr,
}

/// An address that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Arc<TcpListener>,
    asked: SocketAddr,
    local: SocketAddr,
    stop: CancellationToken,
}

impl Bound {
    /// Binds `address`.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        Self::bind(address, false)
    }

    fn bind(address: SocketAddr, shares_port: bool) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(shares_port)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Bound {
            local: listener.local_addr()?,
            asked: address,
            listener,
        })
    }

    /// The address that it is: the port was chosen by the system where none was asked for.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Begins to serve.
    pub(super) fn serve(self, service: &Arc<Service>, transport: Transport) -> Listening {
        let listening = Listening {
            listener: Arc::new(self.listener),
            asked: self.asked,
            local: self.local,
            stop: service.drain.child_token(),
        };
        let (listener, stop) = (Arc::clone(&listening.listener), listening.stop.clone());
        tokio::spawn(take_connections(Arc::clone(service), listener, transport, stop));
        listening
    }
}

impl Listening {
    /// The address that was asked for.
    pub(super) fn asked(&self) -> SocketAddr {
        self.asked
    }

    /// The address that it is.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Binds `address` while this one is still served.
    ///
    /// `0.0.0.0:104` and `10.1.1.1:104` exclude each other, unless both sockets agree to share the port. They do for
    /// the moment of the change alone: else any program of this user could listen there unnoticed.
    pub(super) fn bind_next(&self, address: SocketAddr) -> io::Result<Bound> {
        match Bound::new(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == self.local.port() => {
                sockopt::set_socket_reuseport(&*self.listener, true)?;
                let bound = Bound::bind(address, true);
                sockopt::set_socket_reuseport(&*self.listener, false)?;
                let bound = bound?;
                sockopt::set_socket_reuseport(&bound.listener, false)?;
                Ok(bound)
            }
            other => other,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn take_connections(
    service: Arc<Service>,
    listener: Arc<TcpListener>,
    transport: Transport,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, address)) => take(&service, socket, address, transport).await,
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!("cannot take a connection: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    if !service.drain.is_cancelled() {
        take_queued(&service, &listener, transport).await;
    }
}

/// Takes what the kernel had accepted for us before we gave the address up.
async fn take_queued(service: &Arc<Service>, listener: &TcpListener, transport: Transport) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    while let Ok(socket) = rustix::net::accept_with(listener, flags) {
        let socket = TcpStream::from_std(std::net::TcpStream::from(socket));
        if let Ok(socket) = socket
            && let Ok(address) = socket.peer_addr()
        {
            take(service, socket, address, transport).await;
        }
    }
}

async fn take(service: &Arc<Service>, socket: TcpStream, address: SocketAddr, transport: Transport) {
    if transport == Transport::Hl7 {
        service
            .connections
            .spawn(serve_sender(Arc::clone(service), socket, address));
        return;
    }
    let place = service.waiting_room.enter().await;
    service.connections.spawn(serve_connection(
        Arc::clone(service),
        socket,
        address,
        transport,
        place,
    ));
}

/// Whether the connection was gone before we took it (accept(2)).
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
