//! What arrives on a connection, and which request in flight it is for.

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{connection::Connection, fault::Fault, replies::Received, wire::Expected};
use crate::{
    Error, Peer, Result,
    format::{Decode, read},
    framing::Framing,
    runtime::wake_after_others,
};

/// The largest scratch buffer that is kept, as in the pool of buffers. A connection does not hold the
/// memory of a large reply beyond the next reply.
const MAX_SCRATCH: usize = 128 * 1024;
/// How many bytes of notices, and of replies that were abandoned, are skipped within one poll.
const SKIPPED_AT_ONCE: usize = 1 << 20;
/// What each of them counts beside its own bytes.
const SKIPPED_OVERHEAD: usize = 1 << 10;

impl<F: Framing> Connection<F> {
    /// Waits for the reply to the oldest request in flight that was not abandoned, which it removes, or for an item of
    /// that reply. If there is none, waits for a message that is expected without a request. Events are queued.
    pub(super) fn poll_received(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        loop {
            match ready!(self.poll_any(cx, without_request))? {
                Received::Event(range) => self.queue_event(range)?,
                received => return Poll::Ready(Ok(received)),
            }
        }
    }

    /// Like [`poll_received`](Self::poll_received), but returns events as well.
    #[inline]
    pub(super) fn poll_any(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        loop {
            let oldest = self.in_flight.oldest();
            let oldest = oldest.map(|offset| Expected::reply_to::<F>(Some(offset)));
            let last_id = self.ids.last();
            let expected = |id| match oldest {
                Some(expected) if !F::HAS_IDS || id == last_id => expected,
                // By its id, it is for no request, or for one that was cancelled.
                _ if F::HAS_IDS => Expected::ANY,
                _ => without_request,
            };
            let received = ready!(self.wire.poll_receive(cx, &mut self.framing, expected))?;
            if F::HAS_IDS && !matches!(received, Received::Notice) {
                let length = received.len();
                if let Some(received) = self.route(received, without_request)? {
                    return Poll::Ready(Ok(received));
                }
                ready!(self.poll_skip(length, cx))?;
                continue;
            }
            if let Received::Item(_) | Received::Event(_) | Received::Notice = received {
                if ready!(self.poll_skipped(&received, cx))? {
                    continue;
                }
                return Poll::Ready(Ok(received));
            }
            if !F::EXCHANGES.are_many() && self.wire.is_premature_eof(&received) {
                return Poll::Ready(Err(self.wire.fault_or(Fault::Eof)));
            }
            if self.in_flight.answer_oldest() {
                return Poll::Ready(Ok(received));
            }
            self.waits.reply_timer.reset();
        }
    }

    /// Returns `true` for a notice, and for an item of a reply that was abandoned. Neither extends the time in which the
    /// reply must come, because there may be no end of them.
    #[cold]
    fn poll_skipped(
        &mut self,
        received: &Received,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Arc<Fault>>> {
        match received {
            Received::Item(_) if self.in_flight.is_empty() => {
                let reason = "the server sent an item of a reply that nobody asked for";
                return Poll::Ready(Err(Fault::Broken(reason).into()));
            }
            Received::Item(_) if self.in_flight.abandoned() > 0 => {}
            Received::Notice => {}
            _ => return Poll::Ready(Ok(false)),
        }
        self.poll_skip(received.len(), cx).map_ok(|()| true)
    }

    /// Counts a message of `length` bytes that is skipped. Pending now and then, so that others get their turn, and the
    /// time is looked at.
    #[cold]
    fn poll_skip(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<Result<(), Arc<Fault>>> {
        if !self.must_pause(length) {
            return Poll::Ready(Ok(()));
        }
        let _: Poll<()> = self.wire.poll_flush(cx);
        // What has arrived comes before the fault, but not what arrives without end.
        if let Poll::Ready(fault) = self.wire.poll_stopped(cx) {
            return Poll::Ready(Err(fault));
        }
        wake_after_others(cx);
        Poll::Pending
    }

    /// Counts a message of `length` bytes that is skipped. Returns `true` now and then, when others must get their turn.
    #[cold]
    pub(super) const fn must_pause(&mut self, length: usize) -> bool {
        self.waits.skipped += SKIPPED_OVERHEAD + length;
        let is_enough = self.waits.skipped >= SKIPPED_AT_ONCE;
        if is_enough {
            self.waits.skipped = 0;
        }
        is_enough
    }

    /// Returns the place of the message, or the error of the request.
    #[inline]
    pub(super) fn message_in(&mut self, received: Received) -> Result<Range<usize>> {
        match received {
            Received::Message(range) => Ok(range),
            received => Err(self.error_in(received)),
        }
    }

    /// Returns the error of a request whose result is no message. If it is an item, the rest of its reply is skipped.
    #[cold]
    fn error_in(&mut self, received: Received) -> Error {
        match received {
            Received::Item(_) if F::HAS_IDS => self.abandon_in_flight(),
            Received::Item(_) => self.in_flight.abandon_oldest(),
            _ => {}
        }
        received.into_error(&self.peer, self.options.reply_len())
    }

    /// Decodes the message at `range`. Returns what `extract` makes of it.
    pub(super) fn decode<'a, Format, M: Decode<'a, Format>, T>(
        &'a mut self,
        range: Range<usize>,
        extract: impl FnOnce(M, &'a Peer) -> Result<T>,
    ) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let message = self.ids.message_in::<F>(&self.wire, range);
        let decoded = read(message, &mut self.scratch, self.framing.get_mut());
        let decoded = decoded.map_err(|source| Error::decode(&self.peer, source))?;
        let value = extract(decoded, &self.peer)?;
        self.unfinished = None;
        Ok(value)
    }

    /// Decodes the event that was taken from the queue.
    pub(super) fn decode_queued<'a, Format, T: Decode<'a, Format>>(&'a mut self) -> Result<T> {
        self.scratch.clear();
        self.scratch.shrink_to(MAX_SCRATCH);
        let decoded = read(&self.event, &mut self.scratch, self.framing.get_mut());
        decoded.map_err(|source| Error::decode(&self.peer, source))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::{format::Plain, framing::LengthPrefixed};

    #[tokio::test]
    async fn scratch_of_a_large_reply_is_freed_by_the_next() {
        let (near, mut far) = duplex(64);
        let mut connection: Connection<LengthPrefixed> = Connection::over(near);
        connection.scratch = vec![b'x'; 1 << 20];
        far.write_all(b"\0\0\0\x02hi").await.expect("it is open");
        let message = connection.receive::<&str, Plain>().await;
        assert_eq!(message.expect("a message"), "hi");
        assert!(connection.scratch.capacity() <= MAX_SCRATCH);
    }
}
