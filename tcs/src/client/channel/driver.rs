//! Reads and writes for all callers of a connection.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    pending_calls::{FailedCall, PendingCall},
    subchannel::Subchannel,
    subchannel_state::{SubchannelState, tick_limit, ticks_in},
};
use crate::{
    Error,
    client::{
        connection::Connection,
        fault::{Fault, UNEXPECTED},
        options::{CLOSE_TIMEOUT, MAX_TIMEOUT},
        replies::Received,
        requests::payload,
        timer::Timer,
        wire::{Expected, Wire, write_threshold},
    },
    framing::Framing,
    panics::{lock, panic_text, poll_caught, wake_all},
    runtime::wait_until,
};

/// The number of turns within one poll: fewer than the reads after which tokio lets other tasks, and timers, have theirs.
const TURNS_AT_ONCE: usize = 32;

/// A connection in use: its wire, and the callers to wake.
pub(super) struct Driver<F: Framing> {
    subchannel: Arc<Subchannel<F>>,
    wire: Wire,
    /// Whether the last turn woke callers, and yielded to them. Callers that get a reply often call again at
    /// once: their requests join the write of this turn. The driver does not yield again, because a caller
    /// that is not polled must not delay the others.
    has_woken_callers: bool,
    /// The wakers of callers, which are woken once the state is unlocked.
    wakers: Vec<Waker>,
    /// The time between two ticks, if calls or cancels have a limit.
    tick_period: Option<Duration>,
    /// End calls that are late, and find cancels without an answer. A call counts ticks instead of reading the clock. There
    /// are ticks while slots are in use.
    ticks: Option<Interval>,
}

impl<F: Framing> Driver<F> {
    /// Lets calls use `connection`, which the driver then serves.
    pub(super) fn attach(subchannel: &Arc<Subchannel<F>>, connection: Connection<F>) -> Self {
        let subchannel = Arc::clone(subchannel);
        let tick_limit = tick_limit::<F>(&subchannel.shared.options);
        let mut wakers = Vec::new();
        let mut wire = subchannel.attach(connection, &mut wakers);
        wake_all(wakers.drain(..));
        if subchannel.shared.keeps_requests() {
            wire.keep_requests();
        }
        Self {
            subchannel,
            wire,
            has_woken_callers: false,
            wakers,
            tick_period: tick_limit.map(|limit| {
                let period = limit / ticks_in(limit);
                period.clamp(Duration::from_millis(1), MAX_TIMEOUT)
            }),
            ticks: None,
        }
    }

    /// Serves the only connection of a channel.
    pub(super) async fn run(mut self) {
        self.serve(pending()).await;
    }

    /// Reads and writes until the connection ends, and closes it. Returns why it has ended. Polls `upkeep` meanwhile. A
    /// panic of the framing, or of a stream of the user's, ends the connection.
    pub(super) async fn serve(&mut self, upkeep: impl Future<Output = Infallible>) -> Arc<Fault> {
        let ended = {
            let mut serving = pin!(self.read_and_write(upkeep));
            poll_fn(|cx| poll_caught(serving.as_mut(), cx)).await
        };
        ended.unwrap_or_else(|payload| {
            let peer = self.subchannel.peer();
            let reason = "its framing or its stream panicked";
            tracing::error!(%peer, panic = panic_text(payload), "{reason}");
            let fault = Arc::new(Fault::Broken(reason));
            self.wire.close(Arc::clone(&fault));
            fault
        })
    }

    /// Reads and writes until the connection fails, or is not needed any more. Then closes it.
    async fn read_and_write(&mut self, upkeep: impl Future<Output = Infallible>) -> Arc<Fault> {
        let mut upkeep = pin!(upkeep);
        let fault = poll_fn(|cx| {
            let mut ended = self.poll(cx);
            if ended.is_pending() {
                ended = self.poll_ticks(cx);
            }
            if ended.is_pending() {
                let _: Poll<Infallible> = upkeep.as_mut().poll(cx);
            }
            ended
        });
        let fault = fault.await;
        // Callers whose replies have come before the fault do not wait for the shutdown.
        wake_all(self.wakers.drain(..));
        // The driver serves no more calls.
        self.subchannel.lock().end();
        if self.is_idle() && matches!(*fault, Fault::Broken(_) | Fault::Retired) {
            self.shut_down().await;
        }
        self.wire.close(Arc::clone(&fault));
        fault
    }

