//! The receive buffer: bytes that have arrived and are not consumed yet.
//!
//! ```text
//! | consumed | unread: whole frames, and the beginning of one | room |
//! 0        start                                            len   capacity
//! ```
//!
//! A read moves the unread bytes to the front and appends to them, so a frame is always in one piece. The bytes do
//! not move between two reads: requests borrow from them. While a function holds such a request, further bytes go
//! into a [`ReadAhead`].

use std::{
    io,
    ops::Range,
    pin::pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::coop,
};

use super::{
    ahead::ReadAhead,
    pool::{self, NEW_CAPACITY},
};
use crate::{
    framing::{Input, ParsedFrame, ReadState, Side},
    runtime::wake_after_others,
};

/// From this capacity on, a buffer grows by half instead of doubling. A frame of 16 MiB then fits
/// into the memory that `malloc` keeps for reuse (32 MiB, `M_MMAP_THRESHOLD` in mallopt(3)).
const LARGE: usize = 1 << 20;
/// The capacity of the smallest buffer for the beginning of a frame.
const SMALLEST: usize = 256;

/// The receive buffer of a connection.
///
/// It grows with the bytes that arrive, never with a length that a peer claims. While it is empty and a
/// read has to wait, its memory is in the pool.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    buffer: Vec<u8>,
    position: Position,
    read_state: ReadState,
}

/// How far frames were taken off.
#[derive(Debug, Default)]
struct Position {
    /// The start of the unread bytes.
    start: usize,
    /// The number of bytes to drop when they arrive.
    skip: usize,
    /// The number of such bytes dropped so far.
    skipped: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            position: Position::default(),
            read_state: ReadState::Idle,
        }
    }
}

