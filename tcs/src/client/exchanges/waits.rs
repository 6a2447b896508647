//! The waits of a connection, each until the reply timeout or the deadline of a call.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use super::{Exchanges, MAX_BUFFERED, ids::CancelOnDrop};
use crate::{
    Error, Result,
    client::{deadline::CallDeadline, fault::Fault, replies::Received, timer::Timer},
    framing::Framing,
};

/// The limits of a connection's waits. A wait may continue after its future was dropped.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Limits the wait for a message. The wait continues while there are abandoned requests and nothing arrives.
    reply_timer: Timer,
    /// Limits the wait until requests are sent.
    send_timer: Timer,
    /// The end of the requests for which a flush waits.
    flush_end: u64,
}

impl<F: Framing> Exchanges<F> {
    /// Returns the error of the request at `offset`, or of a wait without a request, when `deadline` has passed.
    #[cold]
    pub(in crate::client) fn late_error(
        &self,
        offset: Option<u64>,
        deadline: &CallDeadline,
    ) -> Error {
        let error = Error::read_timed_out(&self.peer, deadline.late);
        match offset {
            Some(offset) if !self.is_removable(offset) => error,
            _ => error.not_sent(),
        }
    }

    /// Polls until ready, for at most the reply timeout, which continues if the future is dropped, and until `deadline`. A
    /// fault closes the connection, and becomes the error of the request at `offset`, or of a wait without a request.
    ///
    /// If the reply timeout passes, nothing more is sent. The next `poll` must be ready, with what has arrived. Does not
    /// read the clock if the first poll is ready.
    pub(super) fn wait_in_time(
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

    /// Checks the limits of a wait that was `polled`; see [`wait_in_time`](Self::wait_in_time).
    #[inline]
    pub(in crate::client) fn poll_in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        offset: Option<u64>,
        deadline: Option<&CallDeadline>,
        polled: Poll<Result<T, Arc<Fault>>>,
    ) -> Poll<Result<T>> {
        match polled {
            Poll::Ready(received) => {
                self.end_reply_wait();
                Poll::Ready(received.map_err(|fault| self.fail(fault)))
            }
            Poll::Pending => match self.poll_deadline(cx, offset, deadline) {
                Poll::Ready(error) => Poll::Ready(Err(error)),
                Poll::Pending => self.poll_reply_timeout(cx),
            },
        }
    }

    /// Waits until `deadline`. Returns the error of the request at `offset`, or of a wait without a request.
    pub(super) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        offset: Option<u64>,
        deadline: Option<&CallDeadline>,
    ) -> Poll<Error> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        ready!(self.waits.reply_timer.poll_until(deadline.at, cx));
        Poll::Ready(self.late_error(offset, deadline))
    }

    /// Stops sending when the reply timeout of a wait for a reply passes. Never ready.
    pub(in crate::client) fn poll_reply_timeout<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.poll_timeout(|waits| &mut waits.reply_timer, cx)
    }

    /// Stops sending when the reply timeout of a wait until a request is sent passes. Never ready.
    pub(in crate::client) fn poll_send_timeout<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.poll_timeout(|waits| &mut waits.send_timer, cx)
    }

    /// Stops sending when the reply timeout passes. Never ready: what has arrived comes first.
    #[inline]
    fn poll_timeout<T>(
        &mut self,
        timer: impl FnOnce(&mut Waits) -> &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<T> {
        let limit = self.options.reply_timeout;
        let limit = ready!(timer(&mut self.waits).poll_limit(limit, cx));
        self.wire.time_out(limit);
        // Polling again here could find the task's budget of tokio used up, and then miss what has arrived.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the wait for a message. The next one has the whole reply timeout.
    #[inline]
    pub(in crate::client) fn end_reply_wait(&mut self) {
        self.waits.reply_timer.reset();
    }

    /// Ends the wait until requests are sent. The next one has the whole reply timeout.
    pub(in crate::client) fn end_send_wait(&mut self) {
        self.waits.send_timer.reset();
        self.waits.flush_end = 0;
    }

    /// Waits until the queued requests are sent, or nothing can be sent any more, and returns `true`.
    /// Returns `false` once 64 KiB of replies have arrived. Each request gets its own error when its
    /// reply is received.
    pub(in crate::client) async fn flush(&mut self) -> bool {
        poll_fn(|cx| {
            if self.wire.sent() >= self.waits.flush_end {
                // A flush that was dropped has no deadline any more: something else has sent its requests.
                self.end_send_wait();
                self.waits.flush_end = self.wire.requests.end_offset();
            }
            while self.wire.poll_flush(cx).is_pending() {
                if self.wire.unread() >= MAX_BUFFERED {
                    self.end_send_wait();
                    return Poll::Ready(false);
                }
                if self.wire.poll_read(cx).is_pending() {
                    return self.poll_send_timeout(cx);
                }
            }
            self.end_send_wait();
            Poll::Ready(true)
        })
        .await
    }

    /// Shuts the sending half down, within the reply timeout.
    pub(in crate::client) async fn shut_down(&mut self) {
        poll_fn(|cx| match self.wire.poll_shutdown(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.poll_reply_timeout(cx),
        })
        .await;
    }

    /// Replaces the wakers of earlier tasks, which are the user's code: later, they would be dropped under a lock.
    pub(in crate::client) fn forget_wakers(&mut self) {
        self.waits.reply_timer.forget_waker();
        self.waits.send_timer.forget_waker();
        let mut cx = Context::from_waker(Waker::noop());
        let _: [Poll<()>; 2] = [self.wire.poll_read(&mut cx), self.wire.poll_flush(&mut cx)];
    }
}
