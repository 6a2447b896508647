//! Every wait has an end.

use std::{panic::Location, time::Duration};

/// Waits for `future`, and fails with the caller's line when that takes too long.
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    bounded(future, Duration::from_secs(20))
}

/// Like [`within`], for tests with a paused clock, in which hours pass in no time.
#[track_caller]
pub fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    bounded(future, Duration::from_hours(24))
}

#[track_caller]
fn bounded<F: Future>(future: F, limit: Duration) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        let output = tokio::time::timeout(limit, future).await;
        output.unwrap_or_else(|_| panic!("nothing happened within {limit:?} at {caller}"))
    }
}
