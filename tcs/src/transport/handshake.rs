//! Handshakes, which run between accepting a connection and the first byte of its protocol.

use std::{fmt, io, pin::Pin};

use super::Stream;
use crate::Peer;

/// A step between accepting a connection and the first byte of its protocol, such as TLS.
///
/// A handshake runs in the task of its connection, so it delays no other connection. It is dropped, together with the
/// stream, after [`handshake_timeout`](crate::server::Server::handshake_timeout), or a second after the server is
/// stopped. Meanwhile, the connection counts towards `max_connections`. Clients have no handshakes: perform yours on a
/// connected stream, and pass the stream to [`Connection::over`](crate::Connection::over).
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
///     async fn perform(&self, mut stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
///         // A protocol function finds it with `peer.get::<Model>()`.
///         peer.insert(Model(stream.read_u8().await?));
///         Ok(stream)
///     }
/// }
/// ```
pub trait Handshake: Send + Sync + 'static {
    /// Performs the handshake, and returns the stream for the protocol.
    ///
    /// Read only the bytes of the handshake. If you read with a [`BufReader`](tokio::io::BufReader), which reads more,
    /// return the reader itself: `Ok(Stream::new(reader))`.
    ///
    /// # Errors
    ///
    /// An error closes the connection, and is logged: at DEBUG if its kind is
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), for a peer that has left without sending a byte, as a
    /// health check does, and at INFO otherwise. To tell the peer, write to the stream first, shut it down, and
    /// read for a moment: a socket that is closed with unread bytes is reset, and the peer may lose what you wrote.
    fn perform(
        &self,
        stream: Stream,
        peer: &mut Peer,
    ) -> impl Future<Output = io::Result<Stream>> + Send;

    /// Returns `true` if the handshake may change the address of this peer. Default: `true`.
    ///
    /// If it may, the limits per address, such as
    /// [`max_connections_per_address`](crate::server::Server::max_connections_per_address), apply after the handshakes,
    /// and otherwise before them.
    fn may_change_addr(&self, peer: &Peer) -> bool {
        let _ = peer;
        true
    }
}

/// Returns the error of a peer that has left before the first byte of its handshake.
#[cfg(any(feature = "proxy", feature = "tls"))]
pub(super) fn nothing_sent() -> io::Error {
    let reason = "the peer closed before the first byte";
    io::Error::new(io::ErrorKind::ConnectionAborted, reason)
}

/// A [`Handshake`] of any type.
pub(crate) trait DynHandshake: Send + Sync {
    fn perform_boxed<'a>(
        &'a self,
        stream: Stream,
        peer: &'a mut Peer,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;

    fn may_change_addr(&self, peer: &Peer) -> bool;
}

impl<H: Handshake> DynHandshake for H {
    fn perform_boxed<'a>(
        &'a self,
        stream: Stream,
        peer: &'a mut Peer,
    ) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>> {
        Box::pin(self.perform(stream, peer))
    }

    fn may_change_addr(&self, peer: &Peer) -> bool {
        Handshake::may_change_addr(self, peer)
    }
}

impl fmt::Debug for dyn DynHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}
