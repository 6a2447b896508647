//! Connections that are rejected before they are served.

use std::{future::poll_fn, io, pin::pin, task::Poll, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{
    limits::{Deadline, Limit},
    metrics::count_rejection,
    registry::Registration,
};
use crate::{
    Peer, Rejection,
    buffer::WriteBuffer,
    panics::lock,
    sync::Mutex,
    transport::{Stream, close},
};

/// How many peers receive their rejection at the same time. Further ones are closed without a message.
const MAX_TOLD: usize = 64;
/// How long a peer has to read its rejection, and to close.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long one has that holds the last descriptor: no other peer is accepted meanwhile.
const LAST_TIMEOUT: Duration = Duration::from_millis(20);

/// The peers that are told why they were rejected at their accept. Dropping it closes their connections.
#[derive(Default)]
pub(super) struct RejectedPeers(Mutex<JoinSet<()>>);

impl RejectedPeers {
    /// Sends the frames that say why, and closes the connection, in a task of its own. Closes it at once if too many peers
    /// are being told.
    pub(super) fn tell(&self, stream: Stream, frames: impl FnOnce() -> WriteBuffer) {
        let mut told = lock(&self.0);
        while told.try_join_next().is_some() {}
        if told.len() < MAX_TOLD {
            told.spawn(tell_within(TIMEOUT, stream, frames()));
        }
    }

    /// Lets those that are being told go on after the end of the server.
    pub(super) fn detach(&self) {
        lock(&self.0).detach_all();
    }
}

/// Tells the peer that holds the last descriptor.
pub(super) async fn tell_last(stream: Stream, frames: WriteBuffer) {
    tell_within(LAST_TIMEOUT, stream, frames).await;
}

/// Tells a peer that was registered before it was rejected. Ends at once when the server does.
pub(super) async fn tell_registered(
    stream: Stream,
    frames: WriteBuffer,
    registration: &mut Registration,
) {
    let deadline = Deadline::after(registration.now(), Limit::from(Some(TIMEOUT)));
    let mut telling = pin!(tell(stream, frames));
    poll_fn(|cx| match registration.poll_deadline(deadline, cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => telling.as_mut().poll(cx).map(drop),
    })
    .await;
}

async fn tell_within(limit: Duration, stream: Stream, frames: WriteBuffer) {
    // An error says that the peer is gone.
    timeout(limit, tell(stream, frames)).await.ok();
}

async fn tell(mut stream: Stream, mut frames: WriteBuffer) -> io::Result<()> {
    poll_fn(|cx| frames.poll_flush(cx, &mut stream)).await?;
    close(stream).await
}

/// Counts and logs a rejected connection.
pub(super) fn record_rejected(peer: &Peer, reason: &Rejection) {
    count_rejection(reason.kind());
    tracing::debug!(%peer, %reason, "a connection is rejected");
}