    /// Returns `true` if no call is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.subchannel.lock().is_idle()
    }

    /// Shuts the sending half down, which may take up to [`CLOSE_TIMEOUT`] if the server does not read. A call that comes
    /// meanwhile does not wait for that.
    async fn shut_down(&mut self) {
        let Self {
            subchannel, wire, ..
        } = self;
        let mut timer = Timer::default();
        let shut_down = poll_fn(|cx| match wire.poll_shutdown(cx) {
            Poll::Pending => timer.poll_limit(Some(CLOSE_TIMEOUT), cx).map(drop),
            Poll::Ready(()) => Poll::Ready(()),
        });
        tokio::select! {
            // Usually, the first poll ends the shutdown.
            biased;
            () = shut_down => {}
            () = wait_until(&subchannel.wanted, || subchannel.lock().is_requested) => {}
        }
    }

    /// Reads, delivers what has arrived, and writes what was queued, until it would have to wait.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        for _ in 0..TURNS_AT_ONCE {
            // Read before sending: a message that has arrived already must not pass for a reply. Only bytes
            // that a full buffer leaves in the socket can.
            if !self.wire.has_unparsed() {
                let _: Poll<()> = self.wire.poll_read(cx);
            }
            let has_arrived = self.wire.has_unparsed();
            let was_sending = self.wire.requests.unsent() > 0;
            if let Err(fault) = self.serve_callers(cx) {
                return Poll::Ready(fault);
            }
            wake_all(self.wakers.drain(..));
            if self.has_woken_callers {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // If sending has failed, the server may have said why before it closed. So reading continues.
            let is_sent = self.wire.poll_flush(cx).is_ready() && self.wire.requests.unsent() == 0;
            // Requests that were queued while others were sent could not be taken before.
            let can_take = was_sending && is_sent;
            if !has_arrived && !can_take {
                return self.wire.poll_stopped(cx);
            }
        }
        // A peer that sends faster than its bytes are parsed must not delay the timers, nor other tasks.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does the part of a turn that needs the lock: delivers replies, or else takes requests.
    fn serve_callers(&mut self, cx: &Context<'_>) -> Result<(), Arc<Fault>> {
        let Self {
            subchannel, wire, ..
        } = self;
        // Declared before the guard, so that it is dropped without the lock.
        let waker = cx.waker().clone();
        let mut guard = subchannel.lock();
        let state = &mut *guard;
        if let Some(fault) = state.end_reason() {
            return Err(fault);
        }
        if !self.has_woken_callers && wire.has_unparsed() {
            deliver(subchannel, state, wire, &mut self.wakers)?;
        }
        if wire.is_exhausted() {
            return Err(wire.fault_or(Fault::Eof));
        }
        self.has_woken_callers = !self.wakers.is_empty();
        let former = if self.has_woken_callers {
            // The driver wakes itself, so the callers need not wake it.
            state.driver.take()
        } else {
            state.hand_over(wire);
            // The waker is registered also while requests are sent: the server may never read again, and then the
            // first call must start the ticks, and the last clone must end the driver.
            state.driver.replace(waker)
        };
        if self.ticks.is_none() && state.calls.len() > 0 {
            self.ticks = self.tick_period.map(start_ticks);
        }
        subchannel.unlock_and_offer_room(guard);
        drop(former);
        Ok(())
    }

    /// Ends calls that are late.
    fn poll_ticks(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Fault>> {
        while let Some(ticks) = &mut self.ticks {
            ready!(ticks.poll_tick(cx));
            let limit = self
                .subchannel
                .shared
                .options
                .reply_timeout
                .unwrap_or_default();
            let (is_alive, overdue, is_idle) = {
                let mut state = self.subchannel.lock();
                let is_alive = state.tick(limit, &mut self.wakers);
                (is_alive, state.calls.overdue::<F>(), state.calls.len() == 0)
            };
            if !is_alive {
                self.wire.time_out(limit);
                return self.wire.poll_stopped(cx);
            }
            if F::HAS_IDS && !self.wakers.is_empty() {
                // The next poll sends the cancels of the late calls.
                cx.waker().wake_by_ref();
            }
            wake_all(self.wakers.drain(..));
            if overdue > 0 && 2 * overdue >= self.subchannel.shared.options.max_in_flight {
                let reason = "the server does not answer cancels (`max_in_flight`)";
                return Poll::Ready(Fault::Broken(reason).into());
            }
            if is_idle {
                self.ticks = None;
            }
        }
        Poll::Pending
    }
}

