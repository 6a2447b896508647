//! What happens between accepting a connection and the first byte of its protocol.

use std::{fmt, io, pin::Pin};

use super::Stream;
use crate::Peer;

/// A step between accepting a connection and the first byte of its protocol, such as TLS.
///
/// It runs in the task of the connection, so a slow one delays no other connection. The connection counts
/// against `max_connections` meanwhile. After
/// [`handshake_timeout`](crate::server::Server::handshake_timeout), or when the server is stopped, the handshake
/// and the stream are dropped.
///
/// # Examples
///
/// Devices that begin with a byte for their model:
///
/// ```
/// use std::io;
/// use tcs::{Peer, transport::{Handshake, Stream}};
/// use tokio::io::AsyncReadExt as _;
///
/// struct Model(u8);
///
/// struct ReadModel;
///
/// impl Handshake for ReadModel {
///     async fn open(&self, mut stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
///         // A protocol function finds it with `peer.get::<Model>()`.
///         peer.insert(Model(stream.read_u8().await?));
///         Ok(stream)
///     }
/// }
/// ```
pub trait Handshake: Send + Sync + 'static {
    /// Performs the handshake. Returns the stream that the protocol is spoken on.
    ///
    /// # Errors
    ///
    /// An error closes the connection, and is logged. To tell the peer, write to the stream before, shut it down, and
    /// read what the peer sends for a moment: a socket that is closed with unread bytes is reset, and the peer may lose
    /// what you wrote.
    fn open(
        &self,
        stream: Stream,
        peer: &mut Peer,
    ) -> impl Future<Output = io::Result<Stream>> + Send;
}

/// A [`Handshake`] of any type.
pub(crate) trait DynHandshake: Send + Sync {
    fn open_boxed<'a>(
        &'a self,
        stream: Stream,
        peer: &'a mut Peer,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;
}

impl<H: Handshake> DynHandshake for H {
    fn open_boxed<'a>(
        &'a self,
        stream: Stream,
        peer: &'a mut Peer,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>> {
        Box::pin(self.open(stream, peer))
    }
}

impl fmt::Debug for dyn DynHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}