impl ReadBuffer {
    /// Returns the unread bytes as the input of a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Input<'_> {
        let unread = self.frame(self.position.start..self.buffer.len());
        Input::new(unread, limit, side, self.read_state)
    }

    /// Returns the unread bytes, to take frames off them.
    #[inline]
    pub(crate) fn frames(&mut self) -> Frames<'_> {
        Frames {
            bytes: &self.buffer,
            read_state: self.read_state,
            position: &mut self.position,
        }
    }

    /// Takes `consumed` bytes off the unread ones. Returns the position of `frame` in the buffer.
    ///
    /// Bytes that have not arrived yet are dropped when they do.
    #[inline]
    pub(crate) fn consume(&mut self, frame: &Range<usize>, consumed: usize) -> Range<usize> {
        let start = self.position.start;
        self.frames().skip(consumed);
        start + frame.start..start + frame.end
    }

    /// Returns `true` if bytes were taken off since the last read.
    #[inline]
    pub(crate) fn has_consumed(&self) -> bool {
        self.position.start > 0
    }

    /// Returns the bytes at `range`, a result of `consume` since the last read. Returns no bytes if
    /// the framing's range was out of bounds.
    #[inline]
    pub(crate) fn frame(&self, range: Range<usize>) -> &[u8] {
        slice(&self.buffer, range)
    }

    /// Returns `true` if a part of an unfinished frame has arrived.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.position.start != self.buffer.len() || self.position.skip > 0
    }

    /// Returns the number of bytes of an unfinished frame that have arrived.
    pub(crate) fn arrived_of_frame(&self) -> usize {
        if self.position.skip > 0 {
            self.position.skipped
        } else {
            self.unread_len()
        }
    }

    /// Returns `true` if the next bytes are the rest of a frame that was already handled.
    pub(crate) fn is_skipping(&self) -> bool {
        self.position.skip > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.read_state == ReadState::Eof
    }

    /// Reads once: first the bytes that were read ahead, then from the stream. On `Ready`, bytes were appended
    /// or `read_state` changed.
    ///
    /// Takes a buffer from the pool. Fails with `OutOfMemory` if there is no memory for more bytes.
    ///
    /// Keeps what was transferred: the buffer has all bytes that were read.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves 2 % of a lone request")]
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        self.make_room()?;
        if !ahead.is_empty() {
            self.take_ahead(ahead);
            return Poll::Ready(Ok(()));
        }
        let read = pin!(stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() && self.read_state == ReadState::MaybeMore {
            return self.unsure(cx);
        }
        let read = ready!(read)?;
        self.read_state = match read {
            0 => ReadState::Eof,
            _ if self.buffer.len() == self.buffer.capacity() => ReadState::MaybeMore,
            _ => ReadState::Idle,
        };
        if self.position.skip > 0 {
            self.skip_arrived();
        }
        Poll::Ready(Ok(()))
    }

    /// Decides whether more has arrived after a read that filled the buffer.
    #[cold]
    fn unsure(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !coop::has_budget_remaining() {
            // There may be more, but this task must let others run first.
            wake_after_others(cx);
            return Poll::Pending;
        }
        // The last read filled the buffer exactly.
        self.read_state = ReadState::Idle;
        Poll::Ready(Ok(()))
    }

    /// Drops the bytes that have arrived of a frame that was already handled.
    #[cold]
    fn skip_arrived(&mut self) {
        // Nothing else was unread, so these bytes are at the front.
        let skipped = self.position.skip.min(self.buffer.len());
        self.position.skip -= skipped;
        self.position.skipped += skipped;
        if self.position.skip > 0 {
            self.buffer.clear();
        } else {
            // `has_consumed` reports the frame, now that all of it was taken off.
            self.position.start = skipped;
        }
    }

    /// Takes as many of the bytes that were read ahead as there is room for.
    #[cold]
    fn take_ahead(&mut self, ahead: &mut ReadAhead) {
        self.read_state = ahead.move_to(&mut self.buffer);
        if self.position.skip > 0 {
            self.skip_arrived();
        }
    }

    /// Returns the memory to the pool if no bytes are left in it.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            pool::put(&mut self.buffer);
        }
    }

    /// Moves unread bytes that fill at most a quarter of their buffer to a smaller one.
    #[cold]
    pub(super) fn compact(&mut self) {
        let unread = self.buffer.get(self.position.start..).unwrap_or_default();
        let capacity = unread.len().next_power_of_two().max(SMALLEST);
        if capacity > self.buffer.capacity() / 4 {
            return;
        }
        let mut small = Vec::with_capacity(capacity);
        small.extend_from_slice(unread);
        pool::put(&mut self.buffer);
        self.buffer = small;
        self.position.start = 0;
    }

    #[cold]
    fn expand(&mut self) {
        let small = std::mem::replace(&mut self.buffer, pool::get());
        self.buffer.extend_from_slice(&small);
    }

    /// Resets the buffer for a new connection.
    #[inline]
    pub(crate) fn reset(&mut self) {
        self.buffer.clear();
        self.position = Position::default();
        self.read_state = ReadState::Idle;
    }

    /// Returns the number of unread bytes.
    #[inline]
    pub(crate) fn unread_len(&self) -> usize {
        self.buffer.len() - self.position.start
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[inline]
    fn make_room(&mut self) -> io::Result<()> {
        if self.position.start == self.buffer.len() {
            self.buffer.clear();
        } else if self.position.start > 0 {
            self.buffer.drain(..self.position.start);
        }
        self.position.start = 0;
        if self.buffer.capacity() < NEW_CAPACITY {
            self.expand();
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.grow()?;
        }
        Ok(())
    }

    /// Grows the buffer in proportion to the bytes that have arrived.
    #[cold]
    fn grow(&mut self) -> io::Result<()> {
        let capacity = self.buffer.capacity();
        let divisor = if capacity < LARGE { 1 } else { 2 };
        // The system may refuse the memory for a large frame. That must not end the process.
        Ok(self.buffer.try_reserve_exact(capacity / divisor)?)
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        pool::put(&mut self.buffer);
    }
}

