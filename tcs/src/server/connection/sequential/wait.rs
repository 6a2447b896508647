//! Waits for a function. Meanwhile, sends its items and events, and gives it the chunks and blocks that it waits for.

use std::task::{Context as TaskContext, Poll, ready};

use tokio::time::Instant;

use super::{
    super::{
        clocks::{Stopwatch, frame_limit},
        end::{End, Interrupt},
        io::Running,
        outgoing::EVENT_BATCHES,
        rejections::{
            AFTER_HALF_CLOSE, IN_CHUNK, ITEM, MEMORY_IN_USE, cancelled, half_closed, late_chunk,
            no_chunk, no_credit, timed_out, unsendable,
        },
    },
    SequentialDriver,
};
use crate::{
    Rejection, RejectionKind, conversation::Conversation, protocol::ServerProtocol,
    runtime::wake_after_others, server::time::Deadline,
};

/// Why a function is dropped before it returns.
pub(super) enum Dropped {
    /// Its request is rejected. Without a session, the connection goes on.
    Rejected(Rejection),
    /// Its request is rejected, and the connection closes for this reason.
    Closing(Rejection, &'static str),
    /// The connection ends.
    Ended(End),
}

impl From<End> for Dropped {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Waits for a function: sends and receives for it, until it must be dropped. `deadline` is what its calls inherit.
    #[inline]
    pub(super) fn poll_connection(
        &mut self,
        clock: &mut Stopwatch,
        deadline: &mut Option<Instant>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Dropped> {
        let dropped = ready!(if let Some(conversation) = self.info.open_conversation() {
            let before = *clock;
            let polled = self.poll_streams(conversation, clock, cx);
            if before.is_running() && *clock != before {
                // For the next item or chunk.
                *deadline = self.shared.limits.request_deadline();
            }
            polled
        } else {
            let waited = self.poll_io(clock, Deadline::NEVER, cx);
            waited.map(|interrupt| self.dropped(interrupt))
        });
        if !matches!(dropped, Dropped::Rejected(_)) {
            self.io.running = Running::LastFunction;
        }
        Poll::Ready(dropped)
    }

    /// Returns what becomes of a request whose function is interrupted.
    #[cold]
    fn dropped(&self, interrupt: Interrupt) -> Dropped {
        let limits = &self.shared.limits;
        match interrupt {
            Interrupt::TimedOut => Dropped::Rejected(timed_out(limits)),
            Interrupt::HalfClosed => Dropped::Closing(half_closed(limits), AFTER_HALF_CLOSE),
            Interrupt::CutFrame => {
                let limit = frame_limit(limits, self.ahead.len());
                Dropped::Closing(late_chunk(limit), IN_CHUNK)
            }
            Interrupt::OverBudget => {
                let rejection = Rejection::new(RejectionKind::Failed, MEMORY_IN_USE);
                Dropped::Closing(rejection, IN_CHUNK)
            }
            Interrupt::Ended(end) => Dropped::Ended(end),
        }
    }

    /// Waits for a function, and starts its clock. A chunk or credit must arrive by `peer_deadline`.
    #[inline]
    fn poll_io(
        &mut self,
        clock: &mut Stopwatch,
        peer_deadline: Deadline,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Interrupt> {
        clock.start(self.io.registration.now());
        let request_deadline = clock.deadline(self.io.registration.limits().request_timeout);
        self.io.poll_while_functions_wait(
            request_deadline,
            peer_deadline,
            self.ahead,
            self.write,
            cx,
        )
    }

    /// Waits for a function, and meanwhile sends its items and events, and gives it the chunks that it waits for.
    #[cold]
    fn poll_streams(
        &mut self,
        conversation: &Conversation,
        clock: &mut Stopwatch,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Dropped> {
        for _ in 0..EVENT_BATCHES {
            match self.transfer_streams(conversation, clock, cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(dropped) => return Poll::Ready(dropped),
            }
        }
        // A peer that always has more must not keep other tasks waiting.
        wake_after_others(cx);
        Poll::Pending
    }

    /// Transfers once in both directions. Returns `true` if there may be more.
    ///
    /// `false` loses no wakeup. Either the function was woken, or each of these wakes the task: the socket and the deadline
    /// (`poll_wait` was `Pending`), the queue of events (`write_events` has the waker), and the function itself, for items
    /// and for what it receives.
    fn transfer_streams(
        &mut self,
        conversation: &Conversation,
        clock: &mut Stopwatch,
        cx: &mut TaskContext<'_>,
    ) -> Result<bool, Dropped> {
        let has_more = self.write_messages(conversation, clock, cx)?;
        // Before the wait, which reads further only if the function has taken what there is.
        let needs_more = self.give_chunks(conversation, clock)?;
        let waited = self.poll_wait_for_peer(conversation, clock, cx);
        if self.ahead.has_ended() || self.frames.has_ended() {
            conversation.close();
        }
        if let Poll::Ready(dropped) = waited {
            return Err(dropped);
        }
        if self.must_wait_for_credit() && self.wake_if_credited(conversation, cx)? {
            return Ok(false);
        }
        // If the read-ahead buffer was full, the wait did not poll the socket, so nothing wakes this task for more bytes. For
        // a function that has dropped its wait, nothing more is read.
        let has_room = self.ahead.demand().is_some() && self.ahead.is_full();
        // Gives what the wait has read.
        if needs_more && !self.give_chunks(conversation, clock)? {
            // The function is woken, and runs before the next transfer.
            return Ok(false);
        }
        // Last, because the chunks before the notice are taken first.
        if self.is_cancelled(conversation)? {
            return Err(Dropped::Rejected(cancelled()));
        }
        Ok(has_room || has_more && self.write.is_empty())
    }

    /// Frames the items of the function and the events that wait. Returns `true` if there may be more.
    fn write_messages(
        &mut self,
        conversation: &Conversation,
        clock: &mut Stopwatch,
        cx: &TaskContext<'_>,
    ) -> Result<bool, Dropped> {
        // Items stay staged while the peer does not read.
        let mut has_more = self.io.is_stalled();
        if !has_more && self.write_items(conversation)? {
            // `request_timeout` is for each item.
            clock.stop();
        }
        if let Some(queue) = conversation.pushes() {
            has_more |= self.responder().write_events(queue, Some(cx))?;
        }
        Ok(has_more)
    }

    /// Frames the items that the function has left. Returns `true` if there were some.
    #[cold]
    pub(super) fn write_items(&mut self, conversation: &Conversation) -> Result<bool, Dropped> {
        let written = self.responder().write_items(conversation);
        written.map_err(|error| {
            let log_limiter = self.io.registration.log_limiter();
            Dropped::Rejected(unsendable::<P::Framing>(log_limiter, ITEM, error))
        })
    }

    /// Waits for a function, which may wait for a chunk of its request, or for credit for its items. What has arrived at the
    /// end of its time counts, although this task runs late.
    #[cold]
    fn poll_wait_for_peer(
        &mut self,
        conversation: &Conversation,
        clock: &mut Stopwatch,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Dropped> {
        let is_silent = self.ahead.demand() == Some(0) && self.ahead.len() == 0;
        let limit = if is_silent {
            self.io.idle_limit
        } else {
            frame_limit(self.io.registration.limits(), self.ahead.len())
        };
        let chunk_deadline = if self.ahead.demand().is_some() {
            self.io.start_frame(limit)
        } else {
            Deadline::NEVER
        };
        let credit_deadline = self.credit_deadline(conversation, clock);
        let interrupt = ready!(self.poll_io(clock, chunk_deadline.min(credit_deadline), cx));
        let has_credit = matches!(interrupt, Interrupt::TimedOut | Interrupt::CutFrame)
            && self.must_wait_for_credit()
            && matches!(self.wake_if_credited(conversation, cx), Ok(true));
        if has_credit {
            return Poll::Pending;
        }
        Poll::Ready(match interrupt {
            Interrupt::CutFrame if self.io.registration.has_passed(credit_deadline) => {
                Dropped::Rejected(no_credit(&self.shared.limits))
            }
            Interrupt::CutFrame if is_silent && self.ahead.len() > 0 => {
                // The chunk has begun in time, and has a time of its own.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Interrupt::CutFrame if is_silent => Dropped::Closing(no_chunk(limit), IN_CHUNK),
            Interrupt::CutFrame if matches!(self.give_chunks(conversation, clock), Ok(false)) => {
                return Poll::Pending;
            }
            other => self.dropped(other),
        })
    }
}
