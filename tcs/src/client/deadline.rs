//! The deadline of a call.

use std::{fmt, future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{Error, Peer, Result, deadline::inherited};

/// What has set a deadline that is inherited.
const INHERITED: &str = "what was left of the caller's `request_timeout`";

/// The deadline of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallDeadline {
    pub(super) at: Instant,
    /// The time from the beginning of the call to the deadline, and what set it.
    pub(super) late: PassedLimit,
}

impl CallDeadline {
    /// Returns the deadline of a call that begins now and may take `limit`: its own deadline or the inherited one,
    /// whichever is earlier. Reads the clock only if there is a deadline.
    ///
    /// # Errors
    ///
    /// Returns an error that names the peer if no time is left.
    #[inline]
    pub(super) fn begin(
        limit: Option<Duration>,
        peer: impl FnOnce() -> Peer,
    ) -> Result<Option<Self>> {
        match (limit, inherited()) {
            (None, None) => Ok(None),
            (limit, inherited) => match Self::earlier(limit, inherited) {
                Some(deadline) if deadline.late.limit.is_zero() => {
                    Err(Error::read_timed_out(&peer(), deadline.late).not_sent())
                }
                deadline => Ok(deadline),
            },
        }
    }

    #[cold]
    fn earlier(limit: Option<Duration>, inherited: Option<Instant>) -> Option<Self> {
        let now = Instant::now();
        let left = inherited.map(|at| at.saturating_duration_since(now));
        let (limit, setting) = match left {
            Some(left) if limit.is_none_or(|limit| left < limit) => (left, INHERITED),
            _ => (limit?, "`deadline`"),
        };
        Some(Self {
            at: now + limit,
            late: PassedLimit { limit, setting },
        })
    }

    /// Returns the limit that has passed, if the deadline has.
    pub(super) fn passed(&self) -> Option<PassedLimit> {
        (Instant::now() >= self.at).then_some(self.late)
    }
}

/// A limit that has passed, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassedLimit {
    limit: Duration,
    /// What set the limit.
    setting: &'static str,
}

impl PassedLimit {
    pub(crate) const fn reply_timeout(limit: Duration) -> Self {
        let setting = "`reply_timeout`";
        Self { limit, setting }
    }
}

impl fmt::Display for PassedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "within {:?} ({})", self.limit, self.setting)
    }
}

/// Waits until the deadline has passed. Without a deadline, waits forever.
pub(super) async fn wait_until_late(deadline: Option<CallDeadline>) -> PassedLimit {
    match deadline {
        Some(deadline) => {
            sleep_until(deadline.at).await;
            deadline.late
        }
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, deadline::with_inherited};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn earlier_deadline_limits_the_call() {
        let now = Instant::now();
        let of_call = |limit: Option<Duration>, inherited: Option<Instant>| {
            with_inherited(inherited, || CallDeadline::begin(limit, Peer::unnamed))
                .expect("time is left")
                .map(|deadline| (deadline.at, deadline.late.limit, deadline.late.setting))
        };
        let earlier = Some((now + SECOND, SECOND, "`deadline`"));
        assert_eq!(of_call(None, None), None);
        assert_eq!(of_call(Some(SECOND), None), earlier);
        assert_eq!(of_call(Some(SECOND), Some(now + 2 * SECOND)), earlier);
        let inherited = Some((now + SECOND, SECOND, INHERITED));
        assert_eq!(of_call(None, Some(now + SECOND)), inherited);
        assert_eq!(of_call(Some(2 * SECOND), Some(now + SECOND)), inherited);
        let passed = with_inherited(Some(now - SECOND), || {
            CallDeadline::begin(None, Peer::unnamed)
        });
        assert_eq!(passed.expect_err("no time").kind(), ErrorKind::TimedOut);
    }
}
