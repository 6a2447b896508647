//! The I/O of a connection, and every wait: for a request, for a function, and for the peer to read or to close.
//!
//! Only this module accesses the stream. A wait transfers bytes before it checks its deadline, so that bytes that arrived in
//! time count even if the task runs late. Deadlines are on the coarse clock of the registry, which also wakes the task; see
//! [`Registration::poll_deadline`].

mod closing;
#[cfg(test)]
mod models;

use std::{
    future::poll_fn,
    io,
    mem::replace,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    budget::Budget,
    clocks::{CONTENDED, Clocks, DRAINED_FRAME, frame_limit, memory_limit},
    end::{End, Interrupt},
    rejections::{draining, evicted, idle, late_frame, memory_in_use, out_of_memory},
};
use crate::{
    Peer, Rejection, RejectionKind,
    buffer::{
        Arrival, BufferSlot, Buffers, OverBudget, ReadAhead, ReadBuffer, ReadError, WriteBuffer,
    },
    protocol::ServerProtocol,
    response::Returned,
    server::{
        addresses::{AddressConnection, AddressRequest},
        handshakes::perform_handshakes,
        log_limiter::log_limited,
        metrics::NEEDS_ARRIVALS,
        registry::{AbortReason, Registration},
        shared::Shared,
        tally::Unsent,
        time::{ClockTime, Deadline, Limit},
    },
    transport::{DynHandshake, StartedTls, Stream},
};

/// The stream of a connection, with what its waits need: the clocks, the budget of a poll, and the entry in the registry.
pub(super) struct Io {
    stream: Stream,
    /// Which code runs, for the guard that catches panics.
    pub(super) running: Running,
    /// Whether a half-close ends the connection while a function waits.
    ends_at_half_close: bool,
    budget: Budget,
    /// `idle_timeout`, unless the connection has its own limit.
    pub(super) idle_limit: Limit,
    clocks: Clocks,
    /// The responses in the write buffer, including those without bytes. A response counts once it is sent.
    pub(super) unsent: Unsent,
    /// The usage of the peer's address, which counts this connection.
    usage: Option<AddressConnection>,
    /// The entry in the registry. After the stream, so that the connection counts as ended only when its socket is closed.
    pub(super) registration: Registration,
    /// Released last, however the connection ends, but at once if the connection is evicted.
    permit: Option<OwnedSemaphorePermit>,
}

/// Which code runs. When a panic is caught, this code has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// The function of a request in sequence, or the framing.
    Sequential,
    /// The framing. The panics of functions that run concurrently are caught one by one.
    Concurrent,
    Stream,
    /// A function that is dropped because the connection ends. Its drop may panic, which is not answered.
    LastFunction,
    /// A function that has taken the stream over.
    Upgrade,
}