/// The unread bytes of a [`ReadBuffer`], while frames are taken off them.
///
/// A frame borrows the bytes and not this value, so a loop can take the next frame while the last
/// is in use.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    read_state: ReadState,
    position: &'a mut Position,
}

impl<'a> Frames<'a> {
    /// Returns the unread bytes as the input of a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Input<'a> {
        let unread = slice(self.bytes, self.position.start..self.bytes.len());
        Input::new(unread, limit, side, self.read_state)
    }

    /// Takes a frame that has arrived off `input`. Returns its message, or nothing if the range of the
    /// message is out of bounds.
    #[inline]
    pub(crate) fn take(&mut self, input: Input<'a>, parsed: ParsedFrame) -> &'a [u8] {
        self.position.start += parsed.consumed;
        slice(input.bytes(), parsed.payload)
    }

    /// Skips a frame. The bytes of it that have not arrived are dropped when they do.
    #[inline]
    pub(crate) fn skip(&mut self, consumed: usize) {
        match consumed.checked_sub(self.bytes.len() - self.position.start) {
            None | Some(0) => self.position.start += consumed,
            Some(missing) => self.skip_ahead(missing),
        }
    }

    /// Returns `true` if no bytes are left.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.position.start == self.bytes.len()
    }

    /// Returns `true` if a part of an unfinished frame has arrived.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        !self.is_empty() || self.position.skip > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.read_state == ReadState::Eof
    }

    /// Marks `missing` bytes to be dropped when they arrive.
    #[cold]
    fn skip_ahead(&mut self, missing: usize) {
        self.position.skipped = self.bytes.len() - self.position.start;
        self.position.skip = missing;
        self.position.start = self.bytes.len();
    }
}

/// Returns the bytes at `range`, or no bytes if it is out of bounds.
#[inline]
fn slice(bytes: &[u8], range: Range<usize>) -> &[u8] {
    match bytes.get(range) {
        Some(slice) => slice,
        None => nothing(),
    }
}

