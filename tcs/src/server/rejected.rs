//! Connections that are rejected before they are served.

use std::{future::poll_fn, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{metrics::count_rejection, registry::Registration, time::Deadline};
use crate::{
    Peer, Rejection,
    buffer::WriteBuffer,
    panics::lock,
    sync::Mutex,
    transport::{Stream, close},
};

/// The text for a peer whose connection ends because of its age.
pub(super) const TOO_OLD: &str =
    "the connection has reached its maximum age (`max_connection_age`)";

/// The maximum number of peers that receive their rejection at the same time. Further peers are closed without a
/// message.
const MAX_TOLD: usize = 64;
/// The time in which a peer can read its rejection, and close.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The same time for a peer that holds the last descriptor: the server accepts no other meanwhile.
pub(super) const LAST_TIMEOUT: Duration = Duration::from_millis(20);

/// The peers that receive the reason of their rejection at the accept. Dropping this value closes their connections.
#[derive(Default)]
pub(super) struct RejectedPeers(Mutex<JoinSet<()>>);

impl RejectedPeers {
    /// Returns `true` if another peer can receive its rejection. If not, close its connection.
    pub(super) fn have_room(&self) -> bool {
        let mut told = lock(&self.0);
        while told.try_join_next().is_some() {}
        told.len() < MAX_TOLD
    }

    /// Tells a peer why it is rejected, in a task of its own.
    pub(super) fn tell(&self, stream: Stream, frames: WriteBuffer) {
        lock(&self.0).spawn(tell(TIMEOUT, stream, frames));
    }

    /// Lets the peers receive their rejections after the end of the server.
    pub(super) fn detach(&self) {
        lock(&self.0).detach_all();
    }
}

/// Tells a peer that was registered why it is rejected. Ends as soon as the server does.
pub(super) async fn tell_registered(
    stream: Stream,
    frames: WriteBuffer,
    registration: &mut Registration,
) {
    tokio::select! {
        biased;
        _ = poll_fn(|cx| registration.poll_deadline(Deadline::NEVER, cx)) => {}
        () = tell(TIMEOUT, stream, frames) => {}
    }
}

/// Tells a peer why it is rejected, and closes the connection, within `limit`.
pub(super) async fn tell(limit: Duration, mut stream: Stream, mut frames: WriteBuffer) {
    let telling = async {
        poll_fn(|cx| frames.poll_flush(cx, &mut stream)).await?;
        close(stream).await
    };
    // An error means that the peer is gone.
    timeout(limit, telling).await.ok();
}

/// Counts and logs a rejected connection.
pub(super) fn record_rejected(peer: &Peer, reason: &Rejection) {
    count_rejection(reason.kind());
    tracing::debug!(%peer, %reason, "a connection is rejected");
}
