//! Waits while functions run, and drops those whose time is over.

use std::task::{Context, Poll};

use super::{
    super::{
        Next,
        end::End,
        rejections::{client_timed_out, half_closed, no_credit, timed_out},
        respond::Responder,
    },
    ConcurrentDriver, Phase,
    execute::Outcome,
};
use crate::{
    buffer::ReadAhead,
    framing::Framing,
    protocol::ServerProtocol,
    server::{registry::AbortReason, time::Deadline},
};

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Flushes, reads ahead, and waits until there is something to do. Returns an error if the connection ends.
    pub(super) fn poll_wait(&mut self, next: &Next, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        // Events do not wait for the replies to functions that run side by side.
        let has_events = self.out.write_released_events(Some(cx))?;
        if self.poll_io(next, cx)?.is_ready() {
            self.act_on_deadlines(next);
            return Poll::Ready(Ok(()));
        }
        let memory = self.out.io.registration.memory();
        if self.ahead.is_large() && self.ahead.reserve(memory).is_err() {
            self.reject_frame();
            // The rest of the frame is not read.
            *self.ahead = ReadAhead::default();
            return Poll::Ready(Ok(()));
        }
        // The slots come last. A slot that was woken since the last collection is seen here, and a slot that is woken later
        // wakes the task.
        if self.has_work(next, has_events) || !self.slots.sleep(cx) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Flushes and reads ahead. Ready if a deadline has passed.
    fn poll_io(&mut self, next: &Next, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Responder { io, write, .. } = &mut self.out;
        if self.slots.running() == 0 && (!P::Framing::HAS_IDS || self.phase == Phase::HalfClosed) {
            // The connection waits only for the peer to read, and needs no notices of the peer.
            return match io.poll_flush_in_time(write, cx) {
                Poll::Ready(Err(end)) => Poll::Ready(Err(end)),
                _ => Poll::Pending,
            };
        }
        let frame_deadline = if matches!(next, Next::Read) {
            // First, because a connection that begins to wait for this memory wakes the registered tasks.
            io.registration.register_task(cx);
            io.frame_deadline(self.read)
        } else {
            Deadline::NEVER
        };
        let deadline = self.next_deadline.min(frame_deadline);
        let waited = io.poll_while_functions_wait(deadline, self.ahead, write, cx);
        if (self.ahead.has_ended() || self.read.has_ended())
            && let Some(conversation) = self.out.info.open_conversation()
        {
            conversation.close();
        }
        waited
    }

    /// Returns `true` if there is something to do without waiting.
    fn has_work(&mut self, next: &Next, has_events: bool) -> bool {
        // Without room, the stream wakes the task when the peer has read.
        let has_room = self.out.write.is_empty();
        matches!(next, Next::Yield)
            || self.read_more(next)
            || has_room
                && (has_events || self.outbox.can_send(&self.slots) || self.can_progress(next))
    }

    /// Drops functions whose time is over, or rejects a frame whose time is over.
    #[cold]
    fn act_on_deadlines(&mut self, next: &Next) {
        if self.out.io.has_passed(self.next_deadline) {
            if self.needs_notices() {
                self.take_late_notices();
            }
            self.drop_late_functions();
        } else if self.out.io.has_passed(self.out.io.half_close_deadline()) {
            self.phase = Phase::HalfClosed;
            self.drop_late_functions();
        } else if matches!(next, Next::Read) {
            self.reject_late_frame();
        }
    }

    /// Tells the peer of each function if the server ends the connection at once.
    pub(super) fn unless_aborted(&mut self, waited: Result<(), End>) -> Result<(), End> {
        match waited {
            Err(End::Aborted(reason)) => self.abort(reason),
            waited => waited,
        }
    }

    /// Drops all functions, and tells the peer of each.
    fn abort(&mut self, reason: AbortReason) -> Result<(), End> {
        let mut slots = self.outbox.unanswered(&self.slots);
        // A frame that was late is no request. The last rejection says that the connection ends.
        slots.retain(|slot| {
            let outcome = self.slots.outcome(*slot);
            !matches!(outcome, Some(Err(rejection)) if rejection.kind().is_final())
        });
        // If no request is unanswered, there is nothing to tell.
        let Some((last, others)) = slots.split_last() else {
            return Err(End::Closed);
        };
        for slot in others {
            self.set_id(*slot);
            self.out.function_dropped(reason.text());
        }
        self.set_id(*last);
        self.out.aborted(reason)
    }

    /// Takes the notices that arrived in time, although this task runs late: their credit counts.
    fn take_late_notices(&mut self) {
        let mut next = Next::Read;
        // The read buffer may have room for only a part of them at a time.
        loop {
            let has_more = self.read_more(&next);
            next = self.take_requests();
            if !has_more {
                return;
            }
        }
    }

    /// Rejects a frame whose time is over, unless the rest of it has arrived.
    fn reject_late_frame(&mut self) {
        let mut rest = usize::MAX;
        // What has arrived in time counts, although this task runs late, or the server drains. The read buffer may have
        // room for only a part of it at a time.
        while !self.ahead.is_unused() && self.ahead.len() < rest {
            rest = self.ahead.len();
            if self.take_ahead().is_err() {
                break;
            }
            if !matches!(self.take_requests(), Next::Read) {
                return;
            }
        }
        let deadline = self.out.io.frame_deadline(self.read);
        if self.out.io.has_passed(deadline) {
            self.reject_frame();
        }
    }

    /// Drops the functions whose time is over, or all at the end of `half_close_timeout`.
    fn drop_late_functions(&mut self) {
        let is_half_closed = self.phase == Phase::HalfClosed;
        self.next_deadline = Deadline::NEVER;
        for slot in self.slots.indices() {
            // Items without credit may wait after their function.
            let is_running = self.slots.is_running(slot);
            let request = self.slots.request(slot);
            let Some(request) = request.filter(|request| is_running || request.has_items()) else {
                continue;
            };
            // Once the function has returned, its items wait only for the client.
            let deadline = if is_running {
                request.deadline
            } else {
                Deadline::NEVER
            };
            let client_deadline = request.client_deadline.at;
            let credit_deadline = request.credit_deadline;
            let rejection = if is_half_closed {
                half_closed(&self.out.shared.limits)
            } else if self.out.io.has_passed(client_deadline) {
                client_timed_out()
            } else if self.out.io.has_passed(deadline) {
                timed_out(&self.out.shared.limits)
            } else if self.out.io.has_passed(credit_deadline) {
                no_credit(&self.out.shared.limits)
            } else {
                let next = deadline.min(client_deadline).min(credit_deadline);
                self.next_deadline = self.next_deadline.min(next);
                continue;
            };
            self.stop(slot, Err(rejection));
        }
    }
}
