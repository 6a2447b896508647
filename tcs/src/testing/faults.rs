//! Faults of a network: pieces of any size, cuts, resets and stalls.

use std::{
    io,
    mem::replace,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pipe::{TestStream, reset};

/// When a connection is cut, in bytes of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a stream has two directions")]
pub enum At {
    /// The owner of the stream has read this many bytes.
    Read(usize),
    /// The owner of the stream has written this many bytes.
    Written(usize),
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "so that a test can try all of them: `Cut::ALL`"
)]
pub enum Cut {
    /// Both ends read the end: the owner at once, and the other end after the bytes that have arrived before.
    Close,
    /// The direction of [`At`] ends. Bytes still go in the other direction.
    HalfClose,
    /// Both ends get errors, also in place of bytes that have arrived before.
    ///
    /// Only a [`Pipe`](super::Pipe) and a TCP stream can be reset, also inside of `FaultyStream`s. Any other stream panics.
    Reset,
    /// Nothing is read or written any more, and the connection stays open.
    Stall,
}

impl Cut {
    /// All ways to cut a connection.
    pub const ALL: [Self; 4] = [Self::Close, Self::HalfClose, Self::Reset, Self::Stall];
}

/// A stream with faults, around any other stream.
///
/// # Examples
///
/// A client whose connection is reset after three bytes of the reply:
///
/// ```
/// use tcs::{Connection, Execution, server_protocol, testing::{At, Cut, FaultyStream, serve}};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = serve(Greet).await;
/// let stream = FaultyStream::new(server.stream()).bytewise().cut(At::Read(3), Cut::Reset);
/// let error = Connection::over(stream).call::<Greet>("Ann").await.expect_err("no reply");
/// assert_eq!(error.execution(), Execution::Unknown);
/// assert_eq!(server.finish().await.requests.received, 1);
/// # }
/// ```
#[derive(Debug)]
pub struct FaultyStream {
    /// The stream, or `None` once it was closed or reset.
    stream: Option<Box<dyn TestStream>>,
    chunks: Chunks,
    reading: Half,
    writing: Half,
    cut: Option<(At, Cut)>,
    /// Whether the connection was cut.
    is_cut: bool,
    /// Whether the sending half must still be closed, which may take a stream several polls.
    must_shut_down: bool,
    /// Whether a shutdown never ends.
    is_unclosable: bool,
    counts: Option<Arc<ByteCounts>>,
}

/// The two directions of a stream, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// The state of one direction.
#[derive(Debug)]
struct Half {
    /// The number of bytes so far.
    count: usize,
    /// Whether the last poll transferred bytes, so that the next one waits.
    must_wait: bool,
    /// The task that waits, so that a cut by one task wakes the other.
    waker: Option<Waker>,
}

impl Half {
    const NEW: Self = Self {
        count: 0,
        must_wait: false,
        waker: None,
    };
}

/// The number of bytes that are read or written at a time.
#[derive(Debug)]
enum Chunks {
    Whole,
    UpTo(usize),
    Random(Rng),
}

/// The bytes that have gone over a stream.
#[derive(Debug, Default)]
pub(super) struct ByteCounts {
    pub(super) read: AtomicUsize,
    pub(super) written: AtomicUsize,
}

