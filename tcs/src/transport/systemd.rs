//! Sockets that systemd, or another supervisor, has opened.

use std::{io, net::SocketAddr, os::unix::net, path::Path};

use tokio::net::{TcpListener, UnixListener};

use super::{Incoming, Listener, listener::Unregistered};
use crate::{Error, Result};

/// Returns the listening sockets that this process was started with, in the order of their `ListenStream=` lines. Needs the feature `systemd`.
///
/// It is empty for a process that was started without any. A socket that the supervisor keeps loses no connection
/// while the process is replaced: peers wait in its backlog. See `sd_listen_fds(3)`.
///
/// # Examples
///
/// ```no_run
/// use tcs::{ConcurrentServer, server_protocol, transport};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// fn main() -> tcs::Result<()> {
///     let mut server = ConcurrentServer::new(Greet).notify_systemd();
///     for socket in transport::systemd_sockets()? {
///         server = server.listener(socket);
///     }
///     server.run()
/// }
/// ```
///
/// # Errors
///
/// Returns [`Setting`](crate::ErrorKind::Setting) if a descriptor is not a listening socket of TCP or Unix.
pub fn systemd_sockets() -> Result<Vec<SystemdSocket>> {
    let mut passed = listenfd::ListenFd::from_env();
    let count = passed.len();
    let mut take = |index| {
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            return SystemdSocket::tcp(socket);
        }
        let socket = passed.take_unix_listener(index)?;
        SystemdSocket::unix(socket.ok_or(io::ErrorKind::NotFound)?)
    };
    let sockets = (0..count).map(|index| {
        take(index).map_err(|error: io::Error| {
            Error::setting(
                "LISTEN_FDS",
                format!("has something else than a socket at {index}: {error}"),
            )
        })
    });
    sockets.collect()
}

/// A listening socket that was passed to the process. See [`systemd_sockets`].
#[derive(Debug)]
pub struct SystemdSocket {
    name: String,
    local_addr: Option<SocketAddr>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(Unregistered<std::net::TcpListener, TcpListener>),
    Unix(Unregistered<net::UnixListener, UnixListener>),
}

impl SystemdSocket {
    fn tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        Ok(Self {
            name: addr.to_string(),
            local_addr: Some(addr),
            kind: Kind::Tcp(Unregistered::new(socket, TcpListener::from_std)),
        })
    }

    fn unix(socket: net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        let path = addr.as_pathname().unwrap_or(Path::new("Unix socket"));
        Ok(Self {
            name: path.display().to_string(),
            local_addr: None,
            kind: Kind::Unix(Unregistered::new(socket, UnixListener::from_std)),
        })
    }
}

impl Listener for SystemdSocket {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        match &mut self.kind {
            Kind::Tcp(listener) => listener.accept().await,
            Kind::Unix(listener) => listener.accept().await,
        }
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }
}
