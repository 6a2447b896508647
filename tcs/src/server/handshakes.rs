//! The handshakes of a connection: of its listener, and after `Response::StartTls`.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use super::{
    log_limiter::log_limited,
    metrics::count_failed_handshake,
    registry::Registration,
    rejected::TOO_OLD,
    time::{Deadline, Limit},
};
use crate::{
    Peer,
    panics::{panic_text, poll_caught},
    text::Text,
    transport::{DynHandshake, Stream},
};

pub(super) type Handshakes = Vec<Arc<dyn DynHandshake>>;

/// How long a handshake may go on once a drain has begun. Its peer may have sent a request already, as the client of
/// TLS 1.3 does with the end of its handshake. The connection then tells the peer that the request was not executed.
const DRAINED_HANDSHAKE: Limit = Limit::from_secs(1);

/// Performs handshakes one after another, within `handshake_timeout`. Returns `false` if one of them failed or the server
/// has ended it, which is logged. The connection then ends.
///
/// The registration wakes the task when the time is over or the server stops.
pub(super) async fn perform_handshakes(
    stream: &mut Stream,
    peer: &mut Peer,
    handshakes: &[Arc<dyn DynHandshake>],
    registration: &mut Registration,
) -> bool {
    // The last handshake may have changed `peer` when this is logged.
    let error = match perform_all(stream, peer, handshakes, registration).await {
        Ok(None) => return true,
        Ok(Some(reason)) => {
            tracing::debug!(%peer, reason, "a handshake has ended");
            return false;
        }
        Err(error) => error,
    };
    let reason = Text::new(&error);
    count_failed_handshake();
    if error.kind() == io::ErrorKind::ConnectionAborted {
        tracing::debug!(%peer, %reason, "a handshake has failed");
    } else {
        let limiter = registration.log_limiter();
        log_limited!(limiter, info, { %peer, %reason, }, "a handshake has failed");
    }
    false
}

/// Performs handshakes. If the server ends them, returns the reason.
async fn perform_all(
    stream: &mut Stream,
    peer: &mut Peer,
    handshakes: &[Arc<dyn DynHandshake>],
    registration: &mut Registration,
) -> io::Result<Option<&'static str>> {
    let limit = registration.limits().handshake_timeout;
    let mut deadline = Deadline::after(registration.now(), limit);
    let mut is_draining = false;
    let mut performing = pin!(async {
        for handshake in handshakes {
            *stream = handshake.perform_boxed(stream.take(), peer).await?;
        }
        Ok(None)
    });
    poll_fn(|cx| {
        let mut wakeup = registration.poll_deadline(deadline, cx);
        // The check follows the registration of the waker, so that no drain is missed.
        if !is_draining && registration.is_draining() {
            is_draining = true;
            deadline = deadline.min(Deadline::after(registration.now(), DRAINED_HANDSHAKE));
            wakeup = registration.poll_deadline(deadline, cx);
        }
        if let Poll::Ready(over) = wakeup {
            return Poll::Ready(match over {
                Err(aborted) => Ok(Some(aborted.text())),
                Ok(()) if registration.is_retired() => Ok(Some(TOO_OLD)),
                Ok(()) if is_draining => Ok(Some("the server is stopping")),
                Ok(()) => {
                    let reason = format!("it took longer than {limit} (`handshake_timeout`)");
                    Err(io::Error::other(reason))
                }
            });
        }
        poll_caught(performing.as_mut(), cx).map(|performed| {
            performed.unwrap_or_else(|payload| {
                let reason = format!("a panic: {}", panic_text(payload));
                Err(io::Error::other(reason))
            })
        })
    })
    .await
}
