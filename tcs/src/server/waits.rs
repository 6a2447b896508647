//! Where a connection waits: to send, for bytes, and for the peer to close. Each wait has its limit.

use std::{
    fmt, io,
    num::NonZero,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{Connection, Farewell},
    registry::{Alarm, Signals},
    replies::{Acquaintance, Next, closing},
    settings::Limit,
};
use crate::{
    Rejection, RejectionKind, ServerProtocol, Side,
    buffer::{ReadBuffer, WriteBuffer},
    framing::seems_other_protocol,
};

/// Why nothing can be said to the peer any more.
#[derive(Debug)]
pub(super) enum Gone {
    /// The transport reported an error: the peer reset the connection.
    Error(io::Error),
    /// The peer did not read within `write_timeout`.
    Stalled,
    /// The server ended.
    Cut,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Stalled => f.write_str("the peer does not read (`write_timeout`)"),
            Self::Cut => f.write_str("the server ended"),
        }
    }
}

/// What ended the wait for bytes.
pub(super) enum Arrived {
    Bytes,
    /// Bytes, which were answered.
    Answered(Next),
    /// The limit is over.
    Expired,
    /// The server is finishing.
    Drain,
}

/// How far a connection has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What was said is sent.
    Flush,
    /// The peer is told that this was all.
    Shutdown { has_ended: bool },
    /// The peer closes, too.
    Linger,
}

/// How long a started frame may take to complete when a drain begins.
const DRAINED_FRAME: Limit = Limit::of(1);
/// So many bytes of a started frame earn a second more.
const BYTES_PER_SECOND: usize = 64 * 1024;

