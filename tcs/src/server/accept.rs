//! Where connections are accepted and their tasks spawned.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::{Instrument as _, Span};

use super::{
    connection::{Accepted, Connection, Farewell},
    lifetime::{Lifetime, Requests},
    registry::{Registry, Watch},
    settings::{Limits, Settings},
};
use crate::{ConnectionInfo, Peer, ServerProtocol, socket::send_without_delay};

/// The listener, which a connection can close.
#[derive(Debug)]
pub(super) struct Door(Mutex<Option<TcpListener>>);

impl Door {
    /// A door that is closed: that of a server which does not listen yet, or is given its connection.
    const fn closed() -> Self {
        Self(Mutex::new(None))
    }

    /// Listens from now on.
    pub(super) fn open(&self, listener: TcpListener) {
        *self.lock() = Some(listener);
    }

    /// Stops listening: peers that wait in the backlog are reset.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    /// Accepts a connection, or tells by `None` that the door is closed.
    ///
    /// Cancel safe: a connection that is not accepted stays in the backlog.
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        let accepted = match &*self.lock() {
            Some(listener) => ready!(listener.poll_accept(cx)),
            None => return Poll::Ready(None),
        };
        if let Ok((stream, _)) = &accepted {
            send_without_delay(stream);
        }
        Poll::Ready(Some(accepted))
    }

    fn lock(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) protocol: P,
    pub(super) limits: Limits,
    pub(super) door: Door,
    /// Whether the first request closes the door.
    pub(super) requests: Requests,
}

/// What accepting needs of [`Shared`].
///
/// What depends on this trait alone is compiled with this library and not with each program.
pub(super) trait Serve: Send + Sync {
    fn door(&self) -> &Door;

    /// Serves a connection in a task of its own.
    fn serve(self: Arc<Self>, guest: Guest);
}

impl<P: ServerProtocol> Shared<P> {
    /// What the connections of a server share that does not listen yet.
    pub(super) fn new<L: Lifetime>(protocol: P, settings: &Settings) -> Self {
        Self {
            protocol,
            limits: settings.limits,
            door: Door::closed(),
            requests: L::REQUESTS,
        }
    }
}

impl<P: ServerProtocol> Serve for Shared<P> {
    fn door(&self) -> &Door {
        &self.door
    }

    fn serve(self: Arc<Self>, guest: Guest) {
        let accepted = Box::new(Accepted {
            shared: self,
            stream: guest.stream,
            farewell: Farewell::Drop,
            info: guest.info,
            watch: guest.watch,
            permit: Some(guest.permit),
        });
        let serve = async move { Connection::open(accepted).serve().await };
        tokio::spawn(serve.instrument(guest.span));
    }
}

/// A connection that was accepted, and is not served yet.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    info: ConnectionInfo,
    watch: Watch,
    permit: OwnedSemaphorePermit,
    span: Span,
}

/// A server that accepts.
///
/// When it is dropped, the listener is closed, and what is open is cut.
pub(super) struct Site {
    pub(super) local_addr: SocketAddr,
    pub(super) served: Arc<dyn Serve>,
    pub(super) registry: Arc<Registry>,
    pub(super) blocking: Arc<Semaphore>,
    /// How many connections are open at once.
    pub(super) at_once: usize,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.served.door().close();
        self.registry.cut();
    }
}

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, at most `at_once` of them open, and serves each in a task of its own.
///
/// Returns when the door was closed, or with an error when the listener is dead.
///
/// Cancel safe: connections that are open go on.
pub(super) async fn accept_all(site: &Site) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(site.at_once.min(Semaphore::MAX_PERMITS)));
    loop {
        // One at a time is how the other servers work, and nothing to tell.
        if site.at_once > 1 && permits.available_permits() == 0 {
            log_full(site.at_once);
        }
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return Ok(());
        };
        match poll_fn(|cx| site.served.door().poll_accept(cx)).await {
            None => return Ok(()),
            Some(Ok((stream, addr))) => site.welcome(stream, addr, permit),
            Some(Err(error)) => match Trouble::of(&error) {
                Trouble::Peer => {}
                Trouble::Exhausted => {
                    log_exhausted(&error);
                    tokio::time::sleep(PAUSE).await;
                }
                Trouble::Listener => return Err(error),
            },
        }
    }
}

impl Site {
    /// Serves a connection that was accepted.
    fn welcome(&self, stream: TcpStream, addr: SocketAddr, permit: OwnedSemaphorePermit) {
        let watch = self.registry.open();
        let span = tracing::info_span!("connection", peer = %addr, id = watch.id());
        // Only a listener at all addresses leaves open which of them the peer reached.
        let local_addr = match self.local_addr {
            any if any.ip().is_unspecified() => stream.local_addr().ok(),
            known => Some(known),
        };
        let blocking = Arc::clone(&self.blocking);
        Arc::clone(&self.served).serve(Guest {
            stream,
            info: ConnectionInfo::of(Peer::at(addr), local_addr, watch.id(), blocking),
            watch,
            permit,
            span,
        });
    }
}

fn log_full(at_once: usize) {
    tracing::warn!("{at_once} connections are open (`max_connections`); further peers wait");
}

fn log_exhausted(error: &io::Error) {
    tracing::error!(%error, "cannot accept a connection now; trying again soon");
}

/// Whose trouble an accept error is, which decides what to do about it.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The connection's: it was gone before it was accepted. The next may be fine.
    Peer,
    /// The process's or the machine's: trying again at once would spin.
    Exhausted,
    /// The listener's: it will not get better.
    Listener,
}

impl Trouble {
    /// Sorts an error of accept(2), which on Linux also passes on errors of the new socket.
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

    #[tokio::test]
    async fn accepted_connection_sends_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let door = Door::closed();
        door.open(listener);
        let accept = || poll_fn(|cx| door.poll_accept(cx));
        let (peer, accepted) = tokio::join!(TcpStream::connect(addr), accept());
        let (stream, _) = accepted.expect("it is open").expect("no error");
        assert!(stream.nodelay().expect("TCP has it"));
        drop(peer);
        door.close();
        assert!(accept().await.is_none());
    }

    #[test]
    fn accept_errors_come_in_three_classes() {
        for (code, trouble) in [
            (103, Trouble::Peer),
            (104, Trouble::Peer),
            (4, Trouble::Peer),
            (71, Trouble::Peer),
            (113, Trouble::Peer),
            (23, Trouble::Exhausted),
            (24, Trouble::Exhausted),
            (12, Trouble::Exhausted),
            (105, Trouble::Exhausted),
            (9, Trouble::Listener),
            (22, Trouble::Listener),
            (88, Trouble::Listener),
            (95, Trouble::Peer),
            (1, Trouble::Peer),
            (5, Trouble::Exhausted),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(Trouble::of(&error), trouble, "{error}");
        }
    }
}
