//! The state machine of a connection, on which `Connection`, `Pipeline` and `Channel` are built.
//!
//! [`Wire`] sends requests and matches messages with them. It has no clock and does not know its
//! callers: its users decide how long to wait and whom to wake.
//!
//! A request is identified by its position: where it begins in the bytes of all requests of the
//! connection. The position shows whether any of it was sent, and whether a message can be its reply.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    fault::{Dead, Fault, io_error},
    incoming::Incoming,
};
use crate::{
    Error, Result,
    buffer::{ReadAhead, ReadBuffer, Unusual, WriteBuffer},
    format::{EncodeError, Writer},
    framing::{FrameKind, Framing, Side},
    runtime::wake_after_others,
};

/// How often a connection looks for what has arrived after an error of sending. With one look, it could
/// miss a rejection that another thread of the runtime has not reported yet.
const PATIENCE: u32 = 64;

/// A stream with its buffers and the state of both directions.
///
/// The framing is passed to each method, because the callers of a channel and its driver share one.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    max_frame_len: usize,
    /// The requests that wait to be sent.
    pub(super) queue: SendQueue,
    replies: Replies,
    /// What was read while the last message was in use.
    ahead: ReadAhead,
    /// Why sending has ended. The server may still send the reason, or earlier replies.
    write_fault: Option<Fault>,
    /// How often to look for that before the connection fails.
    patience: u32,
    /// Why receiving has ended. Messages that arrived before are still delivered.
    read_fault: Option<Fault>,
    /// Why the connection failed. Set before a method returns [`Failed`].
    fault: Option<Fault>,
}

/// The connection has failed. [`Wire::dead`] returns the reason.
///
/// It is zero-sized: results with the reason in them would cost each reply 50 to 80 instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

/// Which messages are accepted: those of which the first byte was read after this many bytes of
/// requests were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited(u64);

impl Awaited {
    /// Any message, such as a greeting.
    pub(super) const ANY: Self = Self(0);
    /// No message: no request is in flight.
    pub(super) const NOTHING: Self = Self(u64::MAX);

