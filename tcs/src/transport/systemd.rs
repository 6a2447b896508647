//! Sockets that systemd, or another supervisor, has opened.

use std::{
    io,
    net::SocketAddr,
    os::{fd::AsFd, unix::net},
    path::Path,
};

use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::{Incoming, Listener, unregistered::Unregistered};
use crate::{Error, Result};

/// Returns the listening sockets that this process was started with, at least one, in the order of their
/// `ListenStream=` lines.
///
/// Needs the feature `systemd`. A socket that the supervisor keeps loses no connection while the process is replaced:
/// peers wait in its backlog. See `sd_listen_fds(3)`.
///
/// Call this function once, at the start of the program: it removes the environment variables that it has read, so that
/// child processes do not take the sockets as well.
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
/// Returns [`Setting`](crate::ErrorKind::Setting) if the process was started without sockets (the environment variable
/// `LISTEN_FDS` is not set, or `LISTEN_PID` is that of another process), and if a descriptor is a connection, or is not
/// a socket of TCP or Unix.
pub fn systemd_sockets() -> Result<Vec<SystemdListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let count = passed.len();
    if count == 0 {
        // Without this error, a server without other listeners would listen at its default address.
        let reason =
            "has no sockets for this process; start it with systemd or `systemd-socket-activate`";
        return Err(Error::setting("LISTEN_FDS", reason));
    }
    let mut take = |index| {
        // An error means that the descriptor is not a TCP socket.
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            return SystemdListener::tcp(socket);
        }
        let socket = passed.take_unix_listener(index)?;
        SystemdListener::unix(socket.ok_or(io::ErrorKind::NotFound)?)
    };
    let sockets = (0..count).map(|index| {
        take(index).map_err(|error: io::Error| {
            Error::setting(
                "LISTEN_FDS",
                format!("has no listening socket at index {index}: {error}"),
            )
        })
    });
    sockets.collect()
}

/// Returns an error for a connection, which systemd passes with `Accept=yes`. A listener could never accept from it.
fn check_listens(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).peer_addr() {
        Ok(_) => Err(io::Error::other(
            "it is a connection, as with `Accept=yes`; serve `StdioListener` instead",
        )),
        // A listening socket has no peer.
        Err(_) => Ok(()),
    }
}

/// A listening socket that was passed to the process. See [`systemd_sockets`].
#[derive(Debug)]
pub struct SystemdListener {
    name: String,
    local_addr: Option<SocketAddr>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(Unregistered<std::net::TcpListener, TcpListener>),
    Unix(Unregistered<net::UnixListener, UnixListener>),
}

impl SystemdListener {
    fn tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        check_listens(&socket)?;
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        Ok(Self {
            name: addr.to_string(),
            local_addr: Some(addr),
            kind: Kind::Tcp(Unregistered::New(socket)),
        })
    }

    fn unix(socket: net::UnixListener) -> io::Result<Self> {
        check_listens(&socket)?;
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        let path = addr.as_pathname().unwrap_or(Path::new("Unix socket"));
        Ok(Self {
            name: path.display().to_string(),
            local_addr: None,
            kind: Kind::Unix(Unregistered::New(socket)),
        })
    }
}

impl Listener for SystemdListener {
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