impl<P, S> Connection<P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Sends what waits.
    ///
    /// Cancel safe: what was sent is not sent again.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "it is the loop; outlined, it costs a hundredth of a lone request"
    )]
    pub(super) fn poll_flush(
        &mut self,
        outbox: &mut WriteBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        let tally = self.watch.tally();
        match self.replies.poll_flush(outbox, cx, &mut self.stream, tally) {
            Poll::Ready(Ok(())) => {
                self.stalled_at = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Gone::Error(error))),
            Poll::Pending => self.stall(outbox.waiting(), cx),
        }
    }

    /// Waits for a peer that does not read, within the limit.
    #[cold]
    fn stall(&mut self, waiting: usize, cx: &Context<'_>) -> Poll<Result<(), Gone>> {
        // The limit counts from the last progress.
        let waiting = NonZero::<usize>::MIN.saturating_add(waiting);
        if self.stalled_at != Some(waiting) {
            self.stalled_at = Some(waiting);
            self.watch.limit(self.shared.limits.write);
        }
        match self.watch.poll_alarm(cx) {
            None => Poll::Pending,
            Some(Alarm::Expired) => Poll::Ready(Err(Gone::Stalled)),
            Some(Alarm::Cut) => Poll::Ready(Err(Gone::Cut)),
        }
    }

    /// Waits for bytes.
    ///
    /// Cancel safe: bytes that arrived are in the inbox.
    #[inline]
    pub(super) fn poll_fill(
        &mut self,
        inbox: &mut ReadBuffer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arrived, Gone>> {
        let has_started = inbox.has_started();
        if self.watch.is_draining()
            && let Some(arrived) = self.finish(has_started)
        {
            return Poll::Ready(Ok(arrived));
        }
        // Reading comes before all limits: bytes that are there count, even if this task was late.
        match inbox.poll_read(cx, &mut self.stream) {
            Poll::Ready(Ok(())) => {
                if !has_started {
                    self.wait_began = None;
                }
                Poll::Ready(Ok(Arrived::Bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Gone::Error(error))),
            Poll::Pending => self.wait(inbox, has_started, cx),
        }
    }

    /// Ends the wait for bytes when the server is finishing, also if they never pause.
    #[cold]
    fn finish(&mut self, has_started: bool) -> Option<Arrived> {
        if !has_started {
            return Some(Arrived::Drain);
        }
        let now = self.watch.now();
        let began = *self.drain_began.get_or_insert(now);
        let is_over = self.watch.is_over(began, DRAINED_FRAME);
        is_over.then_some(Arrived::Expired)
    }

    /// Waits for bytes that have not arrived, within the limit.
    #[inline]
    fn wait(
        &mut self,
        inbox: &ReadBuffer,
        has_started: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<Arrived, Gone>> {
        let now = self.watch.now();
        let mut began = *self.wait_began.get_or_insert(now);
        let mut limit = self.shared.limits.idle;
        if has_started {
            limit = self.frame_limit(inbox);
        }
        if let Some(drain_began) = self.drain_began {
            (began, limit) = (drain_began, DRAINED_FRAME);
        }
        self.watch.limit_from(began, limit);
        let signals = self.watch.poll_signals(cx);
        if signals.are_none() {
            return Poll::Pending;
        }
        self.heed(signals, inbox, cx)
    }

    /// Looks at what the connection was told after its waker was left, so that nothing is missed.
    #[cold]
    fn heed(
        &mut self,
        signals: Signals,
        inbox: &ReadBuffer,
        cx: &Context<'_>,
    ) -> Poll<Result<Arrived, Gone>> {
        match self.watch.alarm(signals) {
            Some(Alarm::Expired) => return Poll::Ready(Ok(Arrived::Expired)),
            Some(Alarm::Cut) => return Poll::Ready(Err(Gone::Cut)),
            None if self.drain_began.is_some() || !signals.are_draining() => return Poll::Pending,
            None => {}
        }
        let has_started = inbox.has_started();
        match self.finish(has_started) {
            Some(arrived) => Poll::Ready(Ok(arrived)),
            None => self.wait(inbox, has_started, cx),
        }
    }

    /// Returns how long a frame may take of which so many bytes have arrived.
    #[cold]
    #[inline(never)]
    fn frame_limit(&self, inbox: &ReadBuffer) -> Limit {
        let earned = inbox.started() / BYTES_PER_SECOND;
        self.shared.limits.frame.plus_seconds(earned as u64)
    }

    /// Ends the wait for bytes.
    pub(super) fn expired(&mut self) -> Next {
        let refusal = self.why_expired();
        let mut buffers = self.buffers.take();
        let unread = buffers
            .inbox
            .input(self.shared.limits.frame_len, Side::Server);
        let next = match self.acquaintance(unread.bytes()) {
            Acquaintance::Known => Next::Close(Some(refusal)),
            Acquaintance::Stranger => self.replies.dismiss(&mut buffers.outbox, &refusal),
        };
        self.buffers.keep(buffers);
        next
    }

    /// Looks at what is unread of a connection that will be closed for it.
    pub(super) fn acquaintance(&self, unread: &[u8]) -> Acquaintance {
        let is_first = self.watch.tally().requests().received <= 1;
        if is_first && seems_other_protocol(unread) {
            return Acquaintance::Stranger;
        }
        Acquaintance::Known
    }

    fn why_expired(&mut self) -> Rejection {
        let inbox = self.buffers.held().map(|buffers| &buffers.inbox);
        let Some(inbox) = inbox.filter(|inbox| inbox.has_started()) else {
            return idle(self.shared.limits.idle);
        };
        let limit = self.frame_limit(inbox);
        if !inbox.is_skipping() {
            self.receive(self.shared.requests);
            self.replies.count_refused();
        }
        unfinished(limit, self.drain_began.is_some())
    }

    /// Sends the last words, and closes so that they arrive.
    ///
    /// Not a future of its own, because all of it would be compiled again for each protocol.
    pub(super) fn poll_close(
        &mut self,
        stage: &mut Stage,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        if *stage == Stage::Flush {
            let mut kept = self.buffers.take();
            let flushed = self.poll_flush(&mut kept.outbox, cx);
            let has_ended = kept.inbox.has_ended();
            self.buffers.keep(kept);
            ready!(flushed)?;
            if has_ended && matches!(self.farewell, Farewell::Drop) {
                return Poll::Ready(Ok(()));
            }
            self.watch.limit(self.shared.limits.write);
            *stage = Stage::Shutdown { has_ended };
        }
        if let Stage::Shutdown { has_ended } = *stage {
            let shut = Pin::new(&mut self.stream).poll_shutdown(cx).map(drop);
            ready!(self.watch.poll_unless_alarmed(shut, cx));
            if has_ended || matches!(self.shared.limits.linger.milliseconds(), 0 | u64::MAX) {
                return Poll::Ready(Ok(()));
            }
            // A socket that is closed with unread input is reset, which can destroy replies that the
            // peer has not read yet (RFC 1122, section 4.2.2.13).
            self.watch.limit(self.shared.limits.linger);
            *stage = Stage::Linger;
        }
        let discarded = self.buffers.poll_discard(cx, &mut self.stream);
        self.watch.poll_unless_alarmed(discarded, cx).map(Ok)
    }
}

/// Says that nothing has arrived.
#[cold]
fn idle(limit: Limit) -> Rejection {
    let text = format!("nothing arrived for {limit} (`idle_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}

/// Says that the rest of a frame has not arrived.
#[cold]
fn unfinished(limit: Limit, is_draining: bool) -> Rejection {
    if is_draining {
        return closing("the server is stopping, and the frame was not complete");
    }
    let text = format!("the frame was not complete after {limit} (`frame_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}
