//! One type for the streams of all transports.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy, empty, join, sink},
    net::TcpStream,
};

/// The stream of a connection, over any transport.
///
/// A server's connections have this type for all transports. So a protocol is compiled once, and a handshake can
/// replace the stream by another.
pub struct Stream {
    io: Box<dyn ReadWrite>,
    closes_on_drop: bool,
    /// The most bytes of a write, if the stream is the TLS of a client.
    max_write: Option<u16>,
}

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for S {}

impl Stream {
    /// Creates a stream from any stream of bytes.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            io: Box::new(stream),
            closes_on_drop: false,
            max_write: None,
        }
    }

    /// Creates a stream from the TLS of a client, whose records have at most this many bytes.
    #[cfg(feature = "tls")]
    pub(super) fn client_tls(
        stream: tokio_rustls::client::TlsStream<Self>,
        max_record_len: u16,
    ) -> Self {
        Self {
            max_write: Some(max_record_len),
            ..Self::new(stream)
        }
    }

    /// Creates a stream from a socket, which needs no closing message before it is dropped.
    pub(crate) fn socket(stream: TcpStream) -> Self {
        Self {
            closes_on_drop: true,
            ..Self::new(stream)
        }
    }

    /// Returns `true` if dropping the stream closes it. TLS has a closing message of its own.
    pub(crate) const fn closes_on_drop(&self) -> bool {
        self.closes_on_drop
    }

    /// Takes the stream, and leaves one without bytes.
    pub(crate) fn take(&mut self) -> Self {
        // A box of a type without size allocates nothing.
        std::mem::replace(self, Self::new(join(empty(), empty())))
    }
}

/// Closes the sending half, and drops what the peer sends until it closes.
///
/// A socket that is closed with unread bytes is reset, and the peer could lose the last bytes that were sent to it.
pub(crate) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    copy(&mut stream, &mut sink()).await.map(drop)
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(most) = self.max_write {
            // A write of `tokio-rustls` may fail after it has sent some of its records, though a failed write must have
            // sent nothing: its requests would be sent again. The server can read no part of a single record.
            ready!(Pin::new(&mut *self.io).poll_flush(cx))?;
            bytes = bytes.get(..most.into()).unwrap_or(bytes);
        }
        Pin::new(&mut *self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
