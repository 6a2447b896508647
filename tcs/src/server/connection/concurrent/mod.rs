//! Processes several requests of a connection at the same time ([`ServerProtocol::CONCURRENT`]).
//!
//! The loop of the connection enters this driver when bytes have arrived. The driver returns when nothing is in flight, and
//! the loop then waits as for all protocols. Each request has a slot. Its future owns a copy of the request, and leaves the
//! encoded reply in the slot. The reply is framed when it is sent, because a framing may count messages.
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
#[cfg(test)]
mod tests;
mod wait;

use std::{future::poll_fn, mem::replace, sync::Arc};

use tokio::{task::yield_now, time::Instant};

use self::{
    backlog::{Backlog, Request},
    execute::{Outcome, closes, execute},
    outbox::Outbox,
    slots::Slots,
};
use super::{Connection, Next, end::End, respond::Responder};
use crate::{
    ConnectionInfo,
    buffer::{ReadAhead, ReadBuffer},
    framing::{FrameError, Framing},
    panics::Payload,
    protocol::{Concurrency, ServerProtocol},
    runtime::poll_once,
    server::{log_limiter::log_panic, shared::Shared, time::Deadline},
};

/// After how many rounds without a wait the driver yields to other tasks.
const ROUNDS: u32 = 16;

/// Processes the requests that have arrived and those that arrive meanwhile, until nothing is in flight and no complete
/// frame is left.
pub(super) async fn process_concurrent<P: ServerProtocol>(
    connection: &mut Connection<P>,
    concurrency: Concurrency,
) -> Result<(), End> {
    let (responder, read, ahead, session) = connection.parts();
    let mut driver = ConcurrentDriver {
        out: responder,
        read,
        ahead,
        limit: concurrency.limit(),
        session,
        new_future: execute::<P>,
        slots: Slots::new(),
        outbox: Outbox::new(concurrency.is_ordered() && !P::Framing::HAS_IDS),
        backlog: Backlog::default(),
        next_deadline: Deadline::NEVER,
        phase: Phase::Serving,
        requests_first: false,
        bad_frame: None,
    };
    driver.run().await
}

/// Whether arriving requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Functions are called.
    Serving,
    /// Requests are rejected. Notices are still read, because streams need them to end.
    Draining,
    /// No requests are read, and those in the backlog are not started. Set by an answer that closes the connection.
    Closing,
    /// As `Closing`, and no notices are read: the input is not a frame, or a frame was not complete in time.
    Unreadable,
    /// As `Unreadable`, without functions: the end of `half_close_timeout` has dropped them.
    HalfClosed,
}

