//! The state machine of a connection, on which `Connection`, `Pipeline` and `Channel` are built.
//!
//! [`Wire`] sends requests and matches messages with them. It has no clock and does not know its
//! callers: its users decide how long to wait and whom to wake. A request becomes a reply like this:
//!
//! 1. [`RequestQueue::push`] encodes the request and returns its offset: the number of bytes of all
//!    requests before it.
//! 2. [`Wire::poll_flush`] sends the queued bytes, and counts them.
//! 3. [`Wire::poll_read`] receives bytes, and notes how many bytes of requests were sent before.
//! 4. [`Wire::next_incoming`] takes the next message from them, and checks it against the offset of
//!    the oldest request in flight, which the caller passes as [`Awaited`].
//!
//! Invariants:
//!
//! - A message answers a request only if a byte of the request was sent before the first byte of the
//!   message was read. Any other message fails the connection, so a stale reply reaches nobody.
//! - A request is certainly not executed if its offset is not below the number of bytes that were
//!   sent before the connection was closed ([`Closed::error_of`]). Otherwise, that is unknown.
//! - A failed half does not hide what the other one has: messages that have arrived are delivered
//!   first, then the connection fails.

use std::{
    io,
    mem::swap,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::{
    fault::{Closed, Fault, io_error},
    replies::{Incoming, Replies},
};
use crate::{
    Error, Result,
    buffer::{EncodeOutcome, Encoded, WriteBuffer},
    format::{EncodeError, Writer},
    framing::{ConnectionFraming, Framing},
    runtime::wake_after_others,
    transport::Stream,
};

/// How often a connection reads again after an error of sending. With one read, it could
/// miss a rejection that another thread of the runtime has not reported yet.
const READ_RETRIES: u32 = 64;

/// A stream with its buffers and the state of both directions.
///
/// The framing is passed to each method, because the callers of a channel and its driver share one.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    max_frame_len: usize,
    /// The requests that wait to be sent.
    requests: RequestQueue,
    sending: Sending,
    replies: Replies,
}

/// Whether requests can be sent.
#[derive(Debug)]
enum Sending {
    Open,
    /// The request that waits is the last one: the sending half is shut down after it.
    ShuttingDown,
    ShutDown,
    /// Sending has failed, or has taken too long. The server may have sent the reason, or earlier
    /// replies: the connection reads `retries` more times.
    Stopped {
        fault: Arc<Fault>,
        retries: u32,
    },
}

/// Which messages are accepted: those of which the first byte was read after this many bytes of
/// requests were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited(u64);

impl Awaited {
    /// Any message, such as a greeting.
    pub(super) const ANY: Self = Self(0);
    /// No message: no request is in flight.
    pub(super) const NOTHING: Self = Self(u64::MAX);

    /// Accepts the reply to the request at `offset`, the oldest in flight.
    ///
    /// With a framing of one exchange, whatever arrives is the one reply.
    #[inline]
    pub(super) const fn reply_to<F: Framing>(offset: Option<u64>) -> Self {
        match offset {
            _ if !F::EXCHANGES.are_many() => Self::ANY,
            Some(offset) => Self(offset + 1),
            None => Self::NOTHING,
        }
    }
}

impl Wire {
    pub(super) fn new(stream: Stream, max_frame_len: usize) -> Self {
        Self {
            stream,
            max_frame_len,
            requests: RequestQueue::new(0),
            sending: Sending::Open,
            replies: Replies::default(),
        }
    }

    /// Queues a request. Returns its offset.
    pub(super) fn push<F: Framing>(
        &mut self,
        framing: &mut F,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        let offset = self.requests.push(framing, self.max_frame_len, encode)?;
        if F::EXCHANGES.end_at_half_close() {
            self.sending = Sending::ShuttingDown;
        }
        Ok(offset)
    }

    /// Takes the requests of `queue`, if all requests before them are sent.
    pub(super) fn take_requests(&mut self, queue: &mut RequestQueue) {
        if self.unsent() == 0 && queue.waiting() > 0 {
            swap(&mut self.requests.buffer, &mut queue.buffer);
            self.requests.offset = queue.offset;
            queue.offset = self.written();
        }
    }