/// Returns no bytes. It is out of line, so that the compiler makes a branch of it. A conditional move would
/// delay the usual case.
#[cold]
fn nothing() -> &'static [u8] {
    &[]
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Reads as a client does.
    fn poll_read<S: AsyncRead + Unpin>(
        read: &mut ReadBuffer,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        let polled = read.poll_read(&mut ReadAhead::default(), cx, stream);
        if polled.is_pending() {
            read.release();
        }
        polled
    }

    fn fill(read: &mut ReadBuffer, mut bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        match poll_read(read, &mut cx, &mut bytes) {
            Poll::Ready(filled) => filled.expect("slices have no errors"),
            Poll::Pending => panic!("slices are ready"),
        }
    }

    fn unread(read: &ReadBuffer) -> &[u8] {
        read.input(usize::MAX, Side::Server).bytes()
    }

    #[test]
    fn consumed_bytes_leave_and_the_rest_stays() {
        let mut read = ReadBuffer::default();
        fill(&mut read, b"abcdef");
        let frame = read.consume(&(1..3), 4);
        assert_eq!(read.frame(frame), b"bc");
        fill(&mut read, b"gh");
        assert_eq!(unread(&read), b"efgh");
        assert_eq!(read.arrived_of_frame(), 4);
    }

    #[test]
    fn bytes_consumed_before_they_arrive_are_dropped_when_they_do() {
        let mut read = ReadBuffer::default();
        fill(&mut read, b"abc");
        read.consume(&(0..0), 7);
        assert_eq!(read.arrived_of_frame(), 3);
        fill(&mut read, b"de");
        assert_eq!(unread(&read), b"");
        fill(&mut read, b"fghi");
        assert_eq!(unread(&read), b"hi");
    }

    #[test]
    fn a_read_that_fills_the_buffer_and_the_end_are_reported() {
        let mut read = ReadBuffer::default();
        fill(&mut read, &vec![b'x'; 1 << 20]);
        assert_eq!(
            read.input(1, Side::Server).read_state(),
            ReadState::MaybeMore
        );
        fill(&mut read, b"y");
        assert_eq!(read.input(1, Side::Server).read_state(), ReadState::Idle);
        fill(&mut read, b"");
        assert!(read.has_ended());
    }

    #[test]
    fn a_buffer_is_not_much_larger_than_what_has_arrived() {
        for (length, max) in [(100_000, 200_000), ((16 << 20) + 4, 24 << 20)] {
            let mut read = ReadBuffer::default();
            while read.unread_len() < length {
                let room = read.capacity().max(1).min(length - read.unread_len());
                fill(&mut read, &vec![b'x'; room]);
            }
            assert!(read.capacity() <= max, "{}", read.capacity());
        }
    }

    #[tokio::test]
    async fn buffer_that_was_filled_exactly_is_a_pause_after_all() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut read = ReadBuffer::default();
        let mut cx = Context::from_waker(Waker::noop());
        read.buffer = Vec::with_capacity(NEW_CAPACITY);
        let room = read.buffer.capacity();
        far.write_all(&vec![b'x'; room])
            .await
            .expect("the pipe is open");
        assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
        assert_eq!(read.read_state, ReadState::MaybeMore);
        assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
        assert_eq!(read.read_state, ReadState::Idle);
        assert!(poll_read(&mut read, &mut cx, &mut near).is_pending());
    }

    #[tokio::test]
    async fn task_that_has_done_enough_for_now_is_no_pause() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut read = ReadBuffer::default();
        read.buffer = Vec::with_capacity(NEW_CAPACITY);
        let room = read.buffer.capacity();
        far.write_all(&vec![b'x'; room + 1])
            .await
            .expect("the pipe is open");
        poll_fn(|cx| {
            assert!(poll_read(&mut read, cx, &mut near).is_ready());
            assert_eq!(read.read_state, ReadState::MaybeMore);
            while let Poll::Ready(restore) = coop::poll_proceed(cx) {
                restore.made_progress();
            }
            assert!(poll_read(&mut read, cx, &mut near).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        let filled = poll_fn(|cx| poll_read(&mut read, cx, &mut near)).await;
        filled.expect("the pipe is open");
        assert_eq!(unread(&read).len(), room + 1);
    }

    #[tokio::test]
    async fn waiting_read_holds_no_buffer() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let mut read = ReadBuffer::default();
        let mut cx = Context::from_waker(Waker::noop());
        far.write_all(b"abc").await.expect("the pipe is open");
        assert!(poll_read(&mut read, &mut cx, &mut near).is_ready());
        read.consume(&(0..3), 3);
        assert!(poll_read(&mut read, &mut cx, &mut near).is_pending());
        assert_eq!(read.buffer.capacity(), 0);
    }

    #[test]
    fn what_was_read_ahead_comes_before_what_the_stream_has() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
        fill(&mut buffer, b"ab");
        assert!(ahead.poll_read(&mut cx, &mut &b"cd"[..]).is_ready());
        let read = buffer.poll_read(&mut ahead, &mut cx, &mut &b"never"[..]);
        assert!(read.is_ready());
        assert_eq!((unread(&buffer), buffer.has_ended()), (&b"abcd"[..], true));
        assert!(ahead.is_empty());
    }

    #[test]
    fn bytes_to_be_skipped_are_dropped_when_they_were_read_ahead() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
        fill(&mut buffer, b"abc");
        buffer.consume(&(0..0), 5);
        assert!(ahead.poll_read(&mut cx, &mut &b"defg"[..]).is_ready());
        let read = buffer.poll_read(&mut ahead, &mut cx, &mut tokio::io::empty());
        assert!(read.is_ready());
        assert_eq!(unread(&buffer), b"fg");
    }
}
