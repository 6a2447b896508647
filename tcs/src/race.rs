//! Waiting for one of two things, and for a panic.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
};

/// Which of two futures was ready first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two futures; when both are ready, `first` wins.
///
/// The other is dropped, so both must be cancel safe. Large futures are passed pinned, because an
/// argument takes its place twice. (`tokio::select!` would cost one crate more.)
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
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn first_wins_a_tie() {
        assert_eq!(race(ready(1), ready(2)).await, Either::First(1));
        assert_eq!(race(pending::<()>(), ready(2)).await, Either::Second(2));
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
