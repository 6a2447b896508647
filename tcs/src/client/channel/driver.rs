//! The task that reads and writes for all callers of a channel.

use std::{
    future::poll_fn,
    mem::replace,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use super::{
    super::{
        fault::Fault,
        timer::{Ticker, Timer},
        wire::{Awaited, Wire, write_threshold},
    },
    shared::{Lifecycle, Shared, State},
};
use crate::framing::Framing;

/// The task that reads and writes for all callers of a channel.
#[derive(Debug)]
pub(super) struct Driver<F: Framing> {
    shared: Arc<Shared<F>>,
    wire: Wire,
    /// Whether the last turn woke callers, and yielded to them. Callers that get a reply often call again at
    /// once: their requests join the write of this turn. It does not yield again, because a caller that is
    /// not polled must not delay the others.
    has_woken_callers: bool,
    /// Why calls fail when this is dropped.
    fault: Arc<Fault>,
    /// The callers to be woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// Ends calls that are late. It runs while slots are in use, so that a call reads no clock.
    ticker: Option<Ticker>,
}

impl<F: Framing> Driver<F> {
    pub(super) fn new(shared: Arc<Shared<F>>, wire: Wire) -> Self {
        let ticker = shared.options.reply_timeout.map(Ticker::new);
        Self {
            shared,
            wire,
            has_woken_callers: false,
            fault: Fault::Broken("the task that serves it was ended").into(),
            wakers: Vec::new(),
            ticker,
        }
    }

    /// Reads and writes until the connection fails, or nobody needs it any more. Then closes it.
    pub(super) async fn run(mut self) {
        let fault = poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(fault) => Poll::Ready(fault),
            Poll::Pending => self.poll_ticks(cx),
        });
        self.fault = fault.await;
        if matches!(self.shared.lock().lifecycle, Lifecycle::Released) {
            let (limit, mut timer) = (self.shared.options.reply_timeout, Timer::default());
            let shut_down = poll_fn(|cx| match self.wire.poll_shutdown(cx) {
                Poll::Pending => timer.poll_limit(limit, cx).map(drop),
                Poll::Ready(()) => Poll::Ready(()),
            });
            shut_down.await;
        }
    }

    /// Reads, delivers what has arrived, and writes what was queued, until it would have to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        loop {
            // Read before sending: a message that is already there must not pass for a reply. Only what a
            // full buffer leaves in the socket can.
            if self.wire.is_drained() {
                let _: Poll<()> = self.wire.poll_read(cx);
            }
            let has_arrived = !self.wire.is_drained();
            let was_sending = self.wire.unsent() > 0;
            if let Err(fault) = self.serve_callers(cx) {
                return Poll::Ready(fault);
            }
            wake(&mut self.wakers);
            if self.has_woken_callers {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // If sending has failed, the server may have said why before it closed. So reading goes on.
            let is_sent = self.wire.poll_flush(cx).is_ready() && self.wire.unsent() == 0;
            // Requests that were queued while others were sent could not be taken before.
            let can_take = was_sending && is_sent;
            if !has_arrived && !can_take {
                return self.wire.poll_stopped(cx);
            }
        }
    }

    /// Does the part of a turn that needs the lock: delivers replies, or else takes requests.
    fn serve_callers(&mut self, cx: &Context<'_>) -> Result<(), Arc<Fault>> {
        let Self { shared, wire, .. } = self;
        // Declared before the guard, so that it is dropped without the lock.
        let mut waker = Some(cx.waker().clone());
        let mut guard = shared.lock();
        let state = &mut *guard;
        if let Some(reason) = state.end_reason() {
            return Err(Fault::Broken(reason).into());
        }
        if !self.has_woken_callers && !wire.is_drained() {
            deliver(shared, state, wire, &mut self.wakers)?;
        }
        if wire.has_ended() {
            return Err(wire.failure());
        }
        self.has_woken_callers = !self.wakers.is_empty();
        if !self.has_woken_callers {
            wire.take_requests(&mut state.queue);
        }
        // Registered also while requests are sent: the server may never read again, and then the first call
        // must start the ticker, and the last handle must end the driver.
        let former = replace(
            &mut state.driver,
            waker.take_if(|_| !self.has_woken_callers),
        );
        if let Some(ticker) = &mut self.ticker
            && state.slots.len() > 0
        {
            ticker.start();
        }
        shared.unlock_and_offer_room(guard);
        drop(former);
        Ok(())
    }

    /// Ends calls that are late.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        let Some(ticker) = &mut self.ticker else {
            return Poll::Pending;
        };
        loop {
            ready!(ticker.poll_tick(cx));
            let mut state = self.shared.lock();
            if !state.slots.tick(&mut self.wakers) {
                let limit = self.shared.options.reply_timeout.unwrap_or_default();
                return Poll::Ready(Fault::TimedOut(limit).into());
            }
            if state.slots.len() == 0 {
                ticker.stop();
            }
            drop(state);
            wake(&mut self.wakers);
        }
    }
}

/// Completes calls with what has arrived, for a quarter of the bytes in flight at a time.
fn deliver<F: Framing>(
    shared: &Shared<F>,
    state: &mut State<F>,
    wire: &mut Wire,
    wakers: &mut Vec<Waker>,
) -> Result<(), Arc<Fault>> {
    let (peer, max_frame_len) = (&shared.peer, shared.options.max_frame_len);
    state.slots.note_arrival();
    let sent = wire.sent();
    let mut oldest = state.slots.oldest_offset();
    let begin = oldest.unwrap_or(sent);
    let enough = begin + write_threshold(sent.saturating_sub(begin));
    while let Some(incoming) =
        wire.next_incoming(&mut state.framing, Awaited::reply_to::<F>(oldest))?
    {
        let range = incoming.into_range(peer, max_frame_len);
        let reply = range.map(|range| wire.message(range));
        state.slots.complete(reply, peer, wakers);
        oldest = state.slots.oldest_offset();
        if oldest.is_some_and(|oldest| oldest >= enough) {
            // So that these callers can send again while the others still wait.
            break;
        }
    }
    Ok(())
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        // A waker that panics must not keep the others from their replies.
        drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
    }
}

impl<F: Framing> Drop for Driver<F> {
    /// Tells all callers why the connection is closed, also if the runtime ends before it.
    fn drop(&mut self) {
        let Self { shared, wire, .. } = self;
        let closed = wire.closed(Arc::clone(&self.fault));
        let mut state = shared.lock();
        while let Some(offset) = state.slots.oldest_offset() {
            let error = closed.error_of(Some(offset), &shared.peer);
            state
                .slots
                .complete(Err(error), &shared.peer, &mut self.wakers);
        }
        state.queue.clear();
        state.lifecycle = Lifecycle::Closed(closed);
        drop(state);
        wake(&mut self.wakers);
        // The caller with the permit of `admission` passes it on, so that each of them gets its error.
        self.shared.room.notify_one();
    }
}
