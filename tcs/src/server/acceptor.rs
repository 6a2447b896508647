//! The accept loop, and the three classes of accept errors.
//!
//! The loop takes a permit, accepts a connection, and spawns a task that owns both. It does not know the protocol:
//! [`SpawnConnection`] hides its type, so that everything outside of a connection is compiled once.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::{Instrument as _, Span};

use super::{
    connection::{CloseKind, Connection, NewConnection},
    registry::Registry,
    shared::{Listener, Shared},
};
use crate::{ConnectionInfo, Peer, protocol::ServerProtocol, socket::canonical};

/// The shared state without its protocol type.
pub(super) trait SpawnConnection: Send + Sync {
    fn listener(&self) -> &Listener;

    /// Serves a connection in its own task.
    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<TcpStream>>, span: Span);
}

impl<P: ServerProtocol> SpawnConnection for Shared<P> {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn spawn_connection(self: Arc<Self>, new: Box<NewConnection<TcpStream>>, span: Span) {
        let task = async move { Connection::open(self, new).serve().await };
        tokio::spawn(task.instrument(span));
    }
}

/// Accepts the connections of a server.
///
/// Dropping it closes the listener and aborts all connections.
pub(super) struct Acceptor {
    pub(super) local_addr: SocketAddr,
    pub(super) shared: Arc<dyn SpawnConnection>,
    pub(super) registry: Arc<Registry>,
    pub(super) blocking: Arc<Semaphore>,
    /// The maximum number of open connections.
    pub(super) max_connections: usize,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.shared.listener().close();
        self.registry.abort();
    }
}

/// The pause before accepting again after descriptors or memory ran out.
const RETRY_DELAY: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Accepts connections, at most `max_connections` at a time, and serves each in its own task.
    ///
    /// Returns `Ok` when the listener is closed, and an error when it fails.
    ///
    /// Cancel safe: open connections continue.
    pub(super) async fn accept_all(&self) -> io::Result<()> {
        let permits = self.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let mut was_full = false;
        loop {
            // With a limit of one, the server is full whenever it serves.
            let is_full = self.max_connections > 1 && permits.available_permits() == 0;
            if is_full && !was_full {
                let most = self.max_connections;
                tracing::warn!(
                    "{most} connections are open (`max_connections`); further peers wait"
                );
            }
            was_full = is_full;
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return Ok(());
            };
            match poll_fn(|cx| self.shared.listener().poll_accept(cx)).await {
                None => return Ok(()),
                Some(Ok((stream, addr))) => self.spawn(stream, addr, permit),
                Some(Err(error)) => match AcceptError::of(&error) {
                    AcceptError::Connection => {}
                    AcceptError::Exhausted => {
                        tracing::error!(%error, "cannot accept a connection now; trying again soon");
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                    AcceptError::Listener => return Err(error),
                },
            }
        }
    }

    fn spawn(&self, stream: TcpStream, addr: SocketAddr, permit: OwnedSemaphorePermit) {
        let registration = self.registry.register();
        let id = registration.id();
        // Only a listener on all addresses needs to ask which of them the peer reached.
        let local_addr = match self.local_addr {
            any if any.ip().is_unspecified() => stream.local_addr().ok().map(canonical),
            known => Some(known),
        };
        let blocking = Arc::clone(&self.blocking);
        let new = Box::new(NewConnection {
            stream,
            close: CloseKind::Drop,
            info: ConnectionInfo::of(Peer::at(addr), local_addr, id, blocking),
            registration,
            permit: Some(permit),
        });
        let span = tracing::info_span!("connection", peer = %addr, id);
        Arc::clone(&self.shared).spawn_connection(new, span);
    }
}

/// The source of an accept error, which decides how to continue.
#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// The connection: it was gone before it was accepted. The next one may be fine.
    Connection,
    /// The process or the machine: an immediate retry would spin.
    Exhausted,
    /// The listener: a retry does not help.
    Listener,
}

impl AcceptError {
    /// Classifies an error of accept(2), which on Linux also reports errors of the new socket.
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match (error.kind(), error.raw_os_error()) {
            // EINVAL: it does not listen.
            (Kind::InvalidInput, _) => Self::Listener,
            // EBADF and ENOTSOCK.
            (_, Some(9 | 88)) if cfg!(target_os = "linux") => Self::Listener,
            (
                Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::Interrupted
                | Kind::NetworkDown
                | Kind::NetworkUnreachable
                | Kind::TimedOut
                | Kind::Unsupported,
                _,
            ) => Self::Connection,
            // ENONET, EPROTO, ENOPROTOOPT and EHOSTDOWN.
            (_, Some(64 | 71 | 92 | 112)) if cfg!(target_os = "linux") => Self::Connection,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, and EACCES of a security policy, which leaves the
            // connection in the backlog. Unknown errors are included, because a retry without a pause
            // could spin.
            _ => Self::Exhausted,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn accept_errors_come_in_three_classes() {
        for (name, code, class) in [
            ("ECONNABORTED", 103, AcceptError::Connection),
            ("ECONNRESET", 104, AcceptError::Connection),
            ("EINTR", 4, AcceptError::Connection),
            ("EPROTO", 71, AcceptError::Connection),
            ("EHOSTUNREACH", 113, AcceptError::Connection),
            ("EOPNOTSUPP", 95, AcceptError::Connection),
            ("ENFILE", 23, AcceptError::Exhausted),
            ("EMFILE", 24, AcceptError::Exhausted),
            ("ENOMEM", 12, AcceptError::Exhausted),
            ("ENOBUFS", 105, AcceptError::Exhausted),
            ("EPERM", 1, AcceptError::Exhausted),
            ("EACCES", 13, AcceptError::Exhausted),
            ("EIO", 5, AcceptError::Exhausted),
            ("EBADF", 9, AcceptError::Listener),
            ("EINVAL", 22, AcceptError::Listener),
            ("ENOTSOCK", 88, AcceptError::Listener),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(AcceptError::of(&error), class, "{name}");
        }
    }
}
