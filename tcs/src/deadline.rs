//! The deadline that calls inherit from the protocol function that makes them.
//!
//! A server sets the deadline of a request while it polls the function. Everything that the function polls itself, such
//! as calls under `join!`, runs in that poll, so nothing needs to be passed on. Other tasks are polled outside of it.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    /// The deadline of the function that this thread polls.
    static INHERITED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the deadline of the protocol function that is being polled, if it has one.
#[inline]
pub(crate) fn inherited() -> Option<Instant> {
    INHERITED.get()
}

/// Calls `poll`. Calls that begin in it inherit `deadline`, if there is one.
#[inline]
pub(crate) fn with_inherited<T>(deadline: Option<Instant>, poll: impl FnOnce() -> T) -> T {
    let Some(deadline) = deadline else {
        return poll();
    };
    // A guard, because the thread polls other tasks after a panic.
    let _restore = Restore(INHERITED.replace(Some(deadline)));
    poll()
}

/// Restores the deadline of the outer function when it is dropped.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        INHERITED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn inherited_deadline_ends_with_the_poll_and_with_a_panic() {
        let (outer, inner) = (Instant::now(), Instant::now() + SECOND);
        with_inherited(Some(outer), || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                with_inherited(Some(inner), || {
                    assert_eq!(inherited(), Some(inner));
                    panic!("in a poll");
                });
            }));
            assert!(panicked.is_err());
            assert_eq!(inherited(), Some(outer));
            assert_eq!(with_inherited(None, inherited), Some(outer));
        });
        assert_eq!(inherited(), None);
    }
}
