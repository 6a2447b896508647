//! Processes several requests of a connection at the same time ([`ServerProtocol::CONCURRENT`]).
//!
//! This is the driver beside that of `sequential.rs`. The loop of the connection enters this driver when bytes have
//! arrived. The driver returns when nothing is in flight, and the loop then waits as for all protocols. Each request has
//! a slot. Its future owns a copy of the request, and leaves the reply in the slot as a message without its frame. The
//! framing may count messages, so they are framed in the order in which they are sent.
//!
//! | a request is | while |
//! |---|---|
//! | a [`Request`] in the [`Backlog`] | it waits for a place, where a framing has ids |
//! | an `ActiveRequest` in a slot of the [`Slots`] | its future, [`execute`], runs or has ended, and it is not answered |
//! | an [`Outcome`] in its slot | its reply or rejection waits for its turn in the [`Outbox`] |

mod answer;
mod backlog;
mod execute;
#[cfg(test)]
mod models;
mod outbox;
mod request;
mod slots;
mod streams;
mod take;
mod wait;

use std::{future::poll_fn, mem::replace, sync::Arc};

use tokio::{task::yield_now, time::Instant};

use self::{
    backlog::{Backlog, Request},
    execute::{Outcome, closes, execute},
    outbox::Outbox,
    slots::{SlotIndex, Slots},
};
use super::{Connection, Next, end::End, io::Io, rejections::function_panicked};
use crate::{
    ConnectionInfo, Rejection,
    buffer::Buffers,
    framing::{ConnectionFraming, FrameError, Framing},
    panics::Payload,
    protocol::{Concurrency, ServerProtocol},
    runtime::poll_once,
    server::{log_limiter::log_panic, shared::Shared, time::Deadline},
};

/// How many rounds the driver has before it lets other tasks run.
const ROUNDS: u32 = 16;

/// Processes the requests that have arrived and those that arrive meanwhile, until nothing is in flight and no complete
/// frame is left.
pub(super) async fn process_concurrent<P: ServerProtocol>(
    connection: &mut Connection<P>,
    concurrency: Concurrency,
) -> Result<(), End> {
    let mut driver = ConcurrentDriver {
        shared: &*connection.shared,
        info: &connection.info,
        limit: concurrency.limit(),
        session: &mut connection.session,
        framing: &mut connection.framing,
        buffers: connection.buffers.checkout(),
        io: &mut connection.io,
        new_future: execute::<P>,
        slots: Slots::new(),
        outbox: Outbox::new(concurrency.is_ordered() && !P::Framing::HAS_IDS),
        backlog: Backlog::default(),
        next_deadline: Deadline::NEVER,
        phase: Phase::Serving,
        requests_first: false,
        unreadable: None,
    };
    driver.run().await
}

/// Whether arriving requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Functions are called.
    Serving,
    /// Requests are refused. They arrive among the notices that streams need to end in a drain.
    Draining,
    /// No requests are received, and those that wait for a place are not called. An answer that closes the connection
    /// sets this phase.
    Closing,
    /// As `Closing`, without functions: the end of `half_close_timeout` has dropped them.
    HalfClosed,
}

/// Input that is not a request, and ends the connection.
enum Unreadable {
    /// The next bytes in the read buffer are not a frame, and stay there, or a control frame was taken that clients do not
    /// send.
    BadFrame(FrameError),
    /// The beginning of a frame, which was not complete in time. The rejection is final.
    CutFrame(Rejection),
}

