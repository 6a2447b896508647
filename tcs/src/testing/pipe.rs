//! A connection in memory that can be reset.

use std::{
    any::{Any, type_name},
    io,
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

/// Resets a [`Pipe`] or a TCP stream, also inside of up to three [`FaultyStream`]s.
///
/// # Panics
///
/// Panics for any other stream: closing it would test something else.
pub(super) fn reset<S: 'static>(mut stream: S) {
    type Faulty<S> = FaultyStream<S>;

    let any: &mut dyn Any = &mut stream;
    if let Some(pipe) = any.downcast_mut::<Pipe>() {
        pipe.is_reset.store(true, Relaxed);
    } else if let Some(stream) = any.downcast_mut::<TcpStream>() {
        // This fails on a socket that was reset already.
        stream.set_zero_linger().ok();
    } else {
        let is_reset = reset_inside::<Pipe>(any)
            || reset_inside::<TcpStream>(any)
            || reset_inside::<Faulty<Pipe>>(any)
            || reset_inside::<Faulty<TcpStream>>(any)
            || reset_inside::<Faulty<Faulty<Pipe>>>(any)
            || reset_inside::<Faulty<Faulty<TcpStream>>>(any);
        let name = type_name::<S>();
        assert!(
            is_reset,
            "{name} cannot be reset: use a `Pipe` or a `TcpStream`"
        );
    }
}

/// Resets the stream in a [`FaultyStream`]. Returns `true` if `any` is one.
fn reset_inside<S: 'static>(any: &mut dyn Any) -> bool {
    let faulty = any.downcast_mut::<FaultyStream<S>>();
    let is_faulty = faulty.is_some();
    // A `FaultyStream` that was cut has no stream any more.
    let inner = faulty.and_then(FaultyStream::take);
    inner.into_iter().for_each(reset);
    is_faulty
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
