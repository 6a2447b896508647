//! Whether a queue is long only now, or has been for a while.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Rejection,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How long waits must have been long until something is rejected: the default of `CoDel` (RFC 8289).
const INTERVAL: Duration = Duration::from_millis(100);
/// No wait has been long since the last short one.
const NEVER: u64 = u64::MAX;

/// The limit of the waits in a queue, by the rule of `CoDel` (RFC 8289), without its control loop: all that has waited
/// too long is rejected.
///
/// A burst fills any queue for a short time, and is worked off. In a *standing* queue, everything waits for as long as
/// what came before it, so nothing is lost if a part is rejected. A queue stands if waits became longer than a target, here
/// half of the limit, and none was shorter for 100 ms since.
#[derive(Debug)]
pub(crate) struct CoDel {
    limit: Duration,
    created: Instant,
    /// When waits became long, in microseconds since `created`.
    since: AtomicU64,
}

impl CoDel {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            created: Instant::now(),
            since: AtomicU64::new(NEVER),
        }
    }

    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the time since the queue was created, in microseconds.
    pub(crate) fn micros(&self, time: Instant) -> u64 {
        u64::try_from((time - self.created).as_micros()).unwrap_or(NEVER)
    }

    /// Returns `true` if a wait is longer than the target.
    pub(crate) fn is_long(&self, waited: Duration) -> bool {
        waited > self.limit / 2
    }

    /// Notes a wait that ends now.
    pub(crate) fn note(&self, waited: Duration, now: Instant) {
        if self.is_long(waited) {
            self.long_since(now);
        } else {
            self.since.store(NEVER, Relaxed);
        }
    }

    /// Rejects what has waited longer than the limit, if the queue stands.
    pub(crate) fn check(&self, waited: Duration, now: Instant) -> Result<(), Rejection> {
        // The cheap check first: below the limit, a request pays one comparison.
        if waited <= self.limit {
            return Ok(());
        }
        // One long wait is a burst, and bursts are what queues are for. Only a queue that stands is shortened.
        let standing = self.micros(now).saturating_sub(self.long_since(now));
        if Duration::from_micros(standing) < INTERVAL {
            return Ok(());
        }
        Err(self.rejection())
    }

    /// Notes that waits are long, and returns since when.
    fn long_since(&self, now: Instant) -> u64 {
        let now = self.micros(now);
        // The first of all threads sets the time. A plain store would move it on with each request, and the
        // interval would never end.
        let earlier = self.since.compare_exchange(NEVER, now, Relaxed, Relaxed);
        earlier.err().unwrap_or(now)
    }

    /// Returns the rejection of a request that has waited too long.
    #[cold]
    pub(crate) fn rejection(&self) -> Rejection {
        let limit = self.limit;
        Rejection::busy(format!(
            "the request has waited longer than {limit:?} (`max_queue_time`)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);
    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_millis(21);

    #[test]
    fn long_waits_are_rejected_once_none_was_short_for_a_while() {
        let queue = CoDel::new(LIMIT);
        let is_rejected = |waited, milliseconds| {
            let now = queue.created + Duration::from_millis(milliseconds);
            queue.check(waited, now).is_err()
        };
        let note = |waited, milliseconds| {
            queue.note(waited, queue.created + Duration::from_millis(milliseconds));
        };
        // A time without waits is not one of long waits.
        assert!(!is_rejected(LONG, 5_000) && !is_rejected(LONG, 5_099));
        assert!(is_rejected(LONG, 5_100) && !is_rejected(LIMIT, 5_100));
        note(SHORT, 5_101);
        assert!(!is_rejected(LONG, 5_102));
        // It is long, but not too long, which ends nothing that has begun.
        note(LIMIT, 5_150);
        assert!(!is_rejected(LONG, 5_201) && is_rejected(LONG, 5_202));
        // A long wait that is not too long begins it as well.
        note(SHORT, 6_000);
        note(LIMIT, 6_001);
        assert!(!is_rejected(LONG, 6_100) && is_rejected(LONG, 6_101));
    }
}
