//! The send buffer: encoded frames that are not sent yet.
//!
//! ```text
//! | sent | frames that are not sent | the frame that is being written | room |
//! 0     sent                 committed                           len   capacity
//! ```
//!
//! A framing and a format write a frame in place, after the complete ones. If that fails or panics, the bytes after
//! `committed` are removed, so that a peer never receives a part of a frame. Frames are sent together, and the buffer is
//! empty again when all of them are sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{
    memory::{MemoryBudget, OverBudget, Reservation},
    pool,
};
use crate::{
    format::{After, EncodeError, EncodeOutcome, Writer, WriterState},
    framing::{FrameError, Framing, Notice},
};

/// Flush once this many bytes are buffered.
const FLUSH_THRESHOLD: usize = 64 * 1024;

/// The send buffer of a connection. Its memory returns to the pool when the connection waits for a request.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    buffer: Vec<u8>,
    /// The number of bytes already sent.
    sent: usize,
    /// The end of the last complete frame. A panic during encoding leaves a partial message after
    /// it.
    committed: usize,
    /// What the connection does after the message that is being encoded. The buffer has this value, because a panic
    /// during encoding drops the [`Writer`].
    after: After,
    /// Memory reserved for a buffer that is too large for the pool. Set only once the peer stops reading.
    reserved: Option<Reservation>,
}

/// What became of a message, and what the connection does after it.
///
/// An ordinary message has none: it is written, and the connection continues.
#[derive(Debug)]
pub(crate) struct EncodedMessage {
    pub(crate) outcome: EncodeOutcome,
    /// What the connection does afterwards.
    pub(crate) after: After,
}

impl EncodedMessage {
    /// Creates the outcome of a message at `start`, after which the connection continues.
    pub(crate) fn written(start: usize) -> Self {
        Self {
            outcome: EncodeOutcome::Written(start),
            after: After::Continue,
        }
    }
}

impl WriteBuffer {
    /// Returns the position of the next frame.
    pub(crate) fn end(&self) -> usize {
        self.committed
    }

    /// Returns the number of bytes sent since the buffer was last empty.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Returns the bytes of all complete frames in the buffer, sent or not.
    pub(crate) fn written(&self) -> &[u8] {
        self.buffer.get(..self.committed).unwrap_or_default()
    }

    /// Appends frames that were sent before, if all frames in the buffer were sent and there is room. Returns `true` if
    /// they were appended.
    pub(crate) fn keep_sent(&mut self, frames: &[u8]) -> bool {
        // The buffer must not grow: this keeps frames for a retry, and memory that grows for retries has no limit.
        let room = self.buffer.capacity() - self.buffer.len();
        let fits = self.sent == self.committed && self.buffer.len() == self.committed;
        if !fits || frames.len() > room {
            return false;
        }
        self.buffer.extend_from_slice(frames);
        self.committed = self.buffer.len();
        self.sent = self.committed;
        true
    }

    /// Returns the bytes that are not sent yet.
    #[inline]
    pub(crate) fn unsent(&self) -> &[u8] {
        self.buffer
            .get(self.sent..self.committed)
            .unwrap_or_default()
    }

    /// Returns the number of bytes that are not sent yet.
    pub(crate) fn unsent_len(&self) -> usize {
        self.committed - self.sent
    }

    /// Returns how many bytes can be written before the buffer should be flushed.
    pub(crate) fn room(&self) -> usize {
        FLUSH_THRESHOLD.saturating_sub(self.committed)
    }

