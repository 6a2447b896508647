//! The task that reads and writes for all callers of a channel.

use std::{
    future::poll_fn,
    mem::{replace, take},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    super::{
        fault::{Fault, OUT_OF_STEP},
        timer::LONGEST,
        wire::{Awaited, Failed, Wire, write_threshold},
    },
    shared::{Shared, State, ticks_in},
};
use crate::{Error, framing::Framing};

/// The task that reads and writes for all callers of a channel.
#[derive(Debug)]
pub(super) struct Driver<F: Framing, S> {
    shared: Arc<Shared<F>>,
    wire: Wire<S>,
    /// The callers to be woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// Whether nothing was read yet.
    is_new: bool,
    /// Whether something has arrived that was not handed out.
    has_replies: bool,
    /// Whether it has let callers run that may have further requests.
    has_yielded: bool,
    /// The time between two ticks: an eighth of the reply timeout, but at least a millisecond.
    period: Option<Duration>,
    /// Ends calls that are late. It runs while slots are in use, so that a call reads no clock.
    ticker: Option<Interval>,
}

/// What the driver does after it has handed out replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It sends, and is woken when there is a request.
    Listen,
    /// It goes on to send what could not be sent at once.
    Send,
    /// It lets the callers run that it has woken.
    Yield,
}

impl<F: Framing, S: AsyncRead + AsyncWrite + Unpin> Driver<F, S> {
    pub(super) fn new(shared: Arc<Shared<F>>, wire: Wire<S>) -> Self {
        let limit = shared.options.reply_timeout;
        let period = limit.map(|limit| limit / ticks_in(limit));
        Self {
            shared,
            wire,
            wakers: Vec::new(),
            is_new: true,
            // What the connection has left in its buffer.
            has_replies: true,
            has_yielded: false,
            period: period.map(|period| period.clamp(Duration::from_millis(1), LONGEST)),
            ticker: None,
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
            let step = match self.serve_callers(cx) {
                Ok(step) => step,
                Err(Failed) => return Poll::Ready(Failed),
            };
            self.wake();
            if step == Step::Yield {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // If sending has failed, the server may have said why before it closed. So reading goes on.
            let is_sent = self.wire.poll_flush(cx).is_ready() && self.wire.queue.waiting() == 0;
            if is_idle && (step == Step::Listen || !is_sent) {
                return self.wire.poll_unsendable(cx);
            }
        }
    }

    /// Hands out replies that have arrived, and takes the requests that are queued.
    fn serve_callers(&mut self, cx: &Context<'_>) -> Result<Step, Failed> {
        let Self { shared, wire, .. } = self;
        // Declared before the guard, so that it is dropped without the lock.
        let mut waker = Some(cx.waker().clone());
        let mut guard = shared.lock();
        let state = &mut *guard;
        if state.is_out_of_step {
            return Err(wire.fail(Fault::Broken(OUT_OF_STEP)));
        }
        // The callers that ran meanwhile have queued requests. Send those before handing out more
        // replies.
        let has_requests = self.has_yielded && state.queue.waiting() > 0;
        if self.has_replies && !has_requests {
            self.has_replies = hand_out(shared, state, wire, &mut self.wakers)?;
            if !self.has_replies && wire.has_ended() {
                return Err(wire.fail_ended());
            }
        }
        if state.is_closed && state.slots.oldest_start().is_none() {
            return Err(wire.fail(Fault::Broken("all its handles are gone")));
        }
        let step = if wire.queue.waiting() > 0 {
            Step::Send
        } else if state.slots.settled() > 0 && !self.has_yielded {
            // Callers that just got replies often ask again at once. Yield, so that their requests join
            // this write.
            Step::Yield
        } else {
            Step::Listen
        };
        self.has_yielded = step == Step::Yield;
        if step == Step::Listen && state.queue.waiting() > 0 {
            wire.queue.take(&mut state.queue);
        }
        // Also while it sends: the server may never read again, and then calls need the timer, and
        // the last handle the end.
        let listens = step != Step::Yield;
        let former = replace(&mut state.driver, waker.take_if(|_| listens));
        if self.ticker.is_none() && state.slots.len() > 0 {
            self.ticker = self.period.map(new_ticker);
        }
        shared.unlock(guard);
        drop(former);
        Ok(step)
    }

    /// Ends calls that are late.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Failed> {
        while let Some(ticker) = &mut self.ticker {
            ready!(ticker.poll_tick(cx));
            let mut state = self.shared.lock();
            if !state.slots.tick(&mut self.wakers) {
                let limit = self.shared.options.reply_timeout.unwrap_or_default();
                return Poll::Ready(self.wire.fail(Fault::TimedOut(limit)));
            }
            if state.slots.len() == 0 {
                self.ticker = None;
            }
            drop(state);
            self.wake();
        }
        Poll::Pending
    }
}

/// Settles calls with what has arrived. Returns `true` if it has stopped before the end.
#[inline]
fn hand_out<F: Framing, S>(
    shared: &Shared<F>,
    state: &mut State<F>,
    wire: &mut Wire<S>,
    wakers: &mut Vec<Waker>,
) -> Result<bool, Failed> {
    let (peer, limit) = (&shared.peer, shared.options.max_frame_len);
    state.slots.note_arrival();
    let sent = wire.queue.sent();
    let mut oldest = state.slots.oldest_start();
    let begin = oldest.unwrap_or(sent);
    let enough = begin + write_threshold(sent.saturating_sub(begin));
    while let Some(incoming) =
        wire.next_incoming(&mut state.framing, Awaited::reply_to::<F>(oldest))?
    {
        match incoming.into_range(peer, limit) {
            Ok(message) => {
                let reply = wire.message(message);
                let no_memory = || Error::too_large(peer, reply.len(), limit);
                state.slots.reply(reply, wakers, no_memory);
            }
            Err(error) => state.slots.fail(error, wakers),
        }
        oldest = state.slots.oldest_start();
        if oldest.is_some_and(|oldest| oldest >= enough) {
            // So that these callers can send again while the others still wait.
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates a timer whose first tick is a period from now.
fn new_ticker(period: Duration) -> Interval {
    let mut ticker = interval_at(Instant::now() + period, period);
    // After a pause of the whole process, calls get that time in addition.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

impl<F: Framing, S> Driver<F, S> {
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            // A waker that panics must not keep the others from their replies.
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }
}

impl<F: Framing, S> Drop for Driver<F, S> {
    /// Tells all callers that the connection has failed, also if the runtime ends before it.
    fn drop(&mut self) {
        let Self { shared, wire, .. } = self;
        let dead = wire.dead(Fault::Broken("the task that serves it was ended"));
        let mut state = shared.lock();
        while let Some(start) = state.slots.oldest_start() {
            let error = dead.error_of(start, &shared.peer);
            state.slots.fail(error, &mut self.wakers);
        }
        state.queue.clear();
        state.dead = Some(dead);
        drop(state);
        self.wake();
        // The caller that has the turn passes it on, so that each of them finds the connection dead.
        self.shared.room.notify_one();
    }
}
