//! The slow path of a call: it waits for room, sends a request again after a failure, and a second time if the reply
//! takes long.

use std::{mem::swap, task::Context, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Channel,
    backoff::wait_before_retry,
    call::{Call, Request},
    pending_calls::FailedCall,
    reply::Reply,
    shared::Shared,
};
use crate::{
    Error, Execution, Result,
    client::{
        deadline::{CallDeadline, wait_until_late},
        options::MAX_TIMEOUT,
    },
    framing::Framing,
    panics::lock,
    runtime::poll_once,
};

impl<F: Framing> Channel<F> {
    /// The slow path of [`round_trip`](Self::round_trip): waits for room, retries, and hedges. Begins with the encoded
    /// request, or with the retry of one that has failed. Sends a request again if that is certainly harmless.
    ///
    /// A failure comes with the index of its connection.
    #[cold]
    pub(super) async fn round_trip_with_retries(
        &self,
        has_greeting: bool,
        mut request: Vec<u8>,
        mut failure: Option<(usize, Box<FailedCall>)>,
        start: Option<std::time::Instant>,
    ) -> Result<Reply<'_, F>> {
        let shared = &*self.pool.shared;
        let deadline = match failure {
            // The request was sent without a deadline, and gets none now: otherwise, an answer could become an error
            // that denies it.
            Some(_) => None,
            None => self.begin_deadline()?,
        };
        let mut retries = Retries::new(shared);
        let mut failed_at = None;
        loop {
            if let Some((index, failure)) = failure.take() {
                failed_at = Some(index);
                let is_idempotent = self.is_idempotent;
                retries.record(&failure.error);
                let next = retries.next(*failure, is_idempotent, deadline);
                let next = next.await;
                request = next.map_err(|error| retries.error(error))?;
            }
            let other = failed_at.and_then(|index| self.pool.choose_other(index));
            let chosen = other.unwrap_or_else(|| self.pool.choose_for_call());
            let sent = Request {
                bytes: &request,
                has_greeting,
                has_items: false,
                deadline,
            };
            let queued = self.wait_for_room(chosen, &sent);
            let (mut call, _) = queued.await.map_err(|error| retries.error(error))?;
            retries.record_sent();
            let reply = tokio::select! {
                // A reply at the moment of the deadline is returned.
                biased;
                reply = self.first_reply(&mut call, &sent, &mut retries) => reply,
                late = wait_until_late(deadline) => {
                    let error = Error::reply_timed_out(&call.peer(), late);
                    Err(FailedCall::without_retry(error).into())
                }
            };
            match reply {
                Ok(reply) => {
                    shared.stats.record_answer(start);
                    return Ok(reply);
                }
                Err(error) => failure = Some((call.subchannel.index, error)),
            }
        }
    }

    /// Waits for the reply to `call`. If it takes longer than the delay of a hedge, sends the request a second time, and
    /// waits for the first reply of the two. Then `call` is the one that has ended, or, meanwhile, the one that may
    /// still be answered.
    async fn first_reply<'c>(
        &'c self,
        call: &mut Call<'c, F>,
        request: &Request<'_>,
        retries: &mut Retries<'_, F>,
    ) -> Result<Reply<'c, F>, Box<FailedCall>> {
        // A hedge sends a second frame, so frames must not depend on each other.
        let delay = match self.hedge_delay() {
            Some(delay) if F::HAS_INDEPENDENT_FRAMES => delay,
            _ => return call.reply().await,
        };
        tokio::select! {
            biased;
            reply = call.reply() => return reply,
            () = sleep(delay.min(MAX_TIMEOUT)) => {}
        }
        let Some(mut other) = poll_once(|cx| self.send_hedge(cx, call, request)).await else {
            return call.reply().await;
        };
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
                retries.record(&failure.error);
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
        request: &Request<'_>,
    ) -> Option<Call<'_, F>> {
        if request.deadline.is_some_and(|it| it.passed().is_some()) {
            return None;
        }
        let subchannel = self.pool.choose_other(first.subchannel.index)?;
        if subchannel.shared.is_room_awaited() {
            return None;
        }
        let mut retry = Retries::new(&subchannel.shared);
        if !retry.withdraw() {
            return None;
        }
        let second = Call::try_queue(subchannel, cx.waker(), request).ok()??;
        retry.count += 1;
        retry.record_sent();
        Some(second)
    }

    /// Returns when the request is sent a second time. Only the request of an idempotent call is.
    #[inline]
    pub(super) fn hedge_delay(&self) -> Option<Duration> {
        self.hedge_after.filter(|_| self.is_idempotent)
    }
}

/// The retries of one call.
struct Retries<'c, F: Framing> {
    shared: &'c Shared<F>,
    count: u32,
    /// Whether a retry is taken out of the budget, and its request not sent yet.
    has_withdrawn: bool,
    /// When the last retry may begin.
    end: Option<Instant>,
    /// Whether an earlier attempt, or the other request of a hedge, may have been executed.
    is_unknown: bool,
    /// Whether the server has rejected an earlier attempt.
    was_rejected: bool,
}

impl<'c, F: Framing> Retries<'c, F> {
    const fn new(shared: &'c Shared<F>) -> Self {
        Self {
            shared,
            count: 0,
            has_withdrawn: false,
            end: None,
            is_unknown: false,
            was_rejected: false,
        }
    }

    /// Takes a retry out of the budget. Dropping this value before it is sent puts it back.
    fn withdraw(&mut self) -> bool {
        self.has_withdrawn = self.shared.withdraw_retry();
        self.has_withdrawn
    }

    /// Records that the request was sent, or sent again.
    fn record_sent(&mut self) {
        if self.count > 0 {
            self.shared.stats.record_retry();
        }
        self.has_withdrawn = false;
    }

    /// Records how an attempt has failed.
    fn record(&mut self, error: &Error) {
        self.is_unknown |= error.execution() == Execution::Unknown;
        self.was_rejected |= error.execution() == Execution::NotExecuted;
    }

    /// Returns the error of the call. `error` is the error of the last attempt.
    fn error(&self, error: Error) -> Error {
        self.shared.stats.record_failure();
        match error.execution() {
            Execution::NotSent | Execution::NotExecuted if self.is_unknown => {
                error.with_execution(Execution::Unknown)
            }
            Execution::NotSent if self.was_rejected => error.with_execution(Execution::NotExecuted),
            _ => error,
        }
    }

    /// Waits until a request that has failed may be sent again, and returns it. Returns the error if it may
    /// not, by whether the request can have been executed.
    async fn next(
        &mut self,
        failure: FailedCall,
        is_idempotent: bool,
        deadline: Option<CallDeadline>,
    ) -> Result<Vec<u8>> {
        let FailedCall { error, request } = failure;
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
        let limit = self.shared.options.reply_timeout.unwrap_or(MAX_TIMEOUT);
        let end = *self.end.get_or_insert(now + limit.min(MAX_TIMEOUT));
        let is_late = deadline.is_some_and(|it| it.passed().is_some());
        if now + wait >= end || is_late {
            return Err(error);
        }
        if is_load {
            if !self.withdraw() {
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

impl<F: Framing> Drop for Retries<'_, F> {
    fn drop(&mut self) {
        if let Some(budget) = self.shared.budget.as_ref().filter(|_| self.has_withdrawn) {
            lock(budget).put_back();
        }
    }
}
