//! Functions that take their connection over.

use std::{
    cmp::min,
    fmt,
    io::{self, IoSlice},
    marker::PhantomData,
    mem::take,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use crate::transport::Stream;

/// No take-over: the `U` of a [`Response<T, U>`](crate::Response) that only replies. It has no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "it has no values")]
pub enum NoUpgrade {}

/// The code that takes a connection over after a reply. Created by [`Response::upgrade`](crate::Response::upgrade).
///
/// A function whose return type is `Response<T, Upgrade<'_>>` may return one.
pub struct Upgrade<'a>(Option<Box<dyn TakeOver + 'a>>);

type Serving<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A closure that serves a stream. In contrast to an `FnOnce`, it can be used where a shorter lifetime is expected.
trait TakeOver: Send {
    fn serve<'a>(self: Box<Self>, io: Upgraded) -> Serving<'a>
    where
        Self: 'a;
}

/// `S` is the future, which lives as long as the closure.
struct Closure<F, S>(F, PhantomData<fn() -> S>);

impl<F, S> TakeOver for Closure<F, S>
where
    F: FnOnce(Upgraded) -> S + Send,
    S: Future<Output = ()> + Send,
{
    fn serve<'a>(self: Box<Self>, io: Upgraded) -> Serving<'a>
    where
        Self: 'a,
    {
        let Self(closure, _) = *self;
        Box::pin(closure(io))
    }
}

impl<'a> Upgrade<'a> {
    pub(crate) fn new<F, S>(closure: F) -> Self
    where
        F: FnOnce(Upgraded) -> S + Send + 'a,
        S: Future<Output = ()> + Send + 'a,
    {
        Self(Some(Box::new(Closure(closure, PhantomData))))
    }

    /// Takes the closure, unless it was taken before.
    pub(crate) fn take(&mut self) -> Option<Self> {
        self.0.take().map(|closure| Self(Some(closure)))
    }

    /// Returns `true` if the closure was taken.
    pub(crate) const fn is_taken(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the future that serves the stream.
    pub(crate) fn serve(self, io: Upgraded) -> Option<Serving<'a>> {
        self.0.map(|closure| closure.serve(io))
    }
}

impl fmt::Debug for Upgrade<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// The stream of a connection that a function has taken over.
///
/// The stream first yields what the peer has sent after the request, without the rest of a block
/// ([`Requests::exactly`](crate::protocol::Requests::exactly)) that the function did not take. Flush it after you write:
/// TLS keeps bytes that its socket has not taken. When the stream is dropped, the server closes the connection, as after a
/// last reply: it closes its sending half, and drops input for at most [`linger`](crate::server::Server::linger).
///
/// The stream may be moved elsewhere, such as to another task. The connection lasts until the stream is dropped.
pub struct Upgraded {
    stream: Option<Stream>,
    /// The bytes that were read before.
    unread: Vec<u8>,
    /// How many bytes of `unread` were taken.
    taken: usize,
    /// How many bytes after them are dropped: the rest of a block that the function did not take.
    skip: usize,
    /// Whether the input ends after `unread`.
    has_ended: bool,
    totals: Transferred,
    home: Option<oneshot::Sender<Returned>>,
}

/// A stream that its function no longer needs.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) stream: Stream,
    pub(crate) totals: Transferred,
}

/// How many bytes a function has transferred.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transferred {
    pub(crate) received: usize,
    pub(crate) sent: usize,
}

impl Upgraded {
    /// Creates the stream for a function. The stream comes back when the function drops it.
    pub(crate) fn new(
        stream: Stream,
        unread: Vec<u8>,
        has_ended: bool,
        skip: usize,
    ) -> (Self, oneshot::Receiver<Returned>) {
        let (home, returned) = oneshot::channel();
        let upgraded = Self {
            stream: Some(stream),
            unread,
            taken: 0,
            skip,
            has_ended,
            totals: Transferred::default(),
            home: Some(home),
        };
        (upgraded, returned)
    }

    /// Returns the rest of the bytes that were read before.
    fn rest(&self) -> &[u8] {
        self.unread.get(self.taken..).unwrap_or_default()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        // The stream is there until the drop.
        let stream = self.stream.as_mut();
        stream
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn count_sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let sent = ready!(sent)?;
        self.totals.sent += sent;
        Poll::Ready(Ok(sent))
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.rest();
        if !rest.is_empty() {
            let piece = rest.get(..min(rest.len(), buffer.remaining()));
            let piece = piece.unwrap_or_default();
            buffer.put_slice(piece);
            self.taken += piece.len();
            if self.rest().is_empty() {
                drop(take(&mut self.unread));
                self.taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        while self.skip > 0 && buffer.remaining() > 0 {
            let mut dropped = buffer.take(self.skip);
            ready!(self.stream()?.poll_read(cx, &mut dropped))?;
            let count = dropped.filled().len();
            self.totals.received += count;
            self.skip = if count == 0 { 0 } else { self.skip - count };
        }
        let before = buffer.filled().len();
        ready!(self.stream()?.poll_read(cx, buffer))?;
        self.totals.received += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = self.stream()?.poll_write(cx, bytes);
        self.count_sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.stream()?.poll_write_vectored(cx, slices);
        self.count_sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        if let (Some(stream), Some(home)) = (self.stream.take(), self.home.take()) {
            let totals = self.totals;
            // If the connection has ended, the stream is dropped.
            drop(home.send(Returned { stream, totals }));
        }
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("unread", &self.rest().len())
            .finish_non_exhaustive()
    }
}
