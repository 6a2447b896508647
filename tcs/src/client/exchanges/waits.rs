//! How long a connection waits: until the reply timeout, or the deadline of a call.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{Exchanges, ids::CancelOnDrop};
use crate::{
    Error, Result,
    client::{fault::Fault, replies::Received, timer::Timer},
    deadline::CallDeadline,
    framing::Framing,
};

/// The limits of a connection's waits. A wait may go on after its future was dropped.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Limits the wait for a message. Its wait continues while there are abandoned requests and nothing arrives.
    pub(super) reply_timer: Timer,
    /// Limits the wait until requests are sent.
    pub(super) flush_timer: Timer,
    /// The end of the requests for which `flush_timer` runs.
    pub(super) flush_end: u64,
    /// How much was skipped since the last pause.
    pub(super) skipped: usize,
}

impl<F: Framing> Exchanges<F> {
    /// Returns the error of the request at `offset`, or of a wait without a request, when `deadline` has passed.
    #[cold]
    pub(crate) fn late(&self, offset: Option<u64>, deadline: &CallDeadline) -> Error {
        let error = Error::late(&self.peer, deadline);
        match offset {
            Some(offset) if !self.is_removable(offset) => error,
            _ => error.not_sent(),
        }
    }

    /// Polls until ready, for at most the reply timeout, which continues if the future is dropped.
    ///
    /// If the timeout passes, nothing more is sent. The next `poll` must be ready, with what has arrived.
    /// Does not read the clock if the first poll is ready. `timer` is no function pointer, for which each reply
    /// would pay (decision 014).
    pub(super) fn with_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = T> {
        poll_fn(move |cx| match poll(self, cx) {
            Poll::Ready(output) => {
                timer(self).reset();
                Poll::Ready(output)
            }
            Poll::Pending => self.poll_timeout(&timer, cx),
        })
    }

    /// Stops sending when the reply timeout passes. Never ready: what has arrived comes first.
    pub(super) fn poll_timeout<T>(
        &mut self,
        timer: impl Fn(&mut Self) -> &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let limit = self.options.reply_timeout;
        let limit = ready!(timer(self).poll_limit(limit, cx));
        self.wire.time_out(limit);
        // Polling again here could find the task's budget of tokio used up, and then miss what has arrived.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Like [`with_timeout`](Self::with_timeout) with the reply timeout, but gives up at `deadline`. A fault closes the
    /// connection, and becomes the error of the request at `offset`, or of a wait without a request.
    pub(super) fn exchange_in_time(
        &mut self,
        offset: Option<u64>,
        deadline: Option<CallDeadline>,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<Received, Arc<Fault>>>,
    ) -> impl Future<Output = Result<Received>> {
        let mut waiting = CancelOnDrop(self);
        poll_fn(move |cx| {
            let CancelOnDrop(it) = &mut waiting;
            let polled = poll(it, cx);
            it.poll_in_time(cx, offset, deadline.as_ref(), polled)
        })
    }

    /// Checks the limits of a wait that was `polled`; see [`exchange_in_time`](Self::exchange_in_time).
    #[inline]
    pub(crate) fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        offset: Option<u64>,
        deadline: Option<&CallDeadline>,
        polled: Poll<Result<T, Arc<Fault>>>,
    ) -> Poll<Result<T>> {
        match polled {
            Poll::Ready(received) => {
                self.waits.reply_timer.reset();
                Poll::Ready(received.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => {
                if let Some(deadline) = deadline
                    && self
                        .waits
                        .reply_timer
                        .poll_until(deadline.at, cx)
                        .is_ready()
                {
                    return Poll::Ready(Err(self.late(offset, deadline)));
                }
                self.poll_reply_timeout(cx)
            }
        }
    }

    /// Stops sending when the reply timeout of a wait for a reply passes. Never ready.
    pub(crate) fn poll_reply_timeout<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.poll_timeout(|it| &mut it.waits.reply_timer, cx)
    }

    /// Stops sending when the reply timeout of a wait until a request is sent passes. Never ready.
    pub(crate) fn poll_send_timeout<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.poll_timeout(|it| &mut it.waits.flush_timer, cx)
    }
}
