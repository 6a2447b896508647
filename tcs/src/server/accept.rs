//! Where connections are accepted and their tasks spawned.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::{Instrument as _, Span};

use super::{
    connection::{Accepted, Connection, Farewell},
    lifetime::Requests,
    registry::{Registry, Watch},
    settings::Limits,
};
use crate::{Facts, Peer, ServerProtocol};

/// The listener, which a connection can close.
#[derive(Debug)]
pub(super) struct Door(Mutex<Option<TcpListener>>);

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self(Mutex::new(Some(listener)))
    }

    /// A door that was closed before: that of a server which is given its connection.
    pub(super) const fn nowhere() -> Self {
        Self(Mutex::new(None))
    }

    /// Stops listening: peers that wait in the backlog are reset.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    /// Accepts a connection, or tells by `None` that the door is closed.
    ///
    /// Cancel safe: a connection that is not accepted stays in the backlog.
    async fn accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = poll_fn(|cx| match &*self.lock() {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        })
        .await;
        if let Some(Ok((stream, _))) = &accepted
            && let Err(error) = stream.set_nodelay(true)
        {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        accepted
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

impl<P: ServerProtocol> Shared<P> {
    /// Serves a connection in a task of its own.
    pub(super) fn serve(self: &Arc<Self>, guest: Guest) {
        let accepted = Box::new(Accepted {
            shared: Arc::clone(self),
            stream: guest.stream,
            farewell: Farewell::Drop,
            facts: guest.facts,
            watch: guest.watch,
            permit: Some(guest.permit),
        });
        // One of the two is compiled for a protocol: a task is as large as all that it can wait for.
        if P::AT_ONCE {
            let serve = async move { Connection::open(accepted).serve_at_once().await };
            tokio::spawn(serve.instrument(guest.span));
        } else {
            let serve = async move { Connection::open(accepted).serve().await };
            tokio::spawn(serve.instrument(guest.span));
        }
    }
}

/// A connection that was accepted, and is not served yet.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    facts: Facts,
    watch: Watch,
    permit: OwnedSemaphorePermit,
    span: Span,
}

/// What accepting needs of a server.
///
/// Nothing here depends on the protocol, so that it is compiled with this library and not with each
/// program.
pub(super) struct Host<'a> {
    pub(super) local_addr: SocketAddr,
    pub(super) door: &'a Door,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) blocking: &'a Arc<Semaphore>,
    /// How many connections are open at once.
    pub(super) at_once: usize,
    pub(super) serve: &'a (dyn Fn(Guest) + Send + Sync),
}

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, at most `at_once` of them open, and serves each in a task of its own.
///
/// Returns when the door was closed, or with an error when the listener is dead.
///
/// Cancel safe: connections that are open go on.
pub(super) async fn accept_all(host: &Host<'_>) -> io::Result<()> {
    let at_once = host.at_once;
    let permits = Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS)));
    while let Some(permit) = permit(&permits, at_once).await {
        let (stream, addr) = match host.door.accept().await {
            None => break,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => match Trouble::of(&error) {
                Trouble::Peer => continue,
                Trouble::Exhausted => {
                    tracing::error!(%error, "cannot accept a connection now; trying again soon");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Trouble::Listener => return Err(error),
            },
        };
        let watch = host.registry.open();
        let span = tracing::info_span!("connection", peer = %addr, id = watch.id());
        // Only a listener at all addresses leaves open which of them the peer reached.
        let local_addr = match host.local_addr {
            any if any.ip().is_unspecified() => stream.local_addr().ok(),
            known => Some(known),
        };
        let blocking = Arc::clone(host.blocking);
        (host.serve)(Guest {
            stream,
            facts: Facts::of(Peer::at(addr), local_addr, watch.id(), blocking),
            watch,
            permit,
            span,
        });
    }
    Ok(())
}

/// Waits for the right to open one more connection.
async fn permit(permits: &Arc<Semaphore>, at_once: usize) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    // One at a time is how the other servers work, and nothing to tell.
    if at_once > 1 {
        tracing::warn!("{at_once} connections are open (`max_connections`); further peers wait");
    }
    // The semaphore is never closed.
    Arc::clone(permits).acquire_owned().await.ok()
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
        let door = Door::new(listener);
        let (peer, accepted) = tokio::join!(TcpStream::connect(addr), door.accept());
        let (stream, _) = accepted.expect("it is open").expect("no error");
        assert!(stream.nodelay().expect("TCP has it"));
        drop(peer);
        door.close();
        assert!(door.accept().await.is_none());
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
