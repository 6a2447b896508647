//! Waits while functions run, and drops those whose time is over.

use std::task::{Context, Poll};

use super::{
    super::{
        Next,
        end::{End, Interrupt},
        rejections::{client_timed_out, half_closed, no_credit, timed_out},
    },
    ConcurrentDriver, Phase,
    execute::Outcome,
};
use crate::{
    buffer::{Buffers, ReadAhead},
    framing::Framing,
    protocol::ServerProtocol,
    server::{registry::AbortReason, time::Deadline},
};

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Flushes, reads ahead, and waits until there is something to do. Returns an error if functions must be dropped.
    pub(super) fn poll_wait(
        &mut self,
        next: &Next,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupt>> {
        // Events do not wait for the replies to functions that run side by side.
        let has_events = self.responder().write_released_events(Some(cx))?;
        if let Poll::Ready(interrupt) = self.poll_io(next, cx) {
            return Poll::Ready(Err(interrupt));
        }
        // The slots come last. A slot that was woken since the last collection is seen here, and a slot that is woken later
        // wakes the task.
        if self.has_work(next, has_events) || !self.slots.sleep(cx) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Flushes and reads ahead. Ready if functions must be dropped, or a frame must be rejected.
    fn poll_io(&mut self, next: &Next, cx: &mut Context<'_>) -> Poll<Interrupt> {
        let Buffers { read, ahead, write } = &mut *self.buffers;
        if self.slots.running() == 0 && (!P::Framing::HAS_IDS || self.phase == Phase::HalfClosed) {
            // The connection waits only for the peer to read, and needs no notices of the peer.
            return match self.io.poll_flush_in_time(write, cx) {
                Poll::Ready(Err(end)) => Poll::Ready(end.into()),
                _ => Poll::Pending,
            };
        }
        let cut = if matches!(next, Next::Read) {
            // First, because a connection that begins to wait for this memory wakes the registered tasks.
            self.io.registration.register_task(cx);
            self.io.frame_deadline(read)
        } else {
            Deadline::NEVER
        };
        let waited = self
            .io
            .poll_while_functions_wait(self.next_deadline, cut, ahead, write, cx);
        if (ahead.has_ended() || read.has_ended())
            && let Some(conversation) = self.info.open_conversation()
        {
            conversation.close();
        }
        waited
    }

    /// Returns `true` if there is something to do without waiting.
    fn has_work(&mut self, next: &Next, has_events: bool) -> bool {
        // Without room, the stream wakes the task when the peer has read.
        let has_room = self.buffers.write.is_empty();
        matches!(next, Next::Yield)
            || self.read_more(next)
            || has_room
                && (has_events || self.outbox.can_send(&self.slots) || self.can_progress(next))
    }

    /// Acts on an interrupt: drops late functions, or rejects the frame that has begun.
    #[cold]
    pub(super) fn interrupt(&mut self, interrupt: Interrupt) -> Result<(), End> {
        match interrupt {
            Interrupt::TimedOut => {
                if self.needs_notices() {
                    // Credit that has arrived in time counts, although this task runs late.
                    self.read_more(&Next::Read);
                    self.take_requests();
                }
                self.drop_late_functions();
            }
            Interrupt::HalfClosed => {
                self.phase = Phase::HalfClosed;
                self.drop_late_functions();
            }
            Interrupt::CutFrame => self.reject_late_frame(),
            Interrupt::OverBudget => {
                self.reject_frame();
                // There is no memory for the frame, and its rest is not read.
                self.buffers.ahead = ReadAhead::default();
            }
            Interrupt::Ended(End::Aborted(reason)) => return self.abort(reason),
            Interrupt::Ended(end) => return Err(end),
        }
        Ok(())
    }

    /// Drops all functions, and tells the peer of each.
    pub(super) fn abort(&mut self, reason: AbortReason) -> Result<(), End> {
        // If no request is unanswered, there is nothing to tell.
        let slots = self.outbox.unanswered(&self.slots);
        let Some((last, others)) = slots.split_last() else {
            return Err(End::Closed);
        };
        for slot in others {
            self.set_id(*slot);
            self.responder().function_dropped(reason.text());
        }
        self.set_id(*last);
        self.responder().aborted(reason)
    }

    /// Rejects a frame whose time is over, unless the rest of it has arrived.
    fn reject_late_frame(&mut self) {
        // What has arrived in time counts, although this task runs late, or the server drains.
        if !self.buffers.ahead.is_unused() && self.take_ahead().is_ok() {
            self.take_requests();
        }
        let deadline = self.io.frame_deadline(&self.buffers.read);
        if self.io.registration.has_passed(deadline) {
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
            let has_passed = |deadline| self.io.registration.has_passed(deadline);
            let rejection = if is_half_closed {
                half_closed(&self.shared.limits)
            } else if has_passed(client_deadline) {
                client_timed_out()
            } else if has_passed(deadline) {
                timed_out(&self.shared.limits)
            } else if has_passed(credit_deadline) {
                no_credit(&self.shared.limits)
            } else {
                let next = deadline.min(client_deadline).min(credit_deadline);
                self.next_deadline = self.next_deadline.min(next);
                continue;
            };
            self.stop(slot, Err(rejection));
        }
    }
}
