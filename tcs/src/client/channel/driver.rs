//! The task that reads and writes for all callers of a channel.

use std::{
    future::poll_fn,
    io,
    mem::take,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    calls::{TICKS, Unasked},
    shared::Shared,
    slot::Outcome,
    ticker::Ticker,
};
use crate::{
    Framing,
    buffer::{ReadBuffer, WriteBuffer},
    client::{
        connection::UNASKED,
        failure::Failure,
        message::{Heard, hear, portion},
    },
};

/// The task that reads and writes for all callers of a channel.
#[derive(Debug)]
pub(super) struct Driver<F: Framing, S> {
    shared: Arc<Shared<F>>,
    stream: S,
    inbox: ReadBuffer,
    /// The requests that are being sent.
    outbox: WriteBuffer,
    /// Who is to be woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// Why nothing more can be sent; what arrives may tell more.
    unsent: Option<io::Error>,
    /// Why nothing more arrives.
    unread: Option<io::Error>,
    /// Nothing was read yet.
    is_new: bool,
    /// Something has arrived that was not looked at.
    is_unheard: bool,
    /// How many bytes of requests were sent when that was read: it answers no later ones.
    asked: u64,
    /// Runs while slots are in use.
    ticker: Ticker,
    /// The tick in which something arrived for the last time.
    arrived: u32,
    /// It has let callers run who may have further requests.
    has_yielded: bool,
    /// Why it ends, which its `drop` tells.
    failure: Option<Failure>,
}

/// What the driver does after it has looked at the state.
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
    pub(super) fn new(
        shared: Arc<Shared<F>>,
        stream: S,
        inbox: ReadBuffer,
        outbox: WriteBuffer,
    ) -> Self {
        let ticker = Ticker::new(shared.options.reply());
        Self {
            shared,
            stream,
            inbox,
            outbox,
            wakers: Vec::new(),
            unsent: None,
            unread: None,
            is_new: true,
            // What the connection left in the inbox.
            is_unheard: true,
            asked: 0,
            ticker,
            arrived: 0,
            has_yielded: false,
            failure: None,
        }
    }

    /// Reads and writes until the connection fails, or nobody needs it any more.
    pub(super) async fn run(mut self) {
        let failure = poll_fn(|cx| {
            let failure = self.poll(cx);
            if failure.is_ready() {
                return failure;
            }
            self.poll_ticks(cx)
        });
        let failure = failure.await;
        self.failure = Some(failure);
    }

    /// Reads, hands out what has arrived, and writes what was queued, until it would have to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            // What has arrived is handed out before more is read. But before anything is sent, what is
            // there already is read, and so not taken for a reply.
            let reads = take(&mut self.is_new) || !self.is_unheard;
            let has_read = reads && self.poll_read(cx).is_ready();
            self.is_unheard |= has_read;
            let is_idle = reads && !self.is_unheard;
            let next = match self.look(cx, has_read) {
                Ok(next) => next,
                Err(failure) => return Poll::Ready(failure),
            };
            self.wake();
            if next == Next::Yield {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let is_sent = self.poll_write(cx).is_ready();
            if is_idle && (next == Next::Listen || !is_sent) {
                return Poll::Pending;
            }
        }
    }

    /// Hands out replies that have arrived, and takes the requests that are queued.
    fn look(&mut self, cx: &Context<'_>, has_read: bool) -> Result<Next, Failure> {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let sent = state.taken - self.outbox.waiting() as u64;
        if has_read {
            self.asked = sent;
        }
        // Those who were let run have asked, and that is sent first.
        let has_requests = self.has_yielded && state.outbox.waiting() > 0;
        if self.is_unheard && !has_requests {
            self.is_unheard = false;
            self.arrived = state.tick;
            let limit = self.shared.options.frame_len();
            let first = state.calls.first().unwrap_or(sent);
            let enough = first + portion(sent.saturating_sub(first));
            while let Some(heard) =
                hear(&mut state.framing, &mut self.inbox, limit).map_err(Failure::Frame)?
            {
                if let Heard::Rejection(refusal) = &heard
                    && refusal.kind().is_final()
                {
                    return Err(Failure::Ended(refusal.clone()));
                }
                let (calls, wakers) = (&mut state.calls, &mut self.wakers);
                let settled = match heard {
                    Heard::Message(frame) => {
                        calls.reply(self.asked, self.inbox.frame(frame), wakers)
                    }
                    Heard::Rejection(refusal) => {
                        calls.refuse(self.asked, Outcome::Refused(refusal), wakers)
                    }
                    Heard::TooLarge(length) => {
                        calls.refuse(self.asked, Outcome::TooLarge(length as u64), wakers)
                    }
                };
                settled.map_err(|Unasked| Failure::Broken(UNASKED))?;
                if state.calls.first() >= Some(enough) {
                    // Those who have these replies ask again before the others have theirs.
                    self.is_unheard = true;
                    break;
                }
            }
            if !self.is_unheard && (self.unread.is_some() || self.inbox.has_ended()) {
                return Err(match (self.unsent.take(), self.unread.take()) {
                    (Some(source), _) => Failure::Write(source),
                    (None, Some(source)) => Failure::Read(source),
                    (None, None) => Failure::Closed,
                });
            }
        }
        if state.is_left && state.calls.is_answered() {
            return Err(Failure::Broken("all its handles are gone"));
        }
        let mut next = Next::Listen;
        if self.outbox.waiting() > 0 {
            next = Next::Send;
        } else if state.calls.settled() > 0 && !self.has_yielded {
            // Those who have just got their replies may have further requests for the same write. And
            // where more replies have arrived than one read takes, the server has work meanwhile.
            next = Next::Yield;
        } else if state.outbox.waiting() > 0 {
            std::mem::swap(&mut self.outbox, &mut state.outbox);
            state.taken += self.outbox.waiting() as u64;
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

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let filled = self.inbox.poll_fill(cx, &mut self.stream);
        filled.map(|filled| self.unread = filled.err())
    }

    /// Sends what waits; ready when nothing does.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unsent.is_some() {
            // The server may have said why, before it closed.
            return Poll::Pending;
        }
        let flushed = ready!(self.outbox.poll_flush(cx, &mut self.stream));
        self.unsent = flushed.err();
        self.outbox.give_back();
        Poll::Ready(())
    }

    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Ends calls that are late, while slots are in use. A call costs no look at a clock.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            ready!(self.ticker.poll_tick(cx));
            let mut state = self.shared.lock();
            state.tick = state.tick.wrapping_add(1);
            let now = state.tick;
            if state.calls.is_late(now) && now.wrapping_sub(self.arrived) > TICKS {
                let limit = self.shared.options.reply().unwrap_or_default();
                return Poll::Ready(Failure::Silent(limit));
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
    /// Tells all callers that the connection has failed, also where the runtime ends before it.
    fn drop(&mut self) {
        let failure = self.failure.take();
        let failure = failure.unwrap_or(Failure::Broken("the task that serves it was ended"));
        let mut state = self.shared.lock();
        let sent = state.taken - self.outbox.waiting() as u64;
        state.calls.fail(sent, &mut self.wakers);
        state.outbox.clear();
        state.outbox.give_back();
        state.failure = Some(failure);
        drop(state);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        self.shared.room.notify_waiters();
    }
}
