//! What arrives, and which request in flight it is for.

use std::{
    future::poll_fn,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::Exchanges;
use crate::{
    Error, Result,
    client::{
        deadline::CallDeadline,
        fault::{Fault, UNEXPECTED},
        replies::Received,
        wire::Expected,
    },
    framing::Framing,
    runtime::wake_after_others,
};

/// How many bytes of notices, and of replies that were abandoned, are skipped within one poll.
const SKIPPED_AT_ONCE: usize = 1 << 20;
/// Each skipped message counts this many bytes more, so that empty messages are limited, too.
const SKIPPED_OVERHEAD: usize = 1 << 10;

impl<F: Framing> Exchanges<F> {
    /// Waits for the reply to the oldest request in flight that was not abandoned, which it removes, or for an item of
    /// that reply. If there is none, waits for a message that is expected without a request. Events are queued.
    pub(in crate::client) fn poll_received(
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
    pub(in crate::client) fn poll_any(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        if F::HAS_IDS {
            return self.poll_any_by_id(cx, without_request);
        }
        loop {
            let expected = match self.in_flight.oldest() {
                Some(offset) => Expected::reply_to::<F>(Some(offset)),
                None => without_request,
            };
            let received = ready!(self.wire.poll_receive(cx, &mut self.framing, |_| expected))?;
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
            self.end_reply_wait();
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

    /// Counts a message of `length` bytes that is skipped. Pending now and then, so that other tasks get their turn,
    /// and the limits are checked.
    #[cold]
    pub(super) fn poll_skip(
        &mut self,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Arc<Fault>>> {
        if !self.must_pause(length) {
            return Poll::Ready(Ok(()));
        }
        let _: Poll<()> = self.wire.poll_flush(cx);
        // Messages that have arrived come before the fault, but not messages that arrive without end.
        if let Poll::Ready(fault) = self.wire.poll_stopped(cx) {
            return Poll::Ready(Err(fault));
        }
        wake_after_others(cx);
        Poll::Pending
    }

    /// Counts a message of `length` bytes that is skipped. Returns `true` now and then, when other tasks must get their
    /// turn.
    #[cold]
    pub(in crate::client) const fn must_pause(&mut self, length: usize) -> bool {
        self.skipped += SKIPPED_OVERHEAD + length;
        let is_enough = self.skipped >= SKIPPED_AT_ONCE;
        if is_enough {
            self.skipped = 0;
        }
        is_enough
    }

    /// Returns the place of the message, or the error of the request.
    #[inline]
    pub(in crate::client) fn message_in(&mut self, received: Received) -> Result<Range<usize>> {
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

    /// Waits for an event, and returns where it is in the read buffer.
    pub(in crate::client) async fn receive_event(
        &mut self,
        deadline: Option<CallDeadline>,
    ) -> Result<Range<usize>> {
        self.prepare()?;
        poll_fn(|cx| match self.poll_event(cx) {
            Poll::Ready(event) => {
                if self.in_flight.abandoned() == 0 {
                    self.end_reply_wait();
                }
                Poll::Ready(event.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => match self.poll_deadline(cx, None, deadline.as_ref()) {
                Poll::Ready(error) => Poll::Ready(Err(error)),
                Poll::Pending if self.in_flight.abandoned() > 0 => self.poll_reply_timeout(cx),
                Poll::Pending => Poll::Pending,
            },
        })
        .await
    }

    /// Waits for an event. Skips the replies to abandoned requests.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Range<usize>, Arc<Fault>>> {
        match ready!(self.poll_any(cx, Expected::NOTHING))? {
            Received::Event(range) => Poll::Ready(Ok(range)),
            // A framing of one exchange has replies without requests.
            _ => Poll::Ready(Err(Fault::Broken(UNEXPECTED).into())),
        }
    }

    /// Keeps an event for [`take_event`](Self::take_event).
    #[cold]
    pub(in crate::client) fn queue_event(&mut self, event: Range<usize>) -> Result<(), Arc<Fault>> {
        let event = Arc::from(self.wire.message(event));
        if self
            .events
            .push(event, None, self.options.max_queued_events)
        {
            return Ok(());
        }
        let reason = "its events were not received, and are more than `max_queued_events`";
        Err(Fault::Broken(reason).into())
    }

    /// Takes the oldest event that was kept.
    pub(in crate::client) fn take_event(&mut self) -> Option<Arc<[u8]>> {
        self.events.pop_event()
    }
}
