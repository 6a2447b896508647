//! Where a connection waits: to send, for bytes, and for the peer to close. Each wait has its limit.

use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{connection::Connection, registry::Alarm, replies::closing};
use crate::{Refusal, RefusalKind, ServerProtocol};

/// Why nothing can be said to the peer any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    /// The transport reported an error: the peer reset the connection.
    #[error("{0}")]
    Error(io::Error),
    #[error("the peer does not read (`write_timeout`)")]
    Stalled,
    #[error("the server ended")]
    Cut,
}

/// What ended the wait for bytes.
pub(super) enum Arrived {
    Bytes,
    /// The limit is over.
    Expired,
    /// The server is finishing.
    Drain,
}

/// How long a started frame may take to complete when a drain begins.
const DRAINED_FRAME: Duration = Duration::from_secs(1);
/// So many bytes of a started frame earn a second more.
const BYTES_PER_SECOND: usize = 64 * 1024;

impl<P, S> Connection<'_, P, S>
where
    P: ServerProtocol,
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Sends what waits.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        let Self {
            limits,
            replies,
            stream,
            watch,
            ..
        } = self;
        let mut waiting = usize::MAX;
        poll_fn(|cx| {
            if let Poll::Ready(flushed) = replies.poll_flush(cx, stream, watch.tally()) {
                return Poll::Ready(flushed.map_err(Gone::Error));
            }
            // The limit counts from the last progress.
            if replies.waiting() < waiting {
                waiting = replies.waiting();
                watch.limit(limits.write);
            }
            match watch.poll_alarm(cx) {
                None => Poll::Pending,
                Some(Alarm::Expired) => Poll::Ready(Err(Gone::Stalled)),
                Some(Alarm::Cut) => Poll::Ready(Err(Gone::Cut)),
            }
        })
        .await
    }

    /// Waits for bytes.
    pub(super) async fn fill(&mut self) -> Result<Arrived, Gone> {
        if self.watch.is_draining() {
            self.drain_began.get_or_insert(self.watch.now());
        }
        let (began, limit) = match (self.inbox.started(), self.drain_began) {
            (None, Some(_)) => return Ok(Arrived::Drain),
            (Some(_), Some(began)) => (began, Some(DRAINED_FRAME)),
            (None, None) => (self.watch.now(), self.limits.idle),
            (Some(arrived), None) => {
                let began = *self.frame_began.get_or_insert(self.watch.now());
                (began, self.frame_limit(arrived))
            }
        };
        self.watch.limit_from(began, limit);
        let Self {
            inbox,
            stream,
            watch,
            drain_began,
            ..
        } = self;
        poll_fn(|cx| {
            // Reading comes first: bytes that are there count, even if this task was late.
            if let Poll::Ready(filled) = inbox.poll_fill(cx, stream) {
                return Poll::Ready(filled.map(|()| Arrived::Bytes).map_err(Gone::Error));
            }
            match watch.poll_alarm(cx) {
                Some(Alarm::Expired) => Poll::Ready(Ok(Arrived::Expired)),
                Some(Alarm::Cut) => Poll::Ready(Err(Gone::Cut)),
                None if drain_began.is_none() && watch.is_draining() => {
                    Poll::Ready(Ok(Arrived::Drain))
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Returns how long a frame may take of which so many bytes have arrived.
    fn frame_limit(&self, arrived: usize) -> Option<Duration> {
        let earned = Duration::from_secs((arrived / BYTES_PER_SECOND) as u64);
        self.limits.frame.map(|limit| limit.saturating_add(earned))
    }

    /// Words why the wait for bytes is over.
    pub(super) fn expired(&mut self) -> Refusal {
        let Some(arrived) = self.inbox.started() else {
            let text = format!(
                "nothing arrived for {:?} (`idle_timeout`)",
                self.limits.idle.unwrap_or_default()
            );
            return Refusal::new(RefusalKind::Idle, text);
        };
        if !self.inbox.is_skipping() {
            self.receive();
            self.replies.count_refused();
        }
        if self.drain_began.is_some() {
            return closing("the server is stopping, and the frame was not complete");
        }
        let text = format!(
            "the frame was not complete after {:?} (`frame_timeout`)",
            self.frame_limit(arrived).unwrap_or_default()
        );
        Refusal::new(RefusalKind::Idle, text)
    }

    /// Says the last words, and closes so that they arrive.
    pub(super) async fn close(&mut self, refusal: Option<Refusal>) -> Result<(), Gone> {
        if let Some(refusal) = refusal {
            self.replies.close(&refusal);
        }
        self.flush().await?;
        let Self {
            limits,
            inbox,
            stream,
            watch,
            ..
        } = self;
        watch.limit(limits.write);
        poll_fn(|cx| match Pin::new(&mut *stream).poll_shutdown(cx) {
            Poll::Pending if watch.poll_alarm(cx).is_none() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        let Some(linger) = limits.linger.filter(|linger| !linger.is_zero()) else {
            return Ok(());
        };
        // A socket that is closed with unread input is reset, which can destroy replies that the
        // peer has not read yet (RFC 1122, section 4.2.2.13).
        watch.limit(Some(linger));
        while !inbox.has_ended() {
            inbox.clear();
            let filled = poll_fn(|cx| match inbox.poll_fill(cx, stream) {
                Poll::Pending if watch.poll_alarm(cx).is_some() => Poll::Ready(None),
                filled => filled.map(Result::ok),
            })
            .await;
            if filled.is_none() {
                break;
            }
        }
        Ok(())
    }
}
