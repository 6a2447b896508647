//! Processes several requests of a connection at the same time ([`ServerProtocol::CONCURRENT`]).
//!
//! It is a third driver, beside the two in `dispatch.rs`. The loop of the connection enters it when bytes have arrived. It
//! returns when nothing is in flight, and the loop then waits as for all protocols. Each request has a slot. Its future
//! owns a copy of the request, and leaves its reply there as a message without its frame, because the framing may count
//! its messages: they are framed in the order in which they are sent.

mod backlog;
mod execute;
#[cfg(test)]
mod models;
mod outbox;
mod slots;
mod streams;
mod take;

use std::{
    future::poll_fn,
    mem::take,
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use tokio::{task::yield_now, time::Instant};

use self::{
    backlog::Backlog,
    execute::{Outcome, Reply, Request, execute},
    outbox::Outbox,
    slots::{SlotIndex, Slots},
    streams::is_large,
    take::Intake,
};
use super::{
    super::{limits::Deadline, log_limiter::log_panic, shared::Shared},
    Connection,
    converse::Outgoing,
    ends::{Dropped, Interrupt},
    io::Io,
    rejections::{TLS_BESIDE_OTHERS, client_timed_out, function_panicked, half_closed, timed_out},
    respond::{Exit, Flow, Processing, Responder},
};
use crate::{
    ConnectionInfo,
    buffer::{Buffers, EncodeOutcome, Unusual},
    format::After,
    framing::{ConnectionFraming, Framing, Side},
    panics::Payload,
    protocol::{Concurrency, ServerProtocol},
    runtime::poll_once,
};

/// How many rounds the driver has before it lets other tasks run.
const ROUNDS: u32 = 16;

impl<P: ServerProtocol> Connection<P> {
    /// Processes the requests that have arrived and those that arrive meanwhile. Returns `None` when nothing is in flight
    /// and no complete frame is left.
    pub(super) async fn process_concurrent(
        &mut self,
        concurrency: Concurrency,
    ) -> Result<Option<Exit>, Dropped> {
        let shared = &*self.shared;
        let mut driver = Driver {
            shared,
            info: &self.info,
            limit: concurrency.limit(),
            session: &mut self.session,
            framing: &mut self.framing,
            buffers: self.buffers.checkout(),
            io: &mut self.io,
            new_future: execute::<P>,
            slots: Slots::new(),
            outbox: Outbox::new(concurrency.is_ordered() && !P::Framing::HAS_IDS),
            backlog: Backlog::default(),
            timeout: Deadline::NEVER,
            phase: Phase::Serving,
        };
        let (mut began, mut rounds) = (Instant::now(), 0);
        loop {
            let intake = match driver.process() {
                Continue(intake) => intake,
                Break(exit) => return Ok(Some(exit)),
            };
            if driver.is_idle() {
                match intake {
                    Intake::NeedsBytes => return Ok(None),
                    Intake::Eof => return Ok(Some(Exit::Eof)),
                    Intake::Enough | Intake::Yield => {}
                }
            }
            let mut has_waited = false;
            let waited = poll_fn(|cx| {
                let waited = driver.poll_wait(intake, cx);
                has_waited |= waited.is_pending();
                waited
            });
            if let Some(interrupt) = waited.await?
                && let Flow::Break(exit) = driver.interrupt(interrupt)
            {
                return Ok(Some(exit));
            }
            rounds += 1;
            let limit = driver.io.registration.limits().poll_nanos;
            let must_yield = intake == Intake::Yield
                || rounds == ROUNDS
                || began.elapsed().as_nanos() > limit.into();
            if must_yield && !has_waited {
                yield_now().await;
                poll_once(|cx| driver.io.resume(&mut driver.buffers.ahead, cx)).await?;
            }
            if must_yield || has_waited {
                (began, rounds) = (Instant::now(), 0);
            }
        }
    }
}

/// What becomes of the requests that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Their functions are called.
    Serving,
    /// They are refused. They arrive among the notices that streams need to end in a drain.
    Draining,
    /// They are not received any more, nor are those called that wait: the connection closes.
    Closing,
    /// The same, and the functions were dropped at the end of `half_close_timeout`.
    HalfClosed,
}

