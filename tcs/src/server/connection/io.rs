//! Waits for a request, for the peer to read, for a function, and for the peer to close.
//!
//! Only this module touches the stream. Each wait has a deadline; see [`Registration::poll_stop`].

use std::{
    fmt,
    future::poll_fn,
    io,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{coop, yield_now},
};

use super::{
    super::{
        config::{Limit, Limits},
        registry::{Deadline, Registration, Stop, Time},
        report::{Tally, Unsent},
    },
    budget::Budget,
};
use crate::{
    buffer::{BufferSlot, Buffers, ReadAhead, ReadBuffer, WriteBuffer},
    runtime::wake_after_others,
};

/// The stream of a connection, the clocks of its waits, and the budget of its polls.
pub(super) struct Io<S> {
    stream: S,
    close: CloseKind,
    /// Whether a half-close ends the connection while a function waits.
    ends_at_half_close: bool,
    /// Whether the connection ends with the function that waited. This is noted before that function is
    /// dropped, because its drop may panic.
    pub(super) is_over: bool,
    budget: Budget,
    /// When the current wait began: for a request, for the rest of one, or for the peer to close.
    wait_began: Option<Time>,
    /// When this connection noticed that the server drains.
    drain_began: Option<Time>,
    /// When the current function first returned `Pending`.
    function_began: Option<Time>,
    /// When the peer closed its sending half while a function waited. Never reset: all further functions
    /// share the time of `half_close_timeout`.
    half_close_began: Option<Time>,
    stall: Option<Stall>,
    /// When more than [`LARGE_FLUSH`] bytes were last sent at once.
    large_flush: Option<Time>,
    /// After the stream, so that the connection counts as ended only when its socket is closed.
    registration: Registration,
}

/// How to close a stream whose peer has already half-closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum CloseKind {
    /// Dropping it is enough, as with TCP.
    Drop,
    /// It may have a closing message of its own.
    Shutdown,
}

/// A peer that reads more slowly than replies are written.
#[derive(Clone, Copy, Debug)]
struct Stall {
    began: Time,
    /// How many bytes of the write buffer were sent at that time.
    sent: usize,
}

/// Why a connection is dropped without sending what is left.
#[derive(Debug)]
pub(super) enum Gone {
    /// The transport reported an error, such as a reset.
    Error(io::Error),
    /// The peer did not read fast enough.
    Stalled,
    /// The peer closed its sending half, which ends the connection.
    HalfClosed,
    /// The server ends at once.
    Aborted,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Stalled => f.write_str("the peer does not read (`write_timeout`)"),
            Self::HalfClosed => f.write_str("the peer has closed its sending half"),
            Self::Aborted => f.write_str("the server ended"),
        }
    }
}

/// How the wait for a request ended: bytes have arrived, or the end of the input (`Continue`), or the
/// connection stops waiting (`Break`).
type Wait = Result<ControlFlow<WaitEnd>, Gone>;

/// Why a connection stops waiting for a request, or for the rest of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// `idle_timeout` is over, or the [`frame_limit`] of a started frame.
    TimedOut,
    /// The server drains. No frame has started, or it was not complete in time.
    Draining,
    /// There is no memory for the rest of a frame.
    OutOfMemory,
}

/// Why a waiting function is dropped although its peer can still be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// `request_timeout` is over.
    TimedOut,
    /// `half_close_timeout` is over.
    HalfClosed,
    /// The server ends at once.
    Aborted,
}

/// How long a started frame may take to complete once a drain has begun.
const DRAINED_FRAME: Limit = Limit::of(1);
/// A deadline moves by a second for each of this many bytes of a frame that arrive, or of replies that
/// the peer takes.
///
/// If the clock restarted with each byte instead, a peer that transfers a byte now and then could hold its
/// connection forever.
const BYTES_PER_SECOND: usize = 64 * 1024;

/// How many reads of a closing connection are discarded within one poll.
const LINGER_READS: usize = 16;

/// A larger flush may still be in the operating system's send queue when the connection is idle. This much
/// fits into an initial congestion window (RFC 6928).
const LARGE_FLUSH: usize = 14_600;

