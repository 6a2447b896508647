//! Waits for a function. Meanwhile, sends its items and events, and gives it the chunks and blocks that it waits for.

use std::task::{Context as TaskContext, Poll, ready};

use tokio::time::Instant;

use super::{
    super::{
        clocks::frame_limit,
        end::Interrupt,
        io::Running,
        outgoing::EVENT_BATCHES,
        rejections::{
            AFTER_HALF_CLOSE, IN_CHUNK, ITEM, cancelled, half_closed, late_chunk, no_chunk,
            no_credit, timed_out,
        },
    },
    SequentialDriver,
};
use crate::{
    conversation::Conversation,
    protocol::ServerProtocol,
    runtime::wake_after_others,
    server::time::{ClockTime, Deadline, Limit},
};

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Sends and receives while a function waits. Ready when the function must be dropped. `deadline` is what its calls inherit.
    #[inline]
    pub(super) fn poll_connection(
        &mut self,
        clock: &mut Option<ClockTime>,
        deadline: &mut Option<Instant>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Interrupt> {
        let interrupt = ready!(if let Some(conversation) = self.info.open_conversation() {
            let before = *clock;
            let polled = self.poll_streams(conversation, clock, cx);
            if before.is_some() && *clock != before {
                // For the next item or chunk.
                *deadline = self.shared.limits.request_deadline();
            }
            polled
        } else {
            let request_deadline = self.request_deadline(clock);
            self.poll_io(request_deadline, cx)
                .map(|waited| waited.err().unwrap_or_else(|| self.timed_out()))
        });
        if !matches!(interrupt, Interrupt::Rejected(_)) {
            self.io.running = Running::LastFunction;
        }
        Poll::Ready(interrupt)
    }

    /// Starts the clock of a function, unless it runs. Returns when the function must have returned.
    #[inline]
    fn request_deadline(&self, clock: &mut Option<ClockTime>) -> Deadline {
        let began = *clock.get_or_insert(self.io.now());
        Deadline::after(began, self.shared.limits.request_timeout)
    }

    #[cold]
    fn timed_out(&self) -> Interrupt {
        Interrupt::Rejected(timed_out(&self.shared.limits))
    }

    /// Waits for a function until a deadline. Returns an error if the connection closes before.
    #[inline]
    fn poll_io(
        &mut self,
        deadline: Deadline,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Interrupt>> {
        let Self { io, write, .. } = self;
        let waited = io.poll_while_functions_wait(deadline, self.ahead, write, cx)?;
        if self.ahead.is_large() && self.ahead.reserve(io.registration.memory()).is_err() {
            return Poll::Ready(Err(Interrupt::NeedsMemory));
        }
        ready!(waited);
        if io.has_passed(io.half_close_deadline()) {
            let rejection = half_closed(&self.shared.limits);
            return Poll::Ready(Err(Interrupt::Closing(Box::new((
                rejection,
                AFTER_HALF_CLOSE,
            )))));
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for a function, and meanwhile sends its items and events, and gives it the chunks that it waits for.
    #[cold]
    fn poll_streams(
        &mut self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Interrupt> {
        for _ in 0..EVENT_BATCHES {
            match self.transfer_streams(conversation, clock, cx) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(interrupt) => return Poll::Ready(interrupt),
            }
        }
        // A peer that always has more must not starve other tasks.
        wake_after_others(cx);
        Poll::Pending
    }

    /// Transfers once in both directions. Returns `true` if there may be more.
    ///
    /// `false` loses no wakeup. Either the function was woken, or each of these wakes the task: the socket and the deadline
    /// (the wait was `Pending`), the queue of events (`write_events` has the waker), and the function itself, for items
    /// and for what it receives.
    fn transfer_streams(
        &mut self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
        cx: &mut TaskContext<'_>,
    ) -> Result<bool, Interrupt> {
        let has_more = self.write_messages(conversation, clock, cx)?;
        // Before the wait, which reads further only if the function has taken what there is.
        let needs_more = self.give_chunks(conversation, clock)?;
        let waited = self.wait_for_peer(conversation, clock, cx);
        if self.ahead.has_ended() || self.frames.has_ended() {
            conversation.close();
        }
        waited?;
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
            return Err(Interrupt::Rejected(cancelled()));
        }
        Ok(has_room || has_more && self.write.is_empty())
    }

    /// Frames the items of the function and the events that wait. Returns `true` if there may be more.
    fn write_messages(
        &mut self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
        cx: &TaskContext<'_>,
    ) -> Result<bool, Interrupt> {
        // Items stay staged while the peer does not read.
        let mut has_more = self.io.is_stalled();
        if !has_more && self.write_items(conversation)? {
            // `request_timeout` is for each item.
            *clock = None;
        }
        if let Some(queue) = conversation.pushes() {
            has_more |= self.responder().write_events(queue, Some(cx))?;
        }
        Ok(has_more)
    }

    /// Frames the items that the function has left. Returns `true` if there were some.
    #[cold]
    pub(super) fn write_items(&mut self, conversation: &Conversation) -> Result<bool, Interrupt> {
        let written = self.responder().write_items(conversation);
        written.map_err(|error| Interrupt::Rejected(self.responder().unsendable(ITEM, error)))
    }

    /// Waits for a function, which may wait for a chunk of its request, or for credit for its items. Returns an error if the
    /// function must be dropped. What has arrived at the end of its time counts, although this task runs late.
    #[cold]
    fn wait_for_peer(
        &mut self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), Interrupt> {
        let is_silent = self.ahead.demand() == Some(0) && self.ahead.len() == 0;
        let limit = if is_silent {
            self.io.idle_limit
        } else {
            self.chunk_limit()
        };
        let chunk_deadline = if self.ahead.demand().is_some() {
            self.io.start_frame(limit)
        } else {
            Deadline::NEVER
        };
        let credit_deadline = self.credit_deadline(conversation, clock);
        let request_deadline = self.request_deadline(clock);
        let deadline = request_deadline.min(chunk_deadline).min(credit_deadline);
        let Poll::Ready(waited) = self.poll_io(deadline, cx) else {
            return Ok(());
        };
        waited?;
        if self.must_wait_for_credit()
            && matches!(self.wake_if_credited(conversation, cx), Ok(true))
        {
            return Ok(());
        }
        if self.io.has_passed(request_deadline) {
            return Err(self.timed_out());
        }
        if self.io.has_passed(credit_deadline) {
            return Err(Interrupt::Rejected(no_credit(&self.shared.limits)));
        }
        if !is_silent {
            // The rest of the chunk may have arrived.
            if !self.give_chunks(conversation, clock)? {
                return Ok(());
            }
            let late = (late_chunk(self.chunk_limit()), IN_CHUNK);
            return Err(Interrupt::Closing(Box::new(late)));
        }
        if self.ahead.len() > 0 {
            // The chunk has begun in time, and has a time of its own.
            cx.waker().wake_by_ref();
            return Ok(());
        }
        Err(Interrupt::Closing(Box::new((no_chunk(limit), IN_CHUNK))))
    }

    /// Returns how long the chunk may take whose beginning was read ahead.
    fn chunk_limit(&self) -> Limit {
        frame_limit(&self.shared.limits, self.ahead.len())
    }
}
