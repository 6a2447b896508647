//! The requests of a connection: those that wait to be sent, and those that are kept to be sent again.

use std::{
    collections::VecDeque,
    io,
    mem::replace,
    task::{Context, Poll, ready},
};

use crate::{
    Error, Result,
    buffer::{Exception, WriteBuffer},
    format::{EncodeError, EncodeOutcome, Writer},
    framing::{FrameKind, Framing, Input, Notice, ReadState, Side},
    transport::Stream,
};

/// What writes a request.
pub(super) trait EncodeRequest: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError> {}

impl<E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>> EncodeRequest for E {}

/// Encoded requests, and their offsets in the bytes of all requests of the connection.
///
/// They wait in the queue of a [`Wire`](super::wire::Wire) to be sent. The callers of a channel share
/// another one, whose requests the wire takes when it has sent its own.
#[derive(Debug)]
pub(super) struct RequestQueue {
    buffer: WriteBuffer,
    /// The offset of the first byte that was not sent.
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
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn push<F: Framing>(
        &mut self,
        framing: &mut F,
        max_frame_len: usize,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        let offset = self.end_offset();
        self.buffer.prepare();
        if let Err(Exception { outcome, .. }) = self.buffer.message(framing, max_frame_len, encode)
        {
            not_encoded(outcome)?;
        }
        Ok(offset)
    }

    /// Adds a request that was encoded before, whole or not at all. Returns its offset.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn push_encoded<F: Framing>(
        &mut self,
        framing: &mut F,
        request: &[u8],
    ) -> Result<u64> {
        let offset = self.end_offset();
        self.buffer.prepare();
        match self.buffer.append_encoded(framing, request) {
            Ok(()) => Ok(offset),
            Err(error) => Err(Error::unsendable(error)),
        }
    }

    /// Adds a notice. Returns `false` if the framing has none.
    pub(super) fn notice<F: Framing>(&mut self, framing: &mut F, notice: Notice) -> bool {
        self.buffer.notice(framing, notice)
    }

    /// Adds a notice before the request at `offset`, of which nothing was sent.
    #[cold]
    pub(super) fn notice_before<F: Framing>(
        &mut self,
        offset: u64,
        framing: &mut F,
        notice: Notice,
    ) {
        let end = self.end_offset();
        let length = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let start = self.buffer.end().saturating_sub(length);
        self.buffer.insert(start, |out| framing.notice(out, notice));
    }

    /// Takes the bytes that were not sent.
    pub(super) fn take_unsent(&mut self) -> Vec<u8> {
        let unsent = self.buffer.unsent().to_vec();
        self.buffer.remove_from(self.buffer.sent());
        unsent
    }

    /// Adds bytes that were taken.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.buffer.append(|out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    /// Moves the requests, because this many bytes are sent before them that were not counted.
    pub(super) const fn move_by(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// Returns the bytes from `offset` on, or none if they are not in the queue.
    pub(super) fn bytes_from(&self, offset: u64) -> &[u8] {
        let frames = self.buffer.written();
        let start = self.end_offset() - frames.len() as u64;
        let place = offset.checked_sub(start).map(usize::try_from);
        let bytes = place.and_then(|place| frames.get(place.ok()?..));
        bytes.unwrap_or_default()
    }

    /// Counts an empty request as one sent byte, so that it is not reported as not sent. Does nothing if the
    /// request has bytes: they show how much of it was sent.
    pub(super) fn count_empty_request(&mut self) {
        self.offset = self.offset.max(1);
    }

    /// Sends the requests. Those that were sent go to `sent`, if there is one.
    #[inline]
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        sent: Option<&mut SentRequests>,
    ) -> Poll<io::Result<()>> {
        let end = self.end_offset();
        let written = self.buffer.poll_write_all(cx, stream);
        self.offset = end - self.unsent() as u64;
        if written.is_pending() && sent.is_none() {
            self.buffer.remove_sent();
        }
        ready!(written)?;
        match sent {
            Some(sent) => sent.keep(self),
            None => self.clear(),
        }
        Poll::Ready(Ok(()))
    }

    /// Drops the requests from `offset` on. Nothing of them was sent.
    pub(super) fn truncate(&mut self, offset: u64) {
        let kept = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
        // After a failure, nothing is left of them.
        if kept < self.unsent() {
            self.buffer.remove_from(self.buffer.sent() + kept);
        }
    }

    /// Drops the requests.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.release();
    }

    /// Returns the offset of the next request: the number of bytes of all requests so far.
    #[inline]
    pub(super) fn end_offset(&self) -> u64 {
        self.offset + self.unsent() as u64
    }

    /// Returns the offset of the first byte that was not sent. In a wire, the number of bytes that were sent.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes that were not sent yet.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.buffer.unsent_len()
    }
}

/// Up to this many bytes are copied to the buffer of earlier requests.
const MAX_COPIED: usize = 2_000;
/// How many bytes of requests are kept in addition to those of the last write. So neither a server that does not
/// answer, nor one slow call of a framing with ids, keeps all the requests after it in memory.
const MAX_KEPT: u64 = 4 << 20;

/// Requests that were sent, or never will be, oldest first. They are kept until they are answered, so that
/// they can be sent again over another connection, unless [`MAX_KEPT`] bytes were sent after them.
#[derive(Debug, Default)]
pub(super) struct SentRequests(VecDeque<RequestQueue>);