impl<S> Io<S> {
    pub(super) fn new(
        stream: S,
        close: CloseKind,
        ends_at_half_close: bool,
        registration: Registration,
    ) -> Self {
        Self {
            stream,
            close,
            ends_at_half_close,
            is_over: false,
            budget: Budget::new(),
            wait_began: None,
            drain_began: None,
            function_began: None,
            half_close_began: None,
            stall: None,
            large_flush: None,
            registration,
        }
    }

    /// Returns `true` if the task must yield before it takes another frame; see [`Budget`]. `has_more`
    /// tells whether there may be one.
    #[inline]
    pub(super) fn must_yield(&mut self, has_more: impl FnOnce() -> bool) -> bool {
        self.budget.is_due()
            && has_more()
            && self
                .budget
                .check_clock(self.registration.limits().poll_nanos)
    }

    /// Counts a frame that was taken. `has_more` tells whether there may be another.
    #[inline]
    pub(super) fn count_frame(&mut self, has_more: impl FnOnce() -> bool) {
        self.budget.count(has_more);
    }

    /// Returns the counters of the connection's requests.
    #[inline]
    pub(super) fn tally(&self) -> &Tally {
        self.registration.tally()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    /// Flushes the write buffer, then reads once. Releases the buffers while it waits.
    ///
    /// Keeps what was transferred: bytes that arrived are in the read buffer.
    #[inline]
    pub(super) fn poll_wakeup(
        &mut self,
        slot: &mut BufferSlot,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Wait> {
        let wait = self.poll_flush_and_read(slot.checkout(), unsent, cx);
        if wait.is_pending() {
            slot.release();
        }
        wait
    }

    /// Flushes the write buffer, then reads once.
    ///
    /// Out of line, so that `poll_wakeup` is small enough for the task of the connection.
    #[inline(never)]
    fn poll_flush_and_read(
        &mut self,
        Buffers { read, ahead, write }: &mut Buffers,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Wait> {
        // Before the flush, which can wait and then moves what is left in the buffer.
        if read.has_consumed() {
            self.wait_began = None;
        }
        // Replies without bytes (`Response::NoReply`) are counted by a flush as well.
        if !write.is_empty() || unsent.sum() > 0 {
            ready!(self.poll_flush_in_time(write, unsent, cx))?;
        }
        self.poll_request_bytes(read, ahead, cx)
    }

    /// Flushes the write buffer, and counts its responses as sent.
    ///
    /// Gives the connection up if the peer does not read in time. Keeps what was transferred: what was sent is
    /// not sent again.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a hundredth of a lone request"
    )]
    pub(super) fn poll_flush_in_time(
        &mut self,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        match self.poll_flush(write, unsent, cx) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(Gone::Error)),
            Poll::Pending => self.poll_stalled(write, cx),
        }
    }

    /// Flushes the write buffer without a time limit, and counts its responses as sent.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `poll_flush_in_time`")]
    fn poll_flush(
        &mut self,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(write.poll_flush(cx, &mut self.stream))? > LARGE_FLUSH {
            self.large_flush = Some(self.registration.now());
        }
        self.registration.tally().count_sent(unsent);
        self.stall = None;
        Poll::Ready(Ok(()))
    }

    /// Waits for a peer that does not read.
    #[cold]
    fn poll_stalled(&mut self, write: &WriteBuffer, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        let deadline = self.stall_deadline(write);
        Poll::Ready(Err(match ready!(self.poll_stop(deadline, cx)) {
            Stop::Expired => Gone::Stalled,
            Stop::Aborted => Gone::Aborted,
        }))
    }

    /// Returns when the peer must have read the write buffer.
    fn stall_deadline(&mut self, write: &WriteBuffer) -> Deadline {
        let stall = *self.stall.get_or_insert(Stall {
            began: self.registration.now(),
            sent: write.sent(),
        });
        let earned = write.sent().saturating_sub(stall.sent) / BYTES_PER_SECOND;
        let limit = self.registration.limits().write.plus_seconds(earned as u64);
        self.registration.deadline(stall.began, limit)
    }

    /// Reads once.
    #[inline]
    fn poll_request_bytes(
        &mut self,
        read: &mut ReadBuffer,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Poll<Wait> {
        let has_started = read.has_started();
        if self.registration.is_draining() && self.drain_ends_wait(has_started || !ahead.is_empty())
        {
            return Poll::Ready(Ok(ControlFlow::Break(WaitEnd::Draining)));
        }
        // Reads before it looks at the deadline: bytes that arrived in time count even if this task is
        // late.
        match read.poll_read_after(ahead, cx, &mut self.stream) {
            Poll::Ready(Ok(())) => {
                // The wait for the first bytes of a frame is over.
                if !has_started {
                    self.wait_began = None;
                }
                Poll::Ready(Ok(ControlFlow::Continue(())))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                Poll::Ready(Ok(ControlFlow::Break(WaitEnd::OutOfMemory)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Gone::Error(error))),
            Poll::Pending => self.poll_wait(read, cx),
        }
    }

    /// Returns `true` if a draining server stops waiting: no frame has started, or its second is over.
    ///
    /// It is asked before each read, because a peer may never stop sending.
    #[cold]
    fn drain_ends_wait(&mut self, has_more: bool) -> bool {
        let deadline = self.drain_deadline();
        !has_more || self.registration.has_passed(deadline)
    }

    /// Returns when a frame that has started must be complete in a drain.
    fn drain_deadline(&mut self) -> Deadline {
        let began = *self.drain_began.get_or_insert(self.registration.now());
        self.registration.deadline(began, DRAINED_FRAME)
    }

    /// Waits for bytes that have not arrived.
    #[inline]
    fn poll_wait(&mut self, read: &ReadBuffer, cx: &Context<'_>) -> Poll<Wait> {
        let now = self.registration.now();
        let began = *self.wait_began.get_or_insert(now);
        let mut limit = self.registration.limits().idle;
        if read.has_started() {
            limit = frame_limit(self.registration.limits(), read);
        }
        let mut deadline = self.registration.deadline(began, limit);
        let mut end = WaitEnd::TimedOut;
        let is_draining = self.drain_began.is_some();
        if is_draining && self.drain_deadline() < deadline {
            (deadline, end) = (self.drain_deadline(), WaitEnd::Draining);
        }
        match self.poll_stop(deadline, cx) {
            Poll::Ready(Stop::Expired) => Poll::Ready(Ok(ControlFlow::Break(end))),
            Poll::Ready(Stop::Aborted) => Poll::Ready(Err(Gone::Aborted)),
            Poll::Pending => {
                // The server may have begun to drain between the check above and the setting of the waker.
                if !is_draining && self.registration.is_draining() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    /// Waits for a function: flushes earlier replies, reads ahead to notice a peer that leaves, and checks
    /// the deadlines.
    ///
    /// Keeps what was transferred in both directions.
    pub(super) fn poll_while_function_waits(
        &mut self,
        has_ended: bool,
        ahead: &mut ReadAhead,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Interrupt, Gone>> {
        let limits = *self.registration.limits();
        let now = self.registration.now();
        let began = *self.function_began.get_or_insert(now);
        let request_deadline = self.registration.deadline(began, limits.request);
        let mut half_close_deadline = None;
        let mut deadline = request_deadline;
        match self.poll_flush(write, unsent, cx) {
            Poll::Ready(sent) => {
                sent.map_err(Gone::Error)?;
                write.shrink();
            }
            Poll::Pending => deadline = deadline.min(self.stall_deadline(write)),
        }
        if self.read_ahead(ahead, cx)? || has_ended {
            let began = *self.half_close_began.get_or_insert(now);
            let its_deadline = self.registration.deadline(began, limits.half_close);
            deadline = deadline.min(its_deadline);
            half_close_deadline = Some(its_deadline);
        }
        let stop = ready!(self.poll_stop(deadline, cx));
        let has_passed = |deadline| self.registration.has_passed(deadline);
        Poll::Ready(match stop {
            Stop::Aborted => Ok(Interrupt::Aborted),
            Stop::Expired if has_passed(request_deadline) => Ok(Interrupt::TimedOut),
            Stop::Expired if half_close_deadline.is_some_and(has_passed) => {
                Ok(Interrupt::HalfClosed)
            }
            Stop::Expired => Err(Gone::Stalled),
        })
    }

    /// Reads ahead. Returns `true` if the input has ended, and an error if the peer is gone.
    fn read_ahead(&mut self, ahead: &mut ReadAhead, cx: &mut Context<'_>) -> Result<bool, Gone> {
        match ahead.poll_read(cx, &mut self.stream) {
            Poll::Ready(Err(error)) => Err(Gone::Error(error)),
            Poll::Ready(Ok(())) if self.ends_at_half_close => Err(Gone::HalfClosed),
            ended => Ok(ended.is_ready()),
        }
    }

    /// Begins a new poll after a yield. Returns an error if the peer is gone, or the server ends.
    pub(super) fn resume(
        &mut self,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Result<(), Gone> {
        self.budget.restart();
        if self.registration.is_aborted() {
            return Err(Gone::Aborted);
        }
        // A half-close is left to the next wait: what arrived before it is processed.
        match ahead.poll_read(cx, &mut self.stream) {
            Poll::Ready(Err(error)) => Err(Gone::Error(error)),
            _ => Ok(()),
        }
    }

    /// Resets the clock of the current function.
    #[inline]
    pub(super) fn function_ended(&mut self) {
        self.function_began = None;
    }

    /// Flushes the write buffer, and closes the stream so that the peer receives it. An idle connection is
    /// one that waited for a request.
    pub(super) async fn close(
        &mut self,
        slot: &mut BufferSlot,
        unsent: &mut Unsent,
        mut is_idle: bool,
    ) -> Result<(), Gone> {
        if is_idle {
            // Otherwise tokio may not know yet that a request has arrived. A socket that is closed with
            // unread bytes is reset, and the peer would lose what is sent here.
            yield_now().await;
        }
        poll_fn(|cx| self.poll_flush_in_time(&mut slot.checkout().write, unsent, cx)).await?;
        let has_ended = slot.checkout().read.has_ended();
        if has_ended && self.close == CloseKind::Drop {
            return Ok(());
        }
        self.wait_began = None;
        poll_fn(|cx| self.poll_shutdown(cx)).await;
        if !has_ended && !self.registration.limits().linger.is_zero() {
            self.wait_began = None;
            poll_fn(|cx| self.poll_linger(slot, &mut is_idle, cx)).await;
        }
        Ok(())
    }

    /// Tells the peer that this was all. An error says that it is gone.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
            return self.poll_limit(self.registration.limits().write, cx);
        }
        Poll::Ready(())
    }

    /// Waits until the peer closes. Does not wait if the connection was idle and nothing has arrived since.
    ///
    /// A socket that is closed with unread input is reset, which can destroy replies that the peer has
    /// not read yet (RFC 1122, section 4.2.2.13).
    fn poll_linger(
        &mut self,
        slot: &mut BufferSlot,
        is_idle: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let limit = self.registration.limits().linger;
        let is_delivered = self.large_flush.is_none_or(|flushed| {
            let deadline = self.registration.deadline(flushed, limit);
            self.registration.has_passed(deadline)
        });
        let Buffers { read, .. } = slot.checkout();
        for _ in 0..LINGER_READS {
            read.reset();
            match read.poll_read(cx, &mut self.stream) {
                Poll::Ready(Ok(())) if !read.has_ended() => *is_idle = false,
                Poll::Ready(_) => return Poll::Ready(()),
                // Nothing is unread, and the peer has what was sent before the connection was idle.
                Poll::Pending if *is_idle && is_delivered && coop::has_budget_remaining() => {
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    slot.release();
                    return self.poll_limit(limit, cx);
                }
            }
        }
        // A peer that never stops sending does not extend the wait, or keep other tasks waiting.
        wake_after_others(cx);
        self.poll_limit(limit, cx)
    }

    /// Ready once `limit` has passed, or the server ends. The clock starts at the first call after
    /// `wait_began` was set to `None`.
    fn poll_limit(&mut self, limit: Limit, cx: &Context<'_>) -> Poll<()> {
        let began = *self.wait_began.get_or_insert(self.registration.now());
        let deadline = self.registration.deadline(began, limit);
        self.poll_stop(deadline, cx).map(drop)
    }

    /// Ready when the connection must stop waiting; see [`Registration::poll_stop`]. The next poll has a new
    /// budget.
    #[inline]
    fn poll_stop(&mut self, deadline: Deadline, cx: &Context<'_>) -> Poll<Stop> {
        self.budget.restart();
        self.registration.poll_stop(deadline, cx)
    }
}

/// Returns how long the frame may take whose first bytes are in the read buffer.
#[cold]
#[inline(never)]
pub(super) fn frame_limit(limits: &Limits, read: &ReadBuffer) -> Limit {
    let earned = read.arrived_of_frame() / BYTES_PER_SECOND;
    limits.frame.plus_seconds(earned as u64)
}
