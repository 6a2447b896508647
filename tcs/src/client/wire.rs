//! A connection's state machine, under `Connection`, `Pipeline` and `Channel`.
//!
//! [`Wire`] sends requests and finds what answers them. It has no clock and knows no callers: how
//! long to wait and whom to wake is up to those who use it.
//!
//! A request is known by where it begins in the bytes of all requests of the connection. This
//! position says whether any of it was sent, and whether a message can be its reply.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    fault::{Fault, UNEXPECTED},
    message::{Incoming, no_request, unusual},
};
use crate::{
    EncodeError, Framing, Result, Side, Writer,
    buffer::{ReadBuffer, Unusual, WriteBuffer},
    framing::FrameKind,
};

/// A stream, its buffers, and what is known about both directions.
///
/// The framing is passed to each method, because a channel's callers and its driver share one.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    max_frame_len: usize,
    pub(super) requests: Requests,
    replies: Replies,
    /// Whether the sending half is to be closed after the request.
    half_close: bool,
    /// The error that ended sending. What still arrives may tell more.
    unsent: Option<io::Error>,
    /// The error that ended receiving. Messages that arrived before it are still delivered.
    unread: Option<io::Error>,
    /// Why the connection carries nothing more, once a method has returned [`Failed`].
    fault: Option<Fault>,
}

/// The connection has failed. The reason is in [`Wire::take_fault`].
///
/// It has no size: results that carry the reason would cost each reply 50 to 80 instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

/// The number of bytes of requests that must have been sent before a message began to arrive, for the
/// message to be accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited(u64);

impl Awaited {
    /// Anything, such as a greeting.
    pub(super) const ANY: Self = Self(0);
    /// Nothing: no request is in flight.
    const NOTHING: Self = Self(u64::MAX);

