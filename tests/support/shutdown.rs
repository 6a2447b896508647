//! A stream that is shut down in a way of its own.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// One end of a pipe with another `poll_shutdown`.
struct WithShutdown<F> {
    stream: DuplexStream,
    shutdown: F,
}

/// Replaces `poll_shutdown` of `stream` by `shutdown`.
pub fn with_shutdown<F>(
    stream: DuplexStream,
    shutdown: F,
) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static
where
    F: FnMut(Pin<&mut DuplexStream>, &mut Context<'_>) -> Poll<io::Result<()>>
        + Send
        + Unpin
        + 'static,
{
    WithShutdown { stream, shutdown }
}

impl<F: Unpin> AsyncRead for WithShutdown<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<F> AsyncWrite for WithShutdown<F>
where
    F: FnMut(Pin<&mut DuplexStream>, &mut Context<'_>) -> Poll<io::Result<()>> + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, shutdown } = &mut *self;
        shutdown(Pin::new(stream), cx)
    }
}
