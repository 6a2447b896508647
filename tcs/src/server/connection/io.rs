//! Waits for a request, for the peer to read, for a function, and for the peer to close.
//!
//! Only this module touches the stream. Each wait has a deadline: a `Pending` must have passed through
//! `Registration::poll_stop`.

use std::{
    fmt, io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{coop, yield_now},
};

use super::{
    super::{
        config::Limit,
        registry::{Deadline, Registration, Stop, Time},
        report::{Tally, Unsent},
    },
    budget::Budget,
};
use crate::buffer::{BufferSlot, Buffers, ReadAhead, ReadBuffer, WriteBuffer};

/// The stream of a connection, and the clocks of its waits.
pub(super) struct Io<S> {
    stream: S,
    close: CloseKind,
    /// Whether a peer that closes its sending half while a function waits is gone.
    ends_at_half_close: bool,
    pub(super) budget: Budget,
    /// When the wait for a request began, for the rest of one, or for the peer to close.
    wait_began: Option<Time>,
    /// When this connection noticed that the server drains.
    drain_began: Option<Time>,
    /// When the current function first returned `Pending`.
    function_began: Option<Time>,
    /// When the peer closed its sending half while a function ran. Never reset: all further functions
    /// share the time of `half_close_timeout`.
    half_closed: Option<Time>,
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

/// Why nothing more can be sent to the peer.
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

/// Why the wait for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// Bytes have arrived, or the end of the input.
    Readable,
    /// The deadline has passed.
    Expired,
    /// The server drains, and no frame has started.
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

/// The next step of closing a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseStage {
    /// Sends what is written.
    Flush,
    /// Tells the peer that this was all.
    Shutdown,
    /// Waits until the peer closes, too.
    Linger,
}

/// How long a started frame may take to complete once a drain has begun.
const DRAINED_FRAME: Limit = Limit::of(1);
/// A deadline moves by a second for each of this many bytes of a frame that arrive, or of replies that
/// the peer takes.
const BYTES_PER_SECOND: usize = 64 * 1024;

/// How many reads of a closing connection are discarded within one poll.
const LINGER_READS: usize = 16;