impl Io {
    pub(super) fn new<P: ServerProtocol>(
        stream: Stream,
        usage: Option<AddressConnection>,
        registration: Registration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            stream,
            running: Running::Sequential,
            ends_at_half_close: P::ENDS_AT_HALF_CLOSE,
            budget: Budget::new(),
            idle_limit: registration.limits().idle_timeout,
            clocks: Clocks::default(),
            unsent: Unsent::default(),
            usage,
            registration,
            permit,
        }
    }

    /// Returns the time for a wait that begins now.
    #[inline]
    pub(super) fn now(&self) -> ClockTime {
        self.registration.now()
    }

    /// Returns `true` if a deadline has passed.
    #[inline]
    pub(super) fn has_passed(&self, deadline: Deadline) -> bool {
        self.registration.has_passed(deadline)
    }

    /// Returns `true` if the task must yield before it takes another frame or polls another function; see [`Budget`].
    /// `has_more` returns `true` if there may be one.
    #[inline]
    pub(super) fn must_yield(&mut self, has_more: impl FnOnce() -> bool) -> bool {
        self.budget.is_due()
            && has_more()
            && self
                .budget
                .check_clock(self.registration.limits().poll_nanos)
    }

    /// Counts a frame that was taken, or a function that is polled beside others. `has_more` returns `true` if there may be
    /// another.
    #[inline]
    pub(super) fn count_frame(&mut self, has_more: impl FnOnce() -> bool) {
        self.budget.count(has_more);
    }

    /// Counts a received request. If the server limits requests, [`begin_request`](Self::begin_request) follows.
    #[inline]
    pub(super) fn count_request(&self) {
        self.registration.tally().count_received();
    }

    /// Begins a request, unless it has waited too long or exceeds a limit of its address. Dropping the result ends the
    /// request. Closes the listener of a once server.
    #[cold]
    pub(super) fn begin_request<P: ServerProtocol>(
        &self,
        shared: &Shared<P>,
        arrival: Arrival,
    ) -> Result<Option<AddressRequest>, Rejection> {
        // Even if the request is rejected: a once server has had its request.
        shared.close_if_once();
        if let Some(probe) = self.registration.probe() {
            probe.check(arrival.time, Instant::now())?;
        }
        let usage = self.usage.as_ref();
        usage
            .map(|usage| usage.begin_request(&shared.limits))
            .transpose()
    }

    /// Counts an ordinary reply. The next flush sends it.
    #[inline]
    pub(super) fn count_reply(&mut self) {
        self.unsent.served += 1;
    }

    /// Counts an invalid frame as a request. Closes the listeners of a once server.
    pub(super) fn count_unreadable<P: ServerProtocol>(&self, shared: &Shared<P>) {
        self.count_request();
        shared.close_if_once();
    }

    /// Starts the idle clock after a frame that is not a request.
    pub(super) fn start_idle(&mut self) {
        let received = self.registration.tally().received();
        self.clocks.start_idle(self.now(), received);
    }

    /// Polls the stream, and records that its code runs.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `poll_flush_in_time`")]
    fn poll_stream<T>(&mut self, poll: impl FnOnce(&mut Stream) -> Poll<T>) -> Poll<T> {
        let before = replace(&mut self.running, Running::Stream);
        let polled = poll(&mut self.stream);
        self.running = before;
        polled
    }

    /// Returns `true` if the peer does not read what was sent.
    pub(super) const fn is_stalled(&self) -> bool {
        self.clocks.stall.is_some()
    }

    /// Starts the clock of `half_close_timeout`, unless it runs.
    pub(super) fn start_half_close(&mut self) {
        let now = self.now();
        self.clocks.half_close.get_or_insert(now);
    }

    /// Waits for input: flushes the write buffer, then reads once. Releases the buffers while it waits.
    ///
    /// Keeps what was transferred: bytes that arrived are in the read buffer.
    #[inline]
    pub(super) fn poll_input(
        &mut self,
        slot: &mut BufferSlot,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupt>> {
        let wait = self.poll_flush_and_read(slot.checkout(), cx);
        if wait.is_pending() {
            slot.release();
        }
        wait
    }

    /// Flushes the write buffer, then reads once.
    ///
    /// Out of line, so that `poll_input` is small enough for the task of the connection.
    #[inline(never)]
    fn poll_flush_and_read(
        &mut self,
        Buffers { read, ahead, write }: &mut Buffers,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupt>> {
        // Before the flush, which can wait and then moves the rest of the buffer.
        if read.has_consumed() {
            self.clocks.frame = None;
        }
        // Replies without bytes (`Response::NoReply`) are counted by a flush as well.
        if !write.is_empty() || self.unsent.sum() > 0 {
            ready!(self.poll_flush_in_time(write, cx))?;
        }
        self.poll_read(read, ahead, cx)
    }

    /// Flushes the write buffer, and counts its responses as sent.
    ///
    /// Returns an error if the peer does not read in time. Keeps what was transferred: no byte is sent twice.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves 1 % of a lone request")]
    pub(super) fn poll_flush_in_time(
        &mut self,
        write: &mut WriteBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        match self.poll_flush(write, cx) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(End::Error)),
            Poll::Pending => self.poll_stalled(write, cx),
        }
    }

    /// Flushes the write buffer without a time limit, and counts its responses as sent.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `poll_flush_in_time`")]
    fn poll_flush(
        &mut self,
        write: &mut WriteBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let before = write.sent();
        let flushed = self.poll_stream(|stream| write.poll_flush(cx, stream));
        let registration = &self.registration;
        let Poll::Ready(Ok(sent)) = flushed else {
            // Some bytes may have been sent before an error.
            registration.tally().count_bytes_sent(write.sent() - before);
            return flushed.map_ok(drop);
        };
        registration.tally().count_bytes_sent(sent - before);
        self.clocks.count_sent(sent, || registration.now());
        registration.tally().count_sent(&mut self.unsent);
        self.clocks.stall = None;
        Poll::Ready(Ok(()))
    }

    /// Waits until the peer reads, at most until the deadline of `write_timeout`.
    #[cold]
    fn poll_stalled(&mut self, write: &mut WriteBuffer, cx: &Context<'_>) -> Poll<Result<(), End>> {
        let deadline = self.start_stall(write)?;
        ready!(self.poll_deadline(deadline, cx))?;
        Poll::Ready(Err(End::Stalled))
    }

    /// Starts the clock of `write_timeout`, unless it runs. Returns when the peer must have read the write buffer.
    fn start_stall(&mut self, write: &mut WriteBuffer) -> Result<Deadline, End> {
        let mut limit = self.registration.limits().write_timeout;
        let reserved = write.reserve(self.registration.memory());
        reserved.map_err(|OverBudget| End::StalledOverBudget)?;
        if write.is_overdrawn() {
            limit = limit.min(CONTENDED);
        }
        self.clocks
            .start_stall(self.registration.now(), write.sent());
        Ok(self.clocks.stall_deadline(limit, write.sent()))
    }

    /// Reads once.
    // Called once, or the compiler no longer inlines it, which costs 60 instructions of a request.
    #[inline]
    fn poll_read(
        &mut self,
        read: &mut ReadBuffer,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupt>> {
        // Before each read, because a peer may send without end.
        if self.registration.must_close() {
            let is_idle = !read.has_started() && ahead.is_unused();
            self.check_closing(read, is_idle)?;
        }
        // Reads before it looks at the deadline: bytes that arrived in time count even if this task is
        // late.
        match self.poll_stream(|stream| read.poll_read(ahead, cx, stream)) {
            Poll::Ready(Ok(bytes)) => {
                self.registration.tally().count_bytes_received(bytes);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(match error {
                ReadError::NeedsMemory => Interrupt::NeedsMemory,
                ReadError::OutOfMemory => out_of_memory(),
                ReadError::Io(error) => End::Error(error).into(),
            })),
            Poll::Pending => self.poll_read_deadline(read, cx).map(Err),
        }
    }

    /// Ends the wait of a connection that must close. In a drain, an incomplete frame has [`DRAINED_FRAME`] to arrive.
    #[cold]
    fn check_closing(&mut self, read: &ReadBuffer, is_idle: bool) -> Result<(), Interrupt> {
        let received = self.registration.tally().received();
        // The connection goes on if it has received a request since it was chosen.
        if self.registration.take_eviction() && is_idle && self.clocks.is_idle(received) {
            // The new connection need not wait until the peer has read the rejection.
            self.permit = None;
            return Err(evicted());
        }
        if !self.registration.is_draining() {
            return Ok(());
        }
        let now = self.now();
        self.clocks.drain.get_or_insert(now);
        let deadline = Deadline::after(self.clocks.drain, DRAINED_FRAME);
        if is_idle || self.has_passed(deadline) {
            return Err(draining(read, self.registration.is_retired()));
        }
        Ok(())
    }

    /// Ready when the connection must stop waiting for bytes.
    #[inline]
    fn poll_read_deadline(&mut self, read: &ReadBuffer, cx: &Context<'_>) -> Poll<Interrupt> {
        let now = self.now();
        let received = self.registration.tally().received();
        let mut memory_deadline = Deadline::NEVER;
        let mut idle_since = None;
        let request_deadline = if read.has_started() {
            // First, because a connection that begins to wait for this memory wakes the registered tasks.
            self.registration.register_task(cx);
            memory_deadline = self.memory_deadline(read, now);
            let limits = self.registration.limits();
            self.clocks
                .frame_deadline(limits, self.idle_limit, read, now, received)
        } else {
            let began = self.clocks.start_idle(now, received);
            idle_since = Some(began);
            Deadline::after(began, self.idle_limit)
        };
        let mut deadline = request_deadline.min(memory_deadline);
        let is_draining = self.clocks.drain.is_some();
        if is_draining {
            deadline = deadline.min(Deadline::after(self.clocks.drain, DRAINED_FRAME));
        }
        let woken = self.poll_deadline(deadline, cx);
        if let Some(began) = idle_since {
            self.registration.set_idle_since(began);
        }
        if woken.is_pending() && !is_draining && self.registration.must_close() {
            // The signal came after the check in `poll_read`, and before the waker was set.
            cx.waker().wake_by_ref();
        }
        woken.map(|woken| match woken {
            Ok(()) if deadline == memory_deadline => memory_in_use(),
            Ok(()) if deadline < request_deadline => draining(read, self.registration.is_retired()),
            Ok(()) if read.has_started() => {
                Interrupt::Rejected(late_frame(self.registration.limits(), read))
            }
            Ok(()) => Interrupt::Rejected(idle(self.idle_limit)),
            // An idle peer gets an answer, even if the server ended after that check.
            Err(_) if !read.has_started() => draining(read, self.registration.is_retired()),
            Err(reason) => End::from(reason).into(),
        })
    }

    /// Returns when the incomplete frame in `read` must have arrived because other connections wait for its memory.
    #[cold]
    fn memory_deadline(&mut self, read: &ReadBuffer, now: ClockTime) -> Deadline {
        if self.clocks.frame.is_none() {
            // The last wait was for another frame.
            self.clocks.memory = None;
        }
        if read.is_contended(self.registration.memory()) {
            self.clocks.memory.get_or_insert(now);
            let limit = memory_limit(read.arrived_of_frame());
            return Deadline::after(self.clocks.memory, limit);
        }
        self.clocks.memory = None;
        Deadline::NEVER
    }

    /// Returns the deadline of the incomplete frame in `read`, if there is one, while functions run.
    pub(super) fn frame_deadline(&mut self, read: &ReadBuffer) -> Deadline {
        if !read.has_started() || read.is_skipping() {
            return Deadline::NEVER;
        }
        let now = self.now();
        let contended = self.memory_deadline(read, now);
        let limit = frame_limit(self.registration.limits(), read.unread_len());
        contended.min(self.start_frame(limit))
    }

    /// Stops the clock of a frame that was taken.
    pub(super) const fn end_frame(&mut self) {
        self.clocks.frame = None;
    }

    /// Starts the clock of a frame, unless it runs. Returns the end of `limit`.
    pub(super) fn start_frame(&mut self, limit: Limit) -> Deadline {
        let now = self.now();
        let began = *self.clocks.frame.get_or_insert(now);
        Deadline::after(began, limit)
    }

    /// Ready when the connection must stop waiting for memory for the rest of a frame. The limits are those for its bytes.
    pub(super) fn poll_memory_deadline(
        &mut self,
        read: &ReadBuffer,
        cx: &Context<'_>,
    ) -> Poll<Interrupt> {
        // As before a read. This check also starts the clock of the drain: until it runs, the wait below wakes itself.
        if self.registration.must_close()
            && let Err(interrupt) = self.check_closing(read, false)
        {
            return Poll::Ready(interrupt);
        }
        let interrupted = self.poll_read_deadline(read, cx);
        interrupted.map(|interrupt| match interrupt {
            // The time has passed without memory, so the memory is the reason.
            Interrupt::Rejected(late) if late.kind() == RejectionKind::Idle => memory_in_use(),
            interrupt => interrupt,
        })
    }

    /// Waits while functions wait: flushes earlier replies, and reads ahead to notice a peer that leaves. Ready when
    /// `deadline` or [`half_close_deadline`](Self::half_close_deadline) has passed, or with an error when the connection ends.
    ///
    /// Keeps what was transferred in both directions.
    pub(super) fn poll_while_functions_wait(
        &mut self,
        deadline: Deadline,
        ahead: &mut ReadAhead,
        write: &mut WriteBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        let write_deadline = self.transfer(ahead, write, cx)?;
        let deadline = deadline.min(self.half_close_deadline());
        ready!(self.poll_deadline(deadline.min(write_deadline), cx))?;
        // First, because the peer may still read the write buffer and the response to this deadline.
        if self.has_passed(deadline) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(End::Stalled))
    }

    /// Returns the end of `half_close_timeout`, if the peer has closed its sending half.
    pub(super) fn half_close_deadline(&self) -> Deadline {
        let limit = self.registration.limits().half_close_timeout;
        Deadline::after(self.clocks.half_close, limit)
    }

    /// Flushes and reads ahead. Returns when the peer must have read the rest of the write buffer.
    fn transfer(
        &mut self,
        ahead: &mut ReadAhead,
        write: &mut WriteBuffer,
        cx: &mut Context<'_>,
    ) -> Result<Deadline, End> {
        let stalled = match self.poll_flush(write, cx) {
            Poll::Ready(sent) => {
                sent.map_err(End::Error)?;
                write.release_large();
                Deadline::NEVER
            }
            Poll::Pending => self.start_stall(write)?,
        };
        match self.poll_ahead(ahead, cx) {
            Poll::Ready(Err(error)) => return Err(End::Error(error)),
            Poll::Ready(Ok(())) if self.ends_at_half_close => return Err(End::HalfClosed),
            Poll::Ready(Ok(())) => self.start_half_close(),
            Poll::Pending => {}
        }
        Ok(stalled)
    }

    /// Reads ahead. Records the time if a limit or the metrics need it.
    fn poll_ahead(&mut self, ahead: &mut ReadAhead, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = ahead.len();
        let read = self.poll_stream(|stream| ahead.poll_read(cx, stream));
        if ahead.len() > before {
            let tally = self.registration.tally();
            tally.count_bytes_received(ahead.len() - before);
            if NEEDS_ARRIVALS || self.registration.probe().is_some() {
                ahead.record_read(Instant::now());
            }
        }
        read
    }

    /// Begins a new poll after a yield. Returns an error if the peer is gone, or the server ends at once.
    pub(super) fn resume(
        &mut self,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        self.budget.restart();
        if self.registration.is_aborted() {
            return Err(self.registration.abort_reason().into());
        }
        // The next wait handles a half-close: requests that arrived before it are processed.
        if let Poll::Ready(Err(error)) = self.poll_ahead(ahead, cx) {
            return Err(End::Error(error));
        }
        Ok(())
    }

    /// Flushes the write buffer, drops what was read, and performs the handshakes.
    pub(super) async fn start_tls(
        &mut self,
        slot: &mut BufferSlot,
        handshakes: &[Arc<dyn DynHandshake>],
        peer: &mut Peer,
    ) -> Result<(), End> {
        poll_fn(|cx| self.poll_flush_in_time(&mut slot.checkout().write, cx)).await?;
        let dropped = slot.clear_received();
        if dropped > 0 {
            // An attacker who can change plain text could inject requests before TLS
            // (CVE-2011-0411).
            let limiter = self.registration.log_limiter();
            log_limited!(limiter, info, { bytes = dropped, }, "what came before TLS is dropped");
        }
        self.clocks.frame = None;
        let shaking =
            perform_handshakes(&mut self.stream, peer, handshakes, &mut self.registration);
        if shaking.await {
            peer.insert(StartedTls);
            Ok(())
        } else {
            Err(End::TlsFailed)
        }
    }

    /// Takes the stream, for a function that takes the connection over.
    pub(super) fn hand_over(&mut self) -> Stream {
        self.running = Running::Upgrade;
        self.stream.take()
    }

    /// Puts back the stream that a function had.
    pub(super) fn take_back(&mut self, Returned { stream, totals }: Returned) {
        self.running = Running::Sequential;
        self.stream = stream;
        let tally = self.registration.tally();
        tally.count_bytes_received(totals.received);
        tally.count_bytes_sent(totals.sent);
    }

    /// Waits for a future without a limit, unless the server ends at once.
    pub(super) async fn unless_aborted<F: Future + Unpin>(
        &mut self,
        mut future: F,
    ) -> Result<F::Output, End> {
        poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => {
                let woken = self.poll_deadline(Deadline::NEVER, cx);
                woken.map(|_| Err(self.registration.abort_reason().into()))
            }
        })
        .await
    }

    /// Ready when the connection must stop waiting; see [`Registration::poll_deadline`]. The next poll has a new
    /// budget.
    #[inline]
    fn poll_deadline(
        &mut self,
        deadline: Deadline,
        cx: &Context<'_>,
    ) -> Poll<Result<(), AbortReason>> {
        self.budget.restart();
        self.registration.poll_deadline(deadline, cx)
    }
}
