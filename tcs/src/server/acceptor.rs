//! The accept loop, and accept errors in three classes.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{
    registry::Registry,
    spawn::{Incoming, Serve},
};
use crate::{ConnectionInfo, Peer};

/// Accepts the connections of a server.
///
/// When it is dropped, the listener is closed and all connections are aborted.
pub(super) struct Acceptor {
    pub(super) local_addr: SocketAddr,
    pub(super) served: Arc<dyn Serve>,
    pub(super) registry: Arc<Registry>,
    pub(super) blocking: Arc<Semaphore>,
    /// The most connections that are open at the same time.
    pub(super) max_connections: usize,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.served.listener().close();
        self.registry.abort();
    }
}

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

impl Acceptor {
    /// Accepts connections, at most `max_connections` at the same time, and serves each in a task of
    /// its own.
    ///
    /// Returns when the listener was closed, or with an error when it is dead.
    ///
    /// Cancel safe: open connections go on.
    pub(super) async fn accept_all(&self) -> io::Result<()> {
        let permits = Arc::new(Semaphore::new(
            self.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        let mut was_full = false;
        loop {
            // A server of one connection at a time is full as a matter of course.
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
            match poll_fn(|cx| self.served.listener().poll_accept(cx)).await {
                None => return Ok(()),
                Some(Ok((stream, addr))) => self.spawn(stream, addr, permit),
                Some(Err(error)) => match AcceptError::of(&error) {
                    AcceptError::Peer => {}
                    AcceptError::Exhausted => {
                        tracing::error!(%error, "cannot accept a connection now; trying again soon");
                        tokio::time::sleep(PAUSE).await;
                    }
                    AcceptError::Listener => return Err(error),
                },
            }
        }
    }

    fn spawn(&self, stream: TcpStream, addr: SocketAddr, permit: OwnedSemaphorePermit) {
        let registration = self.registry.register();
        let id = registration.id();
        // Only a listener at all addresses leaves open which of them the peer reached.
        let local_addr = match self.local_addr {
            any if any.ip().is_unspecified() => stream.local_addr().ok(),
            known => Some(known),
        };
        let blocking = Arc::clone(&self.blocking);
        Arc::clone(&self.served).spawn_connection(Incoming {
            stream,
            info: ConnectionInfo::of(Peer::at(addr), local_addr, id, blocking),
            registration,
            permit,
            span: tracing::info_span!("connection", peer = %addr, id),
        });
    }
}

/// Whose error an accept error is, which decides what to do about it.
#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// The connection's: it was gone before it was accepted. The next may be fine.
    Peer,
    /// The process's or the machine's: trying again at once would spin.
    Exhausted,
    /// The listener's: retrying does not help.
    Listener,
}

impl AcceptError {
    /// Classifies an error of accept(2), which on Linux also reports errors of the new socket.
    fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match (error.kind(), error.raw_os_error()) {
            // EBADF, ENOTSOCK and EINVAL (it does not listen).
            (Kind::InvalidInput, _) | (_, Some(9 | 88)) => Self::Listener,
            (
                Kind::ConnectionAborted
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::Interrupted
                | Kind::NetworkDown
                | Kind::NetworkUnreachable
                | Kind::PermissionDenied
                | Kind::TimedOut
                | Kind::Unsupported,
                _,
            ) => Self::Peer,
            // ENONET, EPROTO, ENOPROTOOPT and EHOSTDOWN.
            (_, Some(64 | 71 | 92 | 112)) if cfg!(target_os = "linux") => Self::Peer,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM; and what is not known is better waited out than
            // retried without end.
            _ => Self::Exhausted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_errors_come_in_three_classes() {
        for (code, class) in [
            (103, AcceptError::Peer),
            (104, AcceptError::Peer),
            (4, AcceptError::Peer),
            (71, AcceptError::Peer),
            (113, AcceptError::Peer),
            (23, AcceptError::Exhausted),
            (24, AcceptError::Exhausted),
            (12, AcceptError::Exhausted),
            (105, AcceptError::Exhausted),
            (9, AcceptError::Listener),
            (22, AcceptError::Listener),
            (88, AcceptError::Listener),
            (95, AcceptError::Peer),
            (1, AcceptError::Peer),
            (5, AcceptError::Exhausted),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(AcceptError::of(&error), class, "{error}");
        }
    }
}
