//! The state machine of a connection, on which `Connection`, `Pipeline` and `Channel` are built.
//!
//! [`Wire`] sends requests and matches messages with them. A wire has no clock and does not know its
//! callers: its users decide how long to wait and which tasks to wake. A request gets its reply in these steps:
//!
//! 1. [`RequestQueue::push`] encodes the request and returns its offset: the number of bytes of all
//!    requests before it.
//! 2. [`Wire::poll_flush`] sends the queued bytes, and counts them.
//! 3. [`Wire::poll_read`] receives bytes, and records how many bytes of requests were sent before.
//! 4. [`Wire::next_received`] takes the next message from them, and checks it against the offset of
//!    the oldest request in flight, which the caller passes as [`Expected`].
//!
//! Invariants:
//!
//! - A message answers a request only if a byte of the request was sent before the first byte of the
//!   message was read. Any other message fails the connection, so a stale reply reaches no caller. If the framing has
//!   ids, the late reply to a cancelled request is skipped.
//! - A request is known not to have been executed if its offset is not below the number of bytes that were
//!   sent before the connection was closed ([`Fault::error_of`]). Otherwise, its execution is unknown.
//! - A failed half does not hide what the other half has: messages that have arrived are delivered
//!   first, then the connection fails.

use std::{
    io,
    mem::replace,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::AsyncWrite;

use super::{
    ConnectOptions,
    fault::{Fault, UNEXPECTED, clone_io_error},
    replies::{Received, ReplyReader},
    requests::{EncodeRequest, RequestQueue, SentRequests},
};
use crate::{
    Result,
    framing::{Announcement, ConnectionFraming, Framing, Notice},
    runtime::wake_after_others,
    transport::{Stream, explain_if_tls},
};

/// How often a connection yields and reads again after an error of sending. With one read, it could miss a
/// rejection that another thread of the runtime has not reported yet. The retries are best effort: no number of
/// yields is a guarantee.
const READ_RETRIES: u32 = 64;

/// A stream with its buffers and the state of both directions.
///
/// The framing is passed to each method, because the callers of a channel and its driver share one.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    max_frame_len: usize,
    max_reply_len: usize,
    /// The requests that wait to be sent.
    pub(super) requests: RequestQueue,
    /// Sent requests, kept until they are answered, if they may be sent again.
    sent_requests: SentRequests,
    sending: Sending,
    replies: ReplyReader,
    /// Why reading or sending has failed, or the connection is closed.
    fault: Option<Arc<Fault>>,
}

/// Whether requests can be sent.
#[derive(Debug)]
enum Sending {
    Open,
    /// The request that waits is the last one: the sending half is shut down after it.
    ShuttingDown,
    ShutDown,
    /// Sending has failed, or a wait has timed out. The server may have sent the reason, or earlier
    /// replies: the connection reads `retries` more times.
    Stopped {
        retries: u32,
    },
    /// The connection is closed. Its stream and its buffers are gone.
    Closed,
}

/// Which messages are accepted: their first byte must have been read after this many bytes of requests
/// were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected(u64);

impl Expected {
    /// Any message, such as a greeting.
    pub(super) const ANY: Self = Self(0);
    /// No message: no request is in flight.
    pub(super) const NOTHING: Self = Self(u64::MAX);

    /// Returns `true` if any message is accepted.
    pub(super) const fn is_any(self) -> bool {
        self.0 == Self::ANY.0
    }

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
    pub(super) fn new(stream: Stream, options: &ConnectOptions) -> Self {
        Self {
            stream,
            max_frame_len: options.max_frame_len,
            max_reply_len: options.reply_len(),
            requests: RequestQueue::new(0),
            sent_requests: SentRequests::default(),
            sending: Sending::Open,
            replies: ReplyReader::default(),
            fault: None,
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
        } else if !F::EXCHANGES.are_many() && self.requests.unsent() == 0 {
            // Nothing of an empty request is ever sent.
            self.requests.record_empty_request();
        }
        Ok(offset)
    }

    /// Queues a notice that `count` more chunks of the last request follow. Returns `false` if the framing has none.
    pub(super) fn announce_chunks<F: Framing>(&mut self, framing: &mut F, count: u32) -> bool {
        let notice = Notice::Announce(Announcement::Chunks, count);
        self.requests.notice(framing, notice)
    }

