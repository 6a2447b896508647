//! The task that reads and writes for all callers of a channel.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::{
    calls::{Outcome, TICKS},
    shared::Shared,
};
use crate::{
    Framing,
    buffer::{Inbox, Outbox},
    client::{
        connection::UNASKED,
        failure::Failure,
        message::{Heard, hear},
    },
};

/// Ticks are not longer than this, so that every time limit can be added to the clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The task that reads and writes for all callers of a channel.
#[derive(Debug)]
pub(super) struct Driver<F: Framing, S> {
    shared: Arc<Shared<F>>,
    stream: S,
    inbox: Inbox,
    /// The requests that are being sent.
    outbox: Outbox,
    /// Who is to be woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// Why nothing more can be sent; what arrives may tell more.
    unsent: Option<io::Error>,
    /// Why nothing more arrives.
    unread: Option<io::Error>,
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
    /// Slots are in use.
    is_used: bool,
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
    pub(super) fn new(shared: Arc<Shared<F>>, stream: S, inbox: Inbox, outbox: Outbox) -> Self {
        Self {
            shared,
            stream,
            inbox,
            outbox,
            wakers: Vec::new(),
            unsent: None,
            unread: None,
            timer: None,
            is_armed: false,
            is_used: false,
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

    /// Reads first, and then writes all that was queued, until it would have to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut next = Next::Send;
        loop {
            let has_read = self.poll_read(cx).is_ready();
            if next == Next::Listen && !has_read {
                return Poll::Pending;
            }
            next = match self.look(cx, has_read) {
                Ok(next) => next,
                Err(failure) => return Poll::Ready(failure),
            };
            self.wake();
            if next == Next::Yield {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.poll_write(cx).is_pending() && !has_read {
                return Poll::Pending;
            }
        }
    }

    /// Hands out the replies that have arrived, and takes the requests that are queued.
    fn look(&mut self, cx: &Context<'_>, has_read: bool) -> Result<Next, Failure> {
        let shared = Arc::clone(&self.shared);
        let mut guard = shared.lock();
        let state = &mut *guard;
        if has_read {
            self.arrived = state.tick;
        }
        let sent = state.taken - self.outbox.waiting() as u64;
        let limit = shared.options.frame_len();
        while let Some(heard) =
            hear(&mut state.framing, &mut self.inbox, limit).map_err(Failure::Frame)?
        {
            if let Heard::Refusal(refusal) = &heard
                && refusal.kind().is_final()
            {
                return Err(Failure::Ended(refusal.clone()));
            }
            if !state.calls.is_asked(sent) {
                return Err(Failure::Broken(UNASKED));
            }
            let wakers = &mut self.wakers;
            match heard {
                Heard::Message(frame) => state.calls.reply(self.inbox.frame(frame), wakers),
                Heard::Refusal(refusal) => state.calls.refuse(Outcome::Refused(refusal), wakers),
                Heard::TooLarge(length) => state.calls.refuse(Outcome::TooLarge(length), wakers),
            }
        }
        if self.unread.is_some() || self.inbox.has_ended() {
            return Err(self.end());
        }
        if state.is_left && state.calls.is_answered() {
            return Err(Failure::Broken("all its handles are gone"));
        }
        let mut next = Next::Listen;
        if self.outbox.waiting() > 0 {
            next = Next::Send;
        } else if state.outbox.waiting() > 0 {
            // Those who have just got their replies may have further requests for the same write.
            if state.calls.settled() > 0 && !self.has_yielded {
                next = Next::Yield;
            } else {
                std::mem::swap(&mut self.outbox, &mut state.outbox);
                state.taken += self.outbox.waiting() as u64;
            }
        }
        self.has_yielded = next == Next::Yield;
        state.driver = match next {
            Next::Listen => Some(cx.waker().clone()),
            Next::Send | Next::Yield => None,
        };
        self.is_used = state.calls.len() > 0;
        shared.unlock(guard);
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
        self.outbox.rest();
        Poll::Ready(())
    }

    /// Returns why nothing more arrives.
    fn end(&mut self) -> Failure {
        match (self.unsent.take(), self.unread.take()) {
            (Some(source), _) => Failure::Write(source),
            (None, Some(source)) => Failure::Read(source),
            (None, None) => Failure::Closed,
        }
    }

    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// Ends calls that are late, while calls are open.
    ///
    /// One timer serves all of them: it is armed only when it is not, and goes off eight times in
    /// the reply timeout. A call costs no look at a clock.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let shared = Arc::clone(&self.shared);
        let Some(limit) = shared.options.reply() else {
            return Poll::Pending;
        };
        let tick = (limit / TICKS).clamp(Duration::from_millis(1), LONGEST);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(tick)));
        if !self.is_armed {
            if !self.is_used {
                return Poll::Pending;
            }
            timer.as_mut().reset(Instant::now() + tick);
            self.is_armed = true;
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let mut state = shared.lock();
            state.tick = state.tick.wrapping_add(1);
            let now = state.tick;
            if state.calls.len() == 0 {
                state.calls.rest();
                self.is_armed = false;
                self.is_used = false;
                return Poll::Pending;
            }
            if state.calls.is_late(now) && now.wrapping_sub(self.arrived) > TICKS {
                return Poll::Ready(Failure::Silent(limit));
            }
            state.calls.expire(now, &mut self.wakers);
            shared.unlock(state);
            for waker in self.wakers.drain(..) {
                waker.wake();
            }
            timer.as_mut().reset(Instant::now() + tick);
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
        state.outbox.rest();
        state.failure = Some(failure);
        drop(state);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        self.shared.room.notify_waiters();
    }
}
