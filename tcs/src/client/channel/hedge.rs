//! Hedging: the second request of a call whose reply takes long.

use std::{
    mem::swap,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{
    Channel,
    call::{Call, RequestParams},
    pending_calls::FailedCall,
    reply::Reply,
};
use crate::{client::options::MAX_TIMEOUT, framing::Framing};

/// The second request of a call, over another connection.
pub(super) struct Hedge<'c, 'r, F: Framing> {
    channel: &'c Channel<F>,
    request: &'r [u8],
    params: RequestParams,
    /// The timer, until the request is sent.
    delay: Option<Pin<Box<Sleep>>>,
    second: Option<Call<'c, F>>,
    /// Whether the request was sent a second time.
    pub(super) was_sent: bool,
}

impl<'c, 'r, F: Framing> Hedge<'c, 'r, F> {
    #[cold]
    pub(super) fn new(
        channel: &'c Channel<F>,
        delay: Duration,
        request: &'r [u8],
        params: RequestParams,
    ) -> Self {
        Self {
            channel,
            request,
            params,
            delay: Some(Box::pin(sleep(delay.min(MAX_TIMEOUT)))),
            second: None,
            was_sent: false,
        }
    }

    /// Waits for the first reply of the two, after `first` was polled. If one call fails, the other one continues.
    #[cold]
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reply: Poll<Result<Reply, Box<FailedCall>>>,
        first: &mut Call<'c, F>,
    ) -> Poll<Result<Reply, Box<FailedCall>>> {
        if let Poll::Ready(reply) = reply {
            match self.second.take() {
                Some(second) if !is_answer(&reply) => *first = second,
                _ => return Poll::Ready(reply),
            }
            // The second call has been polled in its own turn, or is polled in the next.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(cx));
            self.delay = None;
            self.second = self.send(cx, first);
            self.was_sent = self.second.is_some();
        }
        let Some(second) = &mut self.second else {
            return Poll::Pending;
        };
        let reply = ready!(second.poll_reply(cx));
        if is_answer(&reply) {
            swap(first, second);
            return Poll::Ready(reply);
        }
        self.second = None;
        Poll::Pending
    }

    /// Sends the request again over another connection that is open, if there is one and the budget has a retry left.
    fn send(&self, cx: &Context<'_>, first: &Call<'c, F>) -> Option<Call<'c, F>> {
        let pool = &self.channel.pool;
        if self.params.deadline.is_some_and(|it| Instant::now() >= it) {
            return None;
        }
        let used = first.origin.subchannel.index;
        let subchannel = pool.choose_other(used)?;
        let stats = &pool.stats;
        let retry = stats.withdraw(stats.budget()?)?;
        let sent = Call::try_queue(subchannel, cx.waker(), self.params, self.request);
        let second = sent.ok()??;
        retry.spend();
        stats.record_retry();
        Some(second)
    }
}

fn is_answer(reply: &Result<Reply, Box<FailedCall>>) -> bool {
    reply.as_ref().map_or_else(|it| it.is_answer(), |_| true)
}
