//! Something a protocol function waits at until the test lets it through.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Semaphore};

use crate::within;

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
    /// When nobody opens before the deadline, so that no test hangs; and where all tasks have one thread.
    pub fn block(&self) {
        Handle::current().block_on(within(self.pass()));
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