    /// Returns the number of bytes of requests that were sent.
    pub(super) const fn sent(&self) -> u64 {
        self.requests.offset
    }

    /// Returns the number of bytes of requests that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.requests.waiting()
    }

    /// Returns the number of bytes of all requests, sent or not.
    pub(super) fn written(&self) -> u64 {
        self.requests.end_offset()
    }

    /// Returns the message at `range`.
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.replies.message(range)
    }

    /// Returns the number of received bytes that were not consumed.
    pub(super) fn unread(&self) -> usize {
        self.replies.unread()
    }

    /// Returns `true` if the received bytes were searched to their end.
    pub(super) const fn is_drained(&self) -> bool {
        self.replies.is_drained()
    }

    /// Returns `true` if nothing more arrives and all messages were taken.
    pub(super) fn has_ended(&self) -> bool {
        self.is_drained() && self.replies.have_ended()
    }

    /// Ends sending, because it has taken too long. What has arrived can still be received.
    #[cold]
    pub(super) fn stop_sending(&mut self, timed_out: Fault) {
        self.requests.clear();
        self.stop(timed_out, 0);
    }

    #[cold]
    fn stop(&mut self, fault: Fault, retries: u32) {
        let fault = fault.into();
        self.sending = Sending::Stopped { fault, retries };
    }

    /// Returns why no more requests can be sent, once no retries are left.
    pub(super) const fn stop_reason(&self) -> Option<&Arc<Fault>> {
        match &self.sending {
            Sending::Stopped { fault, retries: 0 } => Some(fault),
            _ => None,
        }
    }

    /// Returns `true` if the input has ended without a byte in `incoming`, before anything was sent.
    ///
    /// With a framing of one exchange, the end of the input is a message, though an empty one.
    pub(super) fn has_ended_unasked(&self, incoming: &Incoming) -> bool {
        let is_empty = matches!(incoming, Incoming::Message(range) if range.is_empty());
        is_empty && self.replies.have_ended() && self.sent() == 0
    }

    /// Returns why nothing more arrives, or is sent.
    #[cold]
    pub(super) fn failure(&self) -> Arc<Fault> {
        let fault = match &self.sending {
            // If the server closes the connection while requests are sent, both directions can fail.
            // Report the error of sending.
            Sending::Stopped { fault, .. } => Some(fault),
            _ => self.replies.fault(),
        };
        fault.map_or_else(|| Fault::Eof.into(), Arc::clone)
    }

    /// Returns what is left of the connection if it is closed for this reason.
    #[cold]
    pub(super) const fn closed(&self, fault: Arc<Fault>) -> Closed {
        let sent = self.sent();
        Closed { fault, sent }
    }

    /// Takes the next message or rejection from the received bytes, if one is complete. Does no I/O.
    ///
    /// The connection fails if the message answers no request, if the rejection is final, or if the
    /// bytes are not a frame.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `poll_receive`")]
    pub(super) fn next_incoming<F: Framing>(
        &mut self,
        framing: &mut ConnectionFraming<F>,
        awaited: Awaited,
    ) -> Result<Option<Incoming>, Arc<Fault>> {
        let next = self.replies.next(framing, self.max_frame_len);
        match next.map_err(Fault::Frame)? {
            Some((Incoming::Rejection(rejection), _)) if rejection.kind().is_final() => {
                Err(Fault::Rejected(rejection).into())
            }
            Some((_, sent)) if sent < awaited.0 => {
                let reason = "the server sent an unexpected message";
                Err(Fault::Broken(reason).into())
            }
            next => Ok(next.map(|(incoming, _)| incoming)),
        }
    }
}