/// More bytes may still be in the send queue of the operating system while the connection is idle. An
/// initial congestion window carries this many (RFC 6928).
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
            budget: Budget::new(),
            wait_began: None,
            drain_began: None,
            function_began: None,
            half_closed: None,
            stall: None,
            large_flush: None,
            registration,
        }
    }

    /// Returns `true` if the time of this poll is over; see [`Budget`].
    pub(super) fn is_budget_spent(&mut self) -> bool {
        self.budget.is_spent(self.registration.limits().poll_nanos)
    }

    /// Returns `true` if the started frame has the limit of a drain.
    pub(super) const fn has_drain_limit(&self) -> bool {
        self.drain_began.is_some()
    }

    /// Returns how long the frame may take whose first bytes are in the read buffer.
    #[cold]
    #[inline(never)]
    pub(super) fn frame_limit(&self, read: &ReadBuffer) -> Limit {
        let earned = read.started() / BYTES_PER_SECOND;
        self.registration.limits().frame.plus_seconds(earned as u64)
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
    /// Cancel safe: bytes that arrived are in the read buffer.
    #[inline]
    pub(super) fn poll_wakeup(
        &mut self,
        slot: &mut BufferSlot,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Wakeup, Gone>> {
        let wakeup = self.poll_turn(slot.checkout(), unsent, cx);
        if wakeup.is_pending() {
            self.budget.restart();
            slot.release();
        }
        wakeup
    }

    #[inline(never)]
    fn poll_turn(
        &mut self,
        Buffers {
            read, ahead, write, ..
        }: &mut Buffers,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Wakeup, Gone>> {
        if !write.is_empty() || unsent.sum() > 0 {
            ready!(self.poll_flush(write, unsent, cx))?;
        }
        self.poll_fill(read, ahead, cx)
    }

    /// Flushes the write buffer, and counts its responses as sent.
    ///
    /// Cancel safe: what was sent is not sent again.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a hundredth of a lone request"
    )]
    pub(super) fn poll_flush(
        &mut self,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        match self.poll_write(write, unsent, cx) {
            Poll::Ready(sent) => Poll::Ready(sent.map_err(Gone::Error)),
            Poll::Pending => self.poll_stalled(write, cx),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `poll_flush`")]
    fn poll_write(
        &mut self,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if ready!(write.poll_flush(cx, &mut self.stream))? > LARGE_FLUSH {
            self.large_flush = Some(self.registration.now());
        }
        self.registration.tally().sent(unsent);
        self.stall = None;
        Poll::Ready(Ok(()))
    }

    /// Waits for a peer that does not read.
    #[cold]
    fn poll_stalled(&mut self, write: &WriteBuffer, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        self.budget.restart();
        let deadline = self.stall_deadline(write);
        Poll::Ready(Err(
            match ready!(self.registration.poll_stop(deadline, cx)) {
                Stop::Expired => Gone::Stalled,
                Stop::Aborted => Gone::Aborted,
            },
        ))
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
    fn poll_fill(
        &mut self,
        read: &mut ReadBuffer,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Wakeup, Gone>> {
        if read.has_moved() {
            self.wait_began = None;
        }
        let has_started = read.has_started();
        if self.registration.is_draining() && self.is_drained(has_started) {
            let wakeup = if has_started {
                Wakeup::Expired
            } else {
                Wakeup::Draining
            };
            return Poll::Ready(Ok(wakeup));
        }
        // Reads before it looks at the deadline: bytes that arrived in time count even if this task is
        // late.
        match read.poll_read_after(ahead, cx, &mut self.stream) {
            Poll::Ready(Ok(())) => {
                if !has_started {
                    self.wait_began = None;
                }
                Poll::Ready(Ok(Wakeup::Readable))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                Poll::Ready(Ok(Wakeup::OutOfMemory))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Gone::Error(error))),
            Poll::Pending => self.poll_wait(read, cx),
        }
    }

    /// Returns `true` if a draining server waits no longer: no frame has started, or it had its time.
    ///
    /// It is asked before each read, because a peer may never stop sending.
    #[cold]
    fn is_drained(&mut self, has_started: bool) -> bool {
        let deadline = self.drain_deadline();
        !has_started || self.registration.has_passed(deadline)
    }

    /// Returns when a frame that has started must be complete in a drain.
    fn drain_deadline(&mut self) -> Deadline {
        let began = *self.drain_began.get_or_insert(self.registration.now());
        self.registration.deadline(began, DRAINED_FRAME)
    }

    /// Waits for bytes that have not arrived.
    #[inline]
    fn poll_wait(&mut self, read: &ReadBuffer, cx: &Context<'_>) -> Poll<Result<Wakeup, Gone>> {
        let now = self.registration.now();
        let began = *self.wait_began.get_or_insert(now);
        let mut limit = self.registration.limits().idle;
        let has_started = read.has_started();
        if has_started {
            limit = self.frame_limit(read);
        }
        let deadline = self.registration.deadline(began, limit);
        match self.registration.poll_stop(deadline, cx) {
            // The server may have begun to drain between the check above and the setting of the waker.
            Poll::Pending if self.registration.is_draining() => self.poll_drain(has_started, cx),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Stop::Expired) => Poll::Ready(Ok(Wakeup::Expired)),
            Poll::Ready(Stop::Aborted) => Poll::Ready(Err(Gone::Aborted)),
        }
    }

    /// Waits for the rest of a frame under the limit of a drain.
    #[cold]
    fn poll_drain(&mut self, has_started: bool, cx: &Context<'_>) -> Poll<Result<Wakeup, Gone>> {
        if !has_started {
            return Poll::Ready(Ok(Wakeup::Draining));
        }
        let deadline = self.drain_deadline();
        Poll::Ready(match ready!(self.registration.poll_stop(deadline, cx)) {
            Stop::Expired => Ok(Wakeup::Expired),
            Stop::Aborted => Err(Gone::Aborted),
        })
    }

    /// Waits for a function: flushes earlier replies, reads ahead to notice a peer that leaves, and checks
    /// the deadlines.
    ///
    /// Cancel safe: bytes that arrived are kept, and what was sent is not sent again.
    pub(super) fn poll_meanwhile(
        &mut self,
        has_ended: bool,
        ahead: &mut ReadAhead,
        write: &mut WriteBuffer,
        unsent: &mut Unsent,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Interrupt, Gone>> {
        self.budget.restart();
        let limits = *self.registration.limits();
        let now = self.registration.now();
        let began = *self.function_began.get_or_insert(now);
        let timed_out = self.registration.deadline(began, limits.request);
        let mut deadline = timed_out;
        let mut half_closed = None;
        match self.poll_write(write, unsent, cx) {
            Poll::Ready(sent) => sent.map_err(Gone::Error)?,
            Poll::Pending => deadline = deadline.min(self.stall_deadline(write)),
        }
        if self.read_ahead(ahead, cx)? || has_ended {
            let closed = *self.half_closed.get_or_insert(now);
            let over = self.registration.deadline(closed, limits.half_close);
            deadline = deadline.min(over);
            half_closed = Some(over);
        }
        Poll::Ready(match ready!(self.registration.poll_stop(deadline, cx)) {
            Stop::Aborted => Ok(Interrupt::Aborted),
            Stop::Expired if self.registration.has_passed(timed_out) => Ok(Interrupt::TimedOut),
            Stop::Expired => match half_closed {
                Some(over) if self.registration.has_passed(over) => Ok(Interrupt::HalfClosed),
                _ => Err(Gone::Stalled),
            },
        })
    }

    /// Reads ahead. Returns `true` if the input has ended, and an error if the peer is gone.
    pub(super) fn read_ahead(
        &mut self,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
    ) -> Result<bool, Gone> {
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
        self.read_ahead(ahead, cx).map(drop)
    }

    /// Resets the clock of the current function.
    #[inline]
    pub(super) fn function_ended(&mut self) {
        self.function_began = None;
    }

    /// Flushes the write buffer, and closes the stream so that the peer receives it.
    ///
    /// A connection that `was_idle` is closed without waiting for its peer to close, if nothing has
    /// arrived meanwhile.
    pub(super) fn poll_close(
        &mut self,
        slot: &mut BufferSlot,
        unsent: &mut Unsent,
        was_idle: bool,
        stage: &mut CloseStage,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        let Buffers { read, write, .. } = slot.checkout();
        if *stage == CloseStage::Flush {
            ready!(self.poll_flush(write, unsent, cx))?;
            if read.has_ended() && self.close == CloseKind::Drop {
                return Poll::Ready(Ok(()));
            }
            self.wait_began = None;
            *stage = CloseStage::Shutdown;
        }
        let limits = *self.registration.limits();
        let lingered = |flushed| self.registration.deadline(flushed, limits.linger);
        let is_sent = |flushed| self.registration.has_passed(lingered(flushed));
        let was_idle = was_idle && self.large_flush.is_none_or(is_sent);
        if *stage == CloseStage::Shutdown {
            if Pin::new(&mut self.stream).poll_shutdown(cx).is_pending() {
                ready!(self.poll_limit(limits.write, cx));
            }
            if read.has_ended() || matches!(limits.linger.milliseconds(), 0 | u64::MAX) {
                return Poll::Ready(Ok(()));
            }
            self.wait_began = None;
            *stage = CloseStage::Linger;
        }
        // A socket that is closed with unread input is reset, which can destroy replies that the peer
        // has not read yet (RFC 1122, section 4.2.2.13).
        for _ in 0..LINGER_READS {
            read.reset();
            match read.poll_read(cx, &mut self.stream) {
                Poll::Ready(Ok(())) if !read.has_ended() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                // Nothing is unread, and the peer has what was sent before the connection was idle.
                Poll::Pending if was_idle && coop::has_budget_remaining() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    slot.release();
                    return self.poll_limit(limits.linger, cx).map(Ok);
                }
            }
        }
        // A peer that never stops sending does not extend the wait, or keep other tasks waiting.
        let _: Poll<()> = pin!(yield_now()).poll(cx);
        self.poll_limit(limits.linger, cx).map(Ok)
    }

    /// Ready once `limit` has passed, or the server ends. The clock starts at the first call after
    /// `wait_began` was set to `None`.
    fn poll_limit(&mut self, limit: Limit, cx: &Context<'_>) -> Poll<()> {
        let began = *self.wait_began.get_or_insert(self.registration.now());
        let deadline = self.registration.deadline(began, limit);
        self.registration.poll_stop(deadline, cx).map(drop)
    }
}