    /// Accepts the reply to the request at `start`, the oldest in flight.
    ///
    /// With a framing of one exchange, whatever arrives is the one reply.
    #[inline]
    pub(super) const fn reply_to<F: Framing>(start: Option<u64>) -> Self {
        match start {
            _ if !F::PERSISTENT => Self::ANY,
            Some(start) => Self(start + 1),
            None => Self::NOTHING,
        }
    }
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, max_frame_len: usize) -> Self {
        Self {
            stream,
            max_frame_len,
            queue: SendQueue::new(0),
            replies: Replies::new(),
            ahead: ReadAhead::default(),
            write_fault: None,
            patience: PATIENCE,
            read_fault: None,
            fault: None,
        }
    }

    /// Returns the bytes of a message. The range is valid until the next read.
    #[inline]
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.replies.buffer.frame(range)
    }

    /// Returns the number of bytes that have arrived and are in no message yet.
    pub(super) fn unread(&self) -> usize {
        self.replies.buffer.unread()
    }

    /// Returns `true` if nothing more arrives.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.read_fault.is_some() || self.replies.buffer.has_ended()
    }

    /// Returns `true` if the input has ended without a byte in `incoming`, before anything was sent.
    ///
    /// With a framing of one exchange, the end of the input is a message, though an empty one.
    pub(super) fn has_ended_unasked(&self, incoming: &Incoming) -> bool {
        let is_empty = matches!(incoming, Incoming::Message(range) if range.is_empty());
        is_empty && self.has_ended() && self.queue.sent() == 0
    }

    /// Sets the reason of a failure.
    #[cold]
    pub(super) fn fail(&mut self, fault: Fault) -> Failed {
        self.fault = Some(fault);
        Failed
    }

    /// Fails a connection on which nothing more arrives.
    #[cold]
    pub(super) fn fail_ended(&mut self) -> Failed {
        // If the server closes the connection while requests are sent, both directions can fail.
        // Report the error of sending.
        let fault = self.write_fault.take().or(self.read_fault.take());
        self.fail(fault.unwrap_or(Fault::Closed))
    }

    /// Ends sending, because it has taken too long. What has arrived can still be received.
    #[cold]
    pub(super) fn stop_sending(&mut self, timed_out: Fault) {
        self.queue.clear();
        self.write_fault = Some(timed_out);
        self.patience = 0;
    }

    /// Returns `true` after [`stop_sending`](Self::stop_sending).
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.patience == 0
    }

    /// Returns why the connection failed. If it did not, `reason` is why it is closed.
    #[cold]
    pub(super) fn dead(&mut self, reason: Fault) -> Dead {
        let fault = self.fault.take().unwrap_or(reason);
        let sent = self.queue.sent();
        Dead { fault, sent }
    }

    /// Takes the next message or rejection from the received bytes, if one is complete. Does no I/O.
    ///
    /// The connection fails if the message answers no request, if the rejection is final, or if the
    /// bytes are not a frame.
    #[inline(always)]
    pub(super) fn next_incoming<F: Framing>(
        &mut self,
        framing: &mut F,
        awaited: Awaited,
    ) -> Result<Option<Incoming>, Failed> {
        loop {
            let sent = self.replies.sent_before;
            let input = self.replies.buffer.input(self.max_frame_len, Side::Client);
            let parsed = match framing.parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    self.replies.note_incomplete();
                    return Ok(None);
                }
                Err(error) => return Err(self.fail(Fault::Frame(error))),
            };
            let frame = self.replies.consume(&parsed.payload, parsed.consumed);
            let incoming = if parsed.kind == FrameKind::Message {
                Incoming::Message(frame)
            } else {
                let (buffer, length) = (&self.replies.buffer, parsed.payload.len());
                match Incoming::from_unusual(buffer, parsed.kind, length, frame) {
                    Some(Incoming::Rejection(rejection)) if rejection.kind().is_final() => {
                        return Err(self.fail(Fault::Ended(rejection)));
                    }
                    Some(incoming) => incoming,
                    None => continue,
                }
            };
            if sent < awaited.0 {
                let reason = "the server said something that was not asked for";
                return Err(self.fail(Fault::Broken(reason)));
            }
            return Ok(Some(incoming));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Waits for a message. Meanwhile, sends the queued requests.
    ///
    /// Reads before it sends, so that what has arrived already is not taken for a reply.
    #[inline(always)]
    pub(super) fn poll_receive<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut F,
        awaited: Awaited,
    ) -> Poll<Result<Incoming, Failed>> {
        loop {
            if let Some(incoming) = self.next_incoming(framing, awaited)? {
                return Poll::Ready(Ok(incoming));
            }
            if self.has_ended() {
                return Poll::Ready(Err(self.fail_ended()));
            }
            if self.poll_read(cx).is_pending() {
                let _: Poll<()> = self.poll_flush(cx);
                return self.poll_unsendable(cx).map(Err);
            }
        }
    }

    /// Reads once. Stays pending after the end of the input.
    #[inline]
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended() {
            return Poll::Pending;
        }
        let Self { replies, ahead, .. } = self;
        let unread = replies.buffer.unread();
        let read = if ahead.is_empty() {
            ready!(replies.buffer.poll_fill(cx, &mut self.stream))
        } else {
            ready!(replies.buffer.poll_read_after(ahead, cx, &mut self.stream))
        };
        self.replies.note_read(unread, self.queue.sent());
        self.read_fault = read.err().map(|error| Fault::Read(io_error(&error)));
        Poll::Ready(())
    }

    /// Sends the queued requests. Ready when all are sent, or if sending has failed.
    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.write_fault.is_some() {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.queue.poll_flush(cx, &mut self.stream)) {
            self.write_fault = Some(Fault::Write(io_error(&error)));
        }
        Poll::Ready(())
    }

    /// Fails the connection if sending has ended and nothing arrives. Before, lets the runtime look a few
    /// times whether something has arrived.
    #[inline]
    pub(super) fn poll_unsendable(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        if self.write_fault.is_none() {
            return Poll::Pending;
        }
        if self.patience == 0 {
            return Poll::Ready(self.fail_ended());
        }
        self.patience -= 1;
        wake_after_others(cx);
        Poll::Pending
    }

    /// Waits for the end of the input while the last message is in use.
    #[cold]
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended() {
            return Poll::Ready(());
        }
        let read = ready!(self.ahead.poll_read(cx, &mut self.stream));
        self.read_fault = read.err().map(|error| Fault::Read(io_error(&error)));
        Poll::Ready(())
    }
}

/// A queue of encoded requests that wait to be sent.
#[derive(Debug)]
pub(super) struct SendQueue {
    buffer: WriteBuffer,
    /// The number of bytes that were sent, or taken: the position of the first byte that waits.
    sent: u64,
    /// Whether the sending half must be closed after the request.
    half_close: bool,
}

