//! How long a channel waits before it connects again, and before it sends a request again.

use std::time::Duration;

/// The longest wait after a server has ended a connection. A longer wait is not needed: the server is probably up.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The wait before the first retry of a request that the server has rejected or lost. The wait doubles with each retry.
const MIN_RETRY_WAIT: Duration = Duration::from_millis(10);
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// The waits between attempts to connect. Each of them is random, so that the clients of a server that restarts do not all
/// come back at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// Returns the wait before the next attempt, after `failures` failures in a row.
    ///
    /// The wait is at least a quarter of the whole: from half on, nearly twice as many clients come back at the same
    /// time, and from zero on, the last one comes much later.
    pub(super) fn after(&self, failures: u32) -> Duration {
        let most = doubled(self.min, failures.saturating_sub(1), self.max);
        let wait = most.mul_f64(fastrand::f64().mul_add(0.75, 0.25));
        // At least a millisecond, which timers can distinguish, so that calls see that the attempt has failed.
        wait.max(Duration::from_millis(1))
    }

    /// Returns the wait before the first attempt after the server has ended a connection.
    pub(super) fn after_loss(&self) -> Duration {
        self.min.min(MAX_PAUSE).mul_f64(fastrand::f64())
    }
}

/// Returns the wait before a request is sent again, after `retries` retries.
pub(super) fn wait_before_retry(retries: u32) -> Duration {
    doubled(MIN_RETRY_WAIT, retries, MAX_RETRY_WAIT).mul_f64(fastrand::f64())
}

/// Returns `first`, doubled this many times, up to `most`.
fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_doubles_up_to_a_second() {
        for (retries, most) in [(0, 10), (1, 20), (6, 640), (7, 1_000), (40, 1_000)] {
            let waits = (0..1_000).map(|_| wait_before_retry(retries));
            let longest = waits.max().expect("some").as_millis();
            assert!(
                (most * 9 / 10..=most).contains(&longest),
                "{retries}: {longest}"
            );
        }
    }
}
