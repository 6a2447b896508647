//! The task that reads and writes for all callers of a channel.

use std::{
    future::poll_fn,
    mem::take,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        fault::{Dead, Fault},
        message::Incoming,
        timer::{TICKS, Ticker},
        wire::{Awaited, Failed, Wire, write_threshold},
    },
    calls::Outcome,
    shared::Shared,
};
use crate::Framing;

/// The task that reads and writes for all callers of a channel.
#[derive(Debug)]
pub(super) struct Driver<F: Framing, S> {
    shared: Arc<Shared<F>>,
    wire: Wire<S>,
    /// Those to be woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// Whether nothing was read yet.
    is_new: bool,
    /// Whether something has arrived that was not handed out.
    has_replies: bool,
    /// Runs while slots are in use.
    ticker: Ticker,
    /// The tick in which something arrived last.
    arrived: u32,
    /// Whether it has let callers run that may have further requests.
    has_yielded: bool,
}

/// What the driver does after it has handed out replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It sends, and is woken when there is a request.
    Listen,
    /// It goes on to send what could not be sent at once.
    Send,
    /// It lets the callers run that it has woken.
    Yield,
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Driver<F, S> {
    pub(super) fn new(shared: Arc<Shared<F>>, wire: Wire<S>) -> Self {
        let ticker = Ticker::new(shared.options.reply());
        Self {
            shared,
            wire,
            wakers: Vec::new(),
            is_new: true,
            // What the connection has left in its buffer.
            has_replies: true,
            ticker,
            arrived: 0,
            has_yielded: false,
        }
    }

    /// Reads and writes until the connection fails, or nobody needs it any more.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(Failed) => Poll::Ready(()),
            Poll::Pending => self.poll_ticks(cx).map(|Failed| ()),
        })
        .await;
    }

    /// Reads, hands out what has arrived, and writes what was queued, until it would have to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        loop {
            // Hand out what has arrived before reading more, but read before sending: a message that is
            // already there must not pass for a reply. Only what a full buffer leaves in the socket can.
            let reads = take(&mut self.is_new) || !self.has_replies;
            self.has_replies |= reads && self.wire.poll_read(cx).is_ready();
            let is_idle = reads && !self.has_replies;
            let next = match self.serve_callers(cx) {
                Ok(next) => next,
                Err(Failed) => return Poll::Ready(Failed),
            };
            self.wake();
            if next == Next::Yield {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // If sending has failed, the server may have said why, before it closed.
            let is_sent = self.wire.poll_flush(cx).is_ready() && self.wire.requests.waiting() == 0;
            if is_idle && (next == Next::Listen || !is_sent) {
                return Poll::Pending;
            }
        }
    }

    /// Hands out replies that have arrived, and takes the requests that are queued.
    fn serve_callers(&mut self, cx: &Context<'_>) -> Result<Next, Failed> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        // The callers that ran meanwhile have queued requests. Send those before handing out more
        // replies.
        let has_requests = self.has_yielded && state.queue.waiting() > 0;
        if self.has_replies && !has_requests {
            self.has_replies = false;
            self.arrived = state.tick;
            let sent = self.wire.sent();
            let mut first = state.calls.first();
            let begin = first.unwrap_or(sent);
            let enough = begin + write_threshold(sent.saturating_sub(begin));
            while let Some(incoming) = self
                .wire
                .next(&mut state.framing, Awaited::reply_to::<F>(first))?
            {
                let (calls, wakers) = (&mut state.calls, &mut self.wakers);
                match incoming {
                    Incoming::Message(message) => calls.reply(self.wire.message(message), wakers),
                    Incoming::Rejection(rejection) => {
                        calls.end(Outcome::Rejected(rejection), wakers);
                    }
                    Incoming::TooLarge(length) => {
                        calls.end(Outcome::TooLarge(length as u64), wakers);
                    }
                }
                first = calls.first();
                if first.is_some_and(|first| first >= enough) {
                    // Stop here, so that these callers can send again while the others still wait.
                    self.has_replies = true;
                    break;
                }
            }
            if !self.has_replies && self.wire.has_ended() {
                return Err(self.wire.end());
            }
        }
        if state.is_left && state.calls.is_answered() {
            return Err(self.wire.fail(Fault::Broken("all its handles are gone")));
        }
        let mut next = Next::Listen;
        if self.wire.requests.waiting() > 0 {
            next = Next::Send;
        } else if state.calls.settled() > 0 && !self.has_yielded {
            // Callers that just got replies often ask again at once. Yield, so that their requests join
            // this write.
            next = Next::Yield;
        } else if state.queue.waiting() > 0 {
            self.wire.requests.take(&mut state.queue);
        }
        self.has_yielded = next == Next::Yield;
        // Also while it sends: the server may never read again, and then calls need the timer, and
        // the last handle the end.
        state.driver = match next {
            Next::Listen | Next::Send => Some(cx.waker().clone()),
            Next::Yield => None,
        };
        if state.calls.len() > 0 {
            self.ticker.start();
        }
        self.shared.unlock(guard);
        Ok(next)
    }

    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Ends calls that are late, while slots are in use. So a call reads no clock.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        loop {
            ready!(self.ticker.poll_tick(cx));
            let mut state = self.shared.lock();
            state.tick = state.tick.wrapping_add(1);
            let now = state.tick;
            if state.calls.is_late(now) && now.wrapping_sub(self.arrived) > TICKS {
                let limit = self.shared.options.reply().unwrap_or_default();
                return Poll::Ready(self.wire.fail(Fault::Silent(limit)));
            }
            state.calls.expire(now, &mut self.wakers);
            state.calls.rest();
            if state.calls.len() == 0 {
                self.ticker.stop();
            }
            drop(state);
            self.wake();
        }
    }
}

impl<F: Framing, S> Drop for Driver<F, S> {
    /// Tells all callers that the connection has failed, also if the runtime ends before it.
    fn drop(&mut self) {
        let fault = self.wire.take_fault();
        let fault = fault.unwrap_or(Fault::Broken("the task that serves it was ended"));
        let sent = self.wire.sent();
        let mut state = self.shared.lock();
        state.calls.fail(&mut self.wakers);
        state.queue.clear();
        state.dead = Some(Dead { fault, sent });
        drop(state);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        self.shared.room.notify_waiters();
    }
}