/// Processes requests concurrently. `F` is the future of a request.
struct ConcurrentDriver<'a, P: ServerProtocol, F: Future> {
    out: Responder<'a, P>,
    read: &'a mut ReadBuffer,
    ahead: &'a mut ReadAhead,
    /// How many requests are in flight at most.
    limit: usize,
    /// The session, which all requests share. Borrowed mutably, because it need not be `Sync`.
    session: &'a mut P::Session,
    /// [`execute`]. A function pointer, because the type of its future has no name.
    new_future: fn(&'a Shared<P>, Request, P::Session, Arc<ConnectionInfo>) -> F,
    slots: Slots<F>,
    outbox: Outbox,
    backlog: Backlog,
    /// The earliest deadline of a function or a stream, or the time to ask for memory again.
    next_deadline: Deadline,
    phase: Phase,
    /// Whether the budget of the last poll was spent before requests were taken. The next poll then takes them first.
    requests_first: bool,
    /// Why the next bytes in the read buffer are not a frame. They stay there, and are answered after all requests.
    bad_frame: Option<FrameError>,
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
            let waited = waited.await;
            self.unless_aborted(waited)?;
            rounds += 1;
            let limit = self.out.io.registration.limits().poll_nanos;
            let must_yield = matches!(next, Next::Yield)
                || rounds == ROUNDS
                || began.elapsed().as_nanos() > limit.into();
            // Other tasks run during a wait.
            if must_yield && !has_waited {
                yield_now().await;
                let resumed = poll_once(|cx| self.out.io.resume(self.ahead, cx)).await;
                self.unless_aborted(resumed)?;
            }
            if must_yield || has_waited {
                (began, rounds) = (Instant::now(), 0);
            }
        }
    }

    /// Polls the functions that were woken, answers, and takes further requests.
    fn process(&mut self) -> Result<Next, End> {
        // Events have their turn here, because streams may fill the buffer before each flush.
        self.out.write_released_events(None)?;
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
        while self.slots.has_woken() && !self.out.io.must_yield(|| true) {
            if let Some(slot) = self.slots.next_woken() {
                self.out.io.count_frame(|| self.slots.has_woken());
                self.poll_slot(slot);
            }
        }
    }

    /// Returns `true` if nothing is in flight.
    fn is_idle(&self) -> bool {
        self.slots.in_use() == 0 && self.backlog.is_empty()
    }

    /// Polls the function in a slot, if one runs.
    fn poll_slot(&mut self, slot: usize) {
        let Some(request) = self.slots.request(slot) else {
            return;
        };
        let info = Arc::clone(&request.info);
        // Before, so that the function sees what others have begun, and after, so that the loop sends what it has begun.
        self.out.info.join_conversations(&info);
        let polled = self.slots.poll(slot);
        self.out.info.join_conversations(&info);
        if info.open_conversation().is_some() {
            self.outbox.add_stream(slot);
        }
        match polled {
            Some(Ok(mut outcome)) => {
                if let Ok(reply) = &mut outcome {
                    // Now, because the reply may wait long for its turn.
                    reply.reserve(self.out.io.registration.memory());
                }
                self.finish(slot, outcome);
            }
            Some(Err(payload)) => self.fail(slot, payload),
            None => {}
        }
    }

    /// Records that the function of a slot has panicked.
    #[cold]
    fn fail(&mut self, slot: usize, payload: Payload) {
        let rejection = self.out.function_panicked(payload);
        self.drop_items(slot);
        self.finish(slot, Err(rejection));
    }

    /// Drops the function in a slot, and its items. `outcome` answers its request, even if a reply was about to be sent.
    #[cold]
    fn stop(&mut self, slot: usize, outcome: Outcome) {
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

    fn drop_items(&mut self, slot: usize) {
        if let Some(request) = self.slots.request_mut(slot) {
            request.drop_items();
        }
    }

    /// Counts input that is not a request, and receives nothing after it. The connection closes with its answer.
    #[cold]
    fn end_input(&mut self) {
        self.phase = self.phase.max(Phase::Unreadable);
        self.out.io.count_unreadable(self.out.shared);
    }

    /// Records the outcome of a request.
    fn finish(&mut self, slot: usize, outcome: Outcome) {
        if closes(&outcome) {
            // The answer says that requests after it were not executed, so no further function may be called.
            self.phase = self.phase.max(Phase::Closing);
        }
        self.slots.set_outcome(slot, outcome);
        self.outbox.add_finished(slot);
    }
}

/// Drops the functions that run. One that panics must neither keep the others from being dropped nor end the process.
impl<P: ServerProtocol, F: Future> Drop for ConcurrentDriver<'_, P, F> {
    fn drop(&mut self) {
        for slot in self.slots.indices() {
            self.drop_function(slot);
        }
    }
}

impl<P: ServerProtocol, F: Future> ConcurrentDriver<'_, P, F> {
    /// Drops the function in a slot, if one runs. Its panic is only logged.
    fn drop_function(&mut self, slot: usize) {
        if let Err(payload) = self.slots.drop_future(slot) {
            log_panic(self.out.log_limiter(), "the drop of a function", payload);
        }
    }
}
