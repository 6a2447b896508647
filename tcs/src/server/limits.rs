//! The limits of a connection.

use std::time::Duration;

use tokio::time::Instant;

use super::time::Limit;
use crate::{
    Rejection,
    conversation::{ConversationLimits, PushOverflow},
};

/// The limits of one connection, with the names of their settings: [`Server`](super::Server) documents them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_frame_len: usize,
    /// `None`: `max_frame_len`.
    pub(super) max_reply_len: Option<usize>,
    pub(super) handshake_timeout: Limit,
    pub(super) idle_timeout: Limit,
    pub(super) frame_timeout: Limit,
    pub(super) request_timeout: Limit,
    pub(super) half_close_timeout: Limit,
    pub(super) write_timeout: Limit,
    pub(super) linger: Limit,
    pub(super) drain_timeout: Limit,
    pub(super) lame_duck: Limit,
    pub(super) max_connection_age: Limit,
    pub(super) max_queue_time: Limit,
    pub(super) max_requests_per_connection: u64,
    pub(super) max_pipelined_requests: u64,
    /// In bytes.
    pub(super) max_push_queue: usize,
    pub(super) push_overflow: PushOverflow,
    pub(super) max_in_flight_per_address: usize,
    /// In requests per second. With the largest number, a request takes no time from the token bucket.
    pub(super) max_request_rate_per_address: u32,
    /// How long a connection may process requests within one poll of its task.
    pub(super) poll_nanos: u64,
}

impl Limits {
    /// Returns the maximum length of a message that the server sends.
    #[inline]
    pub(super) const fn reply_len(&self) -> usize {
        match self.max_reply_len {
            Some(limit) => limit,
            None => self.max_frame_len,
        }
    }

    /// Returns the limits of messages beside requests and replies.
    pub(super) const fn conversation(&self) -> ConversationLimits {
        ConversationLimits {
            message_len: self.reply_len(),
            push_queue: self.max_push_queue,
            push_overflow: self.push_overflow,
        }
    }

    /// Returns the deadline of a function that is called now, for its own calls. The limit `request_timeout` ends a
    /// little later, because it begins later.
    pub(super) fn request_deadline(&self) -> Option<Instant> {
        if self.request_timeout == Limit::NONE {
            return None;
        }
        Instant::now().checked_add(self.request_timeout.as_duration())
    }

    /// Returns an error if more requests of a connection wait for their replies than allowed.
    pub(super) fn check_pipeline(&self, waiting: u64) -> Result<(), Rejection> {
        let most = self.max_pipelined_requests;
        if waiting <= most {
            return Ok(());
        }
        let text = format!("{most} requests of this connection wait (`max_pipelined_requests`)");
        Err(Rejection::busy(text))
    }

    /// Returns `max_queue_time`.
    pub(super) fn queue_time(&self) -> Option<Duration> {
        (self.max_queue_time != Limit::NONE).then(|| self.max_queue_time.as_duration())
    }

    /// Returns `true` if something is checked at each request.
    pub(super) fn has_request_checks(&self) -> bool {
        self.max_queue_time != Limit::NONE
            || self.max_requests_per_connection != u64::MAX
            || self.max_pipelined_requests != u64::MAX
            || self.max_in_flight_per_address != usize::MAX
            || self.max_request_rate_per_address != u32::MAX
    }

    /// Returns the limits of a connection's waits, with the names of their settings. None of them may be zero.
    pub(super) const fn waits(&self) -> [(&'static str, Limit); 7] {
        [
            ("handshake_timeout", self.handshake_timeout),
            ("idle_timeout", self.idle_timeout),
            ("frame_timeout", self.frame_timeout),
            ("request_timeout", self.request_timeout),
            ("half_close_timeout", self.half_close_timeout),
            ("write_timeout", self.write_timeout),
            ("max_connection_age", self.max_connection_age),
        ]
    }

    /// Returns the shortest limit of a wait, which sets how often the registry sweeps.
    pub(super) fn shortest(&self) -> Limit {
        // A `linger` of zero means no wait.
        let linger = Some(self.linger).filter(|limit| !limit.is_zero());
        let waits = self.waits().map(|(_, limit)| limit);
        waits.into_iter().chain(linger).min().unwrap_or(Limit::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::mode::Iterative, super::settings::Settings, *};

    #[test]
    fn linger_of_zero_does_not_set_the_pace() {
        let mut limits = Settings::new::<Iterative>().limits;
        assert_eq!(limits.shortest(), Limit::from_secs(2));
        limits.linger = Limit::from_secs(0);
        assert_eq!(limits.shortest(), Limit::from_secs(5));
    }
}
