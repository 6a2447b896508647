//! How a pipeline sends and receives.

use std::{
    future::poll_fn,
    ops::Range,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{FULL, Pipeline};
use crate::{
    Callable, FrameError, Result,
    client::{
        connection::{Connection, UNASKED},
        failure::Failure,
        message::{Heard, hear, portion},
    },
    error::Repr,
};

impl<P: Callable, S: AsyncRead + AsyncWrite + Unpin> Pipeline<'_, P, S> {
    /// Returns how many bytes have to wait until they are sent.
    pub(super) fn early(&self) -> u64 {
        let first = self.open.front().unwrap_or(&self.written);
        portion(self.written - first)
    }

    /// Returns how many bytes of all requests were sent.
    pub(super) fn sent(&self) -> u64 {
        self.written - self.connection.outbox.waiting() as u64
    }

    /// Waits until what was collected is sent, or enough replies are there to be received.
    pub(super) async fn make_room(&mut self) {
        if let Err(failure) = self.in_time(Self::poll_room).await {
            self.fail(failure);
        }
    }

    /// Waits for no longer than the reply timeout, and without a timer for what is there already.
    async fn in_time<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Failure> {
        let limit = self.connection.options.reply();
        let mut deadline = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = poll(self, cx) {
                return Poll::Ready(Ok(done));
            }
            let timer = &mut self.connection.timer;
            let end = timer.poll_limit(limit, &mut deadline, cx);
            end.map(|limit| Err(Failure::Silent(limit)))
        })
        .await
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.poll_write(cx).is_ready() || self.connection.inbox.arrived_of_frame() >= FULL {
                return Poll::Ready(());
            }
            ready!(self.poll_read(cx));
        }
    }

    /// Receives what stands for the reply to the oldest request, which then is no longer in flight.
    pub(super) async fn next(&mut self) -> Result<Range<usize>> {
        if self.failure.is_none() {
            match self.in_time(Self::poll_heard).await.flatten() {
                Ok(heard) => return self.take(heard),
                Err(failure) => self.fail(failure),
            }
        }
        let start = self.open.pop_front();
        let peer = &self.connection.peer;
        Err(match &self.failure {
            Some((failure, sent)) if start < Some(*sent) => failure.of_sent(peer),
            Some((failure, _)) => failure.of_unsent(peer),
            None => Repr::Closed { peer: peer.clone() }.into(),
        })
    }

    /// Takes what has arrived; when nothing is complete, reads, and then sends all that waits.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Failure>> {
        loop {
            let Connection {
                framing,
                inbox,
                options,
                ..
            } = &mut *self.connection;
            let heard = hear(framing, inbox, options.frame_len()).map_err(Failure::Frame)?;
            match heard {
                None => {}
                Some(Heard::Rejection(refusal)) if refusal.kind().is_final() => {
                    return Poll::Ready(Err(Failure::Ended(refusal)));
                }
                Some(heard) if self.open.front() < Some(&self.sent()) => {
                    return Poll::Ready(Ok(heard));
                }
                Some(_) => return Poll::Ready(Err(Failure::Broken(UNASKED))),
            }
            if self.unread.is_some() || self.connection.inbox.has_ended() {
                return Poll::Ready(Err(self.end()));
            }
            // Reading goes before writing, so that what is there before a request is sent is not
            // taken for its reply.
            if self.poll_read(cx).is_pending() {
                let _ = self.poll_write(cx);
                return Poll::Pending;
            }
        }
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Connection { stream, inbox, .. } = &mut *self.connection;
        let Some(stream) = stream else {
            return Poll::Pending;
        };
        if self.unread.is_some() || inbox.has_ended() {
            return Poll::Pending;
        }
        inbox.poll_fill(cx, stream).map(|filled| {
            self.unread = filled.err();
        })
    }

    /// Sends what waits; ready when nothing does, or nothing can be sent any more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Connection { stream, outbox, .. } = &mut *self.connection;
        let (Some(stream), None) = (stream, &self.unsent) else {
            return Poll::Ready(());
        };
        outbox.poll_flush(cx, stream).map(|flushed| {
            self.unsent = flushed.err();
            outbox.give_back();
        })
    }

    /// Returns why nothing more arrives.
    fn end(&mut self) -> Failure {
        match (self.unsent.take(), self.unread.take()) {
            (Some(source), _) => Failure::Write(source),
            (None, Some(source)) => Failure::Read(source),
            (None, None) => Failure::Closed,
        }
    }

    /// Ends the oldest request with what was heard.
    fn take(&mut self, heard: Heard) -> Result<Range<usize>> {
        self.open.pop_front();
        if self.open.is_empty() {
            self.connection.take_back();
        }
        let peer = || self.connection.peer.clone();
        let repr = match heard {
            Heard::Message(frame) => return Ok(frame),
            Heard::Rejection(source) => Repr::Refused {
                peer: peer(),
                source,
            },
            Heard::TooLarge(length) => Repr::Frame {
                peer: peer(),
                source: FrameError::too_large(length, self.connection.options.frame_len()),
            },
        };
        Err(repr.into())
    }

    /// Closes the connection.
    fn fail(&mut self, failure: Failure) {
        let sent = self.sent();
        self.connection.fail(&failure);
        self.failure = Some((failure, sent));
    }
}
