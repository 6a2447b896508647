//! The slow path of a call: it waits for room, and sends a request again.

use std::{future::poll_fn, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Channel,
    backoff::wait_before_retry,
    budget::Withdrawal,
    call::{Call, Origin, RequestParams},
    hedge::Hedge,
    metrics::Start,
    pending_calls::FailedCall,
    reply::Reply,
    stats::ChannelStats,
};
use crate::{
    Error, Execution, Result,
    client::{
        deadline::{DeadlineTimer, wait_until_late},
        options::MAX_TIMEOUT,
    },
    framing::Framing,
};

impl<F: Framing> Channel<F> {
    /// The slow path of [`round_trip`](Self::round_trip): waits for room, retries and hedges. Begins with the encoded
    /// request, or with the retry of one that has failed. Sends a request again if that is certainly harmless.
    #[cold]
    pub(super) async fn round_trip_with_retries<'c>(
        &'c self,
        has_greeting: bool,
        mut request: Vec<u8>,
        mut failure: Option<(Origin<'c, F>, Box<FailedCall>)>,
        start: Start,
    ) -> Result<(Reply, Origin<'c, F>)> {
        let stats = &*self.pool.stats;
        let mut deadline = match failure {
            // The request was sent without a deadline, and gets none now: otherwise, an answer could become an error
            // that denies it.
            Some(_) => None,
            None => self.begin_deadline()?,
        };
        let params = RequestParams {
            deadline: deadline.as_ref().map(DeadlineTimer::deadline),
            has_greeting,
            ..RequestParams::default()
        };
        let (mut retries, mut was_hedged) = (Retries::default(), false);
        // A hedge sends a second frame, so frames must not depend on each other.
        let hedge_delay = self.options.hedge_delay();
        let hedge_delay = hedge_delay.filter(|_| F::HAS_INDEPENDENT_FRAMES);
        let mut failed_at = None;
        loop {
            if let Some((origin, failure)) = failure.take() {
                failed_at = Some(origin.subchannel.index);
                let is_idempotent = self.options.is_idempotent;
                retries.record(&failure.error, was_hedged);
                let next = retries.next(origin, *failure, is_idempotent, deadline.as_mut());
                let next = next.await;
                request = next.map_err(|error| retries.error(stats, error))?;
            }
            let chosen = match failed_at {
                Some(index) => self.pool.choose_for_retry(index),
                None => self.pool.choose_for_call(),
            };
            let queued = self.wait_for_room(chosen, params, &request, deadline.as_mut());
            let (mut call, _) = queued.await.map_err(|error| retries.error(stats, error))?;
            retries.note_sent(stats);
            let mut hedge = hedge_delay.map(|delay| Hedge::new(self, delay, &request, params));
            match wait_for_reply(&mut call, hedge.as_mut(), deadline.as_mut()).await {
                Ok(reply) => {
                    stats.record_answer(start);
                    return Ok((reply, call.origin));
                }
                Err(error) => {
                    was_hedged = hedge.is_some_and(|hedge| hedge.was_sent);
                    failure = Some((call.origin, error));
                }
            }
        }
    }
}

/// Waits for the reply to a call, or to its second request, until the deadline.
async fn wait_for_reply<'c, F: Framing>(
    call: &mut Call<'c, F>,
    mut hedge: Option<&mut Hedge<'c, '_, F>>,
    deadline: Option<&mut DeadlineTimer>,
) -> Result<Reply, Box<FailedCall>> {
    let reply = poll_fn(|cx| {
        let reply = call.poll_reply(cx);
        match &mut hedge {
            Some(hedge) => hedge.poll(cx, reply, call),
            None => reply,
        }
    });
    let late = tokio::select! {
        // A reply at the moment of the deadline is returned.
        biased;
        reply = reply => return reply,
        late = wait_until_late(deadline) => late,
    };
    // The server of the second request, if the first one has failed.
    let peer = call.origin.peer();
    Err(FailedCall::without_retry(Error::reply_timed_out(&peer, late)).into())
}

/// The retries of one call.
#[derive(Default)]
struct Retries<'c> {
    count: u32,
    /// The retry that is taken out of the budget, until its request is sent.
    withdrawal: Option<Withdrawal<'c>>,
    /// When the last retry may begin.
    end: Option<Instant>,
    /// Whether an earlier attempt may have been executed.
    is_unknown: bool,
    /// Whether the server has rejected an earlier attempt.
    was_rejected: bool,
}

impl<'c> Retries<'c> {
    /// Records that the request was sent, or sent again.
    fn note_sent(&mut self, stats: &ChannelStats) {
        if self.count > 0 {
            stats.record_retry();
        }
        if let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.spend();
        }
    }

    /// Records how an attempt has failed. If the request was sent twice, nothing is known of the other one.
    fn record(&mut self, error: &Error, was_hedged: bool) {
        self.is_unknown |= was_hedged || error.execution() == Execution::Unknown;
        self.was_rejected |= error.execution() == Execution::NotExecuted;
    }

    /// Returns the error of the call. `error` is the error of the last attempt.
    fn error(&self, stats: &ChannelStats, error: Error) -> Error {
        stats.count_failure();
        match error.execution() {
            Execution::NotSent | Execution::NotExecuted if self.is_unknown => {
                error.with_execution(Execution::Unknown)
            }
            Execution::NotSent if self.was_rejected => error.with_execution(Execution::NotExecuted),
            _ => error,
        }
    }

    /// Waits until a request that has failed at `origin` may be sent again, and returns it. Returns the error if it may
    /// not, by whether the request can have been executed.
    async fn next<F: Framing>(
        &mut self,
        origin: Origin<'c, F>,
        failure: FailedCall,
        is_idempotent: bool,
        deadline: Option<&mut DeadlineTimer>,
    ) -> Result<Vec<u8>> {
        let FailedCall { error, request } = failure;
        let Origin { subchannel, .. } = origin;
        let (Some(budget), Some(request)) = (subchannel.stats.budget(), request) else {
            return Err(error);
        };
        let is_load = match error.execution() {
            Execution::NotSent => false,
            Execution::NotExecuted if error.is_retryable() => true,
            Execution::Unknown if is_idempotent && error.is_connection_lost() => true,
            _ => return Err(error),
        };
        let wait = if is_load {
            wait_before_retry(self.count)
        } else {
            Duration::ZERO
        };
        let now = Instant::now();
        let limit = subchannel.options.reply_timeout.unwrap_or(MAX_TIMEOUT);
        let end = *self.end.get_or_insert(now + limit.min(MAX_TIMEOUT));
        let is_late = deadline.as_ref().is_some_and(|it| it.passed().is_some());
        if now + wait >= end || is_late {
            return Err(error);
        }
        if is_load {
            self.withdrawal = subchannel.stats.withdraw(budget);
            if self.withdrawal.is_none() {
                return Err(error.beyond_budget());
            }
            tokio::select! {
                // If the wait and the deadline end at the same time, nothing is sent any more.
                biased;
                // The error says more than a passed deadline.
                _ = wait_until_late(deadline) => return Err(error),
                () = sleep(wait) => {}
            }
        }
        self.count += 1;
        Ok(request)
    }
}