/// The driver. `F` are the futures of requests.
struct Driver<'a, P: ServerProtocol, F: Future> {
    shared: &'a Shared<P>,
    info: &'a ConnectionInfo,
    /// How many requests are in flight at most.
    limit: usize,
    /// Each request has a share of it. Borrowed mutably, because it need not be `Sync`.
    session: &'a mut P::Session,
    framing: &'a mut ConnectionFraming<P::Framing>,
    buffers: &'a mut Buffers,
    io: &'a mut Io,
    /// [`execute`], whose future has a type without a name.
    new_future: fn(&'a Shared<P>, Request<P>) -> F,
    slots: Slots<F>,
    outbox: Outbox,
    backlog: Backlog,
    /// No function times out before this.
    timeout: Deadline,
    phase: Phase,
}

impl<P: ServerProtocol, F: Future<Output = Outcome>> Driver<'_, P, F> {
    /// Polls the functions that were woken, answers, and takes further requests.
    fn process(&mut self) -> ControlFlow<Exit, Intake> {
        let woken = self.slots.take_woken();
        for slot in &woken {
            self.poll_slot(*slot);
        }
        self.slots.reuse(woken);
        loop {
            let intake = self.take_requests();
            self.answer()?;
            // Functions that do not wait have made room for others.
            if !self.may_take_more(intake) {
                return Continue(intake);
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
        self.info.join_conversations(&info);
        let polled = self.slots.poll(slot);
        self.info.join_conversations(&info);
        if info.open_conversation().is_some() {
            self.outbox.add_stream(slot);
        }
        match polled {
            Some(Ok(outcome)) => {
                let outcome = outcome.reserve(self.io.registration.memory());
                self.finish(slot, outcome);
            }
            Some(Err(payload)) => self.fail(slot, payload),
            None => {}
        }
    }

    /// Notes that the function of a slot has panicked.
    #[cold]
    fn fail(&mut self, slot: SlotIndex, payload: Payload) {
        let log_limiter = self.io.registration.log_limiter();
        let rejection = function_panicked(log_limiter, payload);
        self.slots.drop_items(slot);
        self.finish(slot, Outcome::Rejected(rejection));
    }

    /// Drops the function in a slot, and its items. Its request gets `outcome`, also if a reply to it waits.
    #[cold]
    fn stop(&mut self, slot: SlotIndex, outcome: Outcome) {
        let is_running = self.slots.is_running(slot);
        match self.slots.stop(slot) {
            Ok(()) => {
                self.slots.drop_items(slot);
                if is_running {
                    self.finish(slot, outcome);
                } else {
                    self.slots.finish(slot, outcome);
                }
            }
            Err(payload) => self.fail(slot, payload),
        }
    }

    /// Notes what becomes of a request.
    fn finish(&mut self, slot: SlotIndex, outcome: Outcome) {
        if outcome.closes() {
            self.phase = self.phase.max(Phase::Closing);
        }
        self.slots.finish(slot, outcome);
        self.outbox.add_finished(slot);
    }

    /// Writes the replies whose turn it is, until the write buffer is full.
    fn answer(&mut self) -> Flow {
        while !self.buffers.write.is_full() {
            let Some(position) = self.outbox.next_answer(&self.slots) else {
                if self.write_items() {
                    continue;
                }
                break;
            };
            self.buffers.write.prepare();
            self.answer_one(position)?;
            // Replies and items take turns.
            self.write_items();
        }
        if self.phase < Phase::Closing || self.slots.in_use() > 0 {
            return Flow::Continue(());
        }
        // Otherwise something took the place of the reply that was to close the connection.
        if self.phase == Phase::HalfClosed {
            self.responder().close_at_half_close();
        }
        Flow::Break(Exit::Close)
    }

    /// Writes what becomes of the request at a position among the answers.
    fn answer_one(&mut self, position: usize) -> Flow {
        let Some(slot) = self.outbox.answers.remove(position) else {
            return Flow::Continue(());
        };
        self.set_id(slot);
        let Some(outcome) = self.slots.take_outcome(slot) else {
            return Flow::Continue(());
        };
        match outcome {
            Outcome::Reply(reply) if is_large::<P>(&reply) => {
                self.write_part(slot, reply);
                return Flow::Continue(());
            }
            _ => self.slots.release(slot),
        }
        if outcome.closes() && !self.outbox.answers.is_empty() {
            self.respond_beside_others(outcome)
        } else {
            self.respond(outcome)
        }
    }

    /// Answers a request after which the connection closes, although others are not answered. The final frame comes after
    /// them, because it says that they were not executed.
    #[cold]
    fn respond_beside_others(&mut self, outcome: Outcome) -> Flow {
        match outcome {
            Outcome::Reply(reply) if reply.encoded.after == After::StartTls => {
                self.respond(Outcome::failed(TLS_BESIDE_OTHERS))?;
            }
            Outcome::Reply(mut reply) if !self.outbox.is_ordered || reply.has_answer() => {
                reply.encoded.after = After::Continue;
                self.reply(reply)?;
            }
            Outcome::Rejected(rejection) => {
                self.respond(Outcome::failed(rejection.text()))?;
            }
            // Nothing can follow what has no answer.
            other => return self.respond(other),
        }
        if !self.outbox.is_ordered && !self.outbox.answers.is_empty() {
            // The last of those that close the connection does it.
            return Flow::Continue(());
        }
        for slot in take(&mut self.outbox.answers) {
            self.drop_function(slot);
            self.responder().function_dropped("the connection closed");
        }
        self.responder().close_after_reply()
    }

    /// Lets what is written from now on have the id of a request.
    fn set_id(&mut self, slot: SlotIndex) {
        if P::Framing::HAS_IDS
            && let Some(request) = self.slots.request(slot)
        {
            self.framing.get_mut().set_id(request.id);
        }
    }

    fn respond(&mut self, outcome: Outcome) -> Flow {
        match outcome {
            Outcome::Reply(reply) => self.reply(reply),
            Outcome::Rejected(rejection) | Outcome::CutFrame(rejection) => {
                self.responder().reject(&rejection)
            }
            Outcome::Unsendable(error) => self.responder().unsendable_item(error),
            Outcome::BadFrame(error) => {
                let Buffers { read, write, .. } = &mut *self.buffers;
                let unread = read.input(self.shared.limits.frame_len, Side::Server);
                let (framing, processing) = (&mut *self.framing, Processing::Concurrent);
                Responder::new(self.shared, framing, write, self.io, processing)
                    .bad_frame(&error, unread.bytes());
                Flow::Break(Exit::Close)
            }
        }
    }

    /// Frames a reply, or what is left of it.
    fn reply(&mut self, reply: Reply) -> Flow {
        let Unusual { outcome, after } = reply.encoded;
        let framed = if let EncodeOutcome::Written(_) = outcome {
            let limit = self.shared.limits.reply_len;
            let framing = self.framing.get_mut();
            self.buffers.write.message(framing, limit, |out| {
                out.put(reply.bytes.get(reply.sent..).unwrap_or_default());
                out.set_after(after);
                Ok(())
            })
        } else {
            Err(Unusual { outcome, after })
        };
        if let Err(unusual) = framed {
            let Buffers { read, ahead, .. } = &*self.buffers;
            let is_last = !read.has_started() && ahead.is_unused() && self.backlog.is_empty();
            let peer = self.info.peer();
            return self.responder().unusual_reply(unusual, peer, is_last);
        }
        self.io.accounts.count_reply();
        self.responder().after_response()
    }

    fn responder(&mut self) -> Responder<'_, P> {
        let write = &mut self.buffers.write;
        let processing = Processing::Concurrent;
        Responder::new(self.shared, self.framing, write, self.io, processing)
    }

    /// Flushes, reads ahead, and waits until there is something to do. Returns why functions must be dropped, if they
    /// must.
    fn poll_wait(
        &mut self,
        intake: Intake,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Interrupt>, Dropped>> {
        let has_events = self.write_events(cx)?;
        let Buffers { read, ahead, write } = &mut *self.buffers;
        if self.slots.running() == 0 && (!P::Framing::HAS_IDS || self.phase == Phase::HalfClosed) {
            // It waits only for the peer to read, and needs no notices of the peer.
            if let Poll::Ready(Err(dropped)) = self.io.poll_flush_in_time(write, cx) {
                return Poll::Ready(Err(dropped));
            }
        } else {
            let cut = if intake == Intake::NeedsBytes {
                self.io.registration.register_task(cx);
                self.io.frame_deadline(read)
            } else {
                Deadline::NEVER
            };
            let waited = self.io.poll_interrupt(self.timeout, cut, ahead, write, cx);
            if (ahead.has_ended() || read.has_ended())
                && let Some(conversation) = self.info.open_conversation()
            {
                conversation.close();
            }
            if let Poll::Ready(interrupt) = waited {
                return Poll::Ready(interrupt.map(Some));
            }
        }
        let has_room = self.buffers.write.is_empty();
        let goes_on = intake == Intake::Yield
            || self.read_more(intake)
            || has_room
                && (has_events
                    || self.outbox.next_answer(&self.slots).is_some()
                    || self.outbox.has_stream(&self.slots)
                    || self.may_take_more(intake));
        if goes_on || !self.slots.sleep(cx) {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    }

    /// Frames the events that wait. Returns `true` if there may be more.
    fn write_events(&mut self, cx: &TaskContext<'_>) -> Result<bool, Dropped> {
        let Some(conversation) = self.info.open_conversation() else {
            return Ok(false);
        };
        // Events do not wait for the replies to functions that run side by side.
        conversation.end_request();
        match conversation.pushes() {
            Some(queue) => self.outgoing().write_events(queue, Some(cx)),
            None => Ok(false),
        }
    }

    fn outgoing(&mut self) -> Outgoing<'_, P::Framing> {
        Outgoing {
            write: &mut self.buffers.write,
            framing: self.framing,
            limit: self.shared.limits.reply_len,
            info: self.info,
            io: self.io,
        }
    }

    /// Drops the functions whose time is over.
    #[cold]
    fn interrupt(&mut self, interrupt: Interrupt) -> Flow {
        if let Interrupt::Aborted(reason) = interrupt {
            // Only requests have failed.
            let slots = self.outbox.unanswered_requests(&self.slots);
            let Some((last, others)) = slots.split_last() else {
                return Flow::Break(Exit::Close);
            };
            for slot in others {
                self.set_id(*slot);
                self.responder().function_dropped(reason.text());
            }
            self.set_id(*last);
            return self.responder().interrupted(interrupt);
        }
        if interrupt == Interrupt::CutFrame {
            // What has arrived in time counts, although this task runs late, or the server drains.
            if !self.buffers.ahead.is_unused() && self.take_ahead().is_ok() {
                self.take_requests();
            }
            let deadline = self.io.frame_deadline(&self.buffers.read);
            if self.io.registration.has_passed(deadline) {
                self.give_up_frame();
            }
            return Flow::Continue(());
        }
        let is_half_closed = interrupt == Interrupt::HalfClosed;
        if is_half_closed {
            self.phase = Phase::HalfClosed;
        }
        self.timeout = Deadline::NEVER;
        for slot in self.slots.indices() {
            // Items without credit may wait after their function.
            let is_pending = self.slots.is_running(slot) || self.slots.has_items(slot);
            let Some(request) = self.slots.request(slot).filter(|_| is_pending) else {
                continue;
            };
            let (deadline, client_deadline) = (request.deadline, request.client_deadline.at);
            let has_passed = |deadline| self.io.registration.has_passed(deadline);
            let rejection = if is_half_closed {
                half_closed(&self.shared.limits)
            } else if has_passed(client_deadline) {
                client_timed_out()
            } else if has_passed(deadline) {
                timed_out(&self.shared.limits)
            } else {
                self.timeout = self.timeout.min(deadline);
                continue;
            };
            self.stop(slot, Outcome::Rejected(rejection));
        }
        Flow::Continue(())
    }
}

/// Drops the functions that run. Each may panic, which must neither keep the others nor end the process.
impl<P: ServerProtocol, F: Future> Drop for Driver<'_, P, F> {
    fn drop(&mut self) {
        for slot in self.slots.indices() {
            self.drop_function(slot);
        }
    }
}

impl<P: ServerProtocol, F: Future> Driver<'_, P, F> {
    /// Drops the function in a slot, if one runs. Its panic is only logged.
    fn drop_function(&mut self, slot: SlotIndex) {
        if let Err(payload) = self.slots.stop(slot) {
            let log_limiter = self.io.registration.log_limiter();
            log_panic(log_limiter, "the drop of a function", payload);
        }
    }
}
