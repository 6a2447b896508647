//! A function that was not ready at once, and what is done while it waits.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::{
    registry::{Alarm, Watch},
    replies::Replies,
};
use crate::{ServerProtocol, buffer::WriteBuffer};

/// A future that was polled, and did not wake its task since.
pub(super) struct Polled<'a, F> {
    future: Pin<&'a mut F>,
    is_fresh: bool,
}

impl<'a, F: Future> Polled<'a, F> {
    pub(super) fn once(future: Pin<&'a mut F>) -> Self {
        Self {
            future,
            is_fresh: true,
        }
    }

    /// Polls, but for the first time, which was done already.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        if std::mem::take(&mut self.is_fresh) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(cx)
    }
}

/// Does what is to be done while a function waits, unless it must not wait any longer.
pub(super) fn meanwhile<P: ServerProtocol, S: AsyncWrite + Unpin, R>(
    cx: &mut Context<'_>,
    replies: &mut Replies<P>,
    outbox: &mut WriteBuffer,
    stream: &mut S,
    watch: &mut Watch,
) -> Poll<Result<R, Alarm>> {
    // The replies before this one do not wait for it. An error will be met again when this one is
    // sent; the function is not cut for it.
    drop(replies.poll_flush(outbox, cx, stream, watch.tally()));
    match watch.poll_alarm(cx) {
        None => Poll::Pending,
        Some(alarm) => Poll::Ready(Err(alarm)),
    }
}