impl SentRequests {
    /// Takes the requests of `queue`, and leaves it empty.
    pub(super) fn keep(&mut self, queue: &mut RequestQueue) {
        let bytes = queue.buffer.written();
        if bytes.is_empty() {
            return;
        }
        if bytes.len() <= MAX_COPIED
            && let Some(last) = self.0.back_mut()
            && last.buffer.keep_sent(bytes)
        {
            debug_assert_eq!(last.offset + bytes.len() as u64, queue.end_offset());
            // A buffer for each small request would be much more memory than the request.
            last.offset = queue.end_offset();
            return queue.clear();
        }
        let (offset, end) = (queue.offset, queue.end_offset());
        let next = RequestQueue::new(offset);
        let mut kept = replace(queue, next);
        kept.offset = end - kept.unsent() as u64;
        // Counted from what was sent: what was not is always sent again.
        self.forget_before(kept.offset.saturating_sub(MAX_KEPT));
        self.0.push_back(kept);
    }

    /// Drops the requests before `offset`, which are answered.
    pub(super) fn forget_before(&mut self, offset: u64) {
        while let Some(oldest) = self.0.front_mut()
            && oldest.end_offset() <= offset
        {
            oldest.clear();
            self.0.pop_front();
        }
    }

    /// Returns the bytes from `offset` on, up to the end of a request, or none if they are gone.
    pub(super) fn bytes_from(&self, offset: u64) -> &[u8] {
        let queue = self.0.iter().find(|queue| offset < queue.end_offset());
        queue.map_or(&[], |queue| queue.bytes_from(offset))
    }
}

/// Encodes a request without its frame, into an empty buffer.
#[inline(always)]
#[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
pub(super) fn encode_into(
    buffer: &mut Vec<u8>,
    max_frame_len: usize,
    encode: impl EncodeRequest,
) -> Result<()> {
    let mut writer = Writer::new(buffer, max_frame_len);
    let encoded = encode(&mut writer);
    if encoded.is_ok() && writer.is_ordinary() {
        return Ok(());
    }
    let encoded = encoded.map(|()| writer.into_state());
    not_encoded(EncodeOutcome::of(encoded, buffer, 0, max_frame_len))
}

/// Returns the first message of `frames`, after the notice that may stand before it, or `None` if there is none.
///
/// Only for framings with [`HAS_INDEPENDENT_FRAMES`](Framing::HAS_INDEPENDENT_FRAMES).
pub(super) fn payload<F: Framing>(mut frames: &[u8]) -> Option<Vec<u8>> {
    let mut framing = F::default();
    for _ in 0..2 {
        let input = Input::new(frames, usize::MAX, Side::Server, ReadState::Idle);
        let parsed = framing.parse(input).ok()??;
        if parsed.kind == FrameKind::Message {
            return frames.get(parsed.payload).map(<[u8]>::to_vec);
        }
        frames = frames.get(parsed.consumed..)?;
    }
    None
}

/// Writes a request that was sent before.
pub(super) fn encoded(request: &[u8]) -> impl EncodeRequest {
    move |out| {
        out.put(request);
        Ok(())
    }
}

/// Encodes a request without its frame.
pub(super) fn encode_unframed(encode: impl EncodeRequest, max_frame_len: usize) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    encode_into(&mut request, max_frame_len, encode)?;
    Ok(request)
}

/// Returns an error if a request is not in the buffer.
#[cold]
fn not_encoded(outcome: EncodeOutcome) -> Result<()> {
    Err(match outcome {
        EncodeOutcome::Written(_) => return Ok(()),
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

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::framing::LengthPrefixed;

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
            if queue.poll_send(&mut cx, &mut near, None).is_pending() {
                far.read_exact(&mut taken).await.expect("it was sent");
            }
        }
        assert!(queue.unsent() > 0);
        let kept = queue.buffer.capacity();
        assert!(kept < 300_000, "{kept}");
        assert_eq!(queue.end_offset(), 1_000_000);
    }

    #[tokio::test]
    async fn small_requests_that_are_kept_share_buffers() {
        const LENGTH: usize = 4 + 10;
        let (near, _far) = duplex(1 << 20);
        let mut near = Stream::new(near);
        let (mut queue, mut sent) = (RequestQueue::new(0), SentRequests::default());
        let mut cx = Context::from_waker(Waker::noop());
        let number = 5_000_u64;
        for request in 0..number {
            tokio::task::yield_now().await;
            let text = format!("{request:010}");
            let encode = |out: &mut Writer<'_>| {
                out.put(text.as_bytes());
                Ok(())
            };
            let offset = queue.push(&mut LengthPrefixed, 1 << 10, encode);
            assert_eq!(offset.expect("it fits"), request * LENGTH as u64);
            assert!(
                queue
                    .poll_send(&mut cx, &mut near, Some(&mut sent))
                    .is_ready()
            );
        }
        let capacity: usize = sent.0.iter().map(|kept| kept.buffer.capacity()).sum();
        assert!(capacity < 2 * 5_000 * LENGTH, "{capacity}");
        let text_at = |sent: &SentRequests, request: u64| {
            let bytes = sent.bytes_from(request * LENGTH as u64).get(4..LENGTH);
            bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        for request in [0, 1, 1_169, 1_170, 1_171, 2_500, number - 1] {
            assert_eq!(text_at(&sent, request), Some(format!("{request:010}")));
        }
        sent.forget_before(2_500 * LENGTH as u64);
        assert_eq!(text_at(&sent, 0), None);
        assert_eq!(text_at(&sent, 2_500), Some(format!("{:010}", 2_500)));
        sent.forget_before(number * LENGTH as u64);
        assert!(sent.0.is_empty());
    }
}