    /// Returns what can arrive while the request at `start` is the oldest in flight.
    ///
    /// If a framing has one exchange, then all that arrives is the one reply.
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
            requests: Requests::new(0),
            replies: Replies::new(),
            half_close: false,
            unsent: None,
            unread: None,
            fault: None,
        }
    }

    /// Adds a request to those that wait to be sent. Returns its position.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a tenth of a call")]
    pub(super) fn push<F: Framing>(
        &mut self,
        framing: &mut F,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<u64> {
        let start = self.requests.push(framing, self.max_frame_len, encode)?;
        self.half_close = F::HALF_CLOSE;
        Ok(start)
    }

    /// Returns the number of bytes of all requests that were sent.
    #[inline]
    pub(super) const fn sent(&self) -> u64 {
        self.requests.sent()
    }

    /// Returns the bytes of a message that has arrived, until the next read.
    #[inline]
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.replies.buffer.frame(range)
    }

    /// Returns the number of bytes that have arrived and are in no message yet.
    pub(super) fn arrived(&self) -> usize {
        self.replies.buffer.arrived_of_frame()
    }

    /// Returns `true` if nothing more arrives.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.unread.is_some() || self.replies.buffer.has_ended()
    }

    #[cold]
    pub(super) fn fail(&mut self, fault: Fault) -> Failed {
        self.fault = Some(fault);
        Failed
    }

    /// Ends a connection on which nothing more arrives.
    #[cold]
    pub(super) fn end(&mut self) -> Failed {
        let fault = match (self.unsent.take(), self.unread.take()) {
            // If the peer closes while requests are sent, both directions can fail. The error of
            // sending is reported.
            (Some(source), _) => Fault::Write(source),
            (None, Some(source)) => Fault::Read(source),
            (None, None) => Fault::Closed,
        };
        self.fail(fault)
    }

    /// Returns why the connection failed.
    #[cold]
    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Takes the next message, or what takes its place, off what has arrived. Does no I/O.
    ///
    /// A message that answers nothing, a final rejection, and bytes that are not a frame are
    /// failures of the connection.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs half as much again"
    )]
    pub(super) fn next<F: Framing>(
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
                // The parts, because a whole frame would have to be put into memory for this call,
                // even where the call does not happen.
                match unusual(
                    &self.replies.buffer,
                    parsed.kind,
                    parsed.payload.len(),
                    frame,
                ) {
                    Some(Incoming::Rejection(rejection)) if rejection.kind().is_final() => {
                        return Err(self.fail(Fault::Ended(rejection)));
                    }
                    Some(incoming) => incoming,
                    // A notice.
                    None => continue,
                }
            };
            if sent < awaited.0 {
                return Err(self.fail(Fault::Broken(UNEXPECTED)));
            }
            return Ok(Some(incoming));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Waits for the reply to the oldest request in flight, which then no longer is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `poll_receive`")]
    pub(super) fn poll_reply<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut F,
        in_flight: &mut InFlight,
    ) -> Poll<Result<Incoming, Failed>> {
        let awaited = Awaited::reply_to::<F>(in_flight.front().copied());
        let incoming = ready!(self.poll_receive(cx, framing, awaited))?;
        in_flight.pop_front();
        Poll::Ready(Ok(incoming))
    }

    /// Waits for a message, and sends meanwhile what is to be sent.
    ///
    /// It reads before it sends, so that what has arrived already is not taken for a reply.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a second caller of an outlined one costs a lone call 90 instructions"
    )]
    pub(super) fn poll_receive<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut F,
        awaited: Awaited,
    ) -> Poll<Result<Incoming, Failed>> {
        loop {
            if let Some(incoming) = self.next(framing, awaited)? {
                return Poll::Ready(Ok(incoming));
            }
            if self.has_ended() {
                return Poll::Ready(Err(self.end()));
            }
            if self.poll_read(cx).is_pending() {
                let _: Poll<()> = self.poll_flush(cx);
                return Poll::Pending;
            }
        }
    }

    /// Looks for messages that nobody asked for, before the first request is sent. Never waits.
    pub(super) fn check_idle<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut F,
    ) -> Result<(), Failed> {
        loop {
            // A message is a failure, so there is none.
            self.next(framing, Awaited::NOTHING)?;
            if self.has_ended() {
                return Err(self.end());
            }
            if self.poll_read(cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// Reads once. Never ready if nothing more arrives.
    #[inline]
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended() {
            return Poll::Pending;
        }
        let unread = self.replies.buffer.unread();
        let read = ready!(self.replies.buffer.poll_fill(cx, &mut self.stream));
        self.replies.note_read(unread, self.requests.sent());
        if let Err(error) = read {
            self.unread = Some(error);
        }
        Poll::Ready(())
    }

    /// Sends what waits. Ready when nothing does, or nothing can be sent any more.
    #[inline]
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unsent.is_some() {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.requests.poll_flush(cx, &mut self.stream)) {
            self.unsent = Some(error);
            return Poll::Ready(());
        }
        if self.half_close {
            // An error here is one of the connection, and reading tells it.
            drop(ready!(Pin::new(&mut self.stream).poll_shutdown(cx)));
            self.half_close = false;
        }
        Poll::Ready(())
    }
}

/// Encoded requests that wait to be sent.
#[derive(Debug)]
pub(super) struct Requests {
    buffer: WriteBuffer,
    /// The number of bytes of earlier requests: the position of the first byte that waits.
    sent: u64,
}

impl Requests {
    /// Creates a queue whose first request begins at `sent`.
    pub(super) fn new(sent: u64) -> Self {
        Self {
            buffer: WriteBuffer::default(),
            sent,
        }
    }

