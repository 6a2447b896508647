//! What the callers of a channel share with the tasks of its connections.

use tokio::sync::watch;

use super::{budget::RetryBudget, connector::Connector, stats::ChannelStats};
use crate::{client::options::ConnectOptions, framing::Framing, panics::lock, sync::Mutex};

/// What all connections of a channel have in common.
pub(super) struct Shared<F: Framing> {
    /// The options of each connection.
    pub(super) options: ConnectOptions,
    pub(super) connector: Connector<F>,
    pub(super) stats: ChannelStats,
    /// Limits the retries. `None` turns them off.
    pub(super) budget: Option<Mutex<RetryBudget>>,
    /// Notifies the calls that wait for room that a connection may have it.
    pub(super) room: watch::Sender<()>,
}

impl<F: Framing> Shared<F> {
    pub(super) fn new(options: ConnectOptions, connector: Connector<F>, has_retries: bool) -> Self {
        Self {
            options,
            connector,
            stats: ChannelStats::default(),
            budget: has_retries.then(|| Mutex::new(RetryBudget::new())),
            room: watch::Sender::default(),
        }
    }

    /// Returns `true` if each request is kept until its reply, so that it can be sent again.
    pub(super) const fn keeps_requests(&self) -> bool {
        F::HAS_INDEPENDENT_FRAMES && self.budget.is_some()
    }

    /// Takes a retry out of the budget. Returns `false`, and records that, if there is none left.
    pub(super) fn withdraw_retry(&self) -> bool {
        let Some(budget) = &self.budget else {
            return false;
        };
        let is_left = lock(budget).withdraw();
        if !is_left {
            self.stats.record_refused_retry();
        }
        is_left
    }

    /// Returns `true` if a call waits for room.
    #[inline]
    pub(super) fn is_room_awaited(&self) -> bool {
        self.room.receiver_count() > 0
    }
}
