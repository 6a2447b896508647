//! How calls wait until a connection has room for them.

use std::{pin::pin, sync::Arc, task::Context};

use tokio::time::{Instant, sleep, timeout};

use super::{
    Channel,
    call::{Call, Request},
    reconnector::Reconnector,
    subchannel::Subchannel,
};
use crate::{
    Result,
    client::{
        connect::ATTEMPT_DELAY,
        deadline::{CallDeadline, PassedLimit, wait_until_late},
        options::MAX_TIMEOUT,
    },
    framing::Framing,
    runtime::poll_once,
};

impl<F: Framing> Channel<F> {
    /// Waits for room, for at most the reply timeout, and queues the request. Returns the call with its connection, which
    /// is `chosen` unless another one has room first.
    #[cold]
    pub(super) async fn wait_for_room<'s>(
        &'s self,
        chosen: &'s Arc<Subchannel<F>>,
        request: &Request<'_>,
    ) -> Result<(Call<'s, F>, &'s Arc<Subchannel<F>>)> {
        if !self.pool.shared.is_room_awaited()
            && let Some(call) = queue(chosen, request).await?
        {
            return Ok((call, chosen));
        }
        // Before there is a timer: outside of a runtime, this is an error.
        self.pool.check_attempts()?;
        Reconnector::request(chosen, "call()")?;
        let limit = self.pool.shared.options.reply_timeout;
        let timeout = limit.map(|limit| CallDeadline {
            at: Instant::now() + limit.min(MAX_TIMEOUT),
            late: PassedLimit::reply_timeout(limit),
        });
        let limits = request.deadline.into_iter().chain(timeout);
        let earlier = limits.min_by_key(|it| it.at);
        tokio::select! {
            // If there is room at the moment of the deadline, nothing is sent any more.
            biased;
            late = wait_until_late(earlier) => Err(self.pool.no_room(late)),
            call = self.queue_in_turn(chosen, request, earlier.is_some()) => call,
        }
    }

    /// Queues the request at the first connection that has room, after the calls that wait already.
    ///
    /// As in Happy Eyeballs (RFC 8305), requests another connection after each [`ATTEMPT_DELAY`], and all of them once
    /// an attempt has failed.
    async fn queue_in_turn<'s>(
        &'s self,
        chosen: &'s Arc<Subchannel<F>>,
        request: &Request<'_>,
        has_timer: bool,
    ) -> Result<(Call<'s, F>, &'s Arc<Subchannel<F>>)> {
        let pool = &self.pool;
        let mut room = pool.shared.room.subscribe();
        let mut turn = pin!(pool.turn.acquire());
        // When the permit is dropped, the next call is the first, and looks for room as well.
        let _first = loop {
            tokio::select! {
                biased;
                first = &mut turn => break first,
                // The first call may not be polled, so the others look for room now and then. A call without a limit
                // has no timer, because it needs no runtime.
                () = async { sleep(ATTEMPT_DELAY).await }, if has_timer => {
                    if let Some(queued) = self.queue_now(chosen, request).await? {
                        return Ok(queued);
                    }
                }
            }
        };
        // How many connections there are beside the chosen one, and how many of them are requested.
        let others = if pool.shared.connector.reconnects() {
            pool.subchannels.len() - 1
        } else {
            0
        };
        let has_failed = chosen.lock().link().is_backing_off();
        let mut asked = if has_failed { others } else { 0 };
        loop {
            room.mark_unchanged();
            if let Some(queued) = self.queue_now(chosen, request).await? {
                return Ok(queued);
            }
            let after_chosen = pool.subchannels.iter().cycle().skip(chosen.index + 1);
            for other in after_chosen.take(asked) {
                Reconnector::request_in_background(other);
            }
            // There is no error: the connections have the sender.
            let changed = async { drop(room.changed().await) };
            if asked == others {
                changed.await;
            } else if timeout(ATTEMPT_DELAY, changed).await.is_err() {
                asked += 1;
            } else {
                asked = others;
            }
        }
    }

    /// Queues the request at a connection that has room. If there is none, requests `chosen`.
    async fn queue_now<'s>(
        &'s self,
        chosen: &'s Arc<Subchannel<F>>,
        request: &Request<'_>,
    ) -> Result<Option<(Call<'s, F>, &'s Arc<Subchannel<F>>)>> {
        let subchannel = self.pool.choose_with_room().unwrap_or(chosen);
        if let Some(call) = queue(subchannel, request).await? {
            return Ok(Some((call, subchannel)));
        }
        self.pool.check_attempts()?;
        Reconnector::request(chosen, "call()")?;
        Ok(None)
    }
}

/// Queues the request at a connection, if that has room.
async fn queue<'s, F: Framing>(
    subchannel: &'s Subchannel<F>,
    request: &Request<'_>,
) -> Result<Option<Call<'s, F>>> {
    poll_once(|cx: &mut Context<'_>| Call::try_queue(subchannel, cx.waker(), request)).await
}
