//! The requests of a connection that are kept to be sent again.

use std::{collections::VecDeque, mem::replace};

use super::RequestQueue;
use crate::framing::{FrameKind, Framing, Input, ReadState, Side};

/// Up to this many bytes are copied to the buffer of earlier requests.
const MAX_COPIED: usize = 2_000;
/// How many bytes of requests are kept in addition to the last write. So neither a server that does not answer, nor one
/// slow call of a framing with ids, keeps all later requests in memory.
const MAX_KEPT: u64 = 4 << 20;

/// Requests that were sent, or never will be, oldest first. A request is kept until it is answered, so that it can be
/// sent again over another connection, unless [`MAX_KEPT`] bytes were sent after it.
#[derive(Debug, Default)]
pub(in crate::client) struct SentRequests {
    /// Whether requests are kept. If not, they are dropped.
    is_enabled: bool,
    queues: VecDeque<RequestQueue>,
}

impl SentRequests {
    /// Keeps the requests that are sent from now on.
    pub(in crate::client) const fn enable(&mut self) {
        self.is_enabled = true;
    }

    pub(in crate::client) const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Takes the requests of `queue`, and leaves it empty. Drops them unless this is enabled.
    #[inline]
    pub(in crate::client) fn keep(&mut self, queue: &mut RequestQueue) {
        if self.is_enabled {
            self.add(queue);
        } else {
            queue.clear();
        }
    }

    fn add(&mut self, queue: &mut RequestQueue) {
        let bytes = queue.buffer.written();
        if bytes.is_empty() {
            return;
        }
        if bytes.len() <= MAX_COPIED
            && let Some(last) = self.queues.back_mut()
            && last.buffer.keep_sent(bytes)
        {
            debug_assert_eq!(last.offset + bytes.len() as u64, queue.end_offset());
            // A buffer for each small request would take much more memory than the request.
            last.offset = queue.end_offset();
            return queue.clear();
        }
        let (offset, end) = (queue.offset, queue.end_offset());
        let next = RequestQueue::new(offset);
        let mut kept = replace(queue, next);
        kept.offset = end - kept.unsent() as u64;
        // The limit counts sent bytes only: a request that was not sent is always sent again.
        self.forget_before(kept.offset.saturating_sub(MAX_KEPT));
        self.queues.push_back(kept);
    }

    /// Drops the requests before `offset`, which are answered.
    pub(in crate::client) fn forget_before(&mut self, offset: u64) {
        while let Some(oldest) = self.queues.front_mut()
            && oldest.end_offset() <= offset
        {
            oldest.clear();
            self.queues.pop_front();
        }
    }

    /// Returns the bytes from `offset` on, up to the end of a request, or none if they are gone.
    pub(in crate::client) fn bytes_from(&self, offset: u64) -> &[u8] {
        let queue = self.queues.iter().find(|queue| offset < queue.end_offset());
        queue.map_or(&[], |queue| queue.bytes_from(offset))
    }
}

/// Returns the first message of `frames`, after the notice that may stand before it, or `None` if there is none.
///
/// Only for framings with [`HAS_INDEPENDENT_FRAMES`](Framing::HAS_INDEPENDENT_FRAMES).
pub(in crate::client) fn payload<F: Framing>(mut frames: &[u8]) -> Option<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::io::duplex;

    use super::*;
    use crate::{format::Writer, framing::LengthPrefixed, transport::Stream};

    #[tokio::test]
    async fn small_requests_that_are_kept_share_buffers() {
        const LENGTH: usize = 4 + 10;
        let (near, _far) = duplex(1 << 20);
        let mut near = Stream::new(near);
        let (mut queue, mut sent) = (RequestQueue::new(0), SentRequests::default());
        sent.enable();
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
            assert!(queue.poll_send(&mut cx, &mut near, &mut sent).is_ready());
        }
        let capacity: usize = sent.queues.iter().map(|kept| kept.buffer.capacity()).sum();
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
        assert!(sent.queues.is_empty());
    }
}
