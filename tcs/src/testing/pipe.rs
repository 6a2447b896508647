//! A connection in memory that can be reset.

use std::{
    any::{Any, type_name},
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
};

use super::faults::FaultyStream;

/// Creates a connection in memory. Each direction holds up to `len` unread bytes.
///
/// # Examples
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut near, far) = tcs::testing::pipe(64);
/// near.write_all(b"lost").await?;
/// far.reset();
/// let error = near.read_u8().await.expect_err("it was reset");
/// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
/// # Ok(())
/// # }
/// ```
pub fn pipe(len: usize) -> (Pipe, Pipe) {
    let (near, far) = duplex(len);
    let is_reset = Arc::new(AtomicBool::new(false));
    let end = |stream| Pipe {
        stream,
        is_reset: Arc::clone(&is_reset),
        _open: None,
    };
    (end(near), end(far))
}

/// One end of a connection in memory. See [`pipe`].
///
/// Dropping an end closes the connection. The other end can still read the bytes that were sent before.
#[derive(Debug)]
pub struct Pipe {
    stream: DuplexStream,
    is_reset: Arc<AtomicBool>,
    /// Held until this end is closed.
    _open: Option<Arc<()>>,
}

impl Pipe {
    /// Holds `open` until this end is closed.
    pub(super) fn holding(self, open: Arc<()>) -> Self {
        Self {
            _open: Some(open),
            ..self
        }
    }

    /// Resets the connection: the other end gets [`ConnectionReset`](io::ErrorKind::ConnectionReset), also in place of
    /// bytes that it has not read.
    pub fn reset(self) {
        // Dropping the stream wakes the other end.
        self.is_reset.store(true, Relaxed);
    }

    fn check_reset(&self) -> io::Result<()> {
        if self.is_reset.load(Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// A stream of any type. [`reset`] can reset a [`Pipe`], a TCP stream, and a [`FaultyStream`] around one of them.
pub(super) trait TestStream: AsyncRead + AsyncWrite + Any + Send + Unpin {
    /// Returns the name of the type, for messages.
    fn type_name(&self) -> &'static str {
        type_name::<Self>()
    }
}

impl<S: AsyncRead + AsyncWrite + Any + Send + Unpin> TestStream for S {}

impl fmt::Debug for dyn TestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

/// Resets a [`TestStream`], which is dropped next.
///
/// # Panics
///
/// Panics for a stream of any other type: closing it would test something else.
pub(super) fn reset(stream: &mut dyn Any, name: &str) {
    if let Some(pipe) = stream.downcast_mut::<Pipe>() {
        pipe.is_reset.store(true, Relaxed);
    } else if let Some(stream) = stream.downcast_mut::<TcpStream>() {
        // This fails on a socket that was reset already.
        stream.set_zero_linger().ok();
    } else if let Some(faulty) = stream.downcast_mut::<FaultyStream>() {
        faulty.reset();
    } else {
        panic!("{name} cannot be reset: use a `Pipe` or a `TcpStream`");
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_reset()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
