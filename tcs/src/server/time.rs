//! Time limits, and the deadlines to which they lead, on the clock of the registry.

use std::{fmt, num::NonZero, time::Duration};

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

/// The time in milliseconds at which a wait began; see [`Registration::now`](super::registry::Registration::now). The
/// number is never 0, so that an `Option` of it is no larger.
pub(super) type ClockTime = NonZero<u64>;

/// The time in milliseconds at which a connection stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(u64);

impl Deadline {
    /// Later than any other.
    pub(super) const NEVER: Self = Self(u64::MAX);

    pub(super) const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the end of a limit that began at `began`, or [`NEVER`](Self::NEVER) if it has not begun.
    #[inline]
    pub(super) fn after(began: impl Into<Option<ClockTime>>, limit: Limit) -> Self {
        match began.into() {
            Some(began) => Self(began.get()).plus(limit),
            None => Self::NEVER,
        }
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
            // This divides nanoseconds, because `as_millis` would round 0.9 ms down to a limit that is over at once.
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