    /// Queues a chunk of the last request, with a notice, whole or not at all.
    pub(super) fn push_chunk<F: Framing>(
        &mut self,
        framing: &mut F,
        encode: impl EncodeRequest,
    ) -> Result<()> {
        let start = self.requests.end_offset();
        self.announce_chunks(framing, 1);
        let pushed = self.requests.push(framing, self.max_frame_len, encode);
        pushed
            .map(drop)
            .inspect_err(|_| self.requests.truncate(start))
    }

    /// Takes the requests of `queue`, if all requests before them are sent.
    pub(super) fn take_requests(&mut self, queue: &mut RequestQueue) {
        if self.requests.unsent() == 0 && queue.unsent() > 0 {
            // Earlier requests may still wait in the stream, to be flushed.
            self.sent_requests.keep(&mut self.requests);
            let next = RequestQueue::new(queue.end_offset());
            self.requests = replace(queue, next);
        }
    }

    /// Keeps each request from now on until [`forget_requests`](Self::forget_requests).
    pub(super) fn keep_requests(&mut self) {
        self.sent_requests.enable();
    }

    /// Drops the kept requests before `offset`, which are answered.
    pub(super) fn forget_requests(&mut self, offset: u64) {
        self.sent_requests.forget_before(offset);
    }

    /// Returns the bytes of the kept request at `offset`, and of requests after it.
    pub(super) fn request_bytes(&self, offset: u64) -> &[u8] {
        match self.requests.bytes_from(offset) {
            [] => self.sent_requests.bytes_from(offset),
            bytes => bytes,
        }
    }

    /// Returns the number of bytes of requests that were sent.
    pub(super) const fn sent(&self) -> u64 {
        self.requests.offset()
    }