    /// Adds a request, whole or not at all. Returns its position.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "outlined, it costs a tenth of a call")]
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
            Err(unusual) => return Err(no_request(unusual)),
        }
        if !F::PERSISTENT && self.written() == start {
            // An empty request counts as a byte that was sent: what became of it is not known.
            self.sent += 1;
        }
        Ok(start)
    }

    /// Takes all requests of a queue in which callers collect them. Nothing may wait here.
    #[inline]
    pub(super) fn take(&mut self, queue: &mut Self) {
        std::mem::swap(&mut self.buffer, &mut queue.buffer);
        self.sent = queue.sent;
        queue.sent = self.written();
    }

    /// Sends what waits.
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
        flushed.map_ok(|_| self.buffer.give_back())
    }

    /// Drops all requests that wait.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.give_back();
    }

    /// Returns the number of bytes of all requests: the position of the next one.
    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.sent + self.waiting() as u64
    }

    /// Returns the number of bytes that wait to be sent.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.buffer.waiting()
    }

    /// Returns the number of bytes that do not wait here any more.
    #[inline]
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

/// What has arrived, and which requests it can answer.
///
/// A message answers only a request that was sent before the message's first byte was read. So
/// neither a message that was read together with earlier replies, nor one of which a part was there
/// before, is taken for a reply.
#[derive(Debug)]
struct Replies {
    buffer: ReadBuffer,
    /// The number of bytes of requests that were sent before the next frame began to arrive.
    sent_before: u64,
    /// The parts of the buffer that were read later than its first byte, oldest first. Usually there
    /// are none, or one while a frame is incomplete.
    later: VecDeque<Part>,
    /// The number of bytes read so far.
    received: u64,
}

/// A part of the received bytes.
#[derive(Debug)]
struct Part {
    /// The number of bytes that were read before it.
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

    /// Notes that a read, before which `unread` bytes were there, came after `sent` bytes of
    /// requests.
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

    /// Notes that the unread bytes are all of one frame, so that the next one begins after them.
    #[inline]
    fn note_incomplete(&mut self) {
        if !self.later.is_empty() {
            self.later.clear();
        }
    }

    /// Takes a frame off what has arrived. Returns where its message is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is a part of `Wire::next`")]
    fn consume(&mut self, frame: &Range<usize>, consumed: usize) -> Range<usize> {
        let frame = self.buffer.consume(frame, consumed);
        if !self.later.is_empty() {
            self.enter_later();
        }
        frame
    }

    /// Goes on to the part of the buffer in which the next frame begins.
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

/// Where each request begins whose reply is still to come, oldest first.
pub(super) type InFlight = VecDeque<u64>;

/// Returns how many bytes of requests go into one write while `in_flight` bytes are in flight.
///
/// With a quarter each, both ends have work at the same time. Below 1 KiB, a write costs more than
/// that gains.
#[inline]
pub(super) fn write_threshold(in_flight: u64) -> u64 {
    (in_flight / 4).clamp(1024, 32 * 1024)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::LengthPrefixed;

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
        wire.push(&mut framing, request).expect("it fits");
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
                let next = wire.next(&mut framing, Awaited::ANY);
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
        let mut in_flight = InFlight::new();
        for _ in 0..3 {
            let start = wire.push(&mut framing, |out| {
                out.put(b"x");
                Ok(())
            });
            in_flight.push_back(start.expect("it fits"));
            assert!(wire.poll_flush(&mut cx).is_ready());
            far.write_all(b"\0\0\0\x01y").await.expect("it is open");
            assert!(wire.poll_read(&mut cx).is_ready());
        }
        for start in in_flight {
            let awaited = Awaited::reply_to::<LengthPrefixed>(Some(start));
            let next = wire.next(&mut framing, awaited);
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
            wire.push(&mut framing, request).expect("it fits");
            if wire.poll_flush(&mut cx).is_pending() {
                far.read_exact(&mut taken).await.expect("it was sent");
            }
        }
        assert!(wire.requests.waiting() > 0);
        let kept = wire.requests.buffer.capacity();
        assert!(kept < 300_000, "{kept}");
        assert_eq!(wire.sent() + wire.requests.waiting() as u64, 1_000_000);
    }
}
