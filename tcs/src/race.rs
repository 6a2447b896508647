//! Waiting for one of two things.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Which of two futures was ready first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two futures; when both are ready, `first` wins.
///
/// The other is dropped by the caller, so both must be cancel safe. They are passed pinned, because
/// an argument takes its place twice.
pub(crate) fn race<A: Future, B: Future>(
    mut first: Pin<&mut A>,
    mut second: Pin<&mut B>,
) -> impl Future<Output = Either<A::Output, B::Output>> {
    poll_fn(move |cx| {
        if let Poll::Ready(output) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
}

/// Waits until something is so, which is looked at whenever `changed` is told.
pub(crate) async fn until(changed: &Notify, is_so: &(dyn Fn() -> bool + Sync)) {
    loop {
        let told = changed.notified();
        if is_so() {
            return;
        }
        told.await;
    }
}

/// Returns when a limit that begins now is over; never, if the clock does not reach that far.
pub(crate) fn deadline_of(limit: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(limit?)
}

/// Waits until `deadline`; without one, for ever.
pub(crate) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin};

    use super::*;

    #[tokio::test]
    async fn first_wins_a_tie() {
        let first = race(pin!(ready(1)), pin!(ready(2))).await;
        assert_eq!(first, Either::First(1));
        let second = race(pin!(pending::<()>()), pin!(ready(2))).await;
        assert_eq!(second, Either::Second(2));
    }
}