impl Wire {
    /// Waits for a message. Meanwhile, sends the queued requests.
    ///
    /// Reads before it sends, so that what has arrived already is not taken for a reply.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs 87 of 3,130 instructions of a lone call"
    )]
    pub(super) fn poll_receive<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut ConnectionFraming<F>,
        awaited: Awaited,
    ) -> Poll<Result<Incoming, Arc<Fault>>> {
        loop {
            if let Some(incoming) = self.next_incoming(framing, awaited)? {
                return Poll::Ready(Ok(incoming));
            }
            if self.replies.have_ended() {
                return Poll::Ready(Err(self.failure()));
            }
            if self.poll_read(cx).is_pending() {
                let _: Poll<()> = self.poll_flush(cx);
                return self.poll_stopped(cx).map(Err);
            }
        }
    }

    /// Reads once. Stays pending after the end of the input.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sent = self.sent();
        self.replies.poll_read(cx, &mut self.stream, sent)
    }

    /// Waits for the end of the input while the last message is in use.
    #[cold]
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.replies.poll_end(cx, &mut self.stream)
    }

    /// Sends the queued requests. Ready when all are sent, or if sending has ended.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.sending, Sending::Stopped { .. }) {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.requests.poll_send(cx, &mut self.stream)) {
            self.stop(Fault::Write(io_error(&error)), READ_RETRIES);
        } else if matches!(self.sending, Sending::ShuttingDown) {
            // If the connection has failed, reading reports the error.
            drop(ready!(Pin::new(&mut self.stream).poll_shutdown(cx)));
            self.sending = Sending::ShutDown;
        }
        Poll::Ready(())
    }

    /// Shuts the sending half down after all requests are answered. Some streams say goodbye then, such as
    /// TLS with `close_notify`. Ready when that is done, or if sending has ended.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.sending, Sending::Open) {
            // An error makes no difference: the stream is dropped next.
            drop(ready!(Pin::new(&mut self.stream).poll_shutdown(cx)));
        }
        Poll::Ready(())
    }

    /// Waits until nothing more is sent, and nothing has arrived in the retries since. Returns why.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        match &mut self.sending {
            Sending::Open | Sending::ShuttingDown | Sending::ShutDown => Poll::Pending,
            Sending::Stopped { fault, retries: 0 } => Poll::Ready(Arc::clone(fault)),
            Sending::Stopped { retries, .. } => {
                *retries -= 1;
                wake_after_others(cx);
                Poll::Pending
            }
        }
    }
}

/// Returns how many bytes of requests make a write worthwhile while `bytes_in_flight` are in flight.
///
/// With a quarter in each write, both ends work at the same time. Below 1 KiB, a write costs more
/// than that saves.
#[inline]
pub(super) fn write_threshold(bytes_in_flight: u64) -> u64 {
    (bytes_in_flight / 4).clamp(1024, 32 * 1024)
}

/// What writes a request.
pub(super) trait EncodeRequest: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError> {}

impl<E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>> EncodeRequest for E {}

/// Encoded requests that wait, and their offsets in the bytes of all requests of the connection.
///
/// They wait in the queue of a [`Wire`] to be sent. The callers of a channel share another one, whose
/// requests the wire takes when it has sent its own.
#[derive(Debug)]
pub(super) struct RequestQueue {
    buffer: WriteBuffer,
    /// The offset of the first byte that waits. In a wire, the number of bytes that were sent.
    offset: u64,
}

impl RequestQueue {
    /// Creates a queue whose first request has the offset `offset`.
    pub(super) fn new(offset: u64) -> Self {
        let buffer = WriteBuffer::default();
        Self { buffer, offset }
    }

    /// Adds a request, whole or not at all. Returns its offset.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `Shared::enter`")]
    pub(super) fn push<F: Framing>(
        &mut self,
        framing: &mut F,
        max_frame_len: usize,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        let offset = self.end_offset();
        self.buffer.prepare();
        if let Err(Encoded { outcome, .. }) = self.buffer.message(framing, max_frame_len, encode) {
            not_encoded(outcome)?;
        }
        if !F::EXCHANGES.are_many() && self.end_offset() == offset {
            // An empty request has no bytes that tell whether it was sent. It counts as one sent byte,
            // so that it is never reported as not sent.
            self.offset += 1;
        }
        Ok(offset)
    }

