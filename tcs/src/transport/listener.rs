//! Listeners, and the connections that they accept.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{DynHandshake, Handshake, Stream};
use crate::Peer;

/// Accepts connections for a server.
///
/// # Examples
///
/// A listener that accepts one connection over any stream:
///
/// ```
/// use std::io;
/// use tcs::{
///     ConcurrentServer, Peer,
///     transport::{Incoming, Listener},
/// };
/// use tokio::io::DuplexStream;
///
/// struct Single(Option<DuplexStream>);
///
/// impl Listener for Single {
///     async fn accept(&mut self) -> io::Result<Option<Incoming>> {
///         Ok(self.0.take().map(|stream| Incoming::new(stream, Peer::unnamed())))
///     }
///
///     fn name(&self) -> String {
///         "single".to_owned()
///     }
/// }
///
/// # #[tcs::server_protocol]
/// # fn greet(name: &str) -> String {
/// #     format!("Hello, {name}!")
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let (near, far) = tokio::io::duplex(1 << 10);
/// let server = ConcurrentServer::new(Greet).listener(Single(Some(far)));
/// drop(near);
/// let report = server.listen().await?;
/// assert_eq!(report.connections.closed, 1);
/// # Ok(())
/// # }
/// ```
pub trait Listener: Send + 'static {
    /// Waits for the next connection, or returns `None` if there will be no more.
    ///
    /// Once every listener has returned `None`, the server drains, which closes idle connections, and returns. To let
    /// these continue, wait for them before you return `None`. The server sets no options on your sockets, such as
    /// `TCP_NODELAY`.
    ///
    /// The server calls this method when it has room for a connection. It polls the future to completion, or drops it
    /// with the listener, so the future need not be cancel safe.
    ///
    /// # Errors
    ///
    /// An error is logged, and the server calls this method again: immediately if the connection was lost before it was
    /// accepted, and otherwise after 100 ms. The server stops calling this method after an error that says that the
    /// descriptor does not listen (`EINVAL`; on Unix also `EBADF` and `ENOTSOCK`; on Linux also `ENOSYS`), after one of
    /// the kind [`NotConnected`](io::ErrorKind::NotConnected), and after a panic. When no listener is left, the server
    /// drains and returns the last of these errors.
    fn accept(&mut self) -> impl Future<Output = io::Result<Option<Incoming>>> + Send;

    /// Returns a name for the log, such as an address or a path.
    fn name(&self) -> String;

    /// Returns the socket address of the listener. Default: `None`.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// Adds a handshake, which runs after those that the listener has.
    fn with_handshake(self, handshake: impl Handshake) -> WithHandshake<Self>
    where
        Self: Sized,
    {
        WithHandshake {
            listener: self,
            handshakes: vec![Arc::new(handshake)],
        }
    }
}

/// A connection that a [`Listener`] has accepted.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) handshakes: Vec<Arc<dyn DynHandshake>>,
}

impl Incoming {
    /// Creates a connection from its stream and its peer.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) -> Self {
        Self {
            stream: Stream::new(stream),
            peer,
            local_addr: None,
            handshakes: Vec::new(),
        }
    }

    /// Sets the address that the peer has connected to. Default: `None`.
    #[must_use]
    pub fn with_local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }
}

/// A listener whose connections begin with a handshake. See [`Listener::with_handshake`].
pub struct WithHandshake<L> {
    pub(crate) listener: L,
    pub(crate) handshakes: Vec<Arc<dyn DynHandshake>>,
}

impl<L: Listener> Listener for WithHandshake<L> {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let mut accepted = self.listener.accept().await?;
        if let Some(incoming) = &mut accepted {
            incoming.handshakes.extend(self.handshakes.iter().cloned());
        }
        Ok(accepted)
    }

    fn name(&self) -> String {
        self.listener.name()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<L: fmt::Debug> fmt::Debug for WithHandshake<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithHandshake")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