/// Starts the ticks, with the first one a period from now.
#[cold]
fn start_ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    // After a pause of the whole process, calls get that time in addition.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Completes calls with what has arrived, for a quarter of the bytes in flight at a time.
fn deliver<F: Framing>(
    subchannel: &Subchannel<F>,
    state: &mut SubchannelState<F>,
    wire: &mut Wire,
    wakers: &mut Vec<Waker>,
) -> Result<(), Arc<Fault>> {
    state.calls.record_arrival();
    let sent = wire.sent();
    let mut oldest = state.calls.oldest();
    let begin = oldest.map_or(sent, |oldest| oldest.offset);
    let enough = begin + write_threshold(sent.saturating_sub(begin));
    let mut answers = 0_u32;
    let delivered = loop {
        // The call that the next message is for.
        let mut call = oldest;
        let received = wire.next_received(&mut state.framing, |id| {
            if F::HAS_IDS {
                call = state.calls.with_id(id);
            }
            Expected::reply_to::<F>(call.map(|call| call.offset))
        });
        match (received, call) {
            (Ok(Some(Received::Message(range))), Some(call))
                if !F::HAS_IDS || !state.calls.has_parts(call.index) =>
            {
                answers += 1;
                let reply = Ok(wire.message(range));
                (state.calls).complete::<F>(call.index, reply, &state.peer, wakers);
            }
            (Ok(Some(received)), call) => {
                match deliver_other(subchannel, state, wire, received, call, wakers) {
                    Ok(is_answer) => answers += u32::from(is_answer),
                    Err(fault) => break Err(fault),
                }
            }
            (Ok(None), _) => break Ok(()),
            (Err(fault), _) => break Err(fault),
        }
        oldest = state.calls.oldest();
        if oldest.is_some_and(|oldest| oldest.offset >= enough) {
            // Now these callers can send again while the others still wait.
            break Ok(());
        }
    };
    wire.forget_requests(oldest.map_or(sent, |oldest| oldest.offset));
    state.has_worked |= answers > 0;
    if let Some(budget) = &subchannel.shared.budget {
        lock(budget).deposit(answers);
    }
    delivered
}

/// Delivers what is not a whole reply to a call, with the call that it is for. Returns `true` if it has answered the call.
#[cold]
fn deliver_other<F: Framing>(
    subchannel: &Subchannel<F>,
    state: &mut SubchannelState<F>,
    wire: &Wire,
    received: Received,
    call: Option<PendingCall>,
    wakers: &mut Vec<Waker>,
) -> Result<bool, Arc<Fault>> {
    let max_reply_len = subchannel.shared.options.reply_len();
    let SubchannelState {
        calls,
        peer,
        subscribers,
        ..
    } = &mut *state;
    let call = match (&received, call) {
        (Received::Event(event), _) => {
            let event = wire.message(event.clone());
            subscribers.publish(event, peer, wakers);
            state.has_worked = true;
            return Ok(false);
        }
        (Received::Notice, _) => return Ok(false),
        (_, None) => return Err(Fault::Broken(UNEXPECTED).into()),
        (_, Some(call)) => call,
    };
    let index = call.index;
    let added = match received {
        Received::Item(item) if calls.items.contains_key(&index) => {
            if !calls.add_item(index, wire.message(item), wakers) {
                return Err(Fault::Broken("the server sent items without credit").into());
            }
            state.has_worked = true;
            Ok(())
        }
        Received::Item(_) => Err(FailedCall::without_retry(Error::streamed(peer)).into()),
        Received::Part(part) => calls.add_part(index, wire.message(part), max_reply_len, peer),
        Received::Message(rest) => {
            let added = calls.add_part(index, wire.message(rest), max_reply_len, peer);
            calls.complete::<F>(index, added.map(|()| &[][..]), peer, wakers);
            return Ok(true);
        }
        received => {
            let error = received.into_error(peer, max_reply_len);
            let is_kept = subchannel.shared.keeps_requests() && error.is_retryable();
            let request = is_kept.then(|| payload::<F>(wire.request_bytes(call.offset)));
            let request = request.flatten();
            let failure = FailedCall { error, request };
            let is_answer = failure.is_answer();
            calls.complete::<F>(index, Err(failure.into()), peer, wakers);
            return Ok(is_answer);
        }
    };
    if let Err(failure) = added {
        state.end_wait_and_cancel(index, failure, wakers);
    }
    Ok(false)
}

impl<F: Framing> Drop for Driver<F> {
    /// Tells all callers why the connection is closed, even if the runtime ends before it.
    fn drop(&mut self) {
        let Self {
            subchannel, wire, ..
        } = self;
        let fault = wire.fault_or(Fault::Broken("the task that serves it was ended"));
        subchannel.detach(&fault, wire, &mut self.wakers);
        wake_all(self.wakers.drain(..));
    }
}
