//! Waiting for one of two things, and for a panic.

use std::{
    any::Any,
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
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
/// an argument takes its place twice. (`tokio::select!` would cost one crate more.)
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

/// Polls a future; a panic of it becomes an error.
///
/// What the future borrows may be half-changed after a panic: the caller must mend or drop it, and
/// not poll again.
pub(crate) fn poll_caught<F: Future>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Box<dyn Any + Send>>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(payload)),
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

    #[test]
    fn panic_is_an_error() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let fine = poll_caught(pin!(ready(1)), &mut cx);
        assert!(matches!(fine, Poll::Ready(Ok(1))));
        let panics = poll_caught(pin!(async { panic!("on purpose") }), &mut cx);
        assert!(matches!(panics, Poll::Ready(Err(_))));
    }
}
