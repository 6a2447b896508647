//! A stream that notes how it is used.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// One end of a pipe in memory, and the sizes of the writes to it.
#[derive(Debug)]
pub struct Counted {
    stream: DuplexStream,
    writes: Writes,
}

/// The sizes of the writes to a [`Counted`] stream, and how often it was asked for bytes.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    sizes: Arc<Mutex<Vec<usize>>>,
    reads: Arc<AtomicUsize>,
}

impl Writes {
    /// Returns the sizes since the last call.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.sizes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how often the stream was asked for bytes, whether there were any or not.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

/// Wraps one end of a pipe.
pub fn counted(stream: DuplexStream) -> (Counted, Writes) {
    let writes = Writes::default();
    let counted = Counted {
        stream,
        writes: writes.clone(),
    };
    (counted, writes)
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.writes.reads.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let sizes = &self.writes.sizes;
        sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
