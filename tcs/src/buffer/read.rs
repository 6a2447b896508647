//! What arrived and was not read yet.

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
    frames::{Frames, nothing},
    pool,
};
use crate::{Arrival, Side, Unparsed};

/// From this capacity on, a buffer grows by a half of itself instead of doubling: a frame of 16 MiB
/// then fits into what `malloc` keeps for the next one (32 MiB, `M_MMAP_THRESHOLD` in mallopt(3)).
const LARGE: usize = 1 << 20;

/// The receive buffer of a connection.
///
/// It grows with the bytes that arrive, never with a length that a peer claims, and is given back
/// whenever a read has to wait and nothing is left in it.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    buffer: Vec<u8>,
    /// Where the unread bytes begin.
    start: usize,
    /// How many bytes that have not arrived yet are to be dropped.
    skip: usize,
    /// How many such bytes were dropped.
    skipped: usize,
    arrival: Arrival,
}

impl ReadBuffer {
    pub(crate) const fn new() -> Self {
        Self::over(Vec::new())
    }

    pub(super) const fn over(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            start: 0,
            skip: 0,
            skipped: 0,
            arrival: Arrival::Paused,
        }
    }

    /// Describes the unread bytes to a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Unparsed<'_> {
        let unread = self.frame(self.start..self.buffer.len());
        Unparsed::new(unread, limit, side, self.arrival)
    }

    /// Returns what is unread, to take frames off it.
    #[inline]
    pub(crate) fn frames(&mut self) -> Frames<'_> {
        Frames {
            bytes: &self.buffer,
            arrival: self.arrival,
            start: &mut self.start,
            skip: &mut self.skip,
            skipped: &mut self.skipped,
        }
    }

    /// Takes `consumed` bytes off the unread ones; returns where `frame` of them stands.
    ///
    /// What has not arrived of them is dropped when it does.
    #[inline]
    pub(crate) fn consume(&mut self, frame: &Range<usize>, consumed: usize) -> Range<usize> {
        let start = self.start;
        match (start + consumed).checked_sub(self.buffer.len()) {
            None | Some(0) => self.start = start + consumed,
            Some(missing) => self.frames().skip_ahead(missing),
        }
        start + frame.start..start + frame.end
    }

    /// Tells whether anything was taken off since the last read.
    #[inline]
    pub(crate) fn has_moved(&self) -> bool {
        self.start > 0
    }

    /// Returns the bytes at `range`, which `consume` returned since the last read; none if the
    /// framing made it up.
    #[inline]
    pub(crate) fn frame(&self, range: Range<usize>) -> &[u8] {
        match self.buffer.get(range) {
            Some(frame) => frame,
            None => nothing(),
        }
    }

    /// Tells whether a part of an unfinished frame has arrived.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.start != self.buffer.len() || self.skip > 0
    }

    /// Returns how many bytes of an unfinished frame have arrived.
    pub(crate) fn started(&self) -> usize {
        if self.is_skipping() {
            self.skipped
        } else {
            self.unread()
        }
    }

    /// Tells whether what has to arrive is the rest of a frame that was dealt with.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skip > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.arrival == Arrival::Ended
    }

    /// Reads once; afterwards there are more bytes, or more is known of what follows.
    ///
    /// A buffer is taken from the pool, and given back when the read has to wait and nothing is left
    /// in it.
    ///
    /// Cancel safe: bytes that were read are in the buffer.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        if self.buffer.capacity() == 0 {
            self.buffer = pool::take();
        }
        let filled = self.poll_read(cx, stream);
        if filled.is_pending() && self.buffer.is_empty() {
            pool::give(&mut self.buffer);
        }
        filled
    }

    /// Does the same with the buffer that is there.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a fiftieth of a lone request"
    )]
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        self.make_room();
        let read = pin!(stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() && self.arrival == Arrival::Filled {
            return self.unsure(cx);
        }
        let read = ready!(read)?;
        self.arrival = match read {
            0 => Arrival::Ended,
            _ if self.buffer.len() == self.buffer.capacity() => Arrival::Filled,
            _ => Arrival::Paused,
        };
        if self.skip > 0 {
            self.skip_arrived();
        }
        Poll::Ready(Ok(()))
    }

    /// Finds out whether more has arrived after a read that filled the buffer.
    #[cold]
    fn unsure(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if !coop::has_budget_remaining() {
            // There may be more, for which this task has to let others run first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The last read happened to fill the buffer with all there was.
        self.arrival = Arrival::Paused;
        Poll::Ready(Ok(()))
    }

    /// Drops what has arrived of a frame that was dealt with.
    #[cold]
    fn skip_arrived(&mut self) {
        // Nothing was unread before it, so it stands in front; taken out, it does not look as if
        // a frame had been taken off.
        let skipped = self.skip.min(self.buffer.len());
        self.skip -= skipped;
        self.skipped += skipped;
        self.buffer.drain(..skipped);
    }

    /// Continues where `other` stops, with the bytes that are unread there.
    pub(super) fn take_over(&mut self, other: &mut Self) {
        self.reset();
        let unread = other.buffer.get(other.start..).unwrap_or_default();
        self.buffer.extend_from_slice(unread);
        (self.skip, self.skipped) = (other.skip, other.skipped);
        self.arrival = other.arrival;
        other.reset();
    }

    /// Becomes that of a new connection, where nothing is left to be skipped.
    #[inline]
    pub(super) fn forget_arrival(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.arrival = Arrival::Paused;
    }

    /// Becomes that of a new connection.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.forget_arrival();
        self.skip = 0;
        self.skipped = 0;
    }

    /// Returns how many bytes are unread.
    pub(super) fn unread(&self) -> usize {
        self.buffer.len() - self.start
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Tells whether the pool would have the buffer.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        pool::is_usual(&self.buffer)
    }

    fn make_room(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        if self.buffer.len() == self.buffer.capacity() {
            self.grow();
        }
    }

    /// Makes room in proportion to what has arrived.
    #[cold]
    fn grow(&mut self) {
        let capacity = self.buffer.capacity();
        let more = if capacity < LARGE {
            capacity.max(1)
        } else {
            capacity / 2
        };
        self.buffer.reserve_exact(more);
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        pool::give(&mut self.buffer);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn fill(inbox: &mut ReadBuffer, mut bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        match inbox.poll_fill(&mut cx, &mut bytes) {
            Poll::Ready(read) => read.expect("slices have no errors"),
            Poll::Pending => panic!("slices are ready"),
        }
    }

    fn unread(inbox: &ReadBuffer) -> &[u8] {
        inbox.input(usize::MAX, Side::Server).bytes()
    }

    #[test]
    fn consumed_bytes_leave_and_the_rest_stays() {
        let mut inbox = ReadBuffer::new();
        fill(&mut inbox, b"abcdef");
        let frame = inbox.consume(&(1..3), 4);
        assert_eq!(inbox.frame(frame), b"bc");
        fill(&mut inbox, b"gh");
        assert_eq!(unread(&inbox), b"efgh");
        assert_eq!(inbox.started(), 4);
    }

    #[test]
    fn bytes_consumed_before_they_arrive_are_dropped_when_they_do() {
        let mut inbox = ReadBuffer::new();
        fill(&mut inbox, b"abc");
        inbox.consume(&(0..0), 7);
        assert_eq!(inbox.started(), 3);
        fill(&mut inbox, b"de");
        assert_eq!(unread(&inbox), b"");
        fill(&mut inbox, b"fghi");
        assert_eq!(unread(&inbox), b"hi");
    }

    #[test]
    fn a_read_that_fills_the_buffer_and_the_end_are_told() {
        let mut inbox = ReadBuffer::new();
        fill(&mut inbox, &vec![b'x'; 1 << 20]);
        assert_eq!(inbox.input(1, Side::Server).arrival(), Arrival::Filled);
        fill(&mut inbox, b"y");
        assert_eq!(inbox.input(1, Side::Server).arrival(), Arrival::Paused);
        fill(&mut inbox, b"");
        assert!(inbox.has_ended());
    }

    #[test]
    fn a_buffer_is_not_much_larger_than_what_has_arrived() {
        for (length, most) in [(100_000, 200_000), ((16 << 20) + 4, 24 << 20)] {
            let mut inbox = ReadBuffer::new();
            while inbox.unread() < length {
                let room = inbox.capacity().max(1).min(length - inbox.unread());
                fill(&mut inbox, &vec![b'x'; room]);
            }
            assert!(inbox.capacity() <= most, "{}", inbox.capacity());
        }
    }

    #[tokio::test]
    async fn buffer_that_was_filled_exactly_is_a_pause_after_all() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut inbox = ReadBuffer::new();
        let mut cx = Context::from_waker(Waker::noop());
        inbox.buffer = Vec::with_capacity(100);
        let room = inbox.buffer.capacity();
        far.write_all(&vec![b'x'; room])
            .await
            .expect("the pipe is open");
        assert!(inbox.poll_fill(&mut cx, &mut near).is_ready());
        assert_eq!(inbox.arrival, Arrival::Filled);
        assert!(inbox.poll_fill(&mut cx, &mut near).is_ready());
        assert_eq!(inbox.arrival, Arrival::Paused);
        assert!(inbox.poll_fill(&mut cx, &mut near).is_pending());
    }

    #[tokio::test]
    async fn task_that_has_done_enough_for_now_is_no_pause() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut inbox = ReadBuffer::new();
        inbox.buffer = Vec::with_capacity(100);
        let room = inbox.buffer.capacity();
        far.write_all(&vec![b'x'; room + 1])
            .await
            .expect("the pipe is open");
        poll_fn(|cx| {
            assert!(inbox.poll_fill(cx, &mut near).is_ready());
            assert_eq!(inbox.arrival, Arrival::Filled);
            while let Poll::Ready(restore) = coop::poll_proceed(cx) {
                restore.made_progress();
            }
            assert!(inbox.poll_fill(cx, &mut near).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        let filled = poll_fn(|cx| inbox.poll_fill(cx, &mut near)).await;
        filled.expect("the pipe is open");
        assert_eq!(unread(&inbox).len(), room + 1);
    }

    #[tokio::test]
    async fn waiting_inbox_holds_no_buffer() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let mut inbox = ReadBuffer::new();
        let mut cx = Context::from_waker(Waker::noop());
        far.write_all(b"abc").await.expect("the pipe is open");
        assert!(inbox.poll_fill(&mut cx, &mut near).is_ready());
        inbox.consume(&(0..3), 3);
        assert!(inbox.poll_fill(&mut cx, &mut near).is_pending());
        assert_eq!(inbox.buffer.capacity(), 0);
    }
}
