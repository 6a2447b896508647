//! The permits of functions that block their thread.

use std::time::Duration;

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    time::Instant,
};

use crate::{Rejection, codel::CoDel};

/// The permits of the `blocking` functions of a server.
#[derive(Debug)]
pub(crate) struct BlockingPermits {
    permits: Semaphore,
    /// The limit of `max_queue_time`, if there is one.
    queue: Option<CoDel>,
}

impl BlockingPermits {
    /// Creates the permits for this number of functions at the same time. They may wait for `max_wait`.
    pub(crate) fn new(permits: usize, max_wait: Option<Duration>) -> Self {
        Self {
            permits: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            queue: max_wait.map(CoDel::new),
        }
    }

    /// Runs a function with a permit, unless it has waited too long for it.
    pub(crate) async fn run<T>(&self, function: impl FnOnce() -> T) -> Result<T, Rejection> {
        let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
        let is_current_thread = matches!(flavor, Ok(RuntimeFlavor::CurrentThread) | Err(_));
        if !is_current_thread {
            // The connection sends earlier replies, and detects that the peer has left. Not with the permit, which
            // would wait with it for the tasks of other connections.
            tokio::task::yield_now().await;
        }
        // The semaphore is never closed. If it were, the function would run without a permit.
        let _permit = match &self.queue {
            None => self.permits.acquire().await.ok(),
            Some(queue) => {
                let began = Instant::now();
                let permit = self.permits.acquire().await.ok();
                let now = Instant::now();
                queue.note(now - began, now);
                queue.check(now - began, now)?;
                permit
            }
        };
        Ok(if is_current_thread {
            function()
        } else {
            tokio::task::block_in_place(function)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use tokio::time::advance;

    use super::*;
    use crate::RejectionKind;

    const LIMIT: Duration = Duration::from_millis(20);

    /// Calls a function that waits this many milliseconds for the only permit.
    async fn call_that_waits(
        blocking: &BlockingPermits,
        milliseconds: u64,
    ) -> Result<bool, Rejection> {
        let held = blocking.permits.acquire().await.expect("it is open");
        let mut call = pin!(blocking.run(|| true));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        advance(Duration::from_millis(milliseconds)).await;
        drop(held);
        call.await
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_waits_for_a_permit_in_a_burst_runs() {
        let blocking = BlockingPermits::new(1, Some(LIMIT));
        for milliseconds in [500, 20, 10, 500] {
            let called = call_that_waits(&blocking, milliseconds).await;
            assert_eq!(called, Ok(true), "{milliseconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_does_not_wait_ends_a_standing_queue() {
        let blocking = BlockingPermits::new(1, Some(LIMIT));
        assert_eq!(call_that_waits(&blocking, 99).await, Ok(true));
        assert_eq!(blocking.run(|| true).await, Ok(true));
        assert_eq!(call_that_waits(&blocking, 99).await, Ok(true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn call_holds_its_permit() {
        for max_wait in [None, Some(LIMIT)] {
            let blocking = BlockingPermits::new(1, max_wait);
            let free = blocking.run(|| blocking.permits.available_permits()).await;
            assert_eq!(free, Ok(0));
            assert_eq!(blocking.permits.available_permits(), 1);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn call_that_yields_leaves_its_permit_to_others() {
        let blocking = BlockingPermits::new(1, None);
        let mut call = pin!(blocking.run(|| true));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert_eq!(blocking.run(|| true).await, Ok(true));
        assert_eq!(call.await, Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_waits_for_a_permit_in_a_standing_queue_is_busy() {
        let blocking = BlockingPermits::new(1, Some(LIMIT));
        for milliseconds in [30, 99] {
            assert_eq!(call_that_waits(&blocking, milliseconds).await, Ok(true));
        }
        let rejection = call_that_waits(&blocking, 30).await;
        let rejection = rejection.expect_err("it has waited too long");
        assert_eq!(rejection.kind(), RejectionKind::Busy);
        // The function was not called with the permit, and the next call gets it.
        assert_eq!(call_that_waits(&blocking, 1).await, Ok(true));
    }
}
