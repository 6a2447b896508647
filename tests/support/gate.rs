//! Something a protocol function waits at until the test lets it through.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use tokio::{sync::Semaphore, task::coop::unconstrained};

use crate::LIMIT;

/// The test's side and the function's side of a gate.
#[derive(Clone, Debug)]
pub struct Gate {
    reached: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

/// A closed gate.
pub fn gate() -> Gate {
    Gate {
        reached: Arc::new(Semaphore::new(0)),
        opened: Arc::new(Semaphore::new(0)),
    }
}

impl Gate {
    /// Waits in the function until the test opens.
    pub async fn pass(&self) {
        self.reached.add_permits(1);
        self.opened.acquire().await.expect("never closed").forget();
    }

    /// Blocks the thread of the function until the test opens.
    ///
    /// # Panics
    ///
    /// When nobody opens before the deadline, so that no test hangs.
    pub fn block(&self) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let deadline = Instant::now() + LIMIT;
        // What the task was allowed to do would not become more while its thread is blocked.
        let mut passed = pin!(unconstrained(self.pass()));
        while passed.as_mut().poll(&mut cx).is_pending() {
            assert!(Instant::now() < deadline, "nobody opened the gate");
            thread::park_timeout(LIMIT);
        }
    }

    /// Waits in the test until one more function is at the gate.
    pub async fn reached(&self) {
        self.reached.acquire().await.expect("never closed").forget();
    }

    /// Tells whether a function came to the gate that the test did not wait for.
    pub fn was_reached(&self) -> bool {
        self.reached.available_permits() > 0
    }

    /// Lets one function through.
    pub fn open(&self) {
        self.opened.add_permits(1);
    }
}

/// Wakes the thread that is blocked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
