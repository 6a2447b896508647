//! Every wait has an end.

use std::{panic::Location, time::Duration};

use tokio::time::Instant;

/// How long a test waits for what is to happen at once, on whatever machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// The same on a paused clock.
pub(crate) const PATIENCE: Duration = Duration::from_hours(24);

/// Waits for `future`, and fails with the caller's line when that takes too long.
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    bounded(future, LIMIT)
}

/// Like [`within`], for tests with a paused clock, in which hours pass in no time.
#[track_caller]
pub fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    bounded(future, PATIENCE)
}

/// How late a limit of a server may end: three of its sweeps, which are at most 83 ms apart
/// (`tcs/src/server/registry.rs`), and a millisecond of rounding.
pub const LATE: Duration = Duration::from_millis(3 * 83 + 1);

/// Fails unless what began then has ended when `limit` was over, never before it, and late only by what
/// the server's clock is too coarse for.
#[track_caller]
pub fn ended_in_time(began: Instant, limit: Duration) {
    ended_between(began, limit, limit);
}

/// Like [`ended_in_time`] where the limit is not known to the byte that earned it.
#[track_caller]
pub fn ended_between(began: Instant, earliest: Duration, latest: Duration) {
    let passed = began.elapsed();
    assert!(
        passed >= earliest && passed <= latest + LATE,
        "{passed:?} instead of {earliest:?} to {latest:?}"
    );
}

#[track_caller]
pub(crate) fn bounded<F: Future>(future: F, limit: Duration) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let output = tokio::time::timeout(limit, future).await;
        output.unwrap_or_else(|_| panic!("nothing happened within {limit:?} at {caller}"))
    }
}
