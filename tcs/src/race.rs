//! Waits for the first of two futures, for a condition, or for a deadline.

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

/// The output of the future that was ready first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two futures. If both are ready, `first` wins.
///
/// The caller drops the other, so both must be cancel safe. They are passed pinned, because an
/// argument passed by value takes its space twice.
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

/// Waits until `is_so()` returns `true`. It is evaluated again after each notification.
pub(crate) async fn until(changed: &Notify, is_so: &(dyn Fn() -> bool + Sync)) {
    loop {
        let told = changed.notified();
        if is_so() {
            return;
        }
        told.await;
    }
}

/// Returns the end of a limit that begins now, or `None` if there is none or the clock cannot reach
/// it.
pub(crate) fn deadline_of(limit: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(limit?)
}

/// Waits until `deadline`, or forever if there is none.
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