    /// Returns the message at `range`.
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.replies.message(range)
    }

    /// Returns the number of received bytes that were not consumed.
    pub(super) fn unread(&self) -> usize {
        self.replies.unread()
    }

    /// Returns `true` if the received bytes may have a complete frame.
    pub(super) const fn has_unparsed(&self) -> bool {
        self.replies.has_unparsed()
    }

    /// Returns `true` if nothing more arrives and all messages were taken.
    pub(super) fn is_exhausted(&self) -> bool {
        !self.has_unparsed() && self.replies.has_ended()
    }

    /// [Ends sending](Self::end_sending), because a wait has reached its limit.
    #[cold]
    pub(super) fn time_out(&mut self, limit: Duration) {
        let fault = match self.requests.unsent() {
            0 => Fault::ReadTimedOut(limit),
            _ => Fault::WriteTimedOut(limit),
        };
        self.end_sending(fault);
    }

    /// Sends nothing more. Messages that have arrived can still be received.
    #[cold]
    pub(super) fn end_sending(&mut self, fault: Fault) {
        self.sent_requests.keep(&mut self.requests);
        self.stop(fault, 0);
    }

    #[cold]
    fn stop(&mut self, fault: Fault, retries: u32) {
        self.fault = Some(self.fault_or(fault));
        self.sending = Sending::Stopped { retries };
    }

    /// Closes the connection: drops its stream and frees its buffers. Each later wait returns `fault`.
    #[cold]
    pub(super) fn close(&mut self, fault: Arc<Fault>) {
        self.fault = Some(fault);
        self.sending = Sending::Closed;
        drop(self.stream.take());
        self.sent_requests.keep(&mut self.requests);
        self.replies = ReplyReader::default();
    }

    /// Returns the stream, and the bytes that were received after the last message. Returns `None` in the
    /// middle of a message.
    pub(super) fn into_parts(self) -> Option<(Stream, Vec<u8>)> {
        let is_within_message = self.requests.unsent() > 0 || self.replies.is_skipping();
        (!is_within_message).then(|| (self.stream, self.replies.into_unread()))
    }

    /// Returns why no more requests can be sent, once no retries are left.
    pub(super) fn stop_reason(&self) -> Option<Arc<Fault>> {
        match self.sending {
            Sending::Stopped { retries: 0 } | Sending::Closed => self.fault.clone(),
            _ => None,
        }
    }

    /// Returns why the connection has failed, or else `fault`.
    #[cold]
    pub(super) fn fault_or(&self, fault: Fault) -> Arc<Fault> {
        self.fault.as_ref().map_or_else(|| fault.into(), Arc::clone)
    }

    /// Returns `true` if the input has ended without a byte in `received`, before all of the request was sent.
    ///
    /// With a framing of one exchange, the end of the input is a message, though an empty one. But a server
    /// that closes before it has the whole request has not answered it.
    pub(super) fn is_premature_eof(&self, received: &Received) -> bool {
        let is_empty = matches!(received, Received::Message(range) if range.is_empty());
        let is_sent = self.requests.unsent() == 0
            && matches!(self.sending, Sending::Open | Sending::ShutDown);
        is_empty && self.replies.has_ended() && !is_sent
    }

    /// Returns the id of the message or rejection that was received last.
    pub(super) fn received_id(&self) -> u32 {
        self.replies.id
    }

    /// Takes the next message or rejection from the received bytes, if one is complete. Does no I/O.
    ///
    /// Returns the fault, with which the caller must close the connection, if the message answers no request,
    /// if the rejection is final, or if the bytes are not a frame.
    ///
    /// The result of `expected` may depend on the id of the message.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every reply runs it (decision 014)")]
    pub(super) fn next_received<F: Framing>(
        &mut self,
        framing: &mut ConnectionFraming<F>,
        expected: impl FnOnce(u32) -> Expected,
    ) -> Result<Option<Received>, Arc<Fault>> {
        let next = self.replies.next_frame(framing, self.max_reply_len);
        match next.map_err(|error| Fault::Frame(error.of_reply()))? {
            Some((Received::Rejection(rejection), _)) if rejection.kind().is_final() => {
                Err(Fault::Rejected(rejection).into())
            }
            Some((received, sent)) if sent < expected(self.replies.id).0 => {
                unless_event(received).map(Some)
            }
            next => Ok(next.map(|(received, _)| received)),
        }
    }

    /// Waits for a message. Meanwhile, sends the queued requests.
    ///
    /// Reads before it sends, so that a message that has arrived already is not taken for a reply.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every reply runs it (decision 014)")]
    pub(super) fn poll_receive<F: Framing>(
        &mut self,
        cx: &mut Context<'_>,
        framing: &mut ConnectionFraming<F>,
        expected: impl Fn(u32) -> Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        if let (Sending::Closed, Some(fault)) = (&self.sending, &self.fault) {
            return Poll::Ready(Err(Arc::clone(fault)));
        }
        loop {
            if let Some(received) = self.next_received(framing, &expected)? {
                return Poll::Ready(Ok(received));
            }
            if self.replies.has_ended() {
                return Poll::Ready(Err(self.fault_or(Fault::Eof)));
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
        let read = self.replies.poll_read(cx, &mut self.stream, sent);
        read.map(|read| self.record(read))
    }

    /// Waits for the end of the input while the last message is in use.
    #[cold]
    pub(super) fn poll_eof(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let read = self.replies.poll_eof(cx, &mut self.stream);
        read.map(|read| self.record(read))
    }

    /// Records the error of a read. An earlier error of sending says more.
    #[inline]
    fn record(&mut self, read: io::Result<()>) {
        if let Err(error) = read {
            self.fault = Some(self.fault_or(Fault::Read(clone_io_error(&explain_if_tls(error)))));
        }
    }

    /// Sends the queued requests. Ready when all are sent, or if sending has ended.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.sending, Sending::Stopped { .. } | Sending::Closed) {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.requests.poll_send(
            cx,
            &mut self.stream,
            &mut self.sent_requests
        )) {
            self.stop(
                Fault::Write(clone_io_error(&explain_if_tls(error))),
                READ_RETRIES,
            );
        } else if matches!(self.sending, Sending::ShuttingDown) {
            // The end completes the request, and the first poll may send it.
            self.requests.record_empty_request();
            // If the connection has failed, reading reports the error.
            drop(ready!(Pin::new(&mut self.stream).poll_shutdown(cx)));
            self.sending = Sending::ShutDown;
        }
        Poll::Ready(())
    }

    /// Shuts the sending half down after all requests are answered. Some streams have a closing message, such
    /// as `close_notify` of TLS. Ready when that is done, or if sending has ended.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.sending, Sending::Open) {
            // An error makes no difference: the stream is dropped next.
            drop(ready!(Pin::new(&mut self.stream).poll_shutdown(cx)));
        }
        Poll::Ready(())
    }

    /// Waits until nothing more is sent, and nothing has arrived in the retries since. Returns why.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        if let Some(fault) = self.stop_reason() {
            return Poll::Ready(fault);
        }
        if let Sending::Stopped { retries } = &mut self.sending {
            *retries -= 1;
            wake_after_others(cx);
        }
        Poll::Pending
    }
}

