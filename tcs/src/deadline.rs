//! Deadlines of calls, and the deadline that calls inherit from the protocol function that makes them.
//!
//! A server sets the deadline of a request while it polls the function. Everything that the function polls itself, such
//! as calls under `join!`, runs in that poll, so nothing needs to be passed on. Other tasks are polled outside of it.

use std::{cell::Cell, fmt, time::Duration};

use tokio::time::Instant;

use crate::{Error, Peer, Result};

thread_local! {
    /// The deadline of the function that this thread polls.
    static INHERITED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the deadline of the protocol function that is being polled, if it has one.
#[inline]
pub(crate) fn inherited() -> Option<Instant> {
    INHERITED.get()
}

/// Calls `poll`. Calls that begin in it inherit `deadline`, if there is one.
#[inline]
pub(crate) fn with_inherited<T>(deadline: Option<Instant>, poll: impl FnOnce() -> T) -> T {
    let Some(deadline) = deadline else {
        return poll();
    };
    // A guard, because the thread polls other tasks after a panic.
    let _restore = Restore(INHERITED.replace(Some(deadline)));
    poll()
}

/// Restores the deadline of the outer function when it is dropped.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        INHERITED.set(self.0);
    }
}

/// The deadline of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallDeadline {
    pub(crate) at: Instant,
    /// The time from the beginning of the call to the deadline.
    pub(crate) limit: Duration,
    /// Whether it is that of the function that makes the call.
    pub(crate) is_inherited: bool,
}

impl CallDeadline {
    /// Returns the deadline of a call that begins now and may take `limit`: the earlier one of its own and the
    /// inherited one. Reads the clock only if there is one.
    ///
    /// # Errors
    ///
    /// Returns an error that names the peer if no time is left.
    #[inline]
    pub(crate) fn begin(
        limit: Option<Duration>,
        peer: impl FnOnce() -> Peer,
    ) -> Result<Option<Self>> {
        match (limit, inherited()) {
            (None, None) => Ok(None),
            (limit, inherited) => match Self::earlier(limit, inherited) {
                Some(deadline) if deadline.limit.is_zero() => {
                    Err(Error::late(&peer(), deadline).not_sent())
                }
                deadline => Ok(deadline),
            },
        }
    }

    #[cold]
    fn earlier(limit: Option<Duration>, inherited: Option<Instant>) -> Option<Self> {
        let now = Instant::now();
        let left = inherited.map(|at| at.saturating_duration_since(now));
        let is_inherited = left.is_some_and(|left| limit.is_none_or(|limit| left < limit));
        let limit = if is_inherited { left } else { limit }?;
        Some(Self {
            at: now + limit,
            limit,
            is_inherited,
        })
    }

    /// Returns the limit, for errors.
    pub(crate) fn late(&self) -> Late {
        let setting = if self.is_inherited {
            "what was left of the caller's `request_timeout`"
        } else {
            "`deadline`"
        };
        Late {
            limit: self.limit,
            setting,
        }
    }
}

/// Writes the limit, for errors.
impl fmt::Display for CallDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.late().fmt(f)
    }
}

/// A limit that has passed, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    limit: Duration,
    /// What set it.
    setting: &'static str,
}

impl Late {
    pub(crate) const fn reply_timeout(limit: Duration) -> Self {
        let setting = "`reply_timeout`";
        Self { limit, setting }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "within {:?} ({})", self.limit, self.setting)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::ErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn inherited_deadline_ends_with_the_poll_and_with_a_panic() {
        let (outer, inner) = (Instant::now(), Instant::now() + SECOND);
        with_inherited(Some(outer), || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                with_inherited(Some(inner), || {
                    assert_eq!(inherited(), Some(inner));
                    panic!("in a poll");
                });
            }));
            assert!(panicked.is_err());
            assert_eq!(inherited(), Some(outer));
            assert_eq!(with_inherited(None, inherited), Some(outer));
        });
        assert_eq!(inherited(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_deadline_limits_the_call() {
        let now = Instant::now();
        let of_call = |limit: Option<Duration>, inherited: Option<Instant>| {
            with_inherited(inherited, || CallDeadline::begin(limit, Peer::unnamed))
                .expect("time is left")
                .map(|deadline| (deadline.at, deadline.limit, deadline.is_inherited))
        };
        let earlier = Some((now + SECOND, SECOND, false));
        assert_eq!(of_call(None, None), None);
        assert_eq!(of_call(Some(SECOND), None), earlier);
        assert_eq!(of_call(Some(SECOND), Some(now + 2 * SECOND)), earlier);
        let inherited = Some((now + SECOND, SECOND, true));
        assert_eq!(of_call(None, Some(now + SECOND)), inherited);
        assert_eq!(of_call(Some(2 * SECOND), Some(now + SECOND)), inherited);
        let passed = with_inherited(Some(now - SECOND), || {
            CallDeadline::begin(None, Peer::unnamed)
        });
        assert_eq!(passed.expect_err("no time").kind(), ErrorKind::TimedOut);
    }
}
