//! The requests of a connection that wait to be sent.

mod sent;

use std::{
    io,
    task::{Context, Poll, ready},
};

pub(super) use self::sent::{SentRequests, payload};

use crate::{
    Error, Result,
    buffer::{EncodedMessage, WriteBuffer},
    format::{EncodeError, EncodeOutcome, Writer},
    framing::{Framing, Notice},
    transport::Stream,
};

/// What writes a request.
pub(super) trait EncodeRequest: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError> {}

impl<E: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>> EncodeRequest for E {}

/// Encoded requests, and their offsets in the bytes of all requests of the connection.
///
/// The requests wait in the queue of a [`Wire`](super::wire::Wire) to be sent. The callers of a channel share
/// another queue, whose requests the wire takes when it has sent its own.
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
        if let Err(EncodedMessage { outcome, .. }) =
            self.buffer.message(framing, max_frame_len, encode)
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

    /// Adds a notice before the unsent request at `offset`.
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

    /// Moves the requests, because this many bytes that were not counted are sent before them.
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
    /// request has bytes, which show how much of it was sent.
    pub(super) fn record_empty_request(&mut self) {
        self.offset = self.offset.max(1);
    }

    /// Sends the requests. If `sent` is enabled, it keeps the requests that were sent.
    #[inline]
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        sent: &mut SentRequests,
    ) -> Poll<io::Result<()>> {
        let end = self.end_offset();
        let written = self.buffer.poll_write_all(cx, stream);
        self.offset = end - self.unsent() as u64;
        if written.is_pending() && !sent.is_enabled() {
            self.buffer.remove_sent();
        }
        ready!(written)?;
        sent.keep(self);
        Poll::Ready(Ok(()))
    }

    /// Drops the requests from `offset` on. Nothing of them was sent.
    pub(super) fn truncate(&mut self, offset: u64) {
        let kept = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
        // After a failure, the requests are gone already.
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

    /// Returns the offset of the first byte that was not sent. In a wire, this is the number of bytes that were sent.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes that were not sent yet.
    #[inline]
    pub(super) fn unsent(&self) -> usize {
        self.buffer.unsent_len()
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
        let (mut queue, mut sent) = (RequestQueue::new(0), SentRequests::default());
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
            if queue.poll_send(&mut cx, &mut near, &mut sent).is_pending() {
                far.read_exact(&mut taken).await.expect("it was sent");
            }
        }
        assert!(queue.unsent() > 0);
        let kept = queue.buffer.capacity();
        assert!(kept < 300_000, "{kept}");
        assert_eq!(queue.end_offset(), 1_000_000);
    }
}