impl SendQueue {
    /// Creates a queue whose first request has the position `sent`.
    pub(super) fn new(sent: u64) -> Self {
        Self {
            buffer: WriteBuffer::default(),
            sent,
            half_close: false,
        }
    }

    /// Adds a request, whole or not at all. Returns its position.
    #[inline(always)]
    pub(super) fn push<F: Framing>(
        &mut self,
        framing: &mut F,
        max_frame_len: usize,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<u64> {
        let start = self.written();
        self.buffer.prepare();
        match self.buffer.message(framing, max_frame_len, encode) {
            Ok(()) | Err(Unusual::Last) => {}
            Err(unusual) => return Err(not_encoded(unusual)),
        }
        if !F::PERSISTENT && self.written() == start {
            // An empty request has no bytes that tell whether it was sent. It counts as one sent byte,
            // so that it is never reported as not sent.
            self.sent += 1;
        }
        self.half_close = F::HALF_CLOSE;
        Ok(start)
    }

    /// Takes all requests from the queue that the callers of a channel fill. Nothing may wait here.
    #[inline]
    pub(super) fn take(&mut self, queue: &mut Self) {
        std::mem::swap(&mut self.buffer, &mut queue.buffer);
        self.sent = queue.sent;
        queue.sent = self.written();
    }

    /// Sends the queued requests.
    #[inline]
    fn poll_flush<S>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        let written = self.written();
        let flushed = self.buffer.poll_flush(cx, stream);
        self.sent = written - self.waiting() as u64;
        if flushed.is_pending() {
            self.buffer.remove_sent();
        }
        ready!(flushed)?;
        self.buffer.give_back();
        if self.half_close {
            // If the connection has failed, reading reports the error.
            drop(ready!(Pin::new(stream).poll_shutdown(cx)));
            self.half_close = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Drops the queued requests.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.give_back();
    }

    /// Returns the number of bytes of all requests so far: the position of the next one.
    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.sent + self.waiting() as u64
    }

    /// Returns the number of bytes that wait to be sent.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.buffer.waiting()
    }

    /// Returns the number of bytes that were sent, or taken.
    #[inline]
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

/// Returns the error for a request that is not in the buffer.
#[cold]
fn not_encoded(unusual: Unusual) -> Error {
    match unusual {
        Unusual::Last | Unusual::Nothing { .. } => Error::encode(EncodeError::new("there is none")),
        Unusual::Error { text, .. } => Error::encode(EncodeError::new(text)),
        Unusual::Encode { error, .. } => Error::encode(error),
        Unusual::Frame { error, .. } => Error::unsendable(error),
    }
}

/// The received bytes, and which requests they can answer.
///
/// A message answers only requests that were sent before its first byte was read. So a message that
/// was read together with earlier replies, or of which a part was there before, is not taken for a
/// reply.
#[derive(Debug)]
struct Replies {
    buffer: ReadBuffer,
    /// The number of bytes of requests that were sent before the first byte of the next frame was
    /// read.
    sent_before: u64,
    /// The parts of the buffer that were read after its first byte, oldest first. Usually there are
    /// none, or one while a frame is incomplete.
    later: VecDeque<Part>,
    /// The number of bytes read so far.
    received: u64,
}

/// A part of the received bytes.
#[derive(Debug)]
struct Part {
    /// The number of bytes that were received before it.
    start: u64,
    /// The number of bytes of requests that were sent before it was read.
    sent: u64,
}

impl Replies {
    const fn new() -> Self {
        Self {
            buffer: ReadBuffer::new(),
            sent_before: 0,
            later: VecDeque::new(),
            received: 0,
        }
    }

    /// Records a read: before it, there were `unread` bytes, and `sent` bytes of requests had been
    /// sent.
    #[inline]
    fn note_read(&mut self, unread: usize, sent: u64) {
        if unread == 0 {
            self.sent_before = sent;
        } else if self.later.back().map_or(self.sent_before, |last| last.sent) != sent {
            let start = self.received;
            self.later.push_back(Part { start, sent });
        }
        self.received += (self.buffer.unread() - unread) as u64;
    }

    /// Records that all unread bytes are of one frame. The next frame begins after them.
    #[inline]
    fn note_incomplete(&mut self) {
        if !self.later.is_empty() {
            self.later.clear();
        }
    }

