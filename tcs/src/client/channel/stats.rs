//! What a channel reports about its connections.

#![cfg_attr(
    not(feature = "metrics"),
    expect(clippy::unused_self, unused_variables, reason = "metrics use them")
)]

use std::{mem::swap, sync::Arc, time::Instant};

use tokio::sync::watch;

#[cfg(feature = "metrics")]
use super::metrics::Metrics;
use crate::{Error, panics::contain};

/// The state of the connections of a [`Channel`](crate::Channel), from [`Channel::state`](crate::Channel::state).
///
/// The numbers cover all connections to all addresses. Except `connected`, they are totals since the channel was
/// created.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ChannelState {
    /// The number of open connections. It is also 0 if no call has needed a connection yet, or if all were closed as
    /// idle.
    pub connected: usize,
    /// The number of connections that were made.
    pub connects: u64,
    /// The number of connections that ended while calls were in flight. Connections that end while they are idle do
    /// not count.
    pub losses: u64,
    /// The number of attempts to connect that have failed, except those of [`connect`](crate::Channel::connect).
    pub failed_attempts: u64,
    /// The number of times that a request was sent again, or a second time by a [hedge](crate::Channel::hedge).
    pub retries: u64,
    /// The number of times that the [budget](crate::Channel#retries) had no retry left. The call then returned its
    /// error, whose text says so, or continued without its hedge.
    pub retries_refused: u64,
    /// Why the last attempt to connect failed, or the last connection was lost. It remains when a later attempt
    /// succeeds: [`connected`](Self::connected) says whether there is a connection.
    pub last_error: Option<Arc<Error>>,
}

/// The numbers of a channel: its state, and its metrics.
#[derive(Default)]
pub(super) struct ChannelStats {
    state: watch::Sender<ChannelState>,
    #[cfg(feature = "metrics")]
    metrics: Metrics,
}

impl ChannelStats {
    /// Returns when a call begins, if metrics need it.
    #[inline]
    pub(super) fn call_start() -> Option<Instant> {
        cfg!(feature = "metrics").then(Instant::now)
    }

    /// Changes the state, and wakes those who watch it.
    fn modify(&self, change: impl FnOnce(&mut ChannelState)) {
        contain(|| self.state.send_modify(change));
    }

    pub(super) fn watch(&self) -> watch::Receiver<ChannelState> {
        self.state.subscribe()
    }

    /// Records a call that began at `start` and was answered.
    #[inline]
    pub(super) fn record_answer(&self, start: Option<Instant>) {
        #[cfg(feature = "metrics")]
        if let Some(start) = start {
            self.metrics.answered.increment(1);
            self.metrics.duration.record(start.elapsed());
        }
    }

    /// Records a call that has failed.
    #[cold]
    pub(super) fn record_failure(&self) {
        #[cfg(feature = "metrics")]
        self.metrics.failed.increment(1);
    }

    pub(super) fn record_connected(&self) {
        #[cfg(feature = "metrics")]
        {
            self.metrics.connects.increment(1);
            self.metrics.open.increment(1.0);
        }
        self.modify(|state| {
            state.connected += 1;
            state.connects += 1;
        });
    }

    pub(super) fn record_disconnected(&self) {
        #[cfg(feature = "metrics")]
        self.metrics.open.decrement(1.0);
        self.modify(|state| state.connected -= 1);
    }

    /// Records that a request is sent again.
    pub(super) fn record_retry(&self) {
        #[cfg(feature = "metrics")]
        self.metrics.retries.increment(1);
        self.modify(|state| state.retries += 1);
    }

    /// Records that the budget had no retry left.
    pub(super) fn record_refused_retry(&self) {
        #[cfg(feature = "metrics")]
        self.metrics.retries_refused.increment(1);
        self.modify(|state| state.retries_refused += 1);
    }

    /// Records an attempt that has failed.
    pub(super) fn record_failed_connect(&self, error: &Arc<Error>) {
        #[cfg(feature = "metrics")]
        self.metrics.failed_connects.increment(1);
        let mut last = Some(Arc::clone(error));
        self.modify(|state| {
            state.failed_attempts += 1;
            swap(&mut state.last_error, &mut last);
        });
        // The former error is dropped here, outside of the lock: it may be of the user's type.
    }

    /// Records that a connection was lost.
    pub(super) fn record_loss(&self, error: Error) {
        #[cfg(feature = "metrics")]
        self.metrics.losses.increment(1);
        let mut last = Some(Arc::new(error));
        self.modify(|state| {
            state.losses += 1;
            swap(&mut state.last_error, &mut last);
        });
    }
}