impl FaultyStream {
    /// Wraps a stream, without faults.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            stream: Some(Box::new(stream)),
            chunks: Chunks::Whole,
            reading: Half::NEW,
            writing: Half::NEW,
            cut: None,
            is_cut: false,
            must_shut_down: false,
            is_unclosable: false,
            counts: None,
        }
    }

    /// Reads and writes one byte at a time, and lets other tasks run in between.
    #[must_use]
    pub fn bytewise(self) -> Self {
        self.chunked(1)
    }

    /// Reads and writes at most `len` bytes at a time, and lets other tasks run in between.
    ///
    /// # Panics
    ///
    /// Panics if `len` is zero.
    #[must_use]
    pub fn chunked(mut self, len: usize) -> Self {
        assert!(len > 0, "a piece has at least a byte");
        self.chunks = Chunks::UpTo(len);
        self
    }

    /// Reads and writes in random pieces, and sometimes lets other tasks run in between.
    pub(super) fn in_random_pieces(mut self, rng: Rng) -> Self {
        self.chunks = Chunks::Random(rng);
        self
    }

    /// Cuts the connection once the number of bytes in `at` was read or written.
    #[must_use]
    pub fn cut(mut self, at: At, cut: Cut) -> Self {
        self.cut = Some((at, cut));
        self
    }

    /// Never closes the sending half: a shutdown waits forever.
    #[must_use]
    pub fn unclosable(mut self) -> Self {
        self.is_unclosable = true;
        self
    }

    /// Resets the inner stream, unless it was cut.
    pub(super) fn reset(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            let name = (*stream).type_name();
            reset(&mut *stream, name);
        }
    }

    /// Adds the numbers of bytes that are read and written to these counts.
    pub(super) fn counted(mut self, counts: Arc<ByteCounts>) -> Self {
        self.counts = Some(counts);
        self
    }

    /// Cuts the connection if the byte of the cut is reached. Returns `true` if this direction has ended, or `Pending` if
    /// it stalls.
    fn poll_cut(&mut self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<bool>> {
        let (end, count, cut_direction, cut) = match self.cut {
            Some((At::Read(end), cut)) => (end, self.reading.count, Direction::Read, cut),
            Some((At::Written(end), cut)) => (end, self.writing.count, Direction::Write, cut),
            None => return Poll::Ready(Ok(false)),
        };
        if count < end {
            return Poll::Ready(Ok(false));
        }
        if !replace(&mut self.is_cut, true) {
            self.apply(cut, cut_direction);
        }
        if self.must_shut_down
            && let Some(stream) = &mut self.stream
            && Pin::new(stream).poll_shutdown(cx).is_ready()
        {
            self.must_shut_down = false;
        }
        match cut {
            Cut::Stall => Poll::Pending,
            Cut::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Cut::HalfClose if direction != cut_direction => Poll::Ready(Ok(false)),
            Cut::Close | Cut::HalfClose => Poll::Ready(Ok(true)),
        }
    }

    fn apply(&mut self, cut: Cut, direction: Direction) {
        match cut {
            Cut::Close => self.stream = None,
            Cut::Reset => self.reset(),
            Cut::HalfClose => self.must_shut_down = direction == Direction::Write,
            Cut::Stall => {}
        }
        let waiting = [self.reading.waker.take(), self.writing.waker.take()];
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns how many of `len` bytes may be read or written now. Wakes the task to try again if the result is zero.
    fn allowed_len(&mut self, cx: &mut Context<'_>, direction: Direction, len: usize) -> usize {
        let Half { must_wait, .. } = match direction {
            Direction::Read => &mut self.reading,
            Direction::Write => &mut self.writing,
        };
        let (size, waits) = match &mut self.chunks {
            Chunks::Whole => return len,
            Chunks::UpTo(len) => (*len, *must_wait),
            // The pieces have all magnitudes, because most limits are for small or for large pieces.
            Chunks::Random(rng) => {
                let most = 1 << rng.u32(0..14);
                (rng.usize(1..=most), *must_wait && rng.bool())
            }
        };
        *must_wait = !waits;
        if waits {
            cx.waker().wake_by_ref();
            return 0;
        }
        len.min(size)
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.reading.waker = Some(cx.waker().clone());
        if ready!(this.poll_cut(cx, Direction::Read))? {
            return Poll::Ready(Ok(()));
        }
        let mut len = this.allowed_len(cx, Direction::Read, buffer.remaining());
        if len == 0 && buffer.remaining() > 0 {
            return Poll::Pending;
        }
        if let Some((At::Read(end), _)) = this.cut {
            len = len.min(end - this.reading.count);
        }
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Ok(()));
        };
        let len = len.min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(len));
        let Poll::Ready(result) = Pin::new(stream).poll_read(cx, &mut piece) else {
            // A piece that has not arrived yet needs no further wait.
            this.reading.must_wait = false;
            return Poll::Pending;
        };
        result?;
        let count = piece.filled().len();
        buffer.advance(count);
        this.reading.count += count;
        if let Some(counts) = &this.counts {
            counts.read.fetch_add(count, Relaxed);
        }
        // The bytes that were read had arrived. The cut applies to later bytes, unless this end reads nothing more.
        let _later = this.poll_cut(cx, Direction::Read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.writing.waker = Some(cx.waker().clone());
        if ready!(this.poll_cut(cx, Direction::Write))? {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut len = this.allowed_len(cx, Direction::Write, bytes.len());
        if len == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        if let Some((At::Written(end), _)) = this.cut {
            len = len.min(end - this.writing.count);
        }
        let (Some(stream), Some(piece)) = (&mut this.stream, bytes.get(..len)) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let count = ready!(Pin::new(stream).poll_write(cx, piece))?;
        this.writing.count += count;
        if let Some(counts) = &this.counts {
            counts.written.fetch_add(count, Relaxed);
        }
        // The stream has taken the bytes that were written. The cut applies to later bytes, unless this end writes
        // nothing more.
        let _later = this.poll_cut(cx, Direction::Write);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.writing.waker = Some(cx.waker().clone());
        if ready!(this.poll_cut(cx, Direction::Write))? {
            return Poll::Ready(Ok(()));
        }
        match &mut this.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.writing.waker = Some(cx.waker().clone());
        if this.is_unclosable {
            return Poll::Pending;
        }
        // A sending half that was cut is shut down as well, until it has ended.
        let _either = ready!(this.poll_cut(cx, Direction::Write))?;
        match &mut this.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