/// The driver. `F` are the futures of requests.
struct ConcurrentDriver<'a, P: ServerProtocol, F: Future> {
    shared: &'a Shared<P>,
    info: &'a ConnectionInfo,
    /// How many requests are in flight at most.
    limit: usize,
    /// The session, which all requests share. Borrowed mutably, because it need not be `Sync`.
    session: &'a mut P::Session,
    framing: &'a mut ConnectionFraming<P::Framing>,
    buffers: &'a mut Buffers,
    io: &'a mut Io,
    /// [`execute`], whose future has a type without a name.
    new_future: fn(&'a Shared<P>, Request, P::Session, Arc<ConnectionInfo>) -> F,
    slots: Slots<F>,
    outbox: Outbox,
    backlog: Backlog,
    /// The next time at which a function or a stream may be late, or memory is asked for again.
    next_deadline: Deadline,
    phase: Phase,
    /// Whether the last poll was over before requests could be taken, so that the next poll takes them first.
    requests_first: bool,
    /// The input after the last request that is not a request. This input is answered after all requests.
    unreadable: Option<Unreadable>,
}

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Runs until nothing is in flight.
    async fn run(&mut self) -> Result<(), End> {
        let (mut began, mut rounds) = (Instant::now(), 0);
        loop {
            let next = match self.process()? {
                Next::Read if self.is_idle() => return Ok(()),
                Next::End(end) if self.is_idle() => return Err(*end),
                next => next,
            };
            let mut has_waited = false;
            let waited = poll_fn(|cx| {
                let waited = self.poll_wait(&next, cx);
                has_waited |= waited.is_pending();
                waited
            });
            if let Err(interrupt) = waited.await {
                self.interrupt(interrupt)?;
            }
            rounds += 1;
            let limit = self.io.registration.limits().poll_nanos;
            let must_yield = matches!(next, Next::Yield)
                || rounds == ROUNDS
                || began.elapsed().as_nanos() > limit.into();
            // A wait lets other tasks run.
            if must_yield && !has_waited {
                yield_now().await;
                match poll_once(|cx| self.io.resume(&mut self.buffers.ahead, cx)).await {
                    Err(End::Aborted(reason)) => self.abort(reason)?,
                    resumed => resumed?,
                }
            }
            if must_yield || has_waited {
                (began, rounds) = (Instant::now(), 0);
            }
        }
    }

    /// Polls the functions that were woken, answers, and takes further requests.
    fn process(&mut self) -> Result<Next, End> {
        // Events have their turn here, because streams may fill the buffer before each flush.
        self.responder().write_released_events(None)?;
        let requests_first = replace(&mut self.requests_first, false);
        if requests_first {
            self.read_more(&Next::Read);
            self.take_requests();
        }
        self.poll_woken();
        loop {
            let next = if self.slots.has_woken() {
                // Functions may be woken each time they are polled, and use up each poll.
                self.requests_first = !requests_first;
                Next::Yield
            } else {
                self.take_requests()
            };
            self.answer()?;
            self.wait_for_credit(&next);
            // Functions that do not wait have made room for others, which nothing else would wake.
            if !self.can_progress(&next) {
                return Ok(next);
            }
        }
    }

    /// Polls the functions that were woken, until the budget of this poll is spent.
    fn poll_woken(&mut self) {
        self.slots.collect_woken();
        while self.slots.has_woken() && !self.io.must_yield(|| true) {
            if let Some(slot) = self.slots.next_woken() {
                self.io.count_frame(|| self.slots.has_woken());
                self.poll_slot(slot);
            }
        }
    }

    /// Returns `true` if nothing is in flight.
    fn is_idle(&self) -> bool {
        self.slots.in_use() == 0 && self.backlog.is_empty()
    }

    /// Polls the function in a slot, if one runs.
    fn poll_slot(&mut self, slot: SlotIndex) {
        let Some(request) = self.slots.request(slot) else {
            return;
        };
        let info = Arc::clone(&request.info);
        // Before, so that the function sees what others have begun, and after, so that the loop sends what it has begun.
        self.info.join_conversations(&info);
        let polled = self.slots.poll(slot);
        self.info.join_conversations(&info);
        if info.open_conversation().is_some() {
            self.outbox.add_stream(slot);
        }
        match polled {
            Some(Ok(mut outcome)) => {
                if let Ok(reply) = &mut outcome {
                    // Now, because the reply may wait long for its turn.
                    reply.reserve(self.io.registration.memory());
                }
                self.finish(slot, outcome);
            }
            Some(Err(payload)) => self.fail(slot, payload),
            None => {}
        }
    }

    /// Records that the function of a slot has panicked.
    #[cold]
    fn fail(&mut self, slot: SlotIndex, payload: Payload) {
        let log_limiter = self.io.registration.log_limiter();
        let rejection = function_panicked(log_limiter, payload);
        self.drop_items(slot);
        self.finish(slot, Err(rejection));
    }

    /// Drops the function in a slot, and its items. `outcome` answers its request, even if a reply was about to be sent.
    #[cold]
    fn stop(&mut self, slot: SlotIndex, outcome: Outcome) {
        let is_running = self.slots.is_running(slot);
        match self.slots.drop_future(slot) {
            Ok(()) => {
                self.drop_items(slot);
                if is_running {
                    self.finish(slot, outcome);
                } else {
                    // The slot is in the outbox already.
                    self.slots.set_outcome(slot, outcome);
                }
            }
            Err(payload) => self.fail(slot, payload),
        }
    }

    fn drop_items(&mut self, slot: SlotIndex) {
        if let Some(request) = self.slots.request_mut(slot) {
            request.drop_items();
        }
    }

    /// Counts input that is not a request. Receives nothing after it, and closes the connection with its answer. Only the
    /// first such input is counted and answered.
    #[cold]
    fn end_input(&mut self, unreadable: Unreadable) {
        self.phase = self.phase.max(Phase::Closing);
        if self.unreadable.is_none() {
            self.io.count_unreadable(self.shared);
            self.unreadable = Some(unreadable);
        }
    }

    /// Records the outcome of a request.
    fn finish(&mut self, slot: SlotIndex, outcome: Outcome) {
        if closes(&outcome) {
            // The answer says that requests after it were not executed, so no further function may be called.
            self.phase = self.phase.max(Phase::Closing);
        }
        self.slots.set_outcome(slot, outcome);
        self.outbox.add_finished(slot);
    }
}

/// Drops the functions that run. Each may panic, which must neither keep the others nor end the process.
impl<P: ServerProtocol, F: Future> Drop for ConcurrentDriver<'_, P, F> {
    fn drop(&mut self) {
        for slot in self.slots.indices() {
            self.drop_function(slot);
        }
    }
}

impl<P: ServerProtocol, F: Future> ConcurrentDriver<'_, P, F> {
    /// Drops the function in a slot, if one runs. Its panic is only logged.
    fn drop_function(&mut self, slot: SlotIndex) {
        if let Err(payload) = self.slots.drop_future(slot) {
            let log_limiter = self.io.registration.log_limiter();
            log_panic(log_limiter, "the drop of a function", payload);
        }
    }
}
