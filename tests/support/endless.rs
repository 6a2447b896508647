//! A stream that always has more.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that is ready whenever it is read or written, and has no part in tokio's cooperative
/// scheduling.
#[derive(Debug)]
pub struct Endless {
    unread: Vec<u8>,
    more: Vec<u8>,
    ends: Instant,
    /// Whether it has something to read only once it was written to.
    is_silent: bool,
    reader: Option<Waker>,
    read: Arc<AtomicUsize>,
}

/// So that a server that reads for ever fails its test instead of keeping it.
const LIMIT: Duration = Duration::from_secs(6);

impl Endless {
    /// A stream of `first`, and then of `more` again and again.
    pub fn new(first: Vec<u8>, more: Vec<u8>) -> Self {
        Self {
            unread: first,
            more,
            ends: Instant::now() + LIMIT,
            is_silent: false,
            reader: None,
            read: Arc::default(),
        }
    }

    /// Counts the bytes that are read.
    pub fn read_bytes(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.read)
    }

    /// A stream of `more` again and again, from the first write on.
    pub fn after_a_write(more: Vec<u8>) -> Self {
        Self {
            is_silent: true,
            ..Self::new(Vec::new(), more)
        }
    }
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_silent {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.unread.is_empty() {
            if Instant::now() >= self.ends {
                return Poll::Ready(Ok(()));
            }
            self.unread = self.more.clone();
        }
        let count = buffer.remaining().min(self.unread.len());
        buffer.put_slice(&self.unread[..count]);
        self.unread.drain(..count);
        self.read.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_silent = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