    /// Sends the requests.
    #[inline]
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let end = self.end_offset();
        let flushed = self.buffer.poll_flush(cx, stream);
        self.offset = end - self.waiting() as u64;
        if flushed.is_pending() {
            self.buffer.remove_sent();
        }
        ready!(flushed)?;
        self.buffer.release();
        Poll::Ready(Ok(()))
    }

    /// Drops the requests.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.release();
    }

    /// Returns the offset of the next request: the number of bytes of all requests so far.
    #[inline]
    fn end_offset(&self) -> u64 {
        self.offset + self.waiting() as u64
    }

    /// Returns the number of bytes that wait.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.buffer.unsent_len()
    }
}

/// Returns an error if a request is not in the buffer.
#[cold]
fn not_encoded(outcome: EncodeOutcome) -> Result<()> {
    Err(match outcome {
        EncodeOutcome::Written => return Ok(()),
        EncodeOutcome::Nothing => {
            Error::encode(EncodeError::new("the function returned no request"))
        }
        EncodeOutcome::Error(text) => Error::encode(EncodeError::new(text)),
        EncodeOutcome::Unencodable(error) => Error::encode(error),
        EncodeOutcome::Unsendable(error) => Error::unsendable(error),
    })
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
        let mut wire = Wire::new(Stream::new(near), 1 << 10);
        let mut framing = ConnectionFraming::new(LengthPrefixed);
        let mut cx = Context::from_waker(Waker::noop());
        let request = |out: &mut Writer<'_>| {
            out.put(&[0; 200]);
            Ok(())
        };
        wire.push(framing.get_mut(), request).expect("it fits");
        let mut most = 0;
        for byte in [[0, 0, 0, 100], [0; 4], [0; 4], [0; 4]].concat() {
            assert!(wire.poll_flush(&mut cx).is_pending());
            if sends {
                far.read_u8().await.expect("it was sent");
            }
            far.write_u8(byte).await.expect("it is open");
            assert!(wire.poll_read(&mut cx).is_ready());
            most = most.max(wire.replies.parts());
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
        let mut wire = Wire::new(Stream::new(near), 1 << 10);
        let mut framing = ConnectionFraming::new(LengthPrefixed);
        let mut cx = Context::from_waker(Waker::noop());
        let mut in_flight = Vec::new();
        for _ in 0..3 {
            let offset = wire.push(framing.get_mut(), |out| {
                out.put(b"x");
                Ok(())
            });
            in_flight.push(offset.expect("it fits"));
            assert!(wire.poll_flush(&mut cx).is_ready());
            far.write_all(b"\0\0\0\x01y").await.expect("it is open");
            assert!(wire.poll_read(&mut cx).is_ready());
        }
        for offset in in_flight {
            let awaited = Awaited::reply_to::<LengthPrefixed>(Some(offset));
            let next = wire.next_incoming(&mut framing, awaited);
            assert!(matches!(next, Ok(Some(Incoming::Message(_)))), "{next:?}");
        }
    }

    #[tokio::test]
    async fn requests_that_were_sent_leave_the_buffer_though_others_always_wait() {
        let (near, mut far) = duplex(1_000);
        let mut near = Stream::new(near);
        let mut queue = RequestQueue::new(0);
        let mut cx = Context::from_waker(Waker::noop());
        let mut taken = [0; 1_000];
        for _ in 0..1_000 {
            // The pipe takes part in the budget of tasks.
            tokio::task::yield_now().await;
            let request = |out: &mut Writer<'_>| {
                out.put(&[0; 996]);
                Ok(())
            };
            let pushed = queue.push(&mut LengthPrefixed, 1 << 10, request);
            pushed.expect("it fits");
            if queue.poll_send(&mut cx, &mut near).is_pending() {
                far.read_exact(&mut taken).await.expect("it was sent");
            }
        }
        assert!(queue.waiting() > 0);
        let kept = queue.buffer.capacity();
        assert!(kept < 300_000, "{kept}");
        assert_eq!(queue.end_offset(), 1_000_000);
    }
}
