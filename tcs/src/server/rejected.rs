//! Connections that are rejected before they are served.

use std::{future::poll_fn, time::Duration};

use tokio::time::timeout;

use super::metrics::count_rejection;
use crate::{
    Peer, Rejection,
    buffer::WriteBuffer,
    transport::{Stream, close},
};

/// How many peers receive their rejection at the same time. Further ones are closed without a message.
pub(super) const MAX_REJECTING: usize = 64;
/// How long a peer has to read its rejection, and to close.
pub(super) const REJECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one has that holds the last descriptor: no other peer is accepted meanwhile.
pub(super) const LAST_REJECT_TIMEOUT: Duration = Duration::from_millis(20);

/// Sends `frames`, which say why, and closes the connection, within `limit`.
pub(super) async fn send_rejection(mut stream: Stream, mut frames: WriteBuffer, limit: Duration) {
    let sending = async {
        poll_fn(|cx| frames.poll_flush(cx, &mut stream)).await?;
        close(stream).await
    };
    // An error says that the peer is gone.
    timeout(limit, sending).await.ok();
}

/// Counts and logs a rejected connection.
pub(super) fn record_rejected(peer: &Peer, reason: &Rejection) {
    count_rejection(reason.kind());
    tracing::debug!(%peer, %reason, "a connection is rejected");
}