/// Returns what answers no request if it is an event or a notice, which may come at any time.
#[cold]
fn unless_event(received: Received) -> Result<Received, Arc<Fault>> {
    match received {
        Received::Event(_) | Received::Notice => Ok(received),
        _ => Err(Fault::Broken(UNEXPECTED).into()),
    }
}

/// Returns how many bytes of requests make a write worthwhile while `bytes_in_flight` are in flight.
///
/// With a quarter in each write, both ends work at the same time. Below 1 KiB, a write costs more
/// than the overlap saves.
#[inline]
pub(super) fn write_threshold(bytes_in_flight: u64) -> u64 {
    (bytes_in_flight / 4).clamp(1024, 32 * 1024)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex};

    use super::*;
    use crate::{
        format::Writer,
        framing::{LengthPrefixed, Raw},
    };

    /// Reads a message byte by byte, and sends one byte of a request before each if `sends`. Returns
    /// the most parts that were kept apart.
    async fn read_slowly(sends: bool) -> usize {
        let (near, mut far) = duplex(1);
        let mut wire = Wire::new(Stream::new(near), &ConnectOptions::new());
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
            most = most.max(wire.replies.segment_count());
            if sends {
                let next = wire.next_received(&mut framing, |_| Expected::ANY);
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
        let mut wire = Wire::new(Stream::new(near), &ConnectOptions::new());
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
            let expected = Expected::reply_to::<LengthPrefixed>(Some(offset));
            let next = wire.next_received(&mut framing, |_| expected);
            assert!(matches!(next, Ok(Some(Received::Message(_)))), "{next:?}");
        }
    }

    #[tokio::test]
    async fn requests_that_wait_in_the_stream_are_kept_when_the_next_are_taken() {
        let (near, mut far) = duplex(12);
        let mut wire = Wire::new(Stream::new(BufWriter::new(near)), &ConnectOptions::new());
        wire.keep_requests();
        let mut queue = RequestQueue::new(0);
        let mut cx = Context::from_waker(Waker::noop());
        for (requests, is_flushed) in [(&[b"a1", b"a2"][..], true), (&[b"b1"], false)] {
            for request in requests {
                let pushed = queue.push_encoded(&mut LengthPrefixed, *request);
                pushed.expect("it fits");
            }
            wire.take_requests(&mut queue);
            assert_eq!(wire.poll_flush(&mut cx).is_ready(), is_flushed);
            assert_eq!(wire.requests.unsent(), 0);
        }
        let pushed = queue.push_encoded(&mut LengthPrefixed, b"c1");
        pushed.expect("it fits");
        wire.take_requests(&mut queue);
        far.read_exact(&mut [0; 12]).await.expect("they were sent");
        assert!(wire.poll_flush(&mut cx).is_ready());
        for (index, request) in [b"a1", b"a2", b"b1", b"c1"].into_iter().enumerate() {
            let bytes = wire.request_bytes(6 * index as u64);
            assert_eq!(bytes.get(4..6), Some(&request[..]), "{index}");
        }
    }

    #[tokio::test]
    async fn closed_wire_returns_its_fault_though_the_end_of_its_input_would_be_a_message() {
        let (near, _far) = duplex(1);
        let mut wire = Wire::new(Stream::new(near), &ConnectOptions::new());
        let mut framing = ConnectionFraming::new(Raw);
        wire.close(Fault::Broken("why").into());
        let received = poll_fn(|cx| wire.poll_receive(cx, &mut framing, |_| Expected::ANY)).await;
        let fault = received.expect_err("it is closed");
        assert!(matches!(*fault, Fault::Broken("why")), "{fault:?}");
    }
}
