//! Panics of foreign code: they are caught and reported, and poison no lock.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use crate::sync::{Mutex, MutexGuard};

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Polls a future. Returns the payload of a panic as an error.
///
/// After a panic, data that the future borrows may be changed in part. The caller must repair or drop
/// it, and must not poll the future again.
pub(crate) fn poll_caught<F: Future + ?Sized>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output, Payload>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(payload)),
    }
}

/// Returns the text of a panic, which may quote a peer, and drops its payload.
///
/// A payload can have any type, so dropping it can panic as well. That panic is caught.
pub(crate) fn panic_text(payload: Payload) -> String {
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let text = formatted.or_else(|| payload.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no text").to_owned();
    dispose(payload);
    text
}

#[expect(
    clippy::mem_forget,
    reason = "it panics when it is dropped, and so may the payload of that panic"
)]
fn dispose(payload: Payload) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

/// Calls what wakes tasks. A waker that panics does not keep the caller from what it does next.
pub(crate) fn contain(wake: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(wake)) {
        dispose(payload);
    }
}

/// Wakes tasks. A waker that panics does not keep the others from it.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        contain(|| waker.wake());
    }
}

/// Locks a mutex. Ignores poisoning: of foreign code, only a framing runs under a lock of this crate, and what it has left
/// half done is removed or ends the connection.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{future::ready, panic::panic_any, pin::pin};

    use super::*;

    #[test]
    fn panic_is_an_error() {
        let mut cx = Context::from_waker(Waker::noop());
        let fine = poll_caught(pin!(ready(1)), &mut cx);
        assert!(matches!(fine, Poll::Ready(Ok(1))));
        let panics = poll_caught(pin!(async { panic!("on purpose") }), &mut cx);
        assert!(matches!(panics, Poll::Ready(Err(_))));
    }

    #[test]
    fn payload_that_panics_as_it_is_dropped_is_disposed_of() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(Self);
            }
        }
        let payload = catch_unwind(|| panic_any(Bomb)).expect_err("it panics");
        assert_eq!(panic_text(payload), "no text");
        let payload = catch_unwind(|| panic!("{}", 1)).expect_err("it panics");
        assert_eq!(panic_text(payload), "1");
        let payload = catch_unwind(|| panic!("text")).expect_err("it panics");
        assert_eq!(panic_text(payload), "text");
    }
}