    /// Takes a frame from the received bytes. Returns the range of its message.
    #[inline(always)]
    fn consume(&mut self, frame: &Range<usize>, consumed: usize) -> Range<usize> {
        let frame = self.buffer.consume(frame, consumed);
        if !self.later.is_empty() {
            self.enter_later();
        }
        frame
    }

    /// Moves on to the part in which the next frame begins.
    #[cold]
    fn enter_later(&mut self) {
        while let Some(part) = self.later.front()
            && self.received - self.buffer.unread() as u64 >= part.start
        {
            self.sent_before = part.sent;
            self.later.pop_front();
        }
    }
}

/// Returns how many bytes of requests make a write worthwhile while `in_flight` bytes are in flight.
///
/// With a quarter in each write, both ends work at the same time. Below 1 KiB, a write costs more
/// than that saves.
#[inline]
pub(super) fn write_threshold(in_flight: u64) -> u64 {
    (in_flight / 4).clamp(1024, 32 * 1024)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::framing::LengthPrefixed;

    /// Reads a message byte by byte, and sends one byte of a request before each if `sends`. Returns
    /// the most parts that were kept apart.
    async fn read_slowly(sends: bool) -> usize {
        let (near, mut far) = duplex(1);
        let mut wire = Wire::new(near, 1 << 10);
        let mut framing = LengthPrefixed;
        let mut cx = Context::from_waker(Waker::noop());
        let request = |out: &mut Writer<'_>| {
            out.put(&[0; 200]);
            Ok(())
        };
        wire.queue
            .push(&mut framing, 1 << 10, request)
            .expect("it fits");
        let mut most = 0;
        for byte in [[0, 0, 0, 100], [0; 4], [0; 4], [0; 4]].concat() {
            assert!(wire.poll_flush(&mut cx).is_pending());
            if sends {
                far.read_u8().await.expect("it was sent");
            }
            far.write_u8(byte).await.expect("it is open");
            assert!(wire.poll_read(&mut cx).is_ready());
            most = most.max(wire.replies.later.len());
            if sends {
                let next = wire.next_incoming(&mut framing, Awaited::ANY);
                assert!(matches!(next, Ok(None)));
            }
        }
        most
    }

    #[tokio::test]
    async fn message_that_arrives_slowly_takes_no_memory_for_each_read() {
        assert_eq!(read_slowly(true).await, 1);
        assert_eq!(read_slowly(false).await, 0);
    }

    #[tokio::test]
    async fn replies_that_wait_together_answer_the_requests_before_each() {
        let (near, mut far) = duplex(1 << 10);
        let mut wire = Wire::new(near, 1 << 10);
        let mut framing = LengthPrefixed;
        let mut cx = Context::from_waker(Waker::noop());
        let mut in_flight = Vec::new();
        for _ in 0..3 {
            let start = wire.queue.push(&mut framing, 1 << 10, |out| {
                out.put(b"x");
                Ok(())
            });
            in_flight.push(start.expect("it fits"));
            assert!(wire.poll_flush(&mut cx).is_ready());
            far.write_all(b"\0\0\0\x01y").await.expect("it is open");
            assert!(wire.poll_read(&mut cx).is_ready());
        }
        for start in in_flight {
            let awaited = Awaited::reply_to::<LengthPrefixed>(Some(start));
            let next = wire.next_incoming(&mut framing, awaited);
            assert!(matches!(next, Ok(Some(Incoming::Message(_)))), "{next:?}");
        }
    }

    #[tokio::test]
    async fn requests_that_were_sent_leave_the_buffer_though_others_always_wait() {
        let (near, mut far) = duplex(1_000);
        let mut wire = Wire::new(near, 1 << 10);
        let mut framing = LengthPrefixed;
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = [0; 1_000];
        for _ in 0..1_000 {
            // The pipe takes part in the budget of tasks.
            tokio::task::yield_now().await;
            let request = |out: &mut Writer<'_>| {
                out.put(&[0; 996]);
                Ok(())
            };
            wire.queue
                .push(&mut framing, 1 << 10, request)
                .expect("it fits");
            if wire.poll_flush(&mut cx).is_pending() {
                far.read_exact(&mut taken).await.expect("it was sent");
            }
        }
        assert!(wire.queue.waiting() > 0);
        let kept = wire.queue.buffer.capacity();
        assert!(kept < 300_000, "{kept}");
        assert_eq!(wire.queue.sent() + wire.queue.waiting() as u64, 1_000_000);
    }
}
