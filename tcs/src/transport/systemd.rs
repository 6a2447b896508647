//! Sockets that systemd, or another supervisor, has opened.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, UnixListener};

use super::{Incoming, Listener};
use crate::{Error, Result};

/// Returns the listening sockets that this process was started with, in the order of their `ListenStream=` lines.
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
/// #[tokio::main]
/// async fn main() -> tcs::Result<()> {
///     let mut server = ConcurrentServer::new(Greet).notify_systemd();
///     for socket in transport::systemd_sockets()? {
///         server = server.listener(socket);
///     }
///     server.listen_until_signal().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// Returns [`Setting`](crate::ErrorKind::Setting) if a descriptor is not a listening socket of TCP or Unix.
///
/// # Panics
///
/// Panics outside of a tokio runtime, as [`TcpListener::from_std`] does.
pub fn systemd_sockets() -> Result<Vec<SystemdSocket>> {
    let mut passed = listenfd::ListenFd::from_env();
    let count = passed.len();
    let mut take = |index| {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            return Ok(Kind::Tcp(TcpListener::from_std(listener)?));
        }
        let listener = passed.take_unix_listener(index)?;
        let listener = listener.ok_or(io::ErrorKind::NotFound)?;
        listener.set_nonblocking(true)?;
        Ok(Kind::Unix(UnixListener::from_std(listener)?))
    };
    let sockets = (0..count).map(|index| {
        let kind = take(index).map_err(|error: io::Error| {
            Error::setting(
                "LISTEN_FDS",
                format!("has something else than a socket at {index}: {error}"),
            )
        });
        kind.map(SystemdSocket)
    });
    sockets.collect()
}

/// A listening socket that was passed to the process. See [`systemd_sockets`].
#[derive(Debug)]
pub struct SystemdSocket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener for SystemdSocket {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        match &mut self.0 {
            Kind::Tcp(listener) => Listener::accept(listener).await,
            Kind::Unix(listener) => Listener::accept(listener).await,
        }
    }

    fn name(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => listener.name(),
            Kind::Unix(listener) => listener.name(),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => Listener::local_addr(listener),
            Kind::Unix(_) => None,
        }
    }
}
