//! The limits of a connection, and the unit of its time limits.

use std::{fmt, num::NonZero, time::Duration};

use tokio::time::Instant;

use crate::{
    Rejection,
    conversation::{ConversationLimits, PushOverflow},
};

/// What a peer is told whose connection ends because of its age.
pub(super) const TOO_OLD: &str =
    "the connection has reached its maximum age (`max_connection_age`)";

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
    /// In requests per second. With the largest number, a request takes no time.
    pub(super) max_request_rate_per_address: u32,
    /// How long a connection may process requests within one poll of its task.
    pub(super) poll_nanos: u64,
}

/// An optional time limit in milliseconds, the unit of the registry's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Limit(u64);

impl Limit {
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    pub(super) const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the limit in milliseconds, or `u64::MAX` if there is none.
    #[inline]
    pub(super) const fn as_millis(self) -> u64 {
        self.0
    }

    pub(super) const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    pub(super) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000)))
    }
}

/// The time in milliseconds at which a wait began; see [`Registration::now`](super::registry::Registration::now). It is
/// never 0, so that an `Option` of it is no larger.
pub(super) type Millis = NonZero<u64>;

/// The time in milliseconds at which a connection stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(pub(super) u64);

impl Deadline {
    /// Later than any other.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// Returns the end of a limit that began at `began`.
    #[inline]
    pub(super) const fn after(began: Millis, limit: Limit) -> Self {
        Self(began.get()).plus(limit)
    }

    /// Returns the limit that began at `began` and ends now.
    pub(super) const fn since(self, began: Millis) -> Limit {
        Limit(self.0.saturating_sub(began.get()))
    }

    #[inline]
    pub(super) const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the end of a limit that begins at this deadline.
    #[inline]
    pub(super) const fn plus(self, limit: Limit) -> Self {
        Self(self.0.saturating_add(limit.as_millis()))
    }
}

/// Rounds up, so that a positive limit never becomes zero.
impl From<Option<Duration>> for Limit {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NONE, |limit| {
            // In nanoseconds first: `as_millis` would round 0.9 ms down to a limit that is over at once.
            let milliseconds = limit.as_nanos().div_ceil(1_000_000);
            Self(u64::try_from(milliseconds).unwrap_or(u64::MAX))
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_duration())
    }
}

impl Limits {
    /// Returns the maximum length of whatever the server sends.
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

    /// Returns the deadline of a function that is called now. It comes before the end of `request_timeout`, which
    /// begins later.
    pub(super) fn request_deadline(&self) -> Option<Instant> {
        if self.request_timeout == Limit::NONE {
            return None;
        }
        Instant::now().checked_add(self.request_timeout.as_duration())
    }

    /// Returns an error if this many requests of a connection are too many without a reply.
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

    /// Returns the shortest time limit. It sets the interval between sweeps.
    pub(super) fn shortest(&self) -> Limit {
        // Each field is named, so that a new limit does not compile until somebody decides whether it needs its own
        // sweeps.
        let Self {
            max_frame_len: _,
            max_reply_len: _,
            handshake_timeout,
            idle_timeout,
            frame_timeout,
            request_timeout,
            half_close_timeout,
            write_timeout,
            linger,
            drain_timeout: _,
            lame_duck: _,
            max_connection_age,
            max_queue_time: _,
            max_requests_per_connection: _,
            max_pipelined_requests: _,
            max_push_queue: _,
            push_overflow: _,
            max_in_flight_per_address: _,
            max_request_rate_per_address: _,
            poll_nanos: _,
        } = *self;
        [
            handshake_timeout,
            idle_timeout,
            frame_timeout,
            request_timeout,
            half_close_timeout,
            write_timeout,
            linger,
            max_connection_age,
        ]
        .into_iter()
        // `linger` may be zero, which means no wait.
        .filter(|limit| !limit.is_zero())
        .min()
        .unwrap_or(Limit::NONE)
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
