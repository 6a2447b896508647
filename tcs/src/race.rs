//! Waiting for one of two things, and for a panic.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

/// Which of two futures was ready first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two futures; when both are ready, `first` wins.
///
/// The other is dropped, so both must be cancel safe. (`tokio::select!` would cost one crate more.)
pub(crate) async fn race<A: Future, B: Future>(
    first: A,
    second: B,
) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(output) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}

/// Runs a future; a panic of it becomes an error.
///
/// What the future borrows may be half-changed after a panic: the caller must mend or drop it.
pub(crate) async fn caught<F: Future>(
    mut future: Pin<&mut F>,
) -> Result<F::Output, Box<dyn Any + Send>> {
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn first_wins_a_tie() {
        assert_eq!(race(ready(1), ready(2)).await, Either::First(1));
        assert_eq!(race(pending::<()>(), ready(2)).await, Either::Second(2));
    }

    #[tokio::test]
    async fn panic_is_an_error() {
        assert_eq!(caught(pin!(ready(1))).await.expect("no panic"), 1);
        assert!(caught(pin!(async { panic!("on purpose") })).await.is_err());
    }
}
