//! The state shared by all connections of a server.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream};

use super::config::Limits;
use crate::socket::{canonical, send_without_delay};

/// The state shared by all connections of a server.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) protocol: P,
    pub(super) limits: Limits,
    /// Whether the server answers only one request. The first request then closes the listener.
    pub(super) is_once: bool,
    pub(super) listener: Listener,
}

impl<P> Shared<P> {
    /// Creates the shared state of a server that does not listen yet.
    pub(super) fn new(protocol: P, limits: Limits, is_once: bool) -> Self {
        Self {
            protocol,
            limits,
            is_once,
            listener: Listener::default(),
        }
    }
}

/// The listening socket. A connection can close it.
#[derive(Debug, Default)]
pub(super) struct Listener(Mutex<Option<TcpListener>>);

impl Listener {
    pub(super) fn open(&self, listener: TcpListener) {
        *self.lock() = Some(listener);
    }

    /// Stops listening. Peers that wait in the backlog are reset.
    ///
    /// It need not wake a task in [`poll_accept`](Self::poll_accept). A once server has one permit, so it
    /// does not accept while a connection closes the listener, and others stop accepting before they
    /// close it.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    /// Accepts a connection. Returns `Ready(None)` if the listener is closed.
    ///
    /// A connection that is not accepted stays in the backlog.
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        let accepted = match &*self.lock() {
            Some(listener) => ready!(listener.poll_accept(cx)),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(accepted.map(|(stream, addr)| {
            send_without_delay(&stream);
            (stream, canonical(addr))
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn accepted_connection_sends_without_delay() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = socket.local_addr().expect("it listens");
        let listener = Listener::default();
        listener.open(socket);
        let accept = || poll_fn(|cx| listener.poll_accept(cx));
        let (peer, accepted) = tokio::join!(TcpStream::connect(addr), accept());
        let (stream, _) = accepted.expect("it is open").expect("no error");
        assert!(stream.nodelay().expect("TCP has it"));
        drop(peer);
        listener.close();
        assert!(accept().await.is_none());
    }
}
