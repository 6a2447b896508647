//! A task whose panic is not lost.

use std::{
    panic::resume_unwind,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use tokio::task::{JoinError, JoinHandle, unconstrained};

/// A task. Dropping this value panics if the task has panicked and [`end`](Self::end) was not called.
pub(super) struct Task<T>(Option<JoinHandle<T>>);

impl<T> Task<T> {
    /// Spawns a task.
    pub(super) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self
    where
        T: Send + 'static,
    {
        Self(Some(tokio::spawn(future)))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the task. Panics if it has panicked, with the same text.
    pub(super) async fn end(mut self) -> T {
        let task = self.0.take().expect("it has not ended");
        match task.await {
            Ok(value) => value,
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let Some(task) = self.0.take() else {
            return;
        };
        if thread::panicking() || !task.is_finished() {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(error)) = pin!(unconstrained(task)).poll(&mut context)
            && let Ok(panic) = JoinError::try_into_panic(error)
        {
            resume_unwind(panic);
        }
    }
}
