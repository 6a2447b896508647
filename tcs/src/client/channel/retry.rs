//! The slow path of a call: it waits for room, sends a request again after a failure, and a second time if the reply
//! takes long.

use std::{mem::swap, task::Context, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Channel,
    backoff::wait_before_retry,
    budget::Withdrawal,
    call::{Call, Origin, RequestParams},
    pending_calls::FailedCall,
    reply::Reply,
    stats::{ChannelStats, Start},
};
use crate::{
    Error, Execution, Result,
    client::{
        deadline::{CallDeadline, wait_until_late},
        options::MAX_TIMEOUT,
    },
    framing::Framing,
    runtime::poll_once,
};

impl<F: Framing> Channel<F> {
    /// The slow path of [`round_trip`](Self::round_trip): waits for room, retries, and hedges. Begins with the encoded
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
        let deadline = match failure {
            // The request was sent without a deadline, and gets none now: otherwise, an answer could become an error
            // that denies it.
            Some(_) => None,
            None => self.begin_deadline()?,
        };
        let params = RequestParams {
            deadline: deadline.map(|it| it.at),
            has_greeting,
            ..RequestParams::default()
        };
        let mut retries = Retries::default();
        let mut failed_at = None;
        loop {
            if let Some((origin, failure)) = failure.take() {
                failed_at = Some(origin.subchannel.index);
                let is_idempotent = self.options.is_idempotent;
                retries.record(&failure.error);
                let next = retries.next(origin, *failure, is_idempotent, deadline);
                let next = next.await;
                request = next.map_err(|error| retries.error(stats, error))?;
            }
            let other = failed_at.and_then(|index| self.pool.choose_other(index));
            let chosen = other.unwrap_or_else(|| self.pool.choose_for_call());
            let queued = self.wait_for_room(chosen, params, &request, deadline);
            let (mut call, _) = queued.await.map_err(|error| retries.error(stats, error))?;
            retries.note_sent(stats);
            let reply = tokio::select! {
                // A reply at the moment of the deadline is returned.
                biased;
                reply = self.first_reply(&mut call, params, &request, &mut retries) => reply,
                late = wait_until_late(deadline) => {
                    let error = Error::reply_timed_out(&call.origin.peer(), late);
                    Err(FailedCall::without_retry(error).into())
                }
            };
            match reply {
                Ok(reply) => {
                    stats.record_answer(start);
                    return Ok((reply, call.origin));
                }
                Err(error) => failure = Some((call.origin, error)),
            }
        }
    }

    /// Waits for the reply to `call`. If it takes longer than the delay of a hedge, sends the request a second time, and
    /// waits for the first reply of the two. Then `call` is the one that has ended, or, meanwhile, the one that may
    /// still be answered.
    async fn first_reply<'c>(
        &'c self,
        call: &mut Call<'c, F>,
        params: RequestParams,
        request: &[u8],
        retries: &mut Retries<'_>,
    ) -> Result<Reply, Box<FailedCall>> {
        // A hedge sends a second frame, so frames must not depend on each other.
        let delay = match self.options.hedge_delay() {
            Some(delay) if F::HAS_INDEPENDENT_FRAMES => delay,
            _ => return call.reply().await,
        };
        tokio::select! {
            biased;
            reply = call.reply() => return reply,
            () = sleep(delay.min(MAX_TIMEOUT)) => {}
        }
        let Some(mut other) = poll_once(|cx| self.send_hedge(cx, call, params, request)).await
        else {
            return call.reply().await;
        };
        retries.is_unknown = true;
        let first = tokio::select! {
            biased;
            reply = call.reply() => reply,
            reply = other.reply() => {
                swap(call, &mut other);
                reply
            }
        };
        match first {
            // The other call may still be answered.
            Err(failure) if !failure.is_answer() => {
                *call = other;
                call.reply().await
            }
            answer => answer,
        }
    }

    /// Sends the request of `first` again over another connection that has room, if there is one, no other call waits for
    /// room, and the budget has a retry left.
    fn send_hedge(
        &self,
        cx: &Context<'_>,
        first: &Call<'_, F>,
        params: RequestParams,
        request: &[u8],
    ) -> Option<Call<'_, F>> {
        if params.deadline.is_some_and(|it| Instant::now() >= it) {
            return None;
        }
        let stats = &self.pool.stats;
        let subchannel = self.pool.choose_other(first.origin.subchannel.index)?;
        if subchannel.is_room_awaited() {
            return None;
        }
        let retry = stats.withdraw()?;
        let second = Call::try_queue(subchannel, cx.waker(), params, request).ok()??;
        retry.spend();
        stats.record_retry();
        Some(second)
    }
}

/// The retries of one call.
#[derive(Default)]
struct Retries<'c> {
    count: u32,
    /// The retry that is taken out of the budget, until its request is sent.
    withdrawal: Option<Withdrawal<'c>>,
    /// When the last retry may begin.
    end: Option<Instant>,
    /// Whether an earlier attempt, or the other request of a hedge, may have been executed.
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

    /// Records how an attempt has failed.
    fn record(&mut self, error: &Error) {
        self.is_unknown |= error.execution() == Execution::Unknown;
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
        deadline: Option<CallDeadline>,
    ) -> Result<Vec<u8>> {
        let FailedCall { error, request } = failure;
        let Origin { subchannel, .. } = origin;
        let Some(request) = request else {
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
        let is_late = deadline.is_some_and(|it| it.passed().is_some());
        if now + wait >= end || is_late {
            return Err(error);
        }
        if is_load {
            self.withdrawal = subchannel.stats.withdraw();
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