    /// Returns `true` if the buffer should be flushed now. Bytes already sent count as well.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.committed >= FLUSH_THRESHOLD
    }

    /// Returns `true` if there is nothing to send, and nothing that the stream must still flush.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.committed == 0
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes a buffer from the pool if there is none, and removes a partial message that a panic
    /// left.
    ///
    /// Call this before writing messages, once per batch.
    #[inline]
    pub(crate) fn prepare(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool::get();
        }
        // A panic in `encode` unwinds through `message`, which cannot clean up then. Without this line, the next
        // message would follow half a frame.
        self.buffer.truncate(self.committed);
        self.after = After::Continue;
    }

    /// Returns what the connection does after the message whose encoding panicked.
    pub(crate) fn after(&self) -> After {
        self.after
    }

    /// Appends a notice. Returns `false` if the framing has none.
    pub(crate) fn notice<F: Framing>(&mut self, framing: &mut F, notice: Notice) -> bool {
        self.append(|out| framing.notice(out, notice))
    }

    /// Frames the message that `encode` writes. On `Ok`, the whole frame is in the buffer, and the connection
    /// goes on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    pub(crate) fn message<F: Framing>(
        &mut self,
        framing: &mut F,
        limit: usize,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodedMessage> {
        // The frame is written in place, header first, so a message is copied once: from the value into this
        // buffer.
        framing.begin(&mut self.buffer);
        let mut writer = Writer::new(&mut self.buffer, limit);
        // The writer borrows `after` and does not return it: a reply that closes the connection must still close it if
        // its encoding panics.
        writer.lend_after(&mut self.after);
        if let Some(encoder) = framing.encoder() {
            writer.set_encoder(encoder);
        }
        // One test finds everything that is rare. An ordinary reply takes the branch that calls nothing out of line.
        let encoded = encode(&mut writer);
        let outcome = if encoded.is_err() || !writer.is_ordinary() {
            let encoded = encoded.map(|()| writer.into_state());
            self.finish_outcome(framing, encoded, limit)
        } else {
            let Err(error) = self.finish(framing) else {
                return Ok(());
            };
            EncodeOutcome::Unsendable(error)
        };
        Err(self.failed(outcome))
    }

    /// Frames a message that was encoded before, whole or not at all.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `message`")]
    pub(crate) fn append_encoded<F: Framing>(
        &mut self,
        framing: &mut F,
        message: &[u8],
    ) -> Result<(), FrameError> {
        framing.begin(&mut self.buffer);
        let written = match self.buffer.try_reserve(message.len()) {
            Ok(()) => {
                self.buffer.extend_from_slice(message);
                self.finish(framing)
            }
            Err(_) => Err(FrameError::out_of_memory(message.len())),
        };
        // Otherwise, the header that `begin` wrote would precede the next frame.
        written.inspect_err(|_| self.buffer.truncate(self.committed))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `message`")]
    fn finish<F: Framing>(&mut self, framing: &mut F) -> Result<(), FrameError> {
        framing.finish(&mut self.buffer, self.committed)?;
        self.committed = self.buffer.len();
        Ok(())
    }

    /// Finishes a message after which the connection does not simply continue. There is no frame for any other outcome.
    #[cold]
    fn finish_outcome<F: Framing>(
        &mut self,
        framing: &mut F,
        encoded: Result<WriterState, EncodeError>,
        limit: usize,
    ) -> EncodeOutcome {
        let outcome = EncodeOutcome::of(encoded, &self.buffer, self.committed, limit);
        if let EncodeOutcome::Written(_) = outcome
            && let Err(error) = self.finish(framing)
        {
            return EncodeOutcome::Unsendable(error);
        }
        outcome
    }

    /// Removes the incomplete frame. Returns the outcome, and what the connection does afterwards.
    #[cold]
    fn failed(&mut self, outcome: EncodeOutcome) -> EncodedMessage {
        self.buffer.truncate(self.committed);
        // `after` is reset, so that it does not apply to the next message as well.
        let after = std::mem::take(&mut self.after);
        EncodedMessage { outcome, after }
    }

    /// Removes the frames from a position on that [`message`](Self::message) has returned, before they are sent.
    pub(crate) fn remove_from(&mut self, start: usize) {
        self.committed = start;
        self.buffer.truncate(start);
    }

    /// Appends complete frames, such as a rejection. Returns `false` if `write` does, and then appends nothing.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        self.prepare();
        let is_written = write(&mut self.buffer);
        if is_written {
            self.committed = self.buffer.len();
        }
        self.buffer.truncate(self.committed);
        is_written
    }

    /// Appends complete frames, and moves them before those from a position on.
    pub(crate) fn insert(&mut self, start: usize, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let end = self.committed;
        if self.append(write)
            && let Some(moved) = self.buffer.get_mut(start..)
        {
            moved.rotate_right(self.committed - end);
        }
    }

    /// Sends the buffered frames. Returns the bytes sent since the buffer was last empty, including the bytes of earlier
    /// calls.
    ///
    /// Keeps what was transferred: bytes that were sent are not sent again.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_all(cx, stream))?;
        let sent = self.sent;
        if sent > 0 {
            self.clear();
        }
        Poll::Ready(Ok(sent))
    }

    /// Sends the buffered frames, and leaves them in the buffer.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is a part of each flush")]
    pub(crate) fn poll_write_all<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.committed {
            let unsent = self.unsent();
            match ready!(Pin::new(&mut *stream).poll_write(cx, unsent))? {
                // If a stream took nothing and did not wait, this loop would never end.
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        // A stream with a buffer of its own, such as TLS, keeps the end of a reply until it is flushed.
        if self.sent > 0 {
            ready!(Pin::new(stream).poll_flush(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Removes the bytes that were sent, if they are many.
    ///
    /// A flush empties the buffer only when everything is sent. If frames are added before that again and
    /// again, the buffer would grow without end.
    pub(crate) fn remove_sent(&mut self) {
        if self.sent > FLUSH_THRESHOLD {
            // One byte stays: it tells `poll_flush` that the stream must be flushed.
            let removed = self.sent - 1;
            self.buffer.drain(..removed);
            self.sent = 1;
            self.committed -= removed;
        }
    }

    /// Reserves the memory of the buffer, if it is too large for the pool.
    pub(crate) fn reserve(&mut self, budget: &MemoryBudget) -> Result<(), OverBudget> {
        budget.reserve_existing(self.buffer.capacity(), &mut self.reserved)
    }

    /// Returns `true` if a part of the reserved memory is beyond the budget.
    pub(crate) fn is_overdrawn(&self) -> bool {
        let reserved = self.reserved.as_ref();
        reserved.is_some_and(Reservation::is_overdraft)
    }

    /// Replaces an empty buffer that has grown too large for the pool.
    ///
    /// The function that the connection waits for may take long, and its reply needs a buffer.
    pub(crate) fn release_large(&mut self) {
        // Otherwise, a connection would keep the memory of its largest reply for as long as it waits.
        if self.committed == 0 && self.buffer.capacity() > pool::LARGEST {
            pool::put(&mut self.buffer);
            self.buffer = pool::get();
            self.reserved = None;
        }
    }

    /// Drops the buffered frames, and gives the reserved memory back. The buffer reserves it again if the peer stops
    /// reading again.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        self.committed = 0;
        self.buffer.clear();
        // Few buffers have a reservation. Without this check, the drop of `None` costs 20 instructions for each
        // request.
        if self.reserved.is_some() {
            self.reserved = None;
        }
    }

    /// Returns the memory to the pool if no frames wait in it.
    pub(crate) fn release(&mut self) {
        if self.committed == 0 && self.buffer.capacity() > 0 {
            pool::put(&mut self.buffer);
            self.reserved = None;
        }
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.clear();
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A stream that takes at most this many bytes of each write, and flushes only when it may.
    struct Slow {
        taken: Vec<u8>,
        room: usize,
        may_flush: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let length = std::mem::take(&mut self.room).min(bytes.len());
            if length == 0 {
                return Poll::Pending;
            }
            self.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.may_flush {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn holding(bytes: &[u8]) -> WriteBuffer {
        let mut write = WriteBuffer::default();
        assert!(write.append(|out| {
            out.extend_from_slice(bytes);
            true
        }));
        write
    }

    fn slow(room: usize) -> Slow {
        Slow {
            taken: Vec::new(),
            room,
            may_flush: false,
        }
    }

    fn flush(write: &mut WriteBuffer, stream: &mut Slow) -> Option<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match write.poll_flush(&mut cx, stream) {
            Poll::Ready(sent) => Some(sent.expect("it never fails")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn flush_continues_after_what_was_sent() {
        let (mut write, mut stream) = (holding(b"abcde"), slow(2));
        stream.may_flush = true;
        assert_eq!(flush(&mut write, &mut stream), None);
        assert_eq!((write.sent(), write.unsent_len()), (2, 3));
        assert!(write.append(|out| {
            out.push(b'f');
            true
        }));
        stream.room = 9;
        assert_eq!(flush(&mut write, &mut stream), Some(6));
        assert_eq!(stream.taken, b"abcdef");
        assert!(write.is_empty());
    }

    #[test]
    fn buffer_is_not_empty_until_the_stream_is_flushed() {
        let (mut write, mut stream) = (holding(b"abc"), slow(3));
        assert_eq!(flush(&mut write, &mut stream), None);
        assert_eq!((write.unsent_len(), write.is_empty()), (0, false));
        stream.may_flush = true;
        assert_eq!(flush(&mut write, &mut stream), Some(3));
        assert!(write.is_empty());
        assert_eq!(stream.taken, b"abc");
    }

    #[test]
    fn bytes_that_were_sent_are_removed_if_they_are_many() {
        for (sent, left) in [(FLUSH_THRESHOLD, FLUSH_THRESHOLD), (FLUSH_THRESHOLD + 1, 1)] {
            let bytes: Vec<u8> = (0..=250).cycle().take(FLUSH_THRESHOLD + 10).collect();
            let (mut write, mut stream) = (holding(&bytes), slow(sent));
            assert_eq!(flush(&mut write, &mut stream), None);
            write.remove_sent();
            assert_eq!(write.sent(), left);
            assert_eq!(write.unsent_len(), bytes.len() - sent);
            (stream.room, stream.may_flush) = (bytes.len(), true);
            assert!(flush(&mut write, &mut stream).is_some());
            assert_eq!(stream.taken, bytes);
        }
    }

    /// Returns the largest reservation that is possible, in KiB.
    fn free(budget: &MemoryBudget) -> usize {
        (0..=1024)
            .rev()
            .step_by(4)
            .find(|kib| budget.try_reserve(kib * 1024).is_some())
            .unwrap_or_default()
    }

    #[test]
    fn buffer_beyond_the_pool_reserves_memory_until_it_is_released() {
        let budget = MemoryBudget::new(1 << 20);
        for (capacity, left) in [(pool::LARGEST, 1024), (pool::LARGEST + 1, 1024 - 132)] {
            let mut write = WriteBuffer::default();
            write.buffer = Vec::with_capacity(capacity);
            write.reserve(&budget).expect("it is free");
            assert_eq!(free(&budget), left, "{capacity}");
            write.release();
            assert_eq!(free(&budget), 1024, "{capacity}");
        }
    }

    #[test]
    fn only_a_buffer_beyond_the_pool_is_replaced() {
        for capacity in [0, pool::NEW_CAPACITY, pool::LARGEST, pool::LARGEST + 1] {
            let mut write = WriteBuffer::default();
            write.buffer = Vec::with_capacity(capacity);
            write.release_large();
            let is_replaced = write.capacity() != capacity;
            assert_eq!(is_replaced, capacity > pool::LARGEST, "{capacity}");
            assert!(write.capacity() <= pool::LARGEST, "{capacity}");
        }
    }

    #[test]
    fn buffer_that_has_grown_reserves_the_difference_until_it_is_cleared() {
        let budget = MemoryBudget::new(1 << 20);
        let mut write = holding(b"a");
        for (kib, left) in [(256, 768), (256, 768), (1024, 0), (1100, 0)] {
            write.buffer.reserve_exact(kib * 1024 - write.buffer.len());
            write.reserve(&budget).expect("it is free");
            assert_eq!(free(&budget), left, "{kib}");
            assert!(!write.is_overdrawn(), "{kib}");
        }
        let mut other = holding(b"b");
        other.buffer.reserve_exact(200 * 1024);
        other.reserve(&budget).expect("it may exceed the budget");
        assert!(other.is_overdrawn());
        other.buffer.reserve_exact(300 * 1024);
        assert!(other.reserve(&budget).is_err());
        write.clear();
        assert_eq!(free(&budget), 1024);
        other.clear();
        assert!(!other.is_overdrawn());
    }
}
